//! Faults: by chance, by control, and as the client sees them.

use filefleet_simulator::{Faults, Quirk, SimulatorConfig};
use serde_json::{Value, json};

use super::{Service, chat};

async fn failing(faults: Faults) -> Service {
    Service::start(SimulatorConfig {
        faults,
        ..SimulatorConfig::default()
    })
    .await
}

#[tokio::test]
async fn errors_have_the_body_of_the_dialect() {
    let azure = "/openai/deployments/dep/chat/completions?api-version=2024-10-21";
    let service = failing(Faults {
        error_500: 1.0,
        ..Faults::default()
    })
    .await;
    let reply = service.chat("x").await;
    assert_eq!(reply.status, 500);
    assert_eq!(reply.error()["type"], "server_error");
    let reply = service.post(azure, &chat("x")).await;
    assert_eq!(reply.error()["code"], "InternalServerError");

    service
        .control(json!({"error_500": 0, "error_503": 1}))
        .await;
    let reply = service.chat("x").await;
    assert_eq!(reply.status, 503);
    for field in ["message", "type", "param", "code"] {
        assert!(reply.error().get(field).is_some(), "{field}");
    }
    service
        .control(json!({"error_503": 0, "error_429": 1}))
        .await;
    let reply = service.chat("x").await;
    assert_eq!(reply.status, 429);
    assert_eq!(reply.header("retry-after"), "1");
    assert_eq!(service.stats().await.paid, 0);
}

#[tokio::test]
async fn a_reset_answer_breaks_in_the_middle_and_is_paid() {
    let service = failing(Faults {
        reset: 1.0,
        ..Faults::default()
    })
    .await;
    let request = service.request("/v1/chat/completions", &chat("Hello"));
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 200);
    let error = response.text().await.unwrap_err();
    assert!(error.is_body() || error.is_decode(), "{error:?}");
    let stats = service.stats().await;
    assert_eq!((stats.paid, stats.reset), (1, 1));
}

#[tokio::test]
async fn a_malformed_answer_is_whole_and_no_json() {
    let service = failing(Faults {
        malformed: 1.0,
        ..Faults::default()
    })
    .await;
    let reply = service.chat("Hello").await;
    assert_eq!(reply.status, 200);
    assert!(serde_json::from_str::<Value>(&reply.text).is_err());
    let stats = service.stats().await;
    assert_eq!((stats.paid, stats.malformed), (1, 1));
}

#[tokio::test]
async fn the_same_seed_fails_the_same_requests() {
    let faults = Faults {
        error_500: 0.3,
        ..Faults::default()
    };
    let run = async |seed| {
        let service = Service::start(SimulatorConfig {
            seed,
            faults,
            ..SimulatorConfig::default()
        })
        .await;
        let mut statuses = Vec::new();
        for _ in 0..40 {
            statuses.push(service.chat("x").await.status);
        }
        statuses
    };
    let first = run(5).await;
    assert_eq!(first, run(5).await);
    assert_ne!(first, run(6).await);
    let failed = first.iter().filter(|status| **status == 500).count();
    assert!((5..20).contains(&failed), "{failed}");
}

#[tokio::test]
async fn a_service_that_is_down_closes_or_answers_503_until_it_is_up() {
    let service = Service::start(SimulatorConfig::default()).await;
    assert_eq!(service.chat("x").await.status, 200);
    service.control(json!({"down": true})).await;
    let request = service.request("/v1/chat/completions", &chat("x"));
    let error = request.send().await.unwrap_err();
    assert!(error.is_request() && !error.is_timeout(), "{error:?}");
    assert_eq!(service.get("/health").await.status, 503);
    service.control(json!({"down": "unavailable"})).await;
    assert_eq!(service.chat("x").await.status, 503);
    service.control(json!({"down": false})).await;
    assert_eq!(service.chat("x").await.status, 200);
    let stats = service.stats().await;
    assert!(stats.closed >= 1);
    assert_eq!(stats.by_status, [(200, 2), (503, 1)].into());
}

#[tokio::test]
async fn an_impossible_change_is_refused_and_changes_nothing() {
    let service = Service::start(SimulatorConfig::default()).await;
    for change in [
        json!({"error_500": 2}),
        json!({"requests_per_minute": 0}),
        json!({"eror_500": 0.1}),
        json!({"quirks": ["no-such-quirk"]}),
    ] {
        let reply = service.post("/_control", &change).await;
        assert_eq!(reply.status, 400, "{change}");
        assert!(reply.json()["error"].is_string());
    }
    assert_eq!(service.simulator.config(), SimulatorConfig::default());
}

#[tokio::test]
async fn an_answer_that_is_not_the_json_asked_for_is_corrected_when_the_model_is_told() {
    let service = Service::with(&[Quirk::InvalidJson]).await;
    let ask = async |text: &str, answered: bool| {
        let mut messages = vec![json!({"role": "user", "content": text})];
        if answered {
            messages.push(json!({"role": "assistant", "content": "no"}));
            messages.push(json!({"role": "user", "content": "That is no JSON."}));
        }
        let body = json!({
            "model": "m", "messages": messages, "response_format": {"type": "json_object"},
        });
        let reply = service.post("/v1/chat/completions", &body).await;
        serde_json::from_str::<Value>(&reply.content()).is_ok_and(|json| json.is_object())
    };
    for text in ["Some JSON", "Some JSON!"] {
        assert!(!ask(text, false).await, "{text}");
        assert!(ask(text, true).await, "{text}");
    }
    // Where no JSON is asked for, every answer will do.
    assert_eq!(service.chat("Hello").await.status, 200);
}
