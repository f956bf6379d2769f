//! A run is collected into one directory, from its first outcome to its last.

use super::*;

/// Collects what is in the queue, then stops.
async fn collected_a_part(broker: &Arc<Watched>, dir: &Path, run: RunId, part: u64) {
    let (progress, mut shown) = watch::channel(CollectProgress::default());
    let (tell, stop) = watch::channel(false);
    let shared: Arc<dyn Broker> = Arc::<Watched>::clone(broker);
    let running = tokio::spawn(collect(shared, options(dir, run), progress, stop));
    shown
        .wait_for(|shown| shown.succeeded + shown.failed == part)
        .await
        .unwrap();
    tell.send(true).unwrap();
    let summary = running.await.unwrap().unwrap();
    assert_eq!(summary.status, RunStatus::Incomplete);
}

#[tokio::test]
async fn a_run_that_was_begun_in_one_directory_is_not_taken_on_in_another() {
    let (place, run) = (tempfile::tempdir().unwrap(), RunId::mint());
    let (first, other) = (below(&place, "first"), below(&place, "other"));
    let all = outcomes(run, TOTAL);
    let broker = prepared(run, all[..5].to_vec()).await;
    collected_a_part(&broker, &first, run, 5).await;
    let mut rest = all[5..].to_vec();
    rest.push(sentinel(run, TOTAL));
    broker.publish(rest).await.unwrap();

    let error = collected(&broker, options(&other, run)).await.unwrap_err();
    assert!(matches!(error, CollectError::Elsewhere { .. }), "{error}");
    let directory = first.canonicalize().unwrap();
    let said = format!("here:{}", directory.display());
    assert!(error.to_string().contains(&said), "{error}");
    assert!(!other.exists(), "a refused directory is not begun");

    // Where the first part is, on whatever host and under whatever name, it is completed.
    let moved = below(&place, "moved");
    fs::rename(&first, &moved).unwrap();
    let elsewhere = CollectOptions {
        host: "there".to_owned(),
        ..options(&moved, run)
    };
    let summary = collected(&broker, elsewhere).await.unwrap();
    assert_eq!(summary.status, RunStatus::Complete);
    assert_eq!(records(&moved).len(), 12);
}

#[tokio::test]
async fn a_complete_run_is_told_with_its_place_and_its_queue_does_not_come_back() {
    let (place, run) = (tempfile::tempdir().unwrap(), RunId::mint());
    let (first, other) = (below(&place, "first"), below(&place, "other"));
    let mut messages = outcomes(run, TOTAL);
    messages.push(sentinel(run, TOTAL));
    let broker = prepared(run, messages).await;
    let summary = collected(&broker, options(&first, run)).await.unwrap();

    for _ in 0..2 {
        let error = collected(&broker, options(&other, run)).await.unwrap_err();
        let CollectError::Complete(told) = error else {
            panic!("{error}");
        };
        assert_eq!((told.succeeded, told.failed), (7, 5));
        assert_eq!(broker.inspect(&Queue::Results(run)).await.unwrap(), None);
        assert!(!other.exists());
    }
    // In its own directory it is as it was.
    assert_eq!(
        collected(&broker, options(&first, run)).await.unwrap(),
        summary
    );
    assert_eq!(broker.inspect(&Queue::Results(run)).await.unwrap(), None);
    fs::remove_file(first.join(RESULTS)).unwrap();
    let error = collected(&broker, options(&first, run)).await.unwrap_err();
    assert!(matches!(error, CollectError::Missing { .. }), "{error}");
}
