//! The chat client against the simulator, over real HTTP, from a configuration to an answer.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod schema;

use std::{borrow::Cow, io::Write, time::Duration};

use bytes::Bytes;
use filefleet_shared::wire::{FileRef, RunId, StepMessage, TaskId};
use filefleet_simulator::{Down, Faults, Quirk, Simulator, SimulatorConfig, start};
use filefleet_worker::{
    config::Config,
    service::{Answer, BoundStep, CallError, Catalog, CatalogOptions, Heard, Reply, StepInput},
};
use serde_json::Value;

const TEXT: &[u8] = b"The total of invoice 7 is 12.50 EUR.";

async fn simulator(config: SimulatorConfig) -> Simulator {
    start(config, ([127, 0, 0, 1], 0).into()).await.unwrap()
}

async fn quirky(quirk: Quirk) -> Simulator {
    let quirks = [quirk].into();
    simulator(SimulatorConfig {
        quirks,
        ..SimulatorConfig::default()
    })
    .await
}

async fn faulty(faults: Faults) -> Simulator {
    simulator(SimulatorConfig {
        faults,
        ..SimulatorConfig::default()
    })
    .await
}

/// The only step of a service with these keys that stands at `base`.
fn step(base: &str, service: &str, chat: &str) -> BoundStep {
    let text = format!(
        "[service.s]\nkind = \"openai\"\nendpoint = \"{base}\"\n{service}\n\
         [[pipeline.p]]\nname = \"answer\"\nservice = \"s\"\n\
         chat = {{ model = \"m\", prompt = \"Sum up.\", {chat} }}\n"
    );
    let config = Config::parse("test.toml", &text).unwrap();
    let catalog = Catalog::build(&config, &CatalogOptions::default()).unwrap();
    catalog.first_step("p").unwrap().clone()
}

async fn call(step: &BoundStep, seq: u64, content: &'static [u8]) -> Result<Answer, CallError> {
    let task = TaskId {
        run: RunId::mint(),
        seq,
    };
    let file = FileRef {
        root: "inbox".to_owned(),
        key: "a.txt".to_owned(),
        key_bytes: None,
        size: content.len() as u64,
        modified: None,
        etag: None,
        media_type: "text/plain".to_owned(),
    };
    let message = StepMessage::first(task, &step.pipeline, &step.name, file);
    let input = StepInput {
        message: &message,
        content: Bytes::from_static(content),
        heard: &Heard::default(),
    };
    match step.call.call(input).await? {
        Reply::Answered(answer) => Ok(answer),
        Reply::Accepted(accepted) => panic!("chat answers at once: {accepted:?}"),
    }
}

async fn answer(simulator: &Simulator) -> Result<Answer, CallError> {
    call(&step(&simulator.base_url(), "", ""), 0, TEXT).await
}

fn cause(answer: Result<Answer, CallError>) -> Cow<'static, str> {
    match answer {
        Err(CallError::Rejected { cause, .. }) => cause,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_text_is_answered_and_its_task_is_counted_once() {
    let simulator = simulator(SimulatorConfig::default()).await;
    let answer = answer(&simulator).await.unwrap();
    assert!(
        answer.output["text"]
            .as_str()
            .is_some_and(|text| !text.is_empty())
    );
    assert_eq!(answer.output["finish_reason"], "stop");
    assert_eq!(answer.output["model"], "m");
    let stats = simulator.stats();
    assert_eq!(
        (stats.paid, stats.distinct_tasks, stats.untagged),
        (1, 1, 0)
    );
    assert_eq!(answer.usage.calls, 1);
    assert_eq!(answer.usage.input_tokens, stats.input_tokens);
    assert_eq!(answer.usage.output_tokens, stats.output_tokens);
}

#[tokio::test]
async fn every_dialect_finds_its_path_and_shows_its_key() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "sk-right").unwrap();
    let key = format!("key = {{ file = {:?} }}\n", file.path());
    let config = SimulatorConfig {
        require_key: Some("sk-right".to_owned()),
        ..SimulatorConfig::default()
    };
    let simulator = simulator(config).await;
    for dialect in [
        "dialect = \"openai\"",
        "dialect = \"azure-v1\"",
        "dialect = \"azure\"\napi_version = \"2024-10-21\"",
    ] {
        let bound = step(
            &simulator.base_url(),
            &format!("{key}{dialect}"),
            "max_tokens = 90",
        );
        let answer = call(&bound, 0, TEXT).await;
        assert!(answer.is_ok(), "{dialect}: {answer:?}");
    }
    let keyless = answer(&simulator).await;
    assert!(
        matches!(keyless, Err(CallError::Unauthorized(_))),
        "{keyless:?}"
    );
}

#[tokio::test]
async fn images_and_json_are_taken() {
    let simulator = simulator(SimulatorConfig::default()).await;
    let bound = step(
        &simulator.base_url(),
        "",
        "json = true, system = \"Answer in JSON.\"",
    );
    let answer = call(&bound, 0, TEXT).await.unwrap();
    assert!(answer.output["json"].is_object(), "{:?}", answer.output);
    let plain = step(&simulator.base_url(), "", "detail = \"low\"");
    let png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x08\0\0\0\x08\x08\x02\0\0\0";
    let answer = call(&plain, 1, png).await.unwrap();
    assert_ne!(answer.output["text"], Value::Null);
}

#[tokio::test]
async fn quirks_of_the_field_are_named_by_what_to_do() {
    let limited = SimulatorConfig {
        faults: Faults {
            error_429: 1.0,
            ..Faults::default()
        },
        ..SimulatorConfig::default()
    };
    let day = Duration::from_secs(24 * 3600);
    for (quirk, expected) in [
        (None, Some(Duration::from_secs(1))),
        (Some(Quirk::RetryAfter24h), Some(day)),
        (Some(Quirk::RetryAfterNegative), None),
        (Some(Quirk::RetryAfterMissing), None),
    ] {
        let quirks = quirk.into_iter().collect();
        let simulator = simulator(SimulatorConfig {
            quirks,
            ..limited.clone()
        })
        .await;
        match answer(&simulator).await {
            Err(CallError::RateLimited { retry_after, .. }) => {
                assert_eq!(retry_after, expected, "{quirk:?}");
            }
            other => panic!("{quirk:?}: {other:?}"),
        }
    }
    for quirk in [Quirk::InsufficientQuota, Quirk::PaymentRequired] {
        let answer = answer(&quirky(quirk).await).await;
        assert!(
            matches!(answer, Err(CallError::QuotaExhausted(_))),
            "{quirk}: {answer:?}"
        );
    }
    let loading = answer(&quirky(Quirk::LlamacppLoading).await).await;
    assert!(
        matches!(loading, Err(CallError::Overloaded { .. })),
        "{loading:?}"
    );
}

#[tokio::test]
async fn answers_that_are_none_are_named_refusals() {
    for (quirk, expected) in [
        (Quirk::ContentFilter400, "content_filter"),
        (Quirk::ContentFilter200, "content_filter"),
        (Quirk::Refusal, "refusal"),
        (Quirk::Truncated, "truncated"),
        (Quirk::EmptyContent, "empty_answer"),
    ] {
        assert_eq!(
            cause(answer(&quirky(quirk).await).await),
            expected,
            "{quirk}"
        );
    }
    let long = SimulatorConfig {
        quirks: [Quirk::ContextExceeded, Quirk::IntegerCode].into(),
        context_tokens: 3,
        ..SimulatorConfig::default()
    };
    assert_eq!(
        cause(answer(&simulator(long).await).await),
        "context_length"
    );
}

#[tokio::test]
async fn empty_lines_and_missing_fields_are_tolerated() {
    for quirk in [
        Quirk::DeepseekKeepAlive,
        Quirk::IntegerCode,
        Quirk::RatelimitNegative,
    ] {
        let answer = answer(&quirky(quirk).await).await;
        assert!(answer.is_ok(), "{quirk}: {answer:?}");
    }
}

#[tokio::test]
async fn a_model_that_does_not_exist_is_a_misconfiguration() {
    let config = SimulatorConfig {
        models: Some(vec!["other".to_owned()]),
        ..SimulatorConfig::default()
    };
    let answer = answer(&simulator(config).await).await;
    assert!(
        matches!(answer, Err(CallError::Misconfigured(_))),
        "{answer:?}"
    );
}

#[tokio::test]
async fn failures_say_whether_the_call_may_have_been_paid() {
    let none = Faults::default;
    let broken = answer(
        &faulty(Faults {
            reset: 1.0,
            ..none()
        })
        .await,
    )
    .await;
    assert!(matches!(broken, Err(CallError::Timeout(_))), "{broken:?}");
    let garbled = answer(
        &faulty(Faults {
            malformed: 1.0,
            ..none()
        })
        .await,
    )
    .await;
    assert!(
        matches!(garbled, Err(CallError::Malformed(_))),
        "{garbled:?}"
    );
    let failed = answer(
        &faulty(Faults {
            error_500: 1.0,
            ..none()
        })
        .await,
    )
    .await;
    assert!(
        matches!(failed, Err(CallError::Overloaded { .. })),
        "{failed:?}"
    );
    let down = SimulatorConfig {
        down: Down::Close,
        ..SimulatorConfig::default()
    };
    let closed = answer(&simulator(down).await).await;
    assert!(matches!(closed, Err(CallError::Timeout(_))), "{closed:?}");
}

#[tokio::test]
async fn a_client_never_tries_twice() {
    let down = SimulatorConfig {
        down: Down::Close,
        ..SimulatorConfig::default()
    };
    let simulator = simulator(down).await;
    assert!(answer(&simulator).await.is_err());
    assert_eq!(simulator.stats().requests, 1);
}

#[tokio::test]
async fn a_rehearsal_calls_the_simulator_in_place_of_every_service() {
    let simulator = simulator(SimulatorConfig::default()).await;
    let options = CatalogOptions {
        rehearse: Some(simulator.base_url()),
    };
    for config in [
        Config::rehearsal().unwrap(),
        Config::parse("filefleet.toml", Config::example_toml()).unwrap(),
    ] {
        let catalog = Catalog::build(&config, &options).unwrap();
        let pipeline = catalog.pipelines().next().unwrap();
        let first = catalog.first_step(pipeline).unwrap();
        assert!(call(first, 0, TEXT).await.is_ok());
    }
    assert_eq!(simulator.stats().paid, 2);
}

/// As many calls at once as the service may have in flight, on connections that are used again.
#[tokio::test]
async fn calls_run_side_by_side() {
    let simulator = simulator(SimulatorConfig::default()).await;
    let bound = step(&simulator.base_url(), "limits = { in_flight = 32 }", "");
    let mut calls = tokio::task::JoinSet::new();
    for seq in 0..200 {
        let bound = bound.clone();
        calls.spawn(async move { call(&bound, seq, TEXT).await });
    }
    for answer in calls.join_all().await {
        assert!(answer.is_ok(), "{answer:?}");
    }
    assert_eq!(simulator.stats().distinct_tasks, 200);
}
