//! Huge and empty files, missing directories, full disks.

use super::*;

#[tokio::test]
async fn a_huge_file_is_a_small_message_and_an_empty_one_a_task() {
    let (dir, state) = (tree(&[]), tempfile::tempdir().unwrap());
    let huge = fs::File::create(dir.path().join("huge.pdf")).unwrap();
    huge.set_len(2 << 30).unwrap();
    fs::write(dir.path().join("empty"), "").unwrap();
    let (broker, run) = (Watched::new(), RunId::mint());
    published(&broker, &options(&dir, &state, run))
        .await
        .unwrap();
    let sizes: Vec<u64> = bodies(&broker)
        .iter()
        .map(|(_, body)| {
            assert!(body.len() < 500);
            decode::<StepMessage>(body).unwrap().file.size
        })
        .collect();
    assert_eq!(sizes, [0, 2 << 30]);
}

#[tokio::test]
async fn a_missing_directory_is_said_before_anything_is_written() {
    let (dir, state) = (tree(&[]), tempfile::tempdir().unwrap());
    let mut options = options(&dir, &state, RunId::mint());
    options.source = Source::Directory(dir.path().join("gone"));
    let error = published(&Watched::new(), &options).await.unwrap_err();
    assert!(
        matches!(error, PublishError::Scan(ScanError::NoSuchDirectory(_))),
        "{error}"
    );
    assert_eq!(fs::read_dir(state.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_full_disk_is_said_and_nothing_is_published_that_was_not_journalled() {
    let (dir, state) = (tree(&keys(8)), tempfile::tempdir().unwrap());
    let (broker, run) = (Watched::new(), RunId::mint());
    let options = options(&dir, &state, run);
    std::os::unix::fs::symlink("/dev/full", &options.manifest).unwrap();
    let error = tokio::time::timeout(Duration::from_secs(20), published(&broker, &options))
        .await
        .unwrap()
        .unwrap_err();
    assert!(error.is_disk_full(), "{error}");
    assert!(broker.ids().is_empty());
    fs::remove_file(&options.manifest).unwrap();
    assert_eq!(published(&broker, &options).await.unwrap().total, 8);
}
