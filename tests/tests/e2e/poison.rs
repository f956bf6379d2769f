//! A file that kills every process that works on it.

use std::{
    collections::BTreeSet,
    fs,
    time::{Duration, Instant},
};

use filefleet_simulator::{Latency, Quirk, SimulatorConfig};
use filefleet_tests::{
    process::{Process, pause},
    results::Results,
};
use serde_json::Value;

use crate::support::{Fleet, LIMIT, Place, Sim};

const FILES: usize = 60;
/// Calls in flight of one worker.
const IN_FLIGHT: usize = 10;
/// Deaths until it is in the quarantine, and then there.
const DEATHS: usize = 2 + 3;
/// Longer than any call but the poison's takes.
const STILL: Duration = Duration::from_millis(700);

/// A service where the call of the poison never ends, so that it is there to be killed.
fn sim() -> Sim {
    Sim::start(SimulatorConfig {
        latency: Latency::Fixed(Duration::from_millis(100)),
        quirks: BTreeSet::from([Quirk::Markers]),
        slow: Duration::from_secs(3600),
        ..SimulatorConfig::default()
    })
}

/// Makes the first file of the scan the poison: whoever has any step in hand has had this one.
fn poison(place: &Place) {
    let file = place.files().join("00000/0000000.txt");
    fs::write(file, "SIM_SLOW").expect("a file");
}

/// Waits until `worker` has the poison in hand, or `finishing` has ended.
///
/// While `others` are in hand too, a death takes them along; else the poison is the last call.
fn has_poison(sim: &Sim, others: bool, finishing: &mut Process) -> bool {
    let start = Instant::now();
    let mut seen = (Value::Null, Instant::now());
    loop {
        if finishing.try_wait().is_some() {
            return false;
        }
        let stats = sim.stats();
        if stats["requests"] != seen.0 {
            seen = (stats["requests"].clone(), Instant::now());
        }
        let in_flight = stats["in_flight"].as_u64().expect("a count");
        if in_flight > 0 && others || in_flight == 1 && seen.1.elapsed() > STILL {
            return true;
        }
        assert!(start.elapsed() < LIMIT, "no poison: {}", finishing.log());
        pause();
    }
}

fn assert_only_the_poison_failed(place: &Place) {
    let results = Results::read(&place.out());
    results.assert_exactly_once(FILES as u64);
    assert_eq!(results.failed.len(), 1, "{:?}", results.failed);
    let failed = &results.failed[0];
    assert_eq!(failed["file"], "00000/0000000.txt");
    assert_eq!(failed["cause"], "worker_died");
    assert_eq!(
        failed["detail"],
        "3 workers died or left while they had it alone"
    );
}

#[test]
fn a_file_that_kills_every_worker_is_a_named_failure_and_takes_no_other_along() {
    let sim = sim();
    let fleet = Fleet::new(FILES);
    poison(&fleet.place);
    fleet.place.configure(&sim.url(), IN_FLIGHT, "");
    fleet.publish();
    let mut collector = fleet.collector("collect", &[]);
    let mut deaths = 0;
    let survivor = loop {
        let worker = fleet.worker(deaths);
        if !has_poison(&sim, deaths < 2, &mut collector) {
            break worker;
        }
        worker.kill9();
        sim.wait_until_quiet();
        deaths += 1;
        assert!(deaths <= DEATHS, "{}", collector.log());
    };
    assert_eq!(deaths, DEATHS);
    assert_eq!(collector.wait(LIMIT), 1, "{}", collector.log());
    assert_only_the_poison_failed(&fleet.place);
    let url = fleet.url();
    let mut status = fleet
        .place
        .filefleet("status", &["status", "--json", "--broker", &url]);
    assert_eq!(status.wait(LIMIT), 0, "{}", status.log());
    let shown: Value = serde_json::from_str(&status.out()).expect("JSON");
    let left: Vec<&Value> = shown["queues"]
        .as_array()
        .expect("queues")
        .iter()
        .filter(|queue| queue["ready"] != 0)
        .collect();
    assert_eq!(left.len(), 1, "{left:?}");
    assert_eq!(
        (&left[0]["queue"], &left[0]["ready"]),
        (&"dead".into(), &1.into())
    );
    fleet.dismiss(vec![survivor]);
}

#[test]
fn a_file_that_kills_the_whole_run_is_a_named_failure_when_it_was_started_often_enough() {
    let sim = sim();
    let place = Place::with_files(FILES);
    poison(&place);
    place.configure(&sim.url(), IN_FLIGHT, "");
    let mut deaths = 0;
    let mut survivor = loop {
        let mut run = place.filefleet(&format!("run-{deaths}"), &["run", "files", "-o", "out"]);
        if !has_poison(&sim, deaths < 2, &mut run) {
            break run;
        }
        run.kill9();
        sim.wait_until_quiet();
        deaths += 1;
        assert!(deaths <= DEATHS);
    };
    assert_eq!(deaths, DEATHS);
    assert_eq!(survivor.wait(LIMIT), 1, "{}", survivor.log());
    assert_only_the_poison_failed(&place);
}
