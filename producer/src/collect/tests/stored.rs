//! Outputs that are in the scratch store when their outcomes come.

use filefleet_shared::{
    config::StoreConfig,
    scratch::Scratch,
    store::{Store, StorePlace},
    wire::Stored,
};
use serde_json::json;

use super::*;

fn scratch(dir: &TempDir) -> Scratch {
    let place = StorePlace::Directory(below(dir, "scratch"));
    Scratch::new(Store::open(&StoreConfig::at(place)).unwrap())
}

/// The message of an outcome whose output, `[seq]`, was stored.
async fn stored(scratch: &Scratch, run: RunId, seq: u64) -> Message {
    let mut outcome = outcome(run, seq, Status::Succeeded);
    let json = Bytes::from(format!("[{seq}]"));
    let written = scratch.write(outcome.task(), &outcome.step, json).await;
    outcome.stored = Some(written.unwrap());
    outcome.output = None;
    result_message(&outcome)
}

#[tokio::test]
async fn stored_outputs_are_in_the_results_and_gone_from_the_store_when_the_run_is_complete() {
    let (dir, run) = (tempfile::tempdir().unwrap(), RunId::mint());
    let scratch = scratch(&dir);
    let mut messages = Vec::new();
    for seq in 0..3 {
        messages.push(stored(&scratch, run, seq).await);
    }
    messages.push(under_another_id(messages[1].clone()));
    messages.push(sentinel(run, 3));
    let broker = prepared(run, messages).await;
    let out = below(&dir, "out");
    let options = CollectOptions {
        scratch: Some(scratch),
        ..options(&out, run)
    };
    let summary = collected(&broker, options).await.unwrap();
    assert_eq!(
        (summary.status, summary.succeeded),
        (RunStatus::Complete, 3)
    );
    for (seq, line) in records(&out) {
        assert_eq!(line["output"], json!([seq]), "{line}");
    }
    let left = fs::read_dir(below(&dir, "scratch")).unwrap().count();
    assert_eq!(left, 0);
}

#[tokio::test]
async fn an_output_that_is_lost_is_a_named_failure_of_its_file_alone() {
    let (dir, run) = (tempfile::tempdir().unwrap(), RunId::mint());
    let scratch = scratch(&dir);
    let mut lost = outcome(run, 1, Status::Succeeded);
    lost.output = None;
    lost.stored = Some(Stored {
        bytes: 3,
        sha256: "0".repeat(64),
    });
    let messages = vec![
        stored(&scratch, run, 0).await,
        result_message(&lost),
        sentinel(run, 2),
    ];
    let broker = prepared(run, messages).await;
    let out = below(&dir, "out");
    let options = CollectOptions {
        scratch: Some(scratch),
        ..options(&out, run)
    };
    let summary = collected(&broker, options).await.unwrap();
    assert_eq!((summary.succeeded, summary.failed), (1, 1));
    assert_eq!(summary.failures_by_cause["scratch_missing"], 1);
}

#[tokio::test]
async fn a_collector_without_the_store_takes_nothing_and_says_what_it_needs() {
    let (dir, run) = (tempfile::tempdir().unwrap(), RunId::mint());
    let scratch = scratch(&dir);
    let messages = vec![stored(&scratch, run, 0).await, sentinel(run, 1)];
    let broker = prepared(run, messages).await;
    let out = below(&dir, "out");
    let refused = collected(&broker, options(&out, run)).await.unwrap_err();
    assert!(matches!(refused, CollectError::NoScratch(of) if of == run));
    assert!(refused.to_string().contains("[scratch] url"), "{refused}");
    // With it, the same collector goes on.
    let options = CollectOptions {
        scratch: Some(scratch),
        ..options(&out, run)
    };
    let summary = collected(&broker, options).await.unwrap();
    assert_eq!(
        (summary.status, summary.succeeded),
        (RunStatus::Complete, 1)
    );
}
