//! `publish`, three workers and `collect` on RabbitMQ, with processes and the broker killed.

use filefleet_shared::wire::{self, FileRef, RunId, StepMessage, TaskId};
use filefleet_tests::results::{self, Results};
use lapin::{BasicProperties, Connection, ConnectionProperties, options::BasicPublishOptions};

use crate::support::{Fleet, LIMIT, Sim};

const FILES: u64 = 1200;
/// Calls in flight of one worker, and a quarter more in hand.
const IN_FLIGHT: u64 = 20;
const IN_HAND: u64 = 25;

fn fleet(sim: &Sim) -> Fleet {
    let fleet = Fleet::new(usize::try_from(FILES).expect("small"));
    fleet
        .place
        .configure(&sim.url(), usize::try_from(IN_FLIGHT).expect("small"), "");
    fleet
}

fn assert_complete(fleet: &Fleet, sim: &Sim, what: &str, most_repeated: u64) {
    Results::read(&fleet.place.out()).assert_exactly_once(FILES);
    let summary = results::summary(&fleet.place.out());
    assert_eq!(summary["status"], "complete", "{summary}");
    assert_eq!(summary["succeeded"], FILES, "{summary}");
    let (paid, repeated) = sim.paid();
    println!("{what}: {FILES} files, {paid} paid calls, {repeated} repeated");
    assert!(
        repeated <= most_repeated,
        "{repeated} repeated calls, at most {most_repeated}"
    );
}

#[test]
fn every_file_has_one_outcome_and_no_call_is_repeated() {
    let sim = Sim::with_latency(50);
    let fleet = fleet(&sim);
    let workers = fleet.workers(3);
    fleet.publish();
    fleet.collect();
    assert_complete(&fleet, &sim, "no faults", 0);
    fleet.dismiss(workers);
}

#[test]
fn a_worker_killed_in_the_middle_loses_nothing() {
    let sim = Sim::with_latency(100);
    let fleet = fleet(&sim);
    let mut workers = fleet.workers(3);
    fleet.publish();
    let mut collector = fleet.collector("collect", &[]);
    sim.wait_for_paid(FILES / 4);
    workers.remove(0).kill9();
    assert_eq!(collector.wait(LIMIT), 0, "{}", collector.log());
    assert_complete(&fleet, &sim, "one of three workers killed", IN_HAND);
    fleet.dismiss(workers);
}

#[test]
fn a_collector_killed_in_the_middle_goes_on_with_one_line_per_file() {
    let sim = Sim::with_latency(50);
    let fleet = fleet(&sim);
    let workers = fleet.workers(3);
    fleet.publish();
    for round in 1..=3 {
        let collector = fleet.collector(&format!("killed-{round}"), &[]);
        sim.wait_for_paid(FILES / 5 * round);
        collector.kill9();
    }
    let mut collector = fleet.collector("last", &[]);
    assert_eq!(collector.wait(LIMIT), 0, "{}", collector.log());
    assert_complete(&fleet, &sim, "collector killed three times", 0);
    fleet.dismiss(workers);
}

#[test]
fn a_broker_restart_in_the_middle_loses_nothing() {
    let sim = Sim::with_latency(100);
    let mut fleet = fleet(&sim);
    let workers = fleet.workers(3);
    fleet.publish();
    let mut collector = fleet.collector("collect", &[]);
    sim.wait_for_paid(FILES / 4);
    fleet.restart_broker();
    assert_eq!(collector.wait(LIMIT), 0, "{}", collector.log());
    assert_complete(&fleet, &sim, "broker killed and restarted", 3 * IN_HAND);
    fleet.dismiss(workers);
}

#[test]
fn a_broker_that_stays_away_ends_worker_and_collector_with_the_reason_and_they_can_go_on() {
    let sim = Sim::with_latency(200);
    let mut fleet = Fleet::new(300);
    let broker = "[broker]\nurl = \"amqp://localhost\"\noutage = \"4s\"\nconnect_timeout = \"2s\"";
    fleet.place.configure(&sim.url(), 10, broker);
    let mut worker = fleet.worker(0);
    fleet.publish();
    let mut collector = fleet.collector("away", &[]);
    sim.wait_for_paid(50);
    fleet.kill_broker();
    for process in [&mut worker, &mut collector] {
        assert_eq!(process.wait(LIMIT), 5, "{}", process.log());
        let said = process.log();
        assert!(said.contains("broker away for longer than 4s"), "{said}");
    }
    fleet.restart_broker();
    let workers = fleet.workers(1);
    fleet.collect();
    Results::read(&fleet.place.out()).assert_exactly_once(300);
    fleet.dismiss(workers);
}

#[test]
fn a_publisher_killed_in_the_middle_publishes_the_rest_and_no_file_twice_in_the_results() {
    let sim = Sim::with_latency(0);
    let fleet = Fleet::new(6000);
    fleet.place.configure(&sim.url(), 20, "");
    let url = fleet.url();
    let publisher = fleet
        .place
        .filefleet("killed", &["publish", "files", "--broker", &url]);
    let start = std::time::Instant::now();
    let journal = fleet.place.path().join(".filefleet");
    // Killed as soon as it has begun: its journal exists.
    while !std::fs::read_dir(&journal).is_ok_and(|mut entries| entries.next().is_some()) {
        assert!(start.elapsed() < LIMIT, "no journal: {}", publisher.log());
        filefleet_tests::process::pause();
    }
    publisher.kill9();
    fleet.publish();
    let workers = fleet.workers(2);
    fleet.collect();
    Results::read(&fleet.place.out()).assert_exactly_once(6000);
    println!(
        "publisher killed: 6000 files, {} repeated calls",
        sim.paid().1
    );
    fleet.dismiss(workers);
}

#[test]
fn a_duplicate_of_a_complete_run_is_not_called_and_ends_no_worker() {
    let sim = Sim::with_latency(50);
    let fleet = fleet(&sim);
    let mut workers = fleet.workers(1);
    fleet.publish();
    fleet.collect();
    publish_again(&fleet);
    workers[0].wait_for_text("a duplicate of a run that is complete", LIMIT);
    assert_complete(&fleet, &sim, "with a duplicate", 0);
    // Who comes later knows it, too.
    workers.push(fleet.worker(1));
    fleet.dismiss(vec![workers.remove(0)]);
    publish_again(&fleet);
    workers[0].wait_for_text("a duplicate of a run that is complete", LIMIT);
    assert_eq!(sim.paid(), (FILES, 0));
    fleet.dismiss(workers);
}

/// Publishes the step of a file that has its outcome, as a broker that was killed may.
fn publish_again(fleet: &Fleet) {
    let line = Results::read(&fleet.place.out()).succeeded.remove(0);
    let text = |key: &str| line[key].as_str().expect("a text").to_owned();
    let run: RunId = text("run").parse().expect("a run");
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
    let body = wire::encode(&step).expect("JSON");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let url = fleet.url();
        let connecting = Connection::connect(&url, ConnectionProperties::default());
        let connection = connecting.await.expect("a connection");
        let channel = connection.create_channel().await.expect("a channel");
        let properties = BasicProperties::default()
            .with_delivery_mode(2)
            .with_message_id(step.message_id().into());
        let options = BasicPublishOptions::default();
        let sent = channel.basic_publish(
            "filefleet.work".into(),
            "sim".into(),
            options,
            &body,
            properties,
        );
        sent.await.expect("it is sent");
        connection
            .close(200, "OK".into())
            .await
            .expect("it is over");
    });
}
