//! Signals, the pill, late joiners, and the run after a pill.

use filefleet_tests::results::Results;

use crate::support::{Fleet, LIMIT, Place, Sim};

#[test]
fn a_pill_makes_busy_workers_leave_and_late_ones_too_and_does_not_hurt_the_next_run() {
    let sim = Sim::with_latency(200);
    let fleet = Fleet::new(400);
    fleet.place.configure(&sim.url(), 10, "");
    let workers = fleet.workers(3);
    fleet.publish();
    sim.wait_for_paid(30);
    let url = fleet.url();
    fleet
        .place
        .ends_with(0, "stop", &["stop", "--broker", &url, "--wait"]);
    for mut worker in workers {
        assert_eq!(worker.wait(LIMIT), 0, "{}", worker.log());
    }
    let paid = sim.paid();
    assert_eq!(paid.1, 0, "a drain repeats no call");
    // A worker of the same epoch that starts afterwards leaves without work.
    let late = fleet
        .place
        .ends_with(0, "late", &["worker", "--broker", &url, "--root", "files"]);
    assert!(late.contains("stopped"), "{late}");
    assert_eq!(sim.paid(), paid);
    // The next run opens an epoch: its workers stay, and also finish what was left.
    std::fs::remove_dir_all(fleet.place.path().join(".filefleet")).expect("the journal");
    fleet.publish();
    let workers = fleet.workers(2);
    let mut collector = fleet.collector("collect", &["--then-stop"]);
    assert_eq!(collector.wait(LIMIT), 0, "{}", collector.log());
    Results::read(&fleet.place.out()).assert_exactly_once(400);
    // Issued by the collector, this pill makes them leave by themselves.
    for mut worker in workers {
        assert_eq!(worker.wait(LIMIT), 0, "{}", worker.log());
    }
}

#[test]
fn a_run_on_this_machine_stops_by_the_pill_and_resumes() {
    let sim = Sim::with_latency(100);
    let place = Place::with_files(300);
    place.configure(&sim.url(), 10, "");
    let mut run = place.filefleet("run", &["run", "files", "-o", "out"]);
    sim.wait_for_paid(30);
    place.ends_with(0, "stop", &["stop", "-o", "out"]);
    assert_eq!(run.wait(LIMIT), 3, "{}", run.log());
    place.ends_with(0, "resumed", &["run", "files", "-o", "out"]);
    Results::read(&place.out()).assert_exactly_once(300);
    assert_eq!(sim.paid(), (300, 0));
}

#[test]
fn a_second_signal_leaves_at_once() {
    let sim = Sim::with_latency(60_000);
    let place = Place::with_files(5);
    place.configure(&sim.url(), 5, "");
    let mut run = place.filefleet("run", &["run", "files", "-o", "out"]);
    let start = std::time::Instant::now();
    while sim.stats()["requests"].as_u64() == Some(0) {
        assert!(start.elapsed() < LIMIT, "no call: {}", run.log());
        filefleet_tests::process::pause();
    }
    run.signal("INT");
    run.wait_for_text("once more", LIMIT);
    run.signal("INT");
    // Without the second signal it would wait for the grace, 25 s.
    assert_eq!(run.wait(std::time::Duration::from_secs(10)), 3);
}

#[test]
fn work_without_a_worker_is_said_by_name_and_so_is_how_a_stopped_fleet_goes_on() {
    let sim = Sim::with_latency(1);
    let fleet = Fleet::new(30);
    fleet.place.configure(&sim.url(), 10, "");
    let url = fleet.url();
    let publish = ["publish", "files", "--broker", &url];
    let said = fleet.place.ends_with(0, "published", &publish);
    let alone = "no worker is connected for service sim";
    assert!(said.contains(alone), "{said}");
    let mut collector = fleet.collector("collect", &["--then-stop"]);
    collector.wait_for_text(alone, LIMIT);
    let worker = ["worker", "--broker", &url, "--root", "files"];
    let mut first = fleet.place.filefleet("first", &worker);
    assert_eq!(collector.wait(LIMIT), 0, "{}", collector.log());
    assert_eq!(first.wait(LIMIT), 0, "{}", first.log());

    // The second time round: the worker comes before the run.
    let early = fleet.place.ends_with(0, "early", &worker);
    assert!(early.contains("publish a run"), "{early}");
    fleet.place.ends_with(0, "again", &publish);
    fleet
        .place
        .ends_with(0, "stop", &["stop", "--broker", &url]);
    let second = ["--json", "collect", "--broker", &url, "-o", "second"];
    let mut collector = fleet.place.filefleet("second", &second);
    collector.wait_for_text("\"event\":\"no_worker\"", LIMIT);
    assert!(
        collector.out().contains("\"stopped\":true"),
        "{}",
        collector.out()
    );
    fleet
        .place
        .ends_with(0, "undo", &["stop", "--broker", &url, "--undo"]);
    let workers = fleet.workers(1);
    assert_eq!(collector.wait(LIMIT), 0, "{}", collector.log());
    fleet.dismiss(workers);
}

#[test]
fn where_nothing_was_published_there_is_nothing_to_stop() {
    let sim = Sim::with_latency(200);
    let fleet = Fleet::new(40);
    fleet.place.configure(&sim.url(), 2, "");
    let url = fleet.url();
    let stop = ["--json", "stop", "--broker", &url];
    let said = fleet.place.ends_with(2, "stop", &stop);
    assert!(said.contains("nothing to stop"), "{said}");
    // No pill was written: a worker that comes now stays.
    let args = ["--json", "worker", "--broker", &url, "--root", "files"];
    let mut worker = fleet.place.filefleet("worker", &args);
    worker.wait_for_text("\"event\":\"ready\"", LIMIT);
    fleet.publish();
    sim.wait_for_paid(4);
    let mut stopping = fleet.place.filefleet("stopping", &stop);
    assert_eq!(stopping.wait(LIMIT), 0, "{}", stopping.log());
    let told: serde_json::Value = serde_json::from_str(stopping.out().trim()).expect("JSON");
    let left = told["steps_left"].as_u64().expect("a count");
    assert!((20..40).contains(&left), "{told}");
    assert_eq!(worker.wait(LIMIT), 0, "{}", worker.log());
    let events: Vec<serde_json::Value> = worker
        .out()
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let kinds: Vec<_> = events.iter().map(|event| &event["event"]).collect();
    assert_eq!(kinds, ["ready", "draining", "left"]);
    assert_eq!(events[2]["settled"], sim.paid().0, "{}", events[2]);
}

#[test]
fn an_idle_run_on_this_machine_is_not_stopped() {
    let sim = Sim::with_latency(0);
    let place = Place::with_files(3);
    place.configure(&sim.url(), 10, "");
    place.ends_with(0, "run", &["run", "files", "-o", "out"]);
    let mut stop = place.filefleet("stop", &["stop", "-o", "out"]);
    assert_eq!(stop.wait(LIMIT), 0);
    assert!(stop.out().contains("nothing to stop"), "{}", stop.out());
}
