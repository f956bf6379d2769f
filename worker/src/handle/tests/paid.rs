//! What failed files have cost.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use axum::{Router, http::StatusCode};
use serde_json::{Value, json};

use super::{
    super::*,
    stand::{Stand, outcome},
};

type Answer = (StatusCode, String);

/// The usage of a file that fails, whose service gives these answers in turn.
async fn usage(step: &str, key: &str, answers: Vec<Answer>) -> (String, Usage) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (answers, next) = (Arc::new(answers), Arc::new(AtomicUsize::new(0)));
    let router = Router::new().fallback(move || {
        let answer = answers[next.fetch_add(1, Ordering::SeqCst)].clone();
        async move { answer }
    });
    tokio::spawn(async move { axum::serve(listener, router).await });
    let mut stand = Stand::configured(&format!(
        "[service.s]\nkind = \"openai\"\nendpoint = \"http://127.0.0.1:{port}/v1\"\n\
         [[pipeline.p]]\nname = \"ask\"\nservice = \"s\"\n{step}\n"
    ));
    stand.context.retry.attempts = 1;
    let outcome = outcome(&stand.handle(&stand.envelope(key)).await);
    let made = stand.lane.stats.calls.get();
    assert_eq!(made, outcome.usage.calls, "the worker and the outcome");
    (outcome.failure.expect("a failure").cause, outcome.usage)
}

fn ok(body: &Value) -> Answer {
    (StatusCode::OK, body.to_string())
}

fn vectors(count: usize, numbers: usize) -> Value {
    let vector = json!({ "embedding": vec![0.5; numbers] });
    json!({ "data": vec![vector; count], "usage": { "prompt_tokens": 7 } })
}

#[tokio::test]
async fn an_answer_that_is_not_the_json_that_was_wanted_costs_its_tokens() {
    let step = "chat = { model = \"m\", prompt = \"JSON of {{ file.key }}\", json = true, content = \"none\" }";
    let said = ok(&json!({
        "choices": [{ "finish_reason": "stop", "message": { "content": "no JSON" } }],
        "usage": { "prompt_tokens": 10, "completion_tokens": 3 },
    }));
    let (cause, usage) = usage(step, "file", vec![said]).await;
    assert_eq!(cause, "malformed_answer");
    assert_eq!(
        (usage.calls, usage.input_tokens, usage.output_tokens),
        (1, 10, 3)
    );
}

#[tokio::test]
async fn a_request_that_fails_costs_those_that_were_answered_before_it() {
    let step = "embed = { model = \"m\", input = \"{{ file.key }}\", max_chunks = 5000, \
                tokenizer = \"bytes\", chunk = { tokens = 16, overlap = 0 } }";
    // Two requests: of 2048 texts, and of one.
    let text = "0123456789abcdef".repeat(2049);
    let bad = (StatusCode::BAD_REQUEST, String::new());
    let down = (StatusCode::INTERNAL_SERVER_ERROR, String::new());
    for (second, cause, tokens) in [
        (bad, "invalid_request", 7),
        (down, "overloaded", 7),
        (ok(&vectors(1, 3)), "malformed_answer", 14),
    ] {
        let answers = vec![ok(&vectors(2048, 2)), second];
        let (failed, usage) = usage(step, &text, answers).await;
        assert_eq!(failed, cause);
        assert_eq!((usage.calls, usage.input_tokens), (2, tokens), "{cause}");
    }
}
