//! Quotas of requests: kept to, learnt, and what a service asks for when it is over one.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use filefleet_simulator::{Latency, Quirk, Quotas, SimulatorConfig};
use filefleet_tests::{
    process::pause,
    results::{self, Results},
};
use serde_json::json;

use crate::support::{Fleet, LIMIT, Place, Sim};

/// Allows so many requests a second.
fn allowing(per_second: u64, quirks: &[Quirk]) -> Sim {
    Sim::start(SimulatorConfig {
        latency: Latency::Fixed(Duration::from_millis(50)),
        quotas: Quotas {
            requests_per_minute: Some(per_second * 60),
            ..Quotas::default()
        },
        quirks: quirks.iter().copied().collect::<BTreeSet<_>>(),
        ..SimulatorConfig::default()
    })
}

fn throttled(sim: &Sim) -> u64 {
    sim.stats()["throttled"].as_u64().expect("a counter")
}

#[test]
fn a_run_that_knows_its_quota_is_hardly_ever_refused() {
    let sim = allowing(40, &[]);
    let place = Place::with_files(240);
    place.configure(&sim.url(), 100, "");
    place.reconfigure("in_flight = 100", "requests_per_second = 40");
    place.ends_with(0, "run", &["run", "files", "-o", "out"]);
    Results::read(&place.out()).assert_exactly_once(240);
    assert_eq!(sim.paid(), (240, 0));
    assert!(throttled(&sim) <= 12, "{} refused of 240", throttled(&sim));
    let seconds = results::summary(&place.out())["wall_seconds"]
        .as_f64()
        .expect("a time");
    assert!(seconds >= 5.9, "240 files in {seconds} s at 40 a second");
}

#[test]
fn a_fleet_shares_its_quota_whoever_comes_and_dies() {
    let sim = allowing(40, &[]);
    let fleet = Fleet::new(400);
    fleet.place.configure(&sim.url(), 100, "");
    fleet
        .place
        .reconfigure("in_flight = 100", "requests_per_second = 40");
    fleet.publish();
    let mut workers = fleet.workers(2);
    sim.wait_for_paid(60);
    workers.push(fleet.worker(2));
    sim.wait_for_paid(160);
    workers.remove(0).kill9();
    fleet.collect();
    Results::read(&fleet.place.out()).assert_exactly_once(400);
    assert!(throttled(&sim) <= 40, "{} refused of 400", throttled(&sim));
    fleet.dismiss(workers);
}

#[test]
fn whatever_a_service_says_about_when_to_come_again_there_is_no_storm_and_no_hang() {
    for quirks in [
        [Quirk::RetryAfterMsZero].as_slice(),
        &[Quirk::RetryAfterNegative],
        &[Quirk::RetryAfterMissing],
        &[Quirk::RetryAfterDate],
        &[Quirk::RatelimitNegative],
        &[Quirk::RemainingLies],
        &[Quirk::RetryAfterMissing, Quirk::RatelimitNegative],
    ] {
        let sim = allowing(20, quirks);
        let place = Place::with_files(80);
        place.configure(&sim.url(), 16, "");
        place.ends_with(0, "run", &["run", "files", "-o", "out"]);
        Results::read(&place.out()).assert_exactly_once(80);
        assert_eq!(sim.paid(), (80, 0));
        assert!(throttled(&sim) <= 160, "{quirks:?}: {}", throttled(&sim));
    }
}

#[test]
fn a_request_larger_than_the_quota_of_a_minute_fails_alone() {
    let quotas = Quotas {
        tokens_per_minute: Some(30_000),
        ..Quotas::default()
    };
    let sim = Sim::start(SimulatorConfig {
        latency: Latency::Fixed(Duration::from_millis(20)),
        quotas,
        ..SimulatorConfig::default()
    });
    let place = Place::with_files(60);
    std::fs::write(
        place.files().join("large.txt"),
        "many words ".repeat(15_000),
    )
    .expect("a file");
    place.configure(&sim.url(), 16, "");
    place.ends_with(1, "run", &["run", "files", "-o", "out"]);
    let results = Results::read(&place.out());
    results.assert_exactly_once(61);
    let causes: Vec<_> = results.failed.iter().map(|line| &line["cause"]).collect();
    assert_eq!(causes, ["request_too_large"], "{:?}", results.failed);
}

#[test]
fn a_service_that_is_down_is_asked_now_and_then_and_no_file_fails_for_it() {
    let sim = Sim::with_latency(20);
    let place = Place::with_files(300);
    place.configure(&sim.url(), 16, "");
    let mut run = place.filefleet("run", &["run", "files", "-o", "out"]);
    sim.wait_for_paid(60);
    let requests = || sim.stats()["requests"].as_u64().expect("a counter");
    sim.control(&json!({ "down": "unavailable" }));
    let before = requests();
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(15) {
        pause();
    }
    let during = requests() - before;
    // What was in flight and came to know it, and a probe now and then.
    assert!(
        (2..=60).contains(&during),
        "{during} calls while it was down"
    );
    sim.control(&json!({ "down": false }));
    assert_eq!(run.wait(LIMIT), 0, "{}", run.log());
    Results::read(&place.out()).assert_exactly_once(300);
    assert_eq!(results::summary(&place.out())["failed"], 0);
}

#[test]
fn a_service_that_asks_for_a_day_is_left_alone_said_so_and_nothing_fails() {
    let sim = allowing(5, &[Quirk::RetryAfter24h]);
    let fleet = Fleet::new(60);
    fleet.place.configure(&sim.url(), 16, "");
    fleet.publish();
    let mut worker = fleet.worker(0);
    worker.wait_for_text("service throttled", LIMIT);
    let refused = throttled(&sim);
    let second = fleet.worker(1);
    let status = || {
        let args = ["status", "--broker", &fleet.url()];
        let mut status = fleet.place.filefleet("status", &args);
        assert_eq!(status.wait(LIMIT), 0, "{}", status.log());
        status.out()
    };
    let deadline = Instant::now() + LIMIT;
    let mut shown = status();
    while !shown.contains(" steps to be tried again") {
        assert!(Instant::now() < deadline, "{shown}");
        shown = status();
    }
    assert!(shown.contains("throttled   sim until "), "{shown}");
    let dead = shown.lines().find(|line| line.starts_with("dead"));
    let dead = dead.and_then(|line| line.split_whitespace().nth(1));
    assert_eq!(dead, Some("0"), "{shown}");
    sim.wait_until_quiet();
    let calls = sim.stats()["requests"].as_u64().expect("a counter");
    fleet.dismiss(vec![worker, second]);
    let after = sim.stats()["requests"].as_u64().expect("a counter");
    assert_eq!(calls, after, "{refused} refusals should have been enough");
}
