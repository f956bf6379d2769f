//! Steps that nobody waits for: duplicates of a run that is complete, and of a run nobody opened.

use std::time::Instant;

use filefleet_shared::{
    broker::{
        Broker, Headers, Message, Queue, Route,
        rabbit::{RabbitBroker, RabbitConfig},
    },
    wire::{self, FileRef, RunId, StepMessage, TaskId},
};
use filefleet_tests::{process::pause, results::Results};

use crate::support::{Fleet, LIMIT, Sim};

const FILES: usize = 200;

fn fleet(sim: &Sim, more: &str) -> Fleet {
    let fleet = Fleet::new(FILES);
    fleet.place.configure(&sim.url(), 20, more);
    fleet
}

#[test]
fn a_duplicate_of_a_complete_run_is_not_called_and_ends_no_worker() {
    let sim = Sim::with_latency(50);
    let fleet = fleet(&sim, "");
    let mut workers = fleet.workers(1);
    fleet.publish();
    fleet.collect();
    publish_again(&fleet, None);
    workers[0].wait_for_text("a duplicate of a run that is complete", LIMIT);
    // Who comes later knows it, too.
    workers.push(fleet.worker(1));
    fleet.dismiss(vec![workers.remove(0)]);
    publish_again(&fleet, None);
    workers[0].wait_for_text("a duplicate of a run that is complete", LIMIT);
    Results::read(&fleet.place.out()).assert_exactly_once(FILES as u64);
    assert_eq!(sim.paid(), (FILES as u64, 0));
    fleet.dismiss(workers);
}

#[test]
fn a_step_of_a_run_that_nobody_opened_ends_no_worker_and_becomes_a_dead_letter() {
    let sim = Sim::with_latency(50);
    let broker = "[broker]\nurl = \"amqp://localhost\"\noutage = \"4s\"\nconnect_timeout = \"2s\"";
    let fleet = fleet(&sim, broker);
    let mut workers = fleet.workers(1);
    fleet.publish();
    fleet.collect();
    publish_again(&fleet, Some(RunId::mint()));
    workers[0].wait_for_text("is missing: the run's steps are put off", LIMIT);
    let start = Instant::now();
    while ready(&fleet, &Queue::Dead) == 0 {
        assert!(start.elapsed() < LIMIT, "{}", workers[0].log());
        pause();
    }
    // It was called for nobody, again only if it was back before the queue was looked for.
    let in_vain = sim.paid().0 - FILES as u64;
    assert!((1..=2).contains(&in_vain), "{in_vain} calls in vain");
    let url = fleet.url();
    for args in [["publish", "files"], ["collect", "--out=again"]] {
        let args = [&args[..], &["--broker", &url]].concat();
        fleet.place.ends_with(0, args[0], &args);
    }
    let again = Results::read(&fleet.place.path().join("again"));
    again.assert_exactly_once(FILES as u64);
    fleet.dismiss(workers);
}

fn with_broker<T, F: Future<Output = T>>(fleet: &Fleet, act: impl FnOnce(RabbitBroker) -> F) -> T {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let connecting = RabbitBroker::connect(RabbitConfig::new(fleet.url()));
        act(connecting.await.expect("a connection")).await
    })
}

fn ready(fleet: &Fleet, queue: &Queue) -> u64 {
    with_broker(fleet, async |broker| {
        let depth = broker.inspect(queue).await.expect("an answer");
        depth.expect("the queue").ready
    })
}

/// Publishes the step of a file that has its outcome, as a broker that was killed may, or as one
/// of another run.
fn publish_again(fleet: &Fleet, run: Option<RunId>) {
    let line = Results::read(&fleet.place.out()).succeeded.remove(0);
    let text = |key: &str| line[key].as_str().expect("a text").to_owned();
    let run = run.unwrap_or_else(|| text("run").parse().expect("a run"));
    let seq = line["seq"].as_u64().expect("a number");
    let file = FileRef {
        root: text("root"),
        key: text("file"),
        key_bytes: None,
        size: line["size"].as_u64().expect("a size"),
        modified: None,
        etag: None,
        media_type: text("media_type"),
    };
    let step = StepMessage::first(TaskId { run, seq }, "describe", "answer", file);
    let message = Message {
        id: step.message_id(),
        route: Route::Work {
            service: "sim".to_owned(),
        },
        headers: Headers::default(),
        body: wire::encode(&step).expect("JSON"),
    };
    with_broker(fleet, async |broker| {
        broker.publish(vec![message]).await.expect("it is sent");
        broker.close().await;
    });
}
