//! Forecasts: what binds a run, and what it costs, held against runs of all files.

use filefleet_simulator::SimulatorConfig;
use filefleet_tests::results;
use serde_json::Value;

use crate::support::{LIMIT, Place, Sim};

/// An address that nobody listens at: a rehearsal must not call it.
const NOBODY: &str = "http://127.0.0.1:9/v1";

/// What `rehearse files` with further arguments forecasts.
fn forecast(place: &Place, more: &[&str]) -> Value {
    let args = [&["rehearse", "files", "--json"], more].concat();
    let mut rehearsal = place.filefleet("rehearse", &args);
    let code = rehearsal.wait(LIMIT);
    assert_eq!(code, 0, "{}", rehearsal.log());
    let out = rehearsal.out();
    let mut lines = out
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    lines
        .find(|line: &Value| line["event"] == "forecast")
        .unwrap_or_else(|| panic!("no forecast: {out}"))
}

fn seconds(forecast: &Value) -> f64 {
    forecast["wall_seconds"].as_f64().expect("a time")
}

#[test]
fn a_quota_of_requests_is_named_and_more_workers_do_not_help() {
    let place = Place::with_files(1_200);
    place.configure(NOBODY, 100, "");
    place.reconfigure("in_flight = 100", "requests_per_minute = 600");
    let one = forecast(&place, &[]);
    assert_eq!(
        (&one["files"], &one["sampled"]),
        (&1_200.into(), &200.into())
    );
    assert_eq!(one["bound"]["by"], "requests_per_minute");
    assert_eq!(one["bound"]["service"], "sim");
    assert_eq!(one["bound"]["more_workers_help"], false);
    assert!((120.0..130.0).contains(&seconds(&one)), "{one}");
    let eight = forecast(&place, &["--workers", "8"]);
    assert!(
        (seconds(&one) - seconds(&eight)).abs() < 2.0,
        "{one} {eight}"
    );
    let said = place.filefleet("words", &["rehearse", "files"]);
    let words = ended(said);
    let expected = "bound by requests_per_minute of service sim (600): more workers do not help";
    assert!(words.contains(expected), "{words}");
    assert!(!place.out().exists() && !place.path().join("filefleet-out").exists());
}

#[test]
fn latency_binds_until_there_are_enough_workers_or_calls_in_flight() {
    let place = Place::with_files(400);
    place.configure(NOBODY, 10, "");
    place.reconfigure("in_flight = 10", "in_flight = 10, requests_per_second = 35");
    let one = forecast(&place, &["--latency", "1s"]);
    assert_eq!(one["bound"]["by"], "in_flight");
    assert_eq!(one["bound"]["more_workers_help"], true);
    assert_eq!(one["bound"]["most_workers"], 4);
    assert!((40.0..41.0).contains(&seconds(&one)), "{one}");
    let two = forecast(&place, &["--latency", "sim=1s", "--workers", "2"]);
    assert!((20.0..21.0).contains(&seconds(&two)), "{two}");
    let wide = forecast(&place, &["--in-flight", "20"]);
    assert!((20.0..21.0).contains(&seconds(&wide)), "{wide}");
    place.reconfigure("in_flight = 10, ", "");
    let found = ended(place.filefleet("found", &["rehearse", "files"]));
    let expected = "while a worker finds out how many calls at once it takes (up to 256)";
    assert!(found.contains(expected), "{found}");
    place.reconfigure("requests", "in_flight = 10, requests");
    let words = ended(place.filefleet("words", &["rehearse", "files"]));
    let expected = "more in_flight or more workers help, up to 4 workers: then a quota binds";
    assert!(words.contains(expected), "{words}");
}

#[test]
fn several_deployments_are_as_fast_as_their_quotas_together() {
    let place = Place::with_files(600);
    place.configure(NOBODY, 50, "");
    place.reconfigure(
        "[[pipeline",
        "[[service.sim.deployments]]\nname = \"large\"\nlimits = { in_flight = 50, requests_per_second = 40 }\n\
         [[service.sim.deployments]]\nname = \"small\"\nlimits = { in_flight = 50, requests_per_second = 20 }\n\
         [[pipeline",
    );
    let forecast = forecast(&place, &[]);
    assert_eq!(forecast["bound"]["by"], "requests_per_minute");
    assert_eq!(forecast["bound"]["limit"], 3600);
    assert!((10.0..12.0).contains(&seconds(&forecast)), "{forecast}");
}

#[test]
fn the_cost_of_all_files_is_forecast_from_a_sample_of_every_size() {
    let sim = Sim::start(SimulatorConfig::default());
    let place = Place::with_files(300);
    results::make_files(&place.files().join("larger"), 40, 10_000);
    results::make_files(&place.files().join("largest"), 5, 100_000);
    place.configure(&sim.url(), 16, "");
    place.reconfigure(
        "limits",
        "price = { per_1k_input_tokens = 1.0, per_1k_output_tokens = 2.0, per_call = 0.01 }\nlimits",
    );
    let forecast = forecast(&place, &["--sample", "40"]);
    assert_eq!(sim.stats()["requests"], 0, "a rehearsal calls no service");
    place.ends_with(0, "run", &["run", "files", "-o", "out"]);
    let usage = &results::summary(&place.out())["usage"];
    let close = |found: &Value, real: &Value| {
        let ratio = found.as_f64().expect("a number") / real.as_f64().expect("a number");
        assert!((0.97..1.03).contains(&ratio), "{ratio}: {forecast} {usage}");
    };
    let service = &forecast["services"][0];
    close(&forecast["cost"], &usage["cost"]);
    for key in ["calls", "input_tokens", "output_tokens", "cost"] {
        close(&service[key], &usage[key]);
    }
    assert!(forecast["sampled"].as_u64() <= Some(40), "{forecast}");
}

#[test]
fn files_that_would_fail_are_a_share_by_cause_and_the_forecast_a_success() {
    let place = Place::with_files(90);
    for number in 0..10 {
        let bytes = [0xc3, 0x28, 0xff, 0x80].repeat(256);
        std::fs::write(place.files().join(format!("{number}.txt")), bytes).expect("a file");
    }
    place.configure(NOBODY, 10, "");
    let found = forecast(&place, &[]);
    let share = found["failures"]["not_text"].as_f64().expect("a share");
    assert!((share - 0.1).abs() < 1e-6, "{found}");
    let words = ended(place.filefleet("words", &["rehearse", "files"]));
    assert!(words.contains("10 % would fail: not_text 10 %"), "{words}");
}

#[test]
fn a_directory_without_files_and_a_latency_of_no_service_are_usage_errors() {
    let place = Place::with_files(1);
    place.configure(NOBODY, 10, "");
    let said = place.ends_with(2, "typo", &["rehearse", "files", "--latency", "gpt=1s"]);
    assert!(said.contains("no [service.gpt]; there is: sim"), "{said}");
    std::fs::create_dir(place.path().join("empty")).expect("a directory");
    let said = place.ends_with(2, "empty", &["rehearse", "empty"]);
    assert!(said.contains("no file to work on"), "{said}");
}

/// What a command that succeeds says.
fn ended(mut process: filefleet_tests::process::Process) -> String {
    let code = process.wait(LIMIT);
    assert_eq!(code, 0, "{}", process.log());
    process.out()
}
