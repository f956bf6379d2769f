mod extremes;

use std::{collections::BTreeSet, fs, sync::atomic::Ordering, time::Duration};

use filefleet_shared::{
    broker::{ConsumeOptions, Queue, Verdict},
    wire::{ControlRecord, FleetState, PillMode, StepMessage, TaskId, decode},
};
use tempfile::TempDir;

use super::*;
use crate::testing::{Watched, below, cuts, keys, no_stop, put, tree};

const WINDOWS: Windows = Windows {
    messages: 4,
    in_flight: 2,
};

fn options(directory: &TempDir, state: &TempDir, run: RunId) -> PublishOptions {
    PublishOptions {
        services: Vec::new(),
        run,
        root: "docs".to_owned(),
        source: Source::Directory(directory.path().to_owned()),
        pipeline: "demo".to_owned(),
        step: "only".to_owned(),
        service: "gpt".to_owned(),
        scan: ScanOptions::default(),
        manifest: below(state, "manifest.jsonl"),
        skip: None,
        windows: WINDOWS,
    }
}

async fn published(
    broker: &Arc<Watched>,
    options: &PublishOptions,
) -> Result<Published, PublishError> {
    let (progress, _) = watch::channel(PublishProgress::default());
    let broker: Arc<dyn Broker> = Arc::<Watched>::clone(broker);
    publish(broker, options.clone(), progress, no_stop()).await
}

fn bodies(broker: &Watched) -> Vec<(String, Vec<u8>)> {
    let work = broker.work.lock().unwrap();
    let message =
        |message: &filefleet_shared::broker::Message| (message.id.clone(), message.body.to_vec());
    work.iter().map(message).collect()
}

#[tokio::test]
async fn every_file_is_one_task_in_the_order_of_the_scan_and_then_the_run_is_closed() {
    let (dir, state) = (tree(&keys(10)), tempfile::tempdir().unwrap());
    let (broker, run) = (Watched::new(), RunId::mint());
    let done = published(&broker, &options(&dir, &state, run))
        .await
        .unwrap();
    assert_eq!((done.total, done.epoch, done.unreadable), (10, Some(1), 0));

    let work = broker.work.lock().unwrap().clone();
    assert_eq!(work.len(), 10);
    let mut traces = BTreeSet::new();
    for (seq, (message, key)) in work.iter().zip(keys(10)).enumerate() {
        let step: StepMessage = decode(&message.body).unwrap();
        let task = TaskId {
            run,
            seq: seq as u64,
        };
        assert_eq!(step.task(), task);
        assert_eq!(
            (step.file.key.as_str(), message.id.as_str()),
            (key.as_str(), step.message_id().as_str())
        );
        let first = StepMessage::first(task, "demo", "only", step.file.clone());
        assert_eq!(step, first);
        traces.insert(message.headers.trace.unwrap().trace_id().to_string());
    }
    assert_eq!(traces.len(), 10, "one trace per file");

    let mut results = broker
        .consume(&Queue::Results(run), ConsumeOptions::shared(1))
        .await
        .unwrap();
    let closed = results.recv().await.unwrap();
    let sentinel: filefleet_shared::wire::RunClosed = decode(&closed.envelope().body).unwrap();
    assert_eq!((sentinel.total, &sentinel.digest), (10, &done.digest));
    closed.settle(Verdict::Done(Vec::new())).await.unwrap();
    results.close().await;

    // Published again, nothing happens.
    let again = published(&broker, &options(&dir, &state, run))
        .await
        .unwrap();
    assert_eq!(again, done);
    assert_eq!(broker.ids().len(), 10);
}

#[tokio::test]
async fn a_directory_without_files_opens_no_run_and_leaves_no_manifest() {
    let (dir, state) = (tree(&[]), tempfile::tempdir().unwrap());
    let (broker, run) = (Watched::new(), RunId::mint());
    let done = published(&broker, &options(&dir, &state, run))
        .await
        .unwrap();
    assert_eq!((done.total, done.epoch), (0, None));
    assert!(broker.control().await.is_empty());
    assert_eq!(broker.inspect(&Queue::Results(run)).await.unwrap(), None);
    assert_eq!(fs::read_dir(state.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn cut_anywhere_the_manifest_resumes_with_the_same_ids_and_all_of_them() {
    let (dir, state) = (tree(&keys(15)), tempfile::tempdir().unwrap());
    std::os::unix::fs::symlink("loop", dir.path().join("d1/loop")).unwrap();
    let (reference, run) = (Watched::new(), RunId::mint());
    let mut options = options(&dir, &state, run);
    options.scan.follow_links = true;
    let done = published(&reference, &options).await.unwrap();
    let expected = bodies(&reference);
    let manifest = fs::read(&options.manifest).unwrap();

    for cut in cuts(&manifest) {
        fs::write(&options.manifest, &manifest[..cut]).unwrap();
        let broker = Watched::new();
        let again = published(&broker, &options).await.unwrap();
        assert_eq!(
            (again.total, &again.digest, again.unreadable),
            (done.total, &done.digest, 1),
            "cut at {cut}"
        );
        // Exactly what the manifest does not say to be confirmed, in order.
        let confirmed = confirmed(&manifest[..cut]);
        assert_eq!(bodies(&broker), expected[confirmed..], "cut at {cut}");
    }
}

/// The last mark of a manifest's whole lines.
fn confirmed(manifest: &[u8]) -> usize {
    String::from_utf8_lossy(manifest)
        .split_inclusive('\n')
        .filter(|line| line.ends_with('\n'))
        .filter_map(|line| line.strip_prefix("{\"type\":\"confirmed\",\"upto\":"))
        .filter_map(|rest| rest.trim_end().trim_end_matches('}').parse().ok())
        .max()
        .unwrap_or(0)
}

#[tokio::test]
async fn a_planned_file_keeps_its_task_when_the_tree_changes_before_the_resume() {
    let (dir, state) = (tree(&keys(12)), tempfile::tempdir().unwrap());
    let (broker, run) = (Watched::new(), RunId::mint());
    let options = options(&dir, &state, run);
    published(&broker, &options).await.unwrap();
    let expected = bodies(&broker);
    let manifest = fs::read(&options.manifest).unwrap();
    let seventh = manifest
        .windows(expected[7].1.len())
        .position(|part| part == expected[7].1)
        .unwrap();

    fs::write(&options.manifest, &manifest[..seventh]).unwrap();
    fs::remove_file(dir.path().join(&keys(12)[3])).unwrap();
    put(dir.path(), "a-new-file-before-all");
    put(dir.path(), "z-new-file-behind-all");
    let broker = Watched::new();
    let done = published(&broker, &options).await.unwrap();
    assert_eq!(done.total, 13);
    let again = bodies(&broker);
    let from = expected.len() + 1 - again.len();
    assert_eq!(again[..again.len() - 1], expected[from..]);
    let last: StepMessage = decode(&again.last().unwrap().1).unwrap();
    assert_eq!(
        (last.seq, last.file.key.as_str()),
        (12, "z-new-file-behind-all")
    );
}

#[tokio::test]
async fn a_killed_publish_repeats_at_most_the_windows_in_flight() {
    for windows in 0..5 {
        let (dir, state) = (tree(&keys(20)), tempfile::tempdir().unwrap());
        let (broker, run) = (Watched::stalling_after(windows), RunId::mint());
        let options = options(&dir, &state, run);
        let (progress, mut shown) = watch::channel(PublishProgress::default());
        let shared: Arc<dyn Broker> = Arc::<Watched>::clone(&broker);
        let killed = tokio::spawn(publish(shared, options.clone(), progress, no_stop()));
        let marked = (windows * WINDOWS.messages) as u64;
        shown
            .wait_for(|shown| shown.confirmed == marked)
            .await
            .unwrap();
        killed.abort();
        killed.await.unwrap_err();
        // The planner's thread lets go of the manifest once it sees that nobody listens.
        while shown.changed().await.is_ok() {}

        let before = broker.ids();
        broker.gate.add_permits(100);
        let done = published(&broker, &options).await.unwrap();
        assert_eq!(done.total, 20);
        let all = broker.ids();
        let distinct: BTreeSet<&String> = all.iter().collect();
        assert_eq!(distinct.len(), 20, "after {windows} windows");
        let repeated = all.len() - 20;
        assert!(
            repeated <= WINDOWS.in_flight * WINDOWS.messages,
            "{repeated} repeated"
        );
        assert!(before.len() >= windows * WINDOWS.messages);
        let opened = broker.control().await;
        assert_eq!(opened.len(), 1, "the run is opened once: {opened:?}");
    }
}

#[tokio::test]
async fn no_more_is_planned_ahead_than_the_windows_have_room_for() {
    let (dir, state) = (tree(&keys(100)), tempfile::tempdir().unwrap());
    let (broker, run) = (Watched::stalling_after(0), RunId::mint());
    let (progress, mut shown) = watch::channel(PublishProgress::default());
    let shared: Arc<dyn Broker> = Arc::<Watched>::clone(&broker);
    let running = tokio::spawn(publish(
        shared,
        options(&dir, &state, run),
        progress,
        no_stop(),
    ));
    // In flight, one waiting to go out, one in the planner's hand.
    let bound = ((WINDOWS.in_flight + 2) * WINDOWS.messages) as u64;
    shown
        .wait_for(|shown| shown.planned == bound)
        .await
        .unwrap();
    for _ in 0..25 {
        broker.gate.add_permits(1);
        shown.changed().await.unwrap();
        let now = shown.borrow_and_update().clone();
        assert!(now.planned - now.confirmed <= bound, "{now:?}");
    }
    assert_eq!(running.await.unwrap().unwrap().total, 100);
}

#[tokio::test]
async fn told_to_stop_it_journals_what_was_confirmed_and_goes_on_next_time() {
    let (dir, state) = (tree(&keys(40)), tempfile::tempdir().unwrap());
    let (broker, run) = (Watched::stalling_after(3), RunId::mint());
    let options = options(&dir, &state, run);
    let (progress, mut shown) = watch::channel(PublishProgress::default());
    let (tell, stop) = watch::channel(false);
    let shared: Arc<dyn Broker> = Arc::<Watched>::clone(&broker);
    let running = tokio::spawn(publish(shared, options.clone(), progress, stop));
    // Only once the planner can plan no more are both windows in flight.
    let full = |shown: &PublishProgress| shown.confirmed == 12 && shown.planned == 28;
    shown.wait_for(full).await.unwrap();
    tell.send(true).unwrap();
    broker.gate.add_permits(2);
    let error = running.await.unwrap().unwrap_err();
    // The windows in flight were still confirmed and journalled, and no other went out.
    let had = broker.ids().len();
    assert_eq!(had, 20);
    assert!(
        matches!(error, PublishError::Interrupted { confirmed } if confirmed == had as u64),
        "{error}"
    );
    assert_eq!(confirmed(&fs::read(&options.manifest).unwrap()), had);

    broker.gate.add_permits(100);
    published(&broker, &options).await.unwrap();
    let all = broker.ids();
    assert_eq!(all.len(), 40, "nothing is repeated");
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 40);
}

#[tokio::test]
async fn a_broker_that_is_away_is_waited_for_under_the_same_ids() {
    let (dir, state) = (tree(&keys(30)), tempfile::tempdir().unwrap());
    let (broker, run) = (Watched::new(), RunId::mint());
    broker.lies.store(3, Ordering::SeqCst);
    let done = published(&broker, &options(&dir, &state, run))
        .await
        .unwrap();
    assert_eq!(done.total, 30);
    let all = broker.ids();
    assert!(all.len() > 30);
    assert_eq!(all.into_iter().collect::<BTreeSet<_>>().len(), 30);
}

#[tokio::test]
async fn resumed_after_a_pill_the_run_is_opened_again_so_that_workers_stay() {
    let (dir, state) = (tree(&keys(8)), tempfile::tempdir().unwrap());
    let (broker, run) = (Watched::stalling_after(1), RunId::mint());
    let options = options(&dir, &state, run);
    let (tell, stop) = watch::channel(false);
    let (progress, mut shown) = watch::channel(PublishProgress::default());
    let shared: Arc<dyn Broker> = Arc::<Watched>::clone(&broker);
    let running = tokio::spawn(publish(shared, options.clone(), progress, stop));
    shown.wait_for(|shown| shown.confirmed == 4).await.unwrap();
    tell.send(true).unwrap();
    broker.gate.add_permits(100);
    running.await.unwrap().unwrap_err();
    broker
        .append_control(FleetState::pill(1, PillMode::Drain))
        .await
        .unwrap();
    let done = published(&broker, &options).await.unwrap();
    assert_eq!(done.epoch, Some(2));
    let state: FleetState = broker.control().await.iter().collect();
    assert_eq!((state.epoch, state.pill), (2, None));
    let opened = broker.control().await;
    let of_run = |record: &&ControlRecord| matches!(record, ControlRecord::RunOpened(opened) if opened.run == run);
    assert_eq!(opened.iter().filter(of_run).count(), 2);
}

#[tokio::test]
async fn a_manifest_is_used_by_one_producer_and_for_one_publishing() {
    let (dir, state) = (tree(&keys(8)), tempfile::tempdir().unwrap());
    let (broker, run) = (Watched::stalling_after(0), RunId::mint());
    let options = options(&dir, &state, run);
    let (progress, mut shown) = watch::channel(PublishProgress::default());
    let shared: Arc<dyn Broker> = Arc::<Watched>::clone(&broker);
    let running = tokio::spawn(publish(shared, options.clone(), progress, no_stop()));
    shown.wait_for(|shown| shown.planned == 8).await.unwrap();
    let error = published(&broker, &options).await.unwrap_err();
    assert!(
        matches!(error, PublishError::Manifest(ManifestError::Busy(_))),
        "{error}"
    );
    broker.gate.add_permits(10);
    running.await.unwrap().unwrap();

    assert_eq!(Header::read(&options.manifest).unwrap().unwrap().run, run);
    let other = PublishOptions {
        service: "other".to_owned(),
        ..options
    };
    let error = published(&broker, &other).await.unwrap_err();
    assert!(
        matches!(
            error,
            PublishError::Manifest(ManifestError::Mismatch {
                field: "service",
                ..
            })
        ),
        "{error}"
    );
}

#[tokio::test]
async fn a_damaged_manifest_is_refused_and_named() {
    let (dir, state) = (tree(&keys(8)), tempfile::tempdir().unwrap());
    let (broker, run) = (Watched::new(), RunId::mint());
    let options = options(&dir, &state, run);
    published(&broker, &options).await.unwrap();
    let whole = fs::read_to_string(&options.manifest).unwrap();
    let without_a_task: String = whole
        .split_inclusive('\n')
        .filter(|line| !line.contains("\"seq\":3,"))
        .collect();
    for damaged in [
        without_a_task,
        whole.replace("f00002", "f99999"),
        "x\n".to_owned(),
    ] {
        fs::write(&options.manifest, damaged).unwrap();
        let error = published(&broker, &options).await.unwrap_err();
        assert!(
            matches!(error, PublishError::Manifest(ManifestError::Corrupt { .. })),
            "{error}"
        );
    }
}
