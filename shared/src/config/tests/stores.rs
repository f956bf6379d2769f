use std::{collections::BTreeMap, time::Duration};

use super::super::*;
use crate::store::StorePlace;

fn stores(text: &str) -> Result<(Option<StoreConfig>, BTreeMap<String, RootConfig>), String> {
    let document = Document::parse("/etc/filefleet.toml", text);
    let mut root = document.root();
    let read = (
        StoreConfig::read(&mut root, "scratch"),
        read_roots(&mut root),
    );
    root.finish();
    document
        .finish(Some(read))
        .map_err(|errors| errors.to_string())
}

#[test]
fn stores_are_urls_whose_credentials_are_secrets_or_come_from_the_environment() {
    let text = r#"
[root.papers]
url = "s3://papers/in"
endpoint = "http://127.0.0.1:9000"
allow_http = true
access_key_id = { env = "ID" }
secret_access_key = { file = "key" }
[root.plain]
url = "az://inbox"
account = "acme"
timeout = "5s"
[scratch]
url = "scratch"
"#;
    let (scratch, roots) = stores(text).unwrap();
    let of = |name: &str| match &roots[name] {
        RootConfig::Store(store) => store.clone(),
        other @ RootConfig::Directory { .. } => panic!("{other:?}"),
    };
    assert_eq!(of("papers").place.to_string(), "s3://papers/in");
    assert!(of("papers").secrets.secret_access_key.is_some());
    assert_eq!(of("plain").account.as_deref(), Some("acme"));
    assert_eq!(of("plain").timeout, Duration::from_secs(5));
    let place = scratch.unwrap().place;
    assert_eq!(place, StorePlace::Directory("/etc/scratch".into()));
}

#[test]
fn what_is_wrong_with_a_store_is_told_at_its_key_and_no_secret_is_repeated() {
    let text = r#"
[root.a]
url = "s3://me:hidden@papers"
[root.b]
url = "https://papers.example.com"
[root.c]
url = "s3://papers"
path = "x"
endpoint = "http://127.0.0.1"
account = "acme"
access_key_id = "hidden"
[root.d]
url = "az://papers"
endpoint = "https://me:hidden@127.0.0.1"
[scratch]
url = "gs://papers"
"#;
    let report = stores(text).unwrap_err();
    let lines: Vec<&str> = report.lines().collect();
    let expected = [
        ("root.a.url", "has a user"),
        ("root.b.url", "must start with s3:// or az://"),
        ("root.c.path", "either `path` or `url`"),
        ("root.c.endpoint", "add allow_http = true"),
        ("root.c.account", "unknown key"),
        ("root.c.access_key_id", "a secret must not stand"),
        ("root.d.endpoint", "has a user or password"),
        ("scratch.url", "must start with s3:// or az://"),
    ];
    assert_eq!(lines.len(), expected.len(), "{report}");
    for (key, what) in expected {
        let found = lines
            .iter()
            .any(|line| line.contains(key) && line.contains(what));
        assert!(found, "{key}: {what} in {report}");
    }
    assert!(!report.contains("hidden"), "{report}");
}
