//! Quotas over real time, and what the answers say about them.

use std::time::{Duration, Instant};

use filefleet_simulator::{Knee, Latency, Quotas, SimulatorConfig};
use serde_json::json;

use super::{Service, chat};

const AZURE: &str = "/openai/deployments/dep/chat/completions?api-version=2024-10-21";

fn limited(quotas: Quotas) -> SimulatorConfig {
    SimulatorConfig {
        quotas,
        ..SimulatorConfig::default()
    }
}

#[tokio::test]
async fn no_window_ever_lets_more_through_than_the_quota() {
    // 6000 a minute over 500 ms are 50 in every 500 ms.
    let service = Service::start(limited(Quotas {
        requests_per_minute: Some(6000),
        request_window: Duration::from_millis(500),
        rejections_count: false,
        ..Quotas::default()
    }))
    .await;
    let begin = Instant::now();
    let mut accepted = Vec::new();
    while begin.elapsed() < Duration::from_millis(1600) {
        let before = begin.elapsed();
        if service.chat("x").await.status == 200 {
            accepted.push((before, begin.elapsed()));
        }
    }
    // From before one was sent until after the 50th later was answered is longer than a window.
    for pair in accepted.windows(51) {
        let (first, last) = (pair[0].0, pair[50].1);
        assert!(
            last - first >= Duration::from_millis(500),
            "{first:?} to {last:?}"
        );
    }
    let stats = service.stats().await;
    assert_eq!(stats.paid, accepted.len() as u64);
    assert!((50..=200).contains(&accepted.len()), "{}", accepted.len());
    assert!(stats.throttled > 0);
    assert_eq!(stats.requests, stats.paid + stats.throttled);
}

#[tokio::test]
async fn a_429_says_when_to_come_back_and_is_right() {
    let service = Service::start(limited(Quotas {
        requests_per_minute: Some(120),
        request_window: Duration::from_millis(500),
        ..Quotas::default()
    }))
    .await;
    let first = service.chat("x").await;
    assert_eq!(first.status, 200);
    assert_eq!(first.header("x-ratelimit-limit-requests"), "120");
    assert_eq!(first.header("x-ratelimit-remaining-requests"), "0");
    assert!(first.header("x-ratelimit-reset-requests").ends_with("ms"));
    let refused = service.chat("x").await;
    assert_eq!(refused.status, 429);
    let error = refused.error();
    assert_eq!(error["type"], "requests");
    assert_eq!(error["code"], "rate_limit_exceeded");
    assert!(
        error["message"]
            .as_str()
            .unwrap()
            .contains("Please try again in")
    );
    assert_eq!(refused.header("retry-after"), "1");
    let wait: u64 = refused.header("retry-after-ms").parse().unwrap();
    assert!((1..=500).contains(&wait), "{wait}");
    // Waiting as told is what is tested here.
    tokio::time::sleep(Duration::from_millis(wait)).await;
    assert_eq!(service.chat("x").await.status, 200);
}

#[tokio::test]
async fn tokens_are_judged_by_prompt_and_max_tokens() {
    let service = Service::start(limited(Quotas {
        tokens_per_minute: Some(1000),
        ..Quotas::default()
    }))
    .await;
    let mut body = chat(&"x".repeat(400));
    body["max_tokens"] = json!(500);
    let first = service.post(AZURE, &body).await;
    assert_eq!(first.status, 200);
    assert_eq!(first.header("x-ratelimit-limit-tokens"), "1000");
    assert_eq!(first.header("x-ratelimit-remaining-tokens"), "400");
    // Azure gives whole seconds.
    let reset: u64 = first.header("x-ratelimit-reset-tokens").parse().unwrap();
    assert!((58..=60).contains(&reset));
    let refused = service.post(AZURE, &body).await;
    assert_eq!(refused.status, 429);
    let error = refused.error();
    assert_eq!(error["code"], "429");
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("token rate limit"), "{message}");
    assert!(message.contains("API version 2024-10-21"), "{message}");
    let openai = service.post("/v1/chat/completions", &body).await;
    assert_eq!(openai.error()["type"], "tokens");
    body["max_tokens"] = json!(300);
    assert_eq!(service.post(AZURE, &body).await.status, 200);
}

#[tokio::test]
async fn requests_that_fail_count_against_the_quota() {
    let service = Service::start(limited(Quotas {
        requests_per_minute: Some(2),
        request_window: Duration::from_secs(60),
        ..Quotas::default()
    }))
    .await;
    let wrong = json!({"model": "m"});
    for status in [400, 400, 429] {
        let reply = service.post("/v1/chat/completions", &wrong).await;
        assert_eq!(reply.status, status);
    }
    assert_eq!(service.chat("x").await.status, 429);
}

#[tokio::test]
async fn a_quota_can_be_halved_while_it_serves() {
    let service = Service::start(limited(Quotas {
        requests_per_minute: Some(6),
        request_window: Duration::from_secs(60),
        rejections_count: false,
        ..Quotas::default()
    }))
    .await;
    for _ in 0..3 {
        assert_eq!(service.chat("x").await.status, 200);
    }
    service.control(json!({"requests_per_minute": 3})).await;
    assert_eq!(service.chat("x").await.status, 429);
    service.control(json!({"requests_per_minute": null})).await;
    assert_eq!(service.chat("x").await.status, 200);
}

#[tokio::test]
async fn more_than_fit_at_once_are_refused_with_503() {
    let service = Service::start(SimulatorConfig {
        latency: Latency::Fixed(Duration::from_millis(400)),
        quotas: Quotas {
            max_concurrent: Some(2),
            ..Quotas::default()
        },
        ..SimulatorConfig::default()
    })
    .await;
    let (one, two, three) = tokio::join!(service.chat("a"), service.chat("b"), service.chat("c"));
    let mut statuses = [one.status, two.status, three.status].map(|status| status.as_u16());
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 503]);
    let stats = service.stats().await;
    assert_eq!((stats.max_in_flight, stats.in_flight), (3, 0));
}

#[tokio::test]
async fn latency_is_the_same_for_the_same_request_and_grows_beyond_the_knee() {
    let service = Service::start(SimulatorConfig {
        seed: 9,
        latency: Latency::LogNormal {
            median: Duration::from_millis(100),
            sigma: 0.8,
        },
        ..SimulatorConfig::default()
    })
    .await;
    let took = |text: &'static str| {
        let service = &service;
        async move {
            let reply = service.chat(text).await;
            reply.header("openai-processing-ms").parse::<i64>().unwrap()
        }
    };
    let (first, again) = (took("a").await, took("a").await);
    assert!((first - again).abs() <= 40, "{first} {again}");
    service
        .simulator
        .reconfigure(SimulatorConfig {
            latency: Latency::Fixed(Duration::from_millis(50)),
            knee: Some(Knee {
                above: 0,
                factor: 4.0,
            }),
            ..SimulatorConfig::default()
        })
        .unwrap();
    assert!(took("a").await >= 200);
}
