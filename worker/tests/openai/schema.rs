//! Answers that must satisfy a schema: asked for, checked, and asked for once more.

use filefleet_shared::wire::Usage;
use serde_json::json;

use super::*;

const SCHEMA: &str = r#"schema = { type = "object", additionalProperties = false, required = ["vendor", "total"], properties = { vendor = { type = "string" }, total = { type = "number" } } }"#;

fn rejected(answer: Result<Answer, CallError>) -> (Cow<'static, str>, String, Usage) {
    match answer {
        Err(CallError::Rejected {
            cause,
            detail,
            usage,
        }) => (cause, detail, usage),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_output_is_the_json_that_the_schema_describes() {
    let simulator = simulator(SimulatorConfig::default()).await;
    let bound = step(&simulator.base_url(), "", SCHEMA);
    let answer = call(&bound, 0, TEXT).await.unwrap();
    assert_eq!(answer.output["total"], 12.5, "{}", answer.output);
    assert!(answer.output["vendor"].is_string());
    assert_eq!(answer.output.as_object().map(serde_json::Map::len), Some(2));
    assert_eq!((answer.usage.calls, simulator.stats().paid), (1, 1));
}

#[tokio::test]
async fn an_invalid_answer_is_asked_for_once_more_and_both_are_counted() {
    let simulator = quirky(Quirk::InvalidJson).await;
    let bound = step(&simulator.base_url(), "", SCHEMA);
    for content in [TEXT, b"The total of invoice 70 is 12.50 EUR."] {
        let before = simulator.stats();
        let answer = call(&bound, 0, content).await.unwrap();
        assert_eq!(answer.output["total"], 12.5, "{}", answer.output);
        let after = simulator.stats();
        assert_eq!((answer.usage.calls, after.paid - before.paid), (2, 2));
        assert_eq!(after.repeated, 0, "the second question is one of its own");
        assert_eq!(
            answer.usage.input_tokens,
            after.input_tokens - before.input_tokens
        );
        assert_eq!(
            answer.usage.output_tokens,
            after.output_tokens - before.output_tokens
        );
    }
}

#[tokio::test]
async fn an_answer_that_stays_invalid_is_a_named_refusal_that_keeps_what_was_paid() {
    let simulator = faulty(Faults {
        invalid_json: 1.0,
        ..Faults::default()
    })
    .await;
    let bound = step(&simulator.base_url(), "", SCHEMA);
    let (cause, detail, usage) = rejected(call(&bound, 0, TEXT).await);
    assert_eq!(cause, "invalid_output");
    assert!(
        !detail.contains("12") && !detail.contains("rehearsal"),
        "{detail}"
    );
    let stats = simulator.stats();
    assert_eq!((usage.calls, stats.paid), (2, 2));
    assert_eq!(usage.input_tokens, stats.input_tokens);
    assert_eq!(usage.output_tokens, stats.output_tokens);
}

#[tokio::test]
async fn an_answer_that_is_cut_or_refused_is_not_asked_for_again() {
    for (quirk, expected) in [(Quirk::Truncated, "truncated"), (Quirk::Refusal, "refusal")] {
        let simulator = quirky(quirk).await;
        let bound = step(&simulator.base_url(), "", SCHEMA);
        let (cause, _, usage) = rejected(call(&bound, 0, TEXT).await);
        assert_eq!((cause.as_ref(), usage.calls), (expected, 1));
        assert_eq!(simulator.stats().requests, 1);
    }
}

#[tokio::test]
async fn servers_that_know_no_schemas_find_it_in_the_system_message() {
    let simulator = simulator(SimulatorConfig::default()).await;
    let any = "schema = { type = \"object\" }";
    for mode in ["json_schema", "json_object"] {
        let chat = format!("{any}, schema_mode = \"{mode}\"");
        let answer = call(&step(&simulator.base_url(), "", &chat), 0, TEXT).await;
        assert!(answer.unwrap().output.is_object(), "{mode}");
    }
    // A model that is only told so may answer anything: here, always with a text.
    let chat = format!("{any}, schema_mode = \"prompt\"");
    let (cause, _, usage) = rejected(call(&step(&simulator.base_url(), "", &chat), 0, TEXT).await);
    assert_eq!((cause.as_ref(), usage.calls), ("invalid_output", 2));
}

#[tokio::test]
async fn what_a_second_question_meets_is_what_the_attempt_meets() {
    let limited = SimulatorConfig {
        quirks: [Quirk::InvalidJson].into(),
        quotas: filefleet_simulator::Quotas {
            requests_per_minute: Some(1),
            request_window: Duration::from_secs(60),
            ..filefleet_simulator::Quotas::default()
        },
        ..SimulatorConfig::default()
    };
    let simulator = simulator(limited).await;
    let bound = step(&simulator.base_url(), "", SCHEMA);
    let answer = call(&bound, 0, TEXT).await;
    assert!(
        matches!(answer, Err(CallError::RateLimited { .. })),
        "{answer:?}"
    );
    assert_eq!(simulator.stats().paid, 1);
}

#[tokio::test]
async fn a_strict_schema_that_the_service_refuses_is_told() {
    let simulator = simulator(SimulatorConfig::default()).await;
    let open = "strict = true, schema = { type = \"object\" }";
    let (cause, detail, _) = rejected(call(&step(&simulator.base_url(), "", open), 0, TEXT).await);
    assert_eq!(cause, "invalid_request");
    assert!(detail.contains("additionalProperties"), "{detail}");
    let lax = "schema = { type = \"object\" }";
    let answer = call(&step(&simulator.base_url(), "", lax), 0, TEXT)
        .await
        .unwrap();
    assert_ne!(answer.output, json!(null));
}
