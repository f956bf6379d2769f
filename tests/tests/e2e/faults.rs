//! Services that refuse, fail and throttle: nothing burns, nothing is lost.

use std::collections::BTreeSet;

use filefleet_simulator::{Quirk, SimulatorConfig};
use filefleet_tests::results::{self, Results};

use crate::support::{Place, Sim};

fn with_quirk(name: &str) -> SimulatorConfig {
    let quirk: Quirk = name.parse().expect("a quirk");
    SimulatorConfig {
        quirks: BTreeSet::from([quirk]),
        ..SimulatorConfig::default()
    }
}

#[test]
fn a_refused_key_pauses_the_run_early_and_the_right_key_finishes_it() {
    let sim = Sim::start(SimulatorConfig {
        require_key: Some("right".to_owned()),
        ..SimulatorConfig::default()
    });
    let place = Place::with_files(300);
    place.configure(&sim.url(), 10, "");
    let path = place.path().join("filefleet.toml");
    let text = std::fs::read_to_string(&path).expect("the configuration");
    let keyed = text.replace(
        "timeout = \"30s\"",
        "timeout = \"30s\"\nkey = { file = \"key\" }",
    );
    std::fs::write(&path, keyed).expect("the configuration");
    std::fs::write(place.path().join("key"), "wrong").expect("the key");
    let said = place.ends_with(4, "wrong", &["run", "files", "-o", "out"]);
    assert!(said.contains("401") && said.contains("sim"), "{said}");
    assert!(!said.contains("wrong\""), "the key is shown: {said}");
    let refused = sim.stats()["requests"].as_u64().expect("a count");
    assert!(refused <= 13, "{refused} calls with a refused key");
    assert_eq!(
        Results::read(&place.out()).counts().len(),
        0,
        "files failed for a wrong key"
    );
    std::fs::write(place.path().join("key"), "right").expect("the key");
    place.ends_with(0, "right", &["run", "files", "-o", "out"]);
    Results::read(&place.out()).assert_exactly_once(300);
}

#[test]
fn a_service_that_is_not_there_pauses_the_run_and_fails_no_file() {
    let place = Place::with_files(50);
    // A port that nobody listens on: bound here, then closed.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a free port")
        .port();
    place.configure(&format!("http://127.0.0.1:{port}/v1"), 10, "");
    let said = place.ends_with(4, "run", &["run", "files", "-o", "out"]);
    assert!(
        said.contains("unreachable") && said.contains("sim"),
        "{said}"
    );
    assert_eq!(said.matches("service paused").count(), 1, "{said}");
    assert_eq!(
        Results::read(&place.out()).counts().len(),
        0,
        "files failed for a missing service"
    );
}

#[test]
fn no_money_left_pauses_the_run_and_fails_no_file() {
    for quirk in ["insufficient-quota", "payment-required"] {
        let sim = Sim::start(with_quirk(quirk));
        let place = Place::with_files(50);
        place.configure(&sim.url(), 5, "");
        let said = place.ends_with(4, "run", &["run", "files", "-o", "out"]);
        assert!(said.contains("quota_exhausted"), "{quirk}: {said}");
        assert_eq!(Results::read(&place.out()).counts().len(), 0, "{quirk}");
    }
}

#[test]
fn calls_of_attempts_that_were_put_off_are_counted_and_cost_what_they_cost() {
    let mut config = SimulatorConfig::default();
    config.faults.error_500 = 0.3;
    let sim = Sim::start(config);
    let place = Place::with_files(60);
    // Nothing is tried again in the worker: each attempt is a delivery of its own.
    let more = "[retry]\nbase = \"50ms\"\nhold = \"1ms\"\nattempts = 50\nbudget = 1.0\n\
                [service.sim.price]\nper_call = 0.01\n";
    place.configure(&sim.url(), 10, more);
    place.ends_with(0, "run", &["run", "files", "-o", "out"]);
    Results::read(&place.out()).assert_exactly_once(60);
    let calls = sim.stats()["requests"].as_u64().expect("a count");
    assert!(calls > 60, "no call has failed");
    let summary = results::summary(&place.out());
    for usage in [&summary["usage"], &summary["by_service"]["sim"]] {
        assert_eq!(usage["calls"], calls, "{summary}");
        let cost = usage["cost"].as_f64().expect("an amount");
        let expected = 0.01 * f64::from(u32::try_from(calls).expect("few"));
        assert!((cost - expected).abs() < 1e-9, "{summary}");
    }
}

#[test]
fn errors_of_the_service_are_tried_again_until_every_file_succeeds() {
    let mut config = SimulatorConfig::default();
    config.faults.error_500 = 0.1;
    config.faults.error_503 = 0.1;
    config.faults.malformed = 0.05;
    config.faults.reset = 0.05;
    let sim = Sim::start(config);
    let place = Place::with_files(200);
    place.configure(&sim.url(), 20, "[retry]\nattempts = 12\nbase = \"10ms\"");
    place.ends_with(0, "run", &["run", "files", "-o", "out"]);
    Results::read(&place.out()).assert_exactly_once(200);
}

#[test]
fn a_quota_is_waited_for_and_costs_no_attempts() {
    for quirk in [
        None,
        Some("retry-after-ms-zero"),
        Some("retry-after-negative"),
        Some("retry-after-missing"),
        Some("ratelimit-negative"),
    ] {
        let mut config = quirk.map_or_else(SimulatorConfig::default, with_quirk);
        config.latency = filefleet_simulator::Latency::Fixed(std::time::Duration::from_millis(1));
        config.quotas.requests_per_minute = Some(1800);
        let sim = Sim::start(config);
        let place = Place::with_files(90);
        place.configure(&sim.url(), 10, "[retry]\nattempts = 1\nbase = \"100ms\"");
        place.ends_with(0, "run", &["run", "files", "-o", "out"]);
        Results::read(&place.out()).assert_exactly_once(90);
        assert_eq!(sim.paid(), (90, 0), "{quirk:?}");
        let throttled = sim.stats()["throttled"].as_u64().expect("a count");
        assert!(throttled > 0, "{quirk:?}: the quota was never felt");
    }
}

#[test]
fn answers_that_are_no_answers_are_named_outcomes_with_what_they_cost() {
    let sim = Sim::start(with_quirk("markers"));
    let place = Place::with_files(5);
    let markers = [
        ("SIM_TRUNCATE", "truncated"),
        ("SIM_REFUSAL", "refusal"),
        ("SIM_EMPTY", "empty_answer"),
    ];
    for (marker, _) in markers {
        let path = place.files().join(format!("{marker}.txt"));
        std::fs::write(path, format!("A letter with {marker} in it.")).expect("a file");
    }
    place.configure(&sim.url(), 4, "");
    place.ends_with(1, "run", &["run", "files", "-o", "out"]);
    let results = Results::read(&place.out());
    results.assert_exactly_once(8);
    for (marker, cause) in markers {
        let line = results
            .failed
            .iter()
            .find(|line| line["file"].to_string().contains(marker));
        let line = line.unwrap_or_else(|| panic!("no failure for {marker}"));
        assert_eq!(line["cause"], cause, "{line}");
        assert!(line["usage"]["input_tokens"].as_u64() > Some(0), "{line}");
    }
    let causes = &results::summary(&place.out())["failures_by_cause"];
    assert_eq!(causes["refusal"], 1, "{causes}");
}

#[test]
fn far_more_calls_in_flight_than_the_quota_allows_end_in_no_storm() {
    const FILES: u32 = 100;
    let mut config = SimulatorConfig::default();
    // 10 a second, and what is refused counts too; 40 at once would never get below it.
    config.quotas.requests_per_minute = Some(600);
    let sim = Sim::start(config);
    let place = Place::with_files(FILES.try_into().expect("a count"));
    place.configure(&sim.url(), 40, "");
    place.ends_with(0, "run", &["run", "files", "-o", "out"]);
    Results::read(&place.out()).assert_exactly_once(FILES.into());
    let stats = sim.stats();
    let throttled = stats["throttled"].as_u64().expect("a count");
    println!("{throttled} calls refused for {FILES} files");
    assert!(throttled <= 3 * u64::from(FILES), "a storm: {stats}");
    assert_eq!(sim.paid(), (FILES.into(), 0));
}
