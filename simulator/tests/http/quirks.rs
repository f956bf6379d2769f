//! Every quirk, as a client meets it.

use std::time::{Duration, Instant, SystemTime};

use filefleet_simulator::{Faults, Latency, Quirk, SimulatorConfig};
use serde_json::{Value, json};

use super::{Reply, Service, chat};

/// A 429 of a service with one quirk.
async fn throttled(quirk: Quirk) -> Reply {
    let service = Service::start(SimulatorConfig {
        faults: Faults {
            error_429: 1.0,
            ..Faults::default()
        },
        quotas: filefleet_simulator::Quotas {
            requests_per_minute: Some(600),
            ..Default::default()
        },
        quirks: [quirk].into(),
        ..SimulatorConfig::default()
    })
    .await;
    let reply = service.chat("x").await;
    assert_eq!(reply.status, 429);
    reply
}

#[tokio::test]
async fn retry_after_comes_in_all_its_forms() {
    let zero = throttled(Quirk::RetryAfterMsZero).await;
    assert_eq!(zero.header("retry-after-ms"), "0");
    assert_eq!(zero.header("retry-after"), "1");
    let day = throttled(Quirk::RetryAfter24h).await;
    assert_eq!(day.header("retry-after"), "86400");
    assert_eq!(day.header("retry-after-ms"), "86400000");
    let negative = throttled(Quirk::RetryAfterNegative).await;
    assert_eq!(negative.header("retry-after"), "-1");
    let missing = throttled(Quirk::RetryAfterMissing).await;
    assert!(!missing.headers.contains_key("retry-after"));
    assert!(!missing.headers.contains_key("retry-after-ms"));
    let date = throttled(Quirk::RetryAfterDate).await;
    assert!(!date.headers.contains_key("retry-after-ms"));
    let when = httpdate::parse_http_date(date.header("retry-after")).unwrap();
    let wait = when.duration_since(SystemTime::now()).unwrap_or_default();
    assert!(wait <= Duration::from_secs(2), "{wait:?}");
}

#[tokio::test]
async fn rate_limits_lie_or_are_negative() {
    let lies = throttled(Quirk::RemainingLies).await;
    assert_eq!(lies.header("x-ratelimit-remaining-requests"), "300");
    let negative = throttled(Quirk::RatelimitNegative).await;
    for what in ["requests", "tokens"] {
        for (part, value) in [("limit", "-1"), ("remaining", "-1"), ("reset", "0")] {
            assert_eq!(
                negative.header(&format!("x-ratelimit-{part}-{what}")),
                value
            );
        }
    }
}

#[tokio::test]
async fn deepseek_sends_empty_lines_until_the_answer() {
    let service = Service::start(SimulatorConfig {
        quirks: [Quirk::DeepseekKeepAlive].into(),
        latency: Latency::Fixed(Duration::from_millis(300)),
        keep_alive: Duration::from_millis(50),
        ..SimulatorConfig::default()
    })
    .await;
    let begin = Instant::now();
    let request = service.request("/chat/completions", &chat("x"));
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 200);
    let headers_after = begin.elapsed();
    let text = response.text().await.unwrap();
    assert!(begin.elapsed() >= Duration::from_millis(300));
    assert!(headers_after < begin.elapsed());
    assert!(text.starts_with("\n\n"), "{text:?}");
    let body: Value = serde_json::from_str(text.trim()).unwrap();
    assert_eq!(body["object"], "chat.completion");
    assert_eq!(service.stats().await.paid, 1);
}

#[tokio::test]
async fn llama_cpp_loads_and_speaks_its_own_errors() {
    let service = Service::start(SimulatorConfig {
        quirks: [
            Quirk::LlamacppLoading,
            Quirk::IntegerCode,
            Quirk::ContextExceeded,
        ]
        .into(),
        loading: Duration::from_millis(600),
        context_tokens: 10,
        ..SimulatorConfig::default()
    })
    .await;
    let loading = service.chat("x").await;
    assert_eq!(loading.status, 503);
    assert_eq!(
        loading.error(),
        json!({"message": "Loading model", "type": "unavailable_error", "code": 503})
    );
    assert_eq!(service.get("/health").await.status, 503);
    let loaded = async {
        while service.chat("x").await.status != 200 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), loaded)
        .await
        .unwrap();
    let long = service.chat(&"x".repeat(80)).await;
    assert_eq!(long.status, 400);
    let error = long.error();
    assert_eq!(error["type"], "exceed_context_size_error");
    assert_eq!(
        (&error["code"], &error["n_prompt_tokens"], &error["n_ctx"]),
        (&json!(400), &json!(20), &json!(10))
    );
    assert!(error.get("param").is_none());
    let answer = service.chat("x").await.choice();
    assert!(answer["message"].get("refusal").is_none());
}

#[tokio::test]
async fn openai_names_a_prompt_that_is_too_long() {
    let service = Service::start(SimulatorConfig {
        quirks: [Quirk::ContextExceeded].into(),
        context_tokens: 10,
        ..SimulatorConfig::default()
    })
    .await;
    let error = service.chat(&"x".repeat(80)).await.error();
    assert_eq!(error["code"], "context_length_exceeded");
    assert_eq!(error["param"], "messages");
    assert_eq!(service.chat("short").await.status, 200);
}

#[tokio::test]
async fn markers_strike_only_the_requests_that_have_them() {
    let service = Service::with(&[Quirk::Markers]).await;
    assert_eq!(service.chat("nothing special").await.status, 200);

    let filtered = service.chat("one SIM_CONTENT_FILTER two").await;
    assert_eq!(filtered.status, 400);
    let error = filtered.error();
    assert_eq!(
        (&error["code"], &error["param"]),
        (&json!("content_filter"), &json!("prompt"))
    );
    let inner = &error["innererror"];
    assert_eq!(inner["code"], "ResponsibleAIPolicyViolation");
    assert_eq!(inner["content_filter_result"]["violence"]["filtered"], true);

    let withheld = service.chat("SIM_CONTENT_FILTER_200").await;
    assert_eq!(withheld.status, 200);
    assert_eq!(withheld.choice()["finish_reason"], "content_filter");
    assert_eq!(withheld.choice()["message"]["content"], Value::Null);

    let refusal = service.chat("SIM_REFUSAL").await.choice();
    assert!(refusal["message"]["refusal"].is_string());
    assert_eq!(refusal["message"]["content"], Value::Null);
    assert_eq!(refusal["finish_reason"], "stop");

    assert_eq!(
        service.chat("SIM_TRUNCATE").await.choice()["finish_reason"],
        "length"
    );
    assert_eq!(service.chat("SIM_EMPTY").await.content(), "");
    assert_eq!(service.chat("SIM_ERROR").await.status, 500);
    let malformed = service.chat("SIM_MALFORMED").await;
    assert!(serde_json::from_str::<Value>(&malformed.text).is_err());
    let reset = service.request("/v1/chat/completions", &chat("SIM_RESET"));
    assert!(reset.send().await.unwrap().text().await.is_err());
    service.control(json!({"slow_ms": 250})).await;
    let slow = service.chat("SIM_SLOW").await;
    assert!(slow.header("openai-processing-ms").parse::<u64>().unwrap() >= 250);
}

#[tokio::test]
async fn without_the_quirk_markers_are_words_like_others() {
    let service = Service::with(&[]).await;
    for word in [
        "SIM_CONTENT_FILTER",
        "SIM_REFUSAL",
        "SIM_EMPTY",
        "SIM_ERROR",
    ] {
        let reply = service.chat(word).await;
        assert_eq!(reply.status, 200);
        assert!(!reply.content().is_empty());
    }
}

#[tokio::test]
async fn quirks_without_markers_strike_every_request() {
    for (quirk, reason) in [
        (Quirk::ContentFilter200, "content_filter"),
        (Quirk::Truncated, "length"),
    ] {
        let reply = Service::with(&[quirk]).await.chat("x").await;
        assert_eq!(reply.choice()["finish_reason"], reason);
    }
    let filter = Service::with(&[Quirk::ContentFilter400]).await;
    assert_eq!(filter.chat("x").await.error()["code"], "content_filter");
    assert_eq!(
        Service::with(&[Quirk::EmptyContent])
            .await
            .chat("x")
            .await
            .content(),
        ""
    );
    let refused = Service::with(&[Quirk::Refusal]).await.chat("x").await;
    assert!(refused.choice()["message"]["refusal"].is_string());
    let service = Service::with(&[Quirk::Slow]).await;
    service.control(json!({"slow_ms": 100})).await;
    let slow = service.chat("x").await;
    assert!(slow.header("openai-processing-ms").parse::<u64>().unwrap() >= 100);
}

#[tokio::test]
async fn no_money_left_is_told_from_too_fast() {
    let quota = Service::with(&[Quirk::InsufficientQuota])
        .await
        .chat("x")
        .await;
    assert_eq!(quota.status, 429);
    assert_eq!(quota.error()["code"], "insufficient_quota");
    assert!(!quota.headers.contains_key("retry-after"));
    let balance = Service::with(&[Quirk::PaymentRequired])
        .await
        .chat("x")
        .await;
    assert_eq!(balance.status, 402);
    assert_eq!(balance.error()["message"], "Insufficient Balance");
}
