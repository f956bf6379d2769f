mod one_place;
mod stored;
mod whole;

use std::{collections::BTreeMap, fs, path::Path};

use bytes::Bytes;
use filefleet_shared::{
    broker::{ConsumeOptions, Headers, Message, Queue, ResultKey, Route},
    wire::{Status, StepMessage, Timings, decode},
};
use tempfile::TempDir;

use super::*;
use crate::{
    publish::{PublishOptions, PublishProgress, Windows, publish},
    scan::ScanOptions,
    sink::{CallTimes, FAILURES, FinishedFiles, RESULTS, RunStatus, SUMMARY, each_finished},
    testing::{
        Watched, below, cuts, keys, lines, no_stop, outcome, result_message, sentinel, tree,
    },
};

const TOTAL: u64 = 12;

/// Every third fails, the seventh is cancelled.
fn status(seq: u64) -> Status {
    match seq {
        7 => Status::Cancelled,
        _ if seq.is_multiple_of(3) => Status::Failed,
        _ => Status::Succeeded,
    }
}

fn outcomes(run: RunId, total: u64) -> Vec<Message> {
    (0..total)
        .map(|seq| result_message(&outcome(run, seq, status(seq))))
        .collect()
}

/// The same message, so that the broker cannot know that it is.
fn under_another_id(mut message: Message) -> Message {
    message.id.push_str("-again");
    message
}

fn options(dir: &Path, run: RunId) -> CollectOptions {
    CollectOptions {
        scratch: None,
        run,
        pipeline: "demo".to_owned(),
        out_dir: dir.to_owned(),
        collector: "c1".to_owned(),
        host: "here".to_owned(),
    }
}

async fn prepared(run: RunId, messages: Vec<Message>) -> Arc<Watched> {
    let broker = Watched::new();
    broker.declare(&[Queue::Results(run)]).await.unwrap();
    broker.publish(messages).await.unwrap();
    broker
}

async fn collected(
    broker: &Arc<Watched>,
    options: CollectOptions,
) -> Result<Summary, CollectError> {
    let (progress, _) = watch::channel(CollectProgress::default());
    let broker: Arc<dyn Broker> = Arc::<Watched>::clone(broker);
    collect(broker, options, progress, no_stop()).await
}

/// Records by sequence number; none may be there twice.
fn records(dir: &Path) -> BTreeMap<u64, serde_json::Value> {
    let mut records = BTreeMap::new();
    for name in [RESULTS, FAILURES] {
        for line in lines(&dir.join(name)) {
            let seq = line["seq"].as_u64().unwrap();
            assert!(records.insert(seq, line).is_none(), "{seq} twice");
        }
    }
    records
}

fn without_duplicates(summary: &Summary) -> Summary {
    Summary {
        duplicates: 0,
        ..summary.clone()
    }
}

#[tokio::test]
async fn every_outcome_is_a_readable_line_and_the_summary_counts_them() {
    let (dir, run) = (tempfile::tempdir().unwrap(), RunId::mint());
    let mut messages = outcomes(run, TOTAL);
    messages.push(sentinel(run, TOTAL));
    let broker = prepared(run, messages).await;
    let summary = collected(&broker, options(dir.path(), run)).await.unwrap();

    assert_eq!(summary.status, RunStatus::Complete);
    assert_eq!(
        (
            summary.total,
            summary.succeeded,
            summary.failed,
            summary.cancelled
        ),
        (Some(12), 7, 4, 1)
    );
    assert_eq!(
        summary.failures_by_cause,
        BTreeMap::from([("content_filter".to_owned(), 5)])
    );
    assert_eq!((summary.usage.calls, summary.usage.output_tokens), (12, 66));
    let (p50, p95, max) = (105, 111, 111);
    assert_eq!(summary.call_ms, Some(CallTimes { p50, p95, max }));
    assert_eq!(
        (summary.unreadable, summary.digest.as_deref()),
        (Some(2), Some("d1"))
    );
    assert_eq!(
        (summary.opened.unwrap().0, summary.last_outcome.unwrap().0),
        (0, 2_011)
    );
    assert!((summary.wall_seconds.unwrap() - 2.011).abs() < 1e-9);
    let written: Summary =
        serde_json::from_slice(&fs::read(dir.path().join(SUMMARY)).unwrap()).unwrap();
    assert_eq!(written, summary);

    let text = fs::read_to_string(dir.path().join(RESULTS)).unwrap();
    assert!(text.starts_with(r#"{"file":"f1","status":"succeeded","output":{"answer":1},"usage""#));
    let text = fs::read_to_string(dir.path().join(FAILURES)).unwrap();
    let begin = r#"{"file":"f0","status":"failed","cause":"content_filter","detail":"refused","service":"gpt""#;
    assert!(text.starts_with(begin), "{text}");
    let all = records(dir.path());
    assert_eq!(all.len(), 12);
    assert_eq!(all[&7]["status"], "cancelled");
    let gone = broker.inspect(&Queue::Results(run)).await.unwrap();
    assert_eq!(gone, None, "the queue of a complete run is deleted");
}

#[tokio::test]
async fn a_collector_that_died_anywhere_leaves_one_record_per_task_after_the_next_one() {
    let (dir, run) = (tempfile::tempdir().unwrap(), RunId::mint());
    let mut messages = outcomes(run, TOTAL);
    messages.push(sentinel(run, TOTAL));
    let broker = prepared(run, messages.clone()).await;
    let whole = collected(&broker, options(dir.path(), run)).await.unwrap();
    let expected = records(dir.path());

    for name in [RESULTS, FAILURES] {
        let text = fs::read(dir.path().join(name)).unwrap();
        for cut in cuts(&text) {
            fs::write(dir.path().join(name), &text[..cut]).unwrap();
            // Nothing was acked, and half of it comes twice.
            let mut again = messages.clone();
            again.extend(outcomes(run, TOTAL / 2).into_iter().map(under_another_id));
            let broker = prepared(run, again).await;
            let summary = collected(&broker, options(dir.path(), run)).await.unwrap();
            assert_eq!(records(dir.path()), expected, "{name} cut at {cut}");
            assert_eq!(without_duplicates(&summary), whole, "{name} cut at {cut}");
        }
    }
}

#[tokio::test]
async fn duplicates_are_dropped_and_counted() {
    let (dir, run) = (tempfile::tempdir().unwrap(), RunId::mint());
    let mut messages = outcomes(run, TOTAL);
    messages.extend(outcomes(run, TOTAL).into_iter().map(under_another_id));
    // The first outcome stands, whatever comes later.
    let later = result_message(&outcome(run, 1, Status::Failed));
    messages.push(under_another_id(under_another_id(later)));
    messages.push(sentinel(run, TOTAL));
    let broker = prepared(run, messages).await;
    let summary = collected(&broker, options(dir.path(), run)).await.unwrap();
    assert_eq!((summary.succeeded, summary.duplicates), (7, 13));
    assert_eq!(records(dir.path())[&1]["status"], "succeeded");
}

#[tokio::test]
async fn stopped_and_started_again_it_still_knows_total_and_counts() {
    let (dir, run) = (tempfile::tempdir().unwrap(), RunId::mint());
    let all = outcomes(run, TOTAL);
    let mut first = vec![sentinel(run, TOTAL)];
    first.extend_from_slice(&all[..5]);
    let broker = prepared(run, first).await;
    let (progress, mut shown) = watch::channel(CollectProgress::default());
    let (tell, stop) = watch::channel(false);
    let shared: Arc<dyn Broker> = Arc::<Watched>::clone(&broker);
    let running = tokio::spawn(collect(shared, options(dir.path(), run), progress, stop));
    let seen = shown
        .wait_for(|shown| shown.succeeded + shown.failed == 5)
        .await
        .unwrap()
        .total;
    assert_eq!(seen, Some(TOTAL));
    tell.send(true).unwrap();
    let summary = running.await.unwrap().unwrap();
    assert_eq!(
        (summary.status, summary.total),
        (RunStatus::Incomplete, Some(TOTAL))
    );
    assert!(
        fs::read_to_string(dir.path().join(SUMMARY))
            .unwrap()
            .contains("incomplete")
    );
    let left = broker.inspect(&Queue::Results(run)).await.unwrap().unwrap();
    assert_eq!(
        (left.ready, left.consumers),
        (0, 0),
        "all that was written is acked"
    );

    // The sentinel is gone from the queue.
    broker.publish(all[5..].to_vec()).await.unwrap();
    let summary = collected(&broker, options(dir.path(), run)).await.unwrap();
    assert_eq!(
        (summary.status, summary.succeeded, summary.failed),
        (RunStatus::Complete, 7, 4)
    );
    assert_eq!(
        (summary.usage.calls, summary.call_ms.unwrap().max),
        (12, 111)
    );
    assert_eq!(records(dir.path()).len(), 12);

    // A complete directory needs no queue.
    let again = collected(&Watched::new(), options(dir.path(), run))
        .await
        .unwrap();
    assert_eq!(again, summary);
}

#[tokio::test]
async fn a_second_collector_is_refused_in_the_same_and_in_another_directory() {
    let (dir, other, run) = (
        tempfile::tempdir().unwrap(),
        tempfile::tempdir().unwrap(),
        RunId::mint(),
    );
    let broker = prepared(run, outcomes(run, 1)).await;
    let (progress, mut shown) = watch::channel(CollectProgress::default());
    let shared: Arc<dyn Broker> = Arc::<Watched>::clone(&broker);
    let running = tokio::spawn(collect(
        shared,
        options(dir.path(), run),
        progress,
        no_stop(),
    ));
    shown.wait_for(|shown| shown.failed == 1).await.unwrap();

    let error = collected(&broker, options(dir.path(), run))
        .await
        .unwrap_err();
    let same = matches!(error, CollectError::Sink(SinkError::AnotherCollector(_)));
    assert!(same, "{error}");
    let error = collected(&broker, options(other.path(), run))
        .await
        .unwrap_err();
    assert!(matches!(error, CollectError::Elsewhere { .. }), "{error}");
    broker.publish(vec![sentinel(run, 1)]).await.unwrap();
    assert_eq!(running.await.unwrap().unwrap().status, RunStatus::Complete);
}

#[tokio::test]
async fn an_output_directory_belongs_to_one_run() {
    let (dir, run) = (tempfile::tempdir().unwrap(), RunId::mint());
    let mut messages = outcomes(run, 2);
    messages.push(sentinel(run, 2));
    let broker = prepared(run, messages).await;
    collected(&broker, options(dir.path(), run)).await.unwrap();
    let before = fs::read(dir.path().join(RESULTS)).unwrap();

    let other = options(dir.path(), RunId::mint());
    for state in ["collect.json", "no such file"] {
        // Also if only the lines are left to know it by.
        if state != "collect.json" {
            fs::remove_file(dir.path().join("collect.json")).unwrap();
        }
        let error = collected(&broker, other.clone()).await.unwrap_err();
        assert!(
            matches!(&error, CollectError::Sink(SinkError::OtherRun { found, .. }) if *found == run),
            "{error}"
        );
    }
    assert_eq!(fs::read(dir.path().join(RESULTS)).unwrap(), before);
}

#[tokio::test]
async fn what_is_no_outcome_of_the_run_becomes_a_dead_letter_with_its_reason() {
    let (dir, run) = (tempfile::tempdir().unwrap(), RunId::mint());
    let raw = |id: &str, body: &str| Message {
        id: id.to_owned(),
        route: Route::Result {
            run,
            key: ResultKey::Outcome(Status::Succeeded),
        },
        headers: Headers::default(),
        body: Bytes::from(body.to_owned()),
    };
    let moved = |message: Message| Message {
        route: raw("", "").route,
        ..message
    };
    let other = RunId::mint();
    let mut conflicting = sentinel(run, 5);
    conflicting.id = "conflicting".to_owned();
    let messages = vec![
        sentinel(run, 1),
        conflicting,
        raw("a", "not json"),
        raw("b", r#"{"v":9,"type":"outcome"}"#),
        raw("c", r#"{"v":1,"type":"step"}"#),
        raw("d", r#"{"v":1,"type":"outcome","run":"private words"}"#),
        moved(result_message(&outcome(other, 0, Status::Succeeded))),
        moved(sentinel(other, 3)),
        result_message(&outcome(run, 1 << 60, Status::Succeeded)),
        result_message(&outcome(run, 0, Status::Succeeded)),
    ];
    let broker = prepared(run, messages).await;
    let summary = collected(&broker, options(dir.path(), run)).await.unwrap();
    assert_eq!((summary.succeeded, summary.total), (1, Some(1)));

    let mut dead = broker
        .consume(&Queue::Dead, ConsumeOptions::shared(100))
        .await
        .unwrap();
    let mut reasons = Vec::new();
    for _ in 0..8 {
        let letter = dead.recv().await.unwrap();
        let death = letter.envelope().headers.death.clone().unwrap();
        assert_eq!(death.by, "c1");
        assert!(!death.detail.contains("private words"), "{}", death.detail);
        reasons.push(death.reason);
        letter.settle(Verdict::Done(Vec::new())).await.unwrap();
    }
    dead.close().await;
    reasons.sort();
    assert_eq!(
        reasons,
        [
            "conflict",
            "foreign_run",
            "foreign_run",
            "malformed",
            "undecodable",
            "unexpected_type",
            "unknown_task",
            "unknown_version"
        ]
    );
}

#[tokio::test]
async fn on_a_full_disk_nothing_is_acked_that_was_not_written_and_it_goes_on_later() {
    let (dir, run) = (tempfile::tempdir().unwrap(), RunId::mint());
    let mut messages = outcomes(run, TOTAL);
    messages.push(sentinel(run, TOTAL));
    let broker = prepared(run, messages).await;
    for name in [RESULTS, FAILURES] {
        // An earlier round has begun the file, if only as an empty one.
        if dir.path().join(name).exists() {
            fs::remove_file(dir.path().join(name)).unwrap();
        }
        std::os::unix::fs::symlink("/dev/full", dir.path().join(name)).unwrap();
        let error = collected(&broker, options(dir.path(), run))
            .await
            .unwrap_err();
        assert!(error.is_disk_full(), "{error}");
        let left = broker.inspect(&Queue::Results(run)).await.unwrap().unwrap();
        assert_eq!(left.ready, TOTAL + 1, "{name}");
        fs::remove_file(dir.path().join(name)).unwrap();
    }
    let summary = collected(&broker, options(dir.path(), run)).await.unwrap();
    assert_eq!(summary.status, RunStatus::Complete);
    assert_eq!(records(dir.path()).len(), 12);
}
