use std::time::Duration;

use filefleet_worker::config::Config;

use super::*;

const CENSUS: Census = Census {
    files: 6_000,
    bytes: 6_000_000,
    unreadable: 0,
    links: 0,
};

/// 6000 files of one call each in every service, with 500 tokens of prompt and 500 reserved.
fn estimate(services: &[&str]) -> Estimate {
    let load = |service: &&str| Load {
        service: (*service).to_owned(),
        steps: 6_000.0,
        sent: 6_000.0,
        waits: 6_000.0,
        calls: 6_000.0,
        input_tokens: 3_000_000.0,
        reserved_tokens: 6_000_000.0,
        cost: 1.5,
        ..Load::default()
    };
    Estimate {
        loads: services.iter().map(load).collect(),
        failures: BTreeMap::new(),
    }
}

fn with(limits: &[(&str, &str)], estimate: &Estimate, workers: u64) -> Forecast {
    let service = |(name, limits): &(&str, &str)| {
        format!(
            "[service.{name}]\nkind = \"openai\"\nendpoint = \"http://127.0.0.1:9/v1\"\n\
             limits = {{ {limits} }}\n"
        )
    };
    let text: String = limits.iter().map(service).collect();
    let config = Config::parse("test.toml", &text).unwrap();
    let latency = Latency {
        median: Duration::from_secs(1),
        sigma: 0.0,
    };
    let setting = Setting {
        services: &config.services,
        latencies: &BTreeMap::new(),
        latency,
    };
    forecast(CENSUS, estimate, &setting, workers)
}

fn about(seconds: f64, expected: f64) {
    assert!(
        (seconds / expected - 1.0).abs() < 0.02,
        "{seconds} s, not {expected}"
    );
}

#[test]
fn a_quota_of_requests_binds_whatever_the_number_of_workers() {
    let limits = [("gpt", "in_flight = 100, requests_per_minute = 600")];
    for workers in [1, 8] {
        let found = with(&limits, &estimate(&["gpt"]), workers);
        let bound = found.bound.unwrap();
        assert_eq!((bound.by, bound.limit), (Bound::RequestsPerMinute, 600));
        assert!(!bound.more_workers_help);
        assert_eq!(bound.most_workers, Some(1));
        about(found.wall_seconds, 6_000.0 / 10.0 / USED);
    }
}

#[test]
fn a_quota_of_tokens_is_used_by_what_is_reserved() {
    let limits = [("gpt", "in_flight = 100, tokens_per_minute = 1_200_000")];
    let found = with(&limits, &estimate(&["gpt"]), 1);
    assert_eq!(found.bound.unwrap().by, Bound::TokensPerMinute);
    about(found.wall_seconds, 300.0 / USED);
}

#[test]
fn latency_binds_until_there_are_workers_enough_for_the_quota() {
    let limits = [("gpt", "in_flight = 10, requests_per_second = 35")];
    let found = with(&limits, &estimate(&["gpt"]), 1);
    let bound = found.bound.unwrap();
    assert_eq!((bound.by, bound.limit), (Bound::InFlight, 10));
    assert!(bound.more_workers_help);
    assert_eq!(bound.most_workers, Some(4));
    about(found.wall_seconds, 600.0);
    about(with(&limits, &estimate(&["gpt"]), 2).wall_seconds, 300.0);
    let enough = with(&limits, &estimate(&["gpt"]), 4);
    assert_eq!(enough.bound.unwrap().by, Bound::RequestsPerMinute);
    about(enough.wall_seconds, 6_000.0 / 35.0 / USED);
}

#[test]
fn without_a_quota_more_workers_always_help() {
    let found = with(&[("gpt", "in_flight = 10")], &estimate(&["gpt"]), 3);
    let bound = found.bound.unwrap();
    assert!(bound.more_workers_help && bound.most_workers.is_none());
}

#[test]
fn stages_overlap_so_the_slowest_service_binds_and_all_are_paid() {
    let limits = [("ocr", "in_flight = 20"), ("gpt", "in_flight = 10")];
    let found = with(&limits, &estimate(&["ocr", "gpt"]), 1);
    assert_eq!(found.bound.unwrap().service, "gpt");
    about(found.wall_seconds, 600.0);
    assert!((found.cost - 3.0).abs() < 1e-9);
}

#[test]
fn questions_for_results_have_their_own_bounds() {
    let mut polled = estimate(&["ocr"]);
    polled.loads[0].polls = 12_000.0;
    let text = "[service.ocr]\nkind = \"docintel\"\nendpoint = \"http://127.0.0.1:9\"\n\
                limits = { in_flight = 500, polls_per_second = 20 }\n";
    let config = Config::parse("test.toml", text).unwrap();
    let latency = Latency {
        median: Duration::from_secs(1),
        sigma: 0.0,
    };
    let setting = Setting {
        services: &config.services,
        latencies: &BTreeMap::new(),
        latency,
    };
    let found = forecast(CENSUS, &polled, &setting, 1);
    assert_eq!(found.bound.unwrap().by, Bound::PollsPerMinute);
    about(found.wall_seconds, 600.0 / USED);
}

#[test]
fn nothing_to_do_takes_no_time() {
    let nothing = Estimate {
        loads: vec![Load {
            service: "gpt".to_owned(),
            ..Load::default()
        }],
        failures: BTreeMap::from([("not_text".to_owned(), 1.0)]),
    };
    let found = with(&[("gpt", "in_flight = 10")], &nothing, 1);
    assert!(found.bound.is_none() && found.wall_seconds < 1.0);
}
