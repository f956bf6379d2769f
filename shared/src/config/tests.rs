mod stores;

use std::{io::Write, path::Path, time::Duration};

use proptest::prelude::*;
use secrecy::ExposeSecret;

use super::*;
use crate::files::Links;

fn broker(text: &str) -> Result<BrokerConfig, String> {
    let document = Document::parse("/etc/fleet/filefleet.toml", text);
    let mut root = document.root();
    let broker = BrokerConfig::read(&mut root);
    root.finish();
    document
        .finish(broker)
        .map_err(|errors| errors.to_string().replace("/etc/fleet/", ""))
}

#[test]
fn every_mistake_is_listed_with_its_line_key_and_cure() {
    let text = r#"
[broker]
url = "amqps://me:hunter2@rabbit"
namespace = "File Fleet"
publishers = 0
ack_timeout = 30
cert_file = "client.pem"
conect_timeout = "5s"
colour = "red"

[brokr]
"#;
    let report = broker(text).unwrap_err();
    let expected = "\
filefleet.toml:3: broker.url: has a password in it: write url = { env = \"NAME\" } or { file = \"PATH\" } and put the whole URL there
filefleet.toml:4: broker.namespace: \"File Fleet\" is not a name: use a-z, 0-9, _ and -, starting with a letter or digit, at most 63
filefleet.toml:5: broker.publishers: must be from 1 to 64
filefleet.toml:6: broker.ack_timeout: has no unit; write it like \"20s\" or \"5min\"
filefleet.toml:7: broker.cert_file: needs `key_file` beside it
filefleet.toml:8: broker.conect_timeout: unknown key, did you mean `connect_timeout`?
filefleet.toml:9: broker.colour: unknown key; known here: url, namespace, ca_file, cert_file, key_file, publishers, ack_timeout, connect_timeout, outage
filefleet.toml:11: brokr: unknown key, did you mean `broker`?";
    assert_eq!(report, expected);
    assert!(!report.contains("hunter2"));
}

#[test]
fn several_syntax_errors_are_listed_and_what_they_hide_is_not_called_missing() {
    let report =
        broker("[broker]\nurl = \nnamespace = \"Bad Name\"\npublishers = 1 2\n").unwrap_err();
    let lines: Vec<&str> = report.lines().collect();
    assert!(
        lines
            .iter()
            .any(|line| line.starts_with("filefleet.toml:2: not TOML:")),
        "{report}"
    );
    assert!(
        lines
            .iter()
            .any(|line| line.starts_with("filefleet.toml:3: broker.namespace")),
        "{report}"
    );
    assert!(
        lines
            .iter()
            .any(|line| line.starts_with("filefleet.toml:4: not TOML:")),
        "{report}"
    );
    assert!(!report.contains("is missing"), "{report}");
}

#[test]
fn a_broker_needs_only_a_url() {
    let config = broker("[broker]\nurl = \"amqp://guest@localhost:5672/%2f\"\n").unwrap();
    assert_eq!(
        config,
        BrokerConfig::at("amqp://guest@localhost:5672/%2f").unwrap()
    );
    assert_eq!(config.namespace, "filefleet");
    assert_eq!(config.outage, Duration::from_secs(15 * 60));
    assert_eq!(
        broker("[broker]\n").unwrap_err(),
        "filefleet.toml:1: broker.url: is missing"
    );
}

#[test]
fn a_broker_takes_its_url_as_a_secret_and_files_beside_the_configuration() {
    let text = r#"
[broker]
url = { env = "AMQP_URL" }
ca_file = "ca.pem"
cert_file = "/run/tls/client.pem"
key_file = "tls/client.key"
connect_timeout = "1min 5s"
"#;
    let config = broker(text).unwrap();
    let url = Secret::new("broker.url", SecretSource::Env("AMQP_URL".to_owned()));
    assert_eq!(config.url, BrokerUrl::Secret(url));
    assert_eq!(
        config.ca_file.as_deref(),
        Some(Path::new("/etc/fleet/ca.pem"))
    );
    let identity = config.identity.unwrap();
    assert_eq!(identity.cert_file, Path::new("/run/tls/client.pem"));
    assert_eq!(identity.key_file, Path::new("/etc/fleet/tls/client.key"));
    assert_eq!(config.connect_timeout, Duration::from_secs(65));
}

#[test]
fn an_outage_is_at_least_one_attempt_to_connect() {
    let with = |text: &str| broker(&format!("[broker]\nurl = \"amqp://rabbit\"\n{text}"));
    let outage = |text: &str| with(text).map(|config| config.outage.as_secs());
    assert_eq!(outage("outage = \"10s\""), Ok(10));
    assert_eq!(outage("outage = \"4s\"\nconnect_timeout = \"4s\""), Ok(4));
    let message = "`outage` must not be less than `connect_timeout`";
    assert_eq!(
        outage("outage = \"4s\"").unwrap_err(),
        format!("filefleet.toml:3: broker.outage: {message}")
    );
    assert_eq!(
        outage("connect_timeout = \"16min\"").unwrap_err(),
        format!("filefleet.toml:3: broker.connect_timeout: {message}")
    );
}

#[test]
fn a_url_is_refused_without_being_repeated() {
    for url in [
        "http://rabbit",
        "amqp://",
        "amqp://:5672",
        "amqps://u:pa/ss@rabbit",
        "u:hunter2",
    ] {
        let message = BrokerConfig::at(url).unwrap_err();
        assert!(
            !message.contains("hunter2") && !message.contains("pa/ss"),
            "{message}"
        );
    }
}

#[test]
fn roots_are_names_with_paths_whose_links_stay_inside_unless_it_is_said() {
    let text = r#"
[root.inbox]
path = "in"
[root.linked]
path = "linked"
links = "anywhere"
[root."Bad Root"]
path = "x"
[root.empty]
links = "everywhere"
"#;
    let document = Document::parse("filefleet.toml", text);
    let mut root = document.root();
    let roots = read_roots(&mut root);
    root.finish();
    let of = |path: &str, links| RootConfig::Directory {
        path: path.into(),
        links,
    };
    assert_eq!(roots["inbox"], of("in", Links::Inside));
    assert_eq!(roots["linked"], of("linked", Links::Anywhere));
    let report = document.finish(Some(roots)).unwrap_err().to_string();
    let expected = "\
filefleet.toml:7: root.Bad Root: \"Bad Root\" is not a name: use a-z, 0-9, _ and -, starting with a letter or digit, at most 63
filefleet.toml:9: root.empty.path: is missing: give `path`, or `url` for an object store
filefleet.toml:10: root.empty.links: \"everywhere\" is not one of `inside`, `anywhere`";
    assert_eq!(report, expected);
}

/// Reads one key `x` and gives the value, or the whole report.
fn one<T>(text: &str, read: impl FnOnce(&mut Section<'_>) -> Option<T>) -> Result<T, String> {
    let document = Document::parse("t", text);
    let mut root = document.root();
    let value = read(&mut root);
    root.finish();
    document.finish(value).map_err(|errors| errors.to_string())
}

#[test]
fn values_of_the_wrong_type_or_range_say_what_is_wanted() {
    let integer = |text: &str| one::<u32>(text, |s| s.opt_integer("x", 1..=9));
    assert_eq!(integer("x = 0x9"), Ok(9));
    assert_eq!(
        integer("x = 1_0"),
        Err("t:1: x: must be from 1 to 9".to_owned())
    );
    assert_eq!(
        integer("x = 99999999999999999999"),
        Err("t:1: x: must be from 1 to 9".to_owned())
    );
    assert_eq!(
        integer("x = 1.5"),
        Err("t:1: x: must be a whole number, not float".to_owned())
    );
    let number = |text: &str| one(text, |s| s.opt_number("x", 0.0..=2.0));
    assert_eq!(number("x = 1"), Ok(1.0));
    assert_eq!(number("x = 2e0"), Ok(2.0));
    assert_eq!(
        number("x = nan"),
        Err("t:1: x: must be from 0 to 2".to_owned())
    );
    let word = |text: &str| one(text, |s| s.opt_enum("x", &[("low", 1), ("high", 2)]));
    assert_eq!(word("x = \"high\""), Ok(2));
    assert_eq!(
        word("x = \"hi\""),
        Err("t:1: x: \"hi\" is not one of `low`, `high`".to_owned())
    );
    let flag = |text: &str| one(text, |s| s.opt_bool("x"));
    assert_eq!(
        flag("x = \"yes\""),
        Err("t:1: x: must be true or false, not string".to_owned())
    );
    let table = |text: &str| one(text, |s| s.opt_section("x").map(Section::finish));
    assert_eq!(
        table("x = 1"),
        Err("t:1: x: must be a table, not integer".to_owned())
    );
}

#[test]
fn durations_and_sizes_need_a_unit_and_are_above_zero() {
    let duration = |text: &str| one(text, |s| s.opt_duration("x"));
    assert_eq!(duration("x = \"5min\""), Ok(Duration::from_secs(300)));
    assert!(
        duration("x = \"5 lightyears\"")
            .unwrap_err()
            .contains("write it like")
    );
    assert!(duration("x = \"0s\"").unwrap_err().contains("more than 0"));
    let bytes = |text: &str| one(text, |s| s.opt_bytes("x"));
    assert_eq!(bytes("x = \"64MiB\""), Ok(64 << 20));
    assert_eq!(bytes("x = \"1_000 kB\""), Ok(1_000_000));
    for bad in ["64", "MiB", "1.5MB", "-1B", "99999999999GiB", "1TB"] {
        assert!(
            bytes(&format!("x = {bad:?}"))
                .unwrap_err()
                .contains("is not a size"),
            "{bad}"
        );
    }
    assert!(bytes("x = 64").unwrap_err().contains("has no unit"));
}

#[test]
fn a_secret_in_the_open_is_refused_without_being_repeated() {
    let secret = |text: &str| one(text, |s| s.opt_secret("x"));
    let report = secret("x = \"sk-hunter2\"").unwrap_err();
    assert!(
        report.contains("{ env = \"NAME\" }") && !report.contains("hunter2"),
        "{report}"
    );
    assert!(secret("x = {}").unwrap_err().contains("write either"));
    assert!(
        secret("x = { env = \"A\", file = \"b\" }")
            .unwrap_err()
            .contains("write either")
    );
    assert!(
        secret("x = { environment = \"A\" }")
            .unwrap_err()
            .contains("x.environment: unknown key")
    );
}

#[test]
fn a_secret_is_fetched_late_trimmed_and_never_shown() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"  hunter2\n").unwrap();
    let secret = Secret::new(
        "service.gpt.key",
        SecretSource::File(file.path().to_owned()),
    );
    let value = secret.resolve().unwrap();
    assert_eq!(value.expose_secret(), "hunter2");
    assert!(!format!("{secret:?} {value:?}").contains("hunter2"));

    let variable = SecretSource::Env("FILEFLEET_TEST_NOT_SET".to_owned());
    let error = Secret::new("service.gpt.key", variable)
        .resolve()
        .unwrap_err();
    let expected = "service.gpt.key: the environment variable FILEFLEET_TEST_NOT_SET is not set";
    assert_eq!(error.to_string(), expected);

    let missing = SecretSource::File("/nowhere/key".into());
    let error = Secret::new("service.gpt.key", missing)
        .resolve()
        .unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("service.gpt.key: cannot read the secret in /nowhere/key")
    );

    let empty = tempfile::NamedTempFile::new().unwrap();
    let source = SecretSource::File(empty.path().to_owned());
    let error = Secret::new("service.gpt.key", source)
        .resolve()
        .unwrap_err();
    assert!(
        error.to_string().contains("is empty or not text"),
        "{error}"
    );
}

#[test]
fn arrays_of_tables_keep_their_order_and_name_their_items() {
    let text = "[[x]]\nname = \"b\"\n[[x]]\nname = \"a\"\nnmae = 1\n";
    let document = Document::parse("t", text);
    let mut root = document.root();
    let mut names = Vec::new();
    for mut item in root.array_of_tables("x").unwrap() {
        names.extend(item.string("name"));
        item.finish();
    }
    root.finish();
    assert_eq!(names, ["b", "a"]);
    let report = document.finish(Some(())).unwrap_err().to_string();
    assert_eq!(report, "t:5: x[1].nmae: unknown key, did you mean `name`?");
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "(\\[{0,2}[a-z.]{0,6}\\]{0,2}|[a-z]{1,9} ?= ?[\"'{}0-9a-z,=\\[ ]{0,12}|\n){0,12}") {
        drop(broker(&text));
        let document = Document::parse("t", &text);
        let mut root = document.root();
        for name in root.names() {
            drop(root.array_of_tables(&name));
        }
        root.finish();
        drop(document.finish(Some(())));
    }
}

#[test]
fn lists_of_words_and_numbers_are_read_or_refused_with_what_is_wrong() {
    let text = "words = [\"b\", \"a\"]\nnumbers = [1, 0.5]\na = [\"b\", \"b\"]\nb = []\nc = [2]\nd = \"x\"\ne = [1]\n";
    let document = Document::parse("f.toml", text);
    let mut root = document.root();
    let words = &[("a", 1), ("b", 2)];
    assert_eq!(root.opt_enums("words", words), Some(vec![2, 1]));
    assert_eq!(root.opt_numbers("numbers", 0.0..=1.0), Some(vec![1.0, 0.5]));
    for key in ["a", "b", "d", "e"] {
        assert_eq!(root.opt_enums(key, words), None);
    }
    assert_eq!(root.opt_numbers("c", 0.0..=1.0), None);
    root.finish();
    let expected = "\
f.toml:3: a: \"b\" stands there twice
f.toml:4: b: must not be empty
f.toml:5: c: must be from 0 to 1
f.toml:6: d: must be a list, not string
f.toml:7: e: must be a string, not integer";
    assert_eq!(document.finish(Some(())).unwrap_err().to_string(), expected);
}
