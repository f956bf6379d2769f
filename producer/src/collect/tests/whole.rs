//! Collecting beside the other parts: what a later run skips, and all of them at once.

use super::*;

#[tokio::test]
async fn files_that_succeeded_are_skipped_by_a_later_run_unless_they_changed() {
    let (dir, run) = (tempfile::tempdir().unwrap(), RunId::mint());
    let mut changed = outcome(run, 2, Status::Succeeded);
    changed.input_changed = true;
    let messages = vec![
        result_message(&outcome(run, 0, Status::Succeeded)),
        result_message(&outcome(run, 1, Status::Failed)),
        result_message(&changed),
        sentinel(run, 3),
    ];
    let broker = prepared(run, messages).await;
    collected(&broker, options(dir.path(), run)).await.unwrap();

    let mut finished = FinishedFiles::default();
    finished.add(&dir.path().join("not there")).unwrap();
    assert!(finished.is_empty());
    finished.add(dir.path()).unwrap();
    assert_eq!(finished.len(), 1);
    let file = outcome(run, 0, Status::Succeeded).file;
    assert!(finished.has(&file));
    let bigger = wire::FileRef {
        size: 1,
        ..file.clone()
    };
    assert!(!finished.has(&bigger));
    assert!(!finished.has(&changed.file));
    let mut names = Vec::new();
    each_finished(dir.path(), |file| names.push(file.key.clone())).unwrap();
    assert_eq!(names, ["f0"]);
}

/// Answers every step of the run, and some of them twice.
async fn work(broker: Arc<dyn Broker>, mut stop: watch::Receiver<bool>) {
    let queue = Queue::Work("gpt".to_owned());
    broker.declare(std::slice::from_ref(&queue)).await.unwrap();
    let mut consumer = broker
        .consume(&queue, ConsumeOptions::shared(50))
        .await
        .unwrap();
    loop {
        let delivery = tokio::select! {
            delivery = consumer.recv() => delivery.unwrap(),
            () = stopped(&mut stop) => break,
        };
        let step: StepMessage = decode(&delivery.envelope().body).unwrap();
        let mut done = outcome(step.run, step.seq, status(step.seq));
        done.file = step.file;
        done.timings = Timings {
            call_ms: 1,
            ..done.timings
        };
        let message = result_message(&done);
        let mut messages = vec![message.clone()];
        if step.seq.is_multiple_of(5) {
            messages.push(under_another_id(message));
        }
        delivery.settle(Verdict::Done(messages)).await.unwrap();
    }
    consumer.close().await;
}

fn publish_options(dir: &TempDir, state: &TempDir, run: RunId) -> PublishOptions {
    PublishOptions {
        services: Vec::new(),
        run,
        root: "docs".to_owned(),
        source: crate::scan::Source::Directory(dir.path().to_owned()),
        pipeline: "demo".to_owned(),
        step: "only".to_owned(),
        service: "gpt".to_owned(),
        scan: ScanOptions::default(),
        manifest: below(state, "manifest.jsonl"),
        skip: None,
        windows: Windows::default(),
    }
}

#[tokio::test]
async fn published_worked_on_and_collected_at_once_every_file_has_one_record() {
    const FILES: usize = 1_200;
    let (dir, state) = (tree(&keys(FILES)), tempfile::tempdir().unwrap());
    let (out, run) = (below(&state, "out"), RunId::mint());
    let broker: Arc<dyn Broker> = Watched::new();
    let (tell, stop) = watch::channel(false);
    let worker = tokio::spawn(work(Arc::clone(&broker), stop));
    let (progress, _) = watch::channel(CollectProgress::default());
    let collector = tokio::spawn(collect(
        Arc::clone(&broker),
        options(&out, run),
        progress,
        no_stop(),
    ));
    let (progress, _) = watch::channel(PublishProgress::default());
    let mut publishing = publish_options(&dir, &state, run);
    let published = publish(Arc::clone(&broker), publishing.clone(), progress, no_stop())
        .await
        .unwrap();
    let summary = collector.await.unwrap().unwrap();
    tell.send(true).unwrap();
    worker.await.unwrap();
    assert_eq!(summary.status, RunStatus::Complete);
    assert_eq!(
        summary.succeeded + summary.failed + summary.cancelled,
        published.total
    );
    assert_eq!(summary.digest.unwrap(), published.digest);
    let files: Vec<String> = records(&out)
        .into_values()
        .map(|line| line["file"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(files, keys(FILES));

    // A later run does what is left: what failed, what changed and what is new.
    fs::write(dir.path().join(&keys(FILES)[1]), "longer than before").unwrap();
    let mut finished = FinishedFiles::default();
    finished.add(&out).unwrap();
    publishing.skip = Some(Arc::new(finished));
    publishing.run = RunId::mint();
    publishing.manifest = below(&state, "second.jsonl");
    let (progress, _) = watch::channel(PublishProgress::default());
    let second = publish(broker, publishing, progress, no_stop())
        .await
        .unwrap();
    assert_eq!(second.total, summary.failed + summary.cancelled + 1);
    assert_eq!(second.skipped, summary.succeeded - 1);
}
