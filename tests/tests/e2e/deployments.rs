//! Several deployments behind one service: all are used up, and one that is away costs nothing.

use std::{fmt::Write, fs, time::Duration};

use filefleet_simulator::{Latency, OcrConfig, Quirk, Quotas, SimulatorConfig};
use filefleet_tests::results::{self, Results};
use serde_json::json;

use crate::support::{Fleet, Place, Sim};

/// Allows so many requests a second, or any number.
fn allowing(per_second: Option<u64>, quirks: &[Quirk]) -> Sim {
    Sim::start(SimulatorConfig {
        latency: Latency::Fixed(Duration::from_millis(50)),
        quotas: Quotas {
            requests_per_minute: per_second.map(|count| count * 60),
            ..Quotas::default()
        },
        quirks: quirks.iter().copied().collect(),
        ocr: OcrConfig {
            processing: Duration::from_secs(1),
            quotas: None,
        },
        ..SimulatorConfig::default()
    })
}

/// A service `sim` with deployments at these endpoints, each with more keys.
fn configure(place: &Place, more: &str, deployments: &[(String, &str)]) {
    place.configure("http://127.0.0.1:1", 32, more);
    let mut tables = String::new();
    for (number, (endpoint, keys)) in deployments.iter().enumerate() {
        write!(
            tables,
            "[[service.sim.deployments]]\nname = \"d{number}\"\nendpoint = \"{endpoint}\"\n{keys}\n\n"
        )
        .expect("a string takes text");
    }
    place.reconfigure("endpoint = \"http://127.0.0.1:1\"\n", "");
    place.reconfigure("[[pipeline", &format!("{tables}[[pipeline"));
}

fn count(sim: &Sim, key: &str) -> u64 {
    let stats = sim.stats();
    stats[key]
        .as_u64()
        .unwrap_or_else(|| panic!("{key} in {stats}"))
}

#[test]
fn a_fleet_runs_at_the_sum_of_the_quotas_of_all_deployments() {
    let (large, small) = (allowing(Some(40), &[]), allowing(Some(20), &[]));
    let fleet = Fleet::new(600);
    let limits = |per_second: u64| format!("limits = {{ requests_per_second = {per_second} }}");
    let (of_large, of_small) = (limits(40), limits(20));
    let deployments = [(large.url(), &*of_large), (small.url(), &*of_small)];
    configure(&fleet.place, "", &deployments);
    fleet.publish();
    let workers = fleet.workers(2);
    fleet.collect();
    Results::read(&fleet.place.out()).assert_exactly_once(600);
    let (by_large, by_small) = (large.paid().0, small.paid().0);
    assert_eq!(by_large + by_small, 600);
    // Two of three, for as long as both had work.
    assert!(
        (360..=440).contains(&by_large),
        "{by_large} of 600 at 2 of 3"
    );
    let refused = count(&large, "throttled") + count(&small, "throttled");
    assert!(refused <= 30, "{refused} refused of 600");
    fleet.dismiss(workers);
}

#[test]
fn one_that_wants_to_be_left_alone_for_a_day_is_and_the_other_takes_its_calls() {
    let (stern, open) = (
        allowing(Some(2), &[Quirk::RetryAfter24h]),
        allowing(None, &[]),
    );
    let place = Place::with_files(300);
    configure(
        &place,
        "",
        &[(stern.url(), ""), (open.url(), "priority = 2")],
    );
    place.ends_with(0, "run", &["run", "files", "-o", "out"]);
    Results::read(&place.out()).assert_exactly_once(300);
    assert_eq!(results::summary(&place.out())["succeeded"], 300);
    let (refused, by_open) = (count(&stern, "throttled"), open.paid().0);
    // Those that were in flight when it said so.
    assert!((1..=32).contains(&refused), "{refused} refused");
    assert!(by_open >= 250, "{by_open} of 300");
}

#[test]
fn one_that_is_wrong_or_down_stops_nothing() {
    let (first, second) = (allowing(None, &[]), allowing(None, &[]));
    first.control(&json!({ "down": "unavailable" }));
    let place = Place::with_files(200);
    let nowhere = format!("{}/nowhere", second.url());
    configure(
        &place,
        "[retry]\nbase = \"50ms\"\n",
        &[
            (nowhere, ""),
            (first.url(), ""),
            (second.url(), "priority = 2"),
        ],
    );
    let said = place.ends_with(0, "run", &["run", "files", "-o", "out"]);
    Results::read(&place.out()).assert_exactly_once(200);
    assert_eq!(results::summary(&place.out())["succeeded"], 200, "{said}");
    assert_eq!(second.paid(), (200, 0));
    for name in ["sim/d0", "sim/d1"] {
        let paused = |line: &&str| line.contains("deployment paused") && line.contains(name);
        let told = said.lines().find(paused);
        assert!(told.is_some(), "that {name} is paused is not said: {said}");
    }
}

#[test]
fn the_result_of_a_document_is_asked_for_where_it_was_accepted() {
    let (one, other) = (allowing(None, &[]), allowing(None, &[]));
    let place = Place::with_files(0);
    for number in 0..60 {
        let path = place.files().join(format!("{number:04}.html"));
        fs::write(path, format!("<p>Invoice {number}</p>")).expect("a file");
    }
    let text = format!(
        r#"
[service.ocr]
kind = "docintel"
limits = {{ in_flight = 8 }}
[[service.ocr.deployments]]
name = "one"
endpoint = "{}"
[[service.ocr.deployments]]
name = "other"
endpoint = "{}"

[[pipeline.scans]]
name = "read"
service = "ocr"
read = {{}}
"#,
        one.url(),
        other.url(),
    );
    fs::write(place.path().join("filefleet.toml"), text).expect("a file");
    place.ends_with(0, "run", &["run", "files", "-o", "out"]);
    Results::read(&place.out()).assert_exactly_once(60);
    assert_eq!(results::summary(&place.out())["succeeded"], 60);
    let paid = [&one, &other].map(|sim| sim.stats()["kinds"]["ocr"]["paid"].as_u64());
    let [Some(by_one), Some(by_other)] = paid else {
        panic!("{paid:?}")
    };
    assert_eq!(by_one + by_other, 60, "a document was paid twice");
    assert!(by_one >= 10 && by_other >= 10, "{by_one} and {by_other}");
}
