//! `publish`, three workers and `collect` on RabbitMQ, with processes and the broker killed.

use filefleet_tests::results::{self, Results};

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
