use futures_util::TryStreamExt;

use super::*;

fn store(dir: &tempfile::TempDir) -> Store {
    let place = StorePlace::Directory(dir.path().join("store"));
    Store::open(&StoreConfig::at(place)).unwrap()
}

#[tokio::test]
async fn odd_names_are_written_listed_and_read_as_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir);
    let mut names = ["a b.txt", "ü/100%.txt", "#?&+=.txt", "x/y/z~^`[]{}.txt"];
    for name in names {
        let content = Bytes::from(name.to_owned());
        store.write(name, content.clone()).await.unwrap();
        let Read::Whole {
            content: read,
            entry,
        } = store.read(name, 100).await.unwrap()
        else {
            panic!("{name}");
        };
        assert_eq!((read, entry.key.as_str()), (content, name));
        assert_eq!(entry.size, name.len() as u64);
    }
    let listed: Vec<Entry> = store.list(None).unwrap().try_collect().await.unwrap();
    let mut listed: Vec<String> = listed.into_iter().map(|entry| entry.key).collect();
    listed.sort();
    names.sort_unstable();
    assert_eq!(listed, names);
    store.remove_below("x").await.unwrap();
    assert!(!store.has("x/y/z~^`[]{}.txt").await.unwrap() && store.has("a b.txt").await.unwrap());
}

#[tokio::test]
async fn an_object_over_the_limit_is_not_read() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir);
    store
        .write("a", Bytes::from_static(b"12345"))
        .await
        .unwrap();
    assert!(matches!(store.read("a", 4).await.unwrap(), Read::Larger(5)));
    assert!(matches!(
        store.read("a", 5).await.unwrap(),
        Read::Whole { .. }
    ));
}

#[tokio::test]
async fn a_key_does_not_lead_out_of_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir);
    std::fs::write(dir.path().join("secret"), "x").unwrap();
    for key in [
        "../secret",
        "/secret",
        "",
        ".",
        "a/../../secret",
        "a//b",
        "a/",
        "a\n",
    ] {
        let refused = store.read(key, 100).await.unwrap_err();
        assert!(
            matches!(refused, StoreError::BadKey(_)),
            "{key:?}: {refused}"
        );
    }
    assert!(matches!(store.read("b", 1).await, Err(StoreError::Missing)));
}

#[test]
fn quotes_around_an_etag_are_no_part_of_it() {
    for etag in ["\"0x8D\"", "0x8D", "W/\"0x8D\""] {
        assert_eq!(bare(etag), "0x8D");
    }
}
