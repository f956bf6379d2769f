//! Entries in a store that can be damaged, and can go away.

use std::{fs, path::PathBuf};

use filefleet_shared::{config::StoreConfig, store::StorePlace, time::UnixMillis, wire::Usage};
use serde_json::json;

use super::super::*;

fn journal(dir: &tempfile::TempDir) -> (Journal, PathBuf) {
    let place = dir.path().join("journal");
    let config = StoreConfig::at(StorePlace::Directory(place.clone()));
    (Journal::new(Store::open(&config).unwrap()), place)
}

fn answer() -> Entry {
    Entry::Answer {
        output: json!({"text": "hello"}),
        usage: Usage::default(),
        at: UnixMillis(1),
    }
}

#[tokio::test]
async fn a_damaged_or_foreign_entry_is_no_answer_and_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, root) = journal(&dir);
    let [key, other] = ["a", "b"].map(|name| Identity::of([name.as_bytes()]));
    assert_eq!(journal.find(key).await.unwrap(), None);
    journal.keep(key, &answer()).await;
    assert_eq!(journal.find(key).await.unwrap(), Some(answer()));
    let path = root.join(place(key));
    let whole = fs::read(&path).unwrap();
    let copied = root.join(place(other));
    fs::create_dir_all(copied.parent().unwrap()).unwrap();
    fs::write(copied, &whole).unwrap();
    assert_eq!(journal.find(other).await.unwrap(), None);
    for damaged in [&whole[..whole.len() - 1], b"", b"{\"text\": \"hello\"}"] {
        fs::write(&path, damaged).unwrap();
        assert_eq!(journal.find(key).await.unwrap(), None);
        journal.keep(key, &answer()).await;
        assert_eq!(journal.find(key).await.unwrap(), Some(answer()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_directory_that_is_gone_is_a_journal_that_is_away_and_one_that_is_back_is_used() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, root) = journal(&dir);
    let key = Identity::of([&b"a"[..]]);
    journal.keep(key, &answer()).await;
    fs::rename(&root, dir.path().join("unmounted")).unwrap();
    assert!(journal.find(key).await.unwrap_err().may_pass());
    journal.keep(Identity::of([&b"b"[..]]), &answer()).await;
    assert!(!root.exists(), "made anew where nothing is mounted");
    fs::rename(dir.path().join("unmounted"), &root).unwrap();
    assert_eq!(journal.find(key).await.unwrap(), Some(answer()));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_cannot_be_kept_is_waited_for_once_and_not_for_long() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, root) = journal(&dir);
    fs::remove_dir(&root).unwrap();
    // A file in place of the directory: the store refuses to be written.
    fs::write(&root, "").unwrap();
    let key = Identity::of([&b"a"[..]]);
    let begun = Instant::now();
    journal.keep(key, &answer()).await;
    let first = begun.elapsed();
    assert!(first > TRYING / 2 && first <= TRYING, "{first:?}");
    journal.keep(key, &answer()).await;
    assert!(begun.elapsed() - first < AGAIN);
}
