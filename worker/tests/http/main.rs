//! The kind `http` against a server of this test, from a configuration to an answer.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod server;

use std::{io::Write, time::Duration};

use bytes::Bytes;
use filefleet_shared::{
    time::UnixMillis,
    wire::{FileRef, RunId, StepMessage, TaskId},
};
use filefleet_worker::{
    config::Config,
    service::{
        Accepted, Answer, BoundStep, BuildErrors, CallError, Catalog, CatalogOptions, Heard, Reply,
        StepInput,
    },
};
use serde_json::{Value, json};

use server::{Server, said, with};

fn build(
    endpoint: &str,
    service: &str,
    request: &str,
    rehearse: bool,
) -> Result<BoundStep, BuildErrors> {
    let text = format!(
        "[service.s]\nkind = \"http\"\nendpoint = \"{endpoint}\"\n{service}\n\
         [[pipeline.p]]\nname = \"ask\"\nservice = \"s\"\n[pipeline.p.request]\n{request}\n"
    );
    let config = Config::parse("test.toml", &text).unwrap_or_else(|error| panic!("{error}"));
    let options = CatalogOptions {
        rehearse: rehearse.then(|| "http://127.0.0.1:9".to_owned()),
    };
    let catalog = Catalog::build(&config, &options)?;
    Ok(catalog.first_step("p").unwrap().clone())
}

fn step(server: &Server, service: &str, request: &str) -> BoundStep {
    build(&server.endpoint(), service, request, false).unwrap()
}

fn message(name: &str) -> StepMessage {
    let task = TaskId {
        run: RunId::mint(),
        seq: 3,
    };
    let file = FileRef {
        root: "inbox".to_owned(),
        key: format!("in/{name}"),
        key_bytes: None,
        size: 5,
        modified: None,
        etag: None,
        media_type: "text/plain".to_owned(),
    };
    StepMessage::first(task, "p", "ask", file)
}

async fn call(step: &BoundStep, message: &StepMessage) -> Result<Reply, CallError> {
    let content = Bytes::from_static(b"hello");
    step.call
        .call(StepInput {
            message,
            content,
            heard: &Heard::default(),
        })
        .await
}

async fn answered(step: &BoundStep) -> Result<Answer, CallError> {
    match call(step, &message("a b.txt")).await? {
        Reply::Answered(answer) => Ok(answer),
        Reply::Accepted(accepted) => panic!("{accepted:?}"),
    }
}

async fn accepted(step: &BoundStep, message: &StepMessage) -> Accepted {
    match call(step, message).await {
        Ok(Reply::Accepted(accepted)) => accepted,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_request_is_made_of_templates_and_carries_the_key() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    write!(file, "k-secret").unwrap();
    let key = format!("key = {{ file = {:?} }}\n", file.path());
    let server = Server::start([said(
        200,
        r#"{"found": {"n": 2}, "u": {"i": 7, "p": 3, "c": 0.25}}"#,
    )])
    .await;
    let step = step(
        &server,
        &format!("{key}key_header = \"x-key\"\nheaders = {{ X-Fixed = \"1\" }}"),
        r#"
path = "find/{{ file.name }}"
query = { lang = "{{ 'e&n' }}" }
headers = { X-Name = "{{ file.key }}", X-Key = "stolen" }
json = { text = "<{{ text }}>", n = 1, deep = [{ size = "{{ file.size }}" }] }
success = { pointer = "/found/n", equals = 2 }
result = "/found"
usage = { input_tokens = "/u/i", pages = "/u/p", cost = "/u/c" }
"#,
    );
    let answer = answered(&step).await.unwrap();
    assert_eq!(answer.output, json!({"n": 2}));
    assert_eq!((answer.usage.input_tokens, answer.usage.pages), (7, 3));
    assert_eq!(answer.usage.cost.to_string(), "0.2500");
    let seen = server.seen().remove(0);
    assert_eq!(seen.method, "POST");
    assert_eq!(seen.target, "/api/find/a%20b.txt?lang=e%26n");
    assert_eq!(seen.header("x-fixed"), Some("1"));
    assert_eq!(seen.header("x-name"), Some("in/a b.txt"));
    assert_eq!(seen.header("x-key"), Some("k-secret"));
    assert_eq!(seen.header("content-type"), Some("application/json"));
    let body: Value = serde_json::from_str(&seen.body).unwrap();
    let expected = json!({"text": "<hello>", "n": 1, "deep": [{"size": "5"}]});
    assert_eq!(body, expected);
}

#[tokio::test]
async fn a_file_goes_as_it_is_in_base64_or_in_a_form() {
    let server = Server::start((0..4).map(|_| said(200, "fine"))).await;
    for request in [
        "file = \"bytes\"",
        "file = \"base64\"\nbase64_at = \"/doc/data\"\njson = { doc = { name = \"{{ file.name }}\" } }",
        "file = \"multipart\"\nfield = \"upload\"\nfields = { lang = \"en\" }",
        "json = '[{{ text|tojson }}]'",
    ] {
        let step = step(&server, "", request);
        let answer = answered(&step).await.unwrap();
        assert_eq!(answer.output, json!({"text": "fine"}));
    }
    let seen = server.seen();
    assert_eq!(seen[0].body, "hello");
    assert_eq!(seen[0].header("content-type"), Some("text/plain"));
    let body: Value = serde_json::from_str(&seen[1].body).unwrap();
    assert_eq!(
        body,
        json!({"doc": {"name": "a b.txt", "data": "aGVsbG8="}})
    );
    let form = seen[2].header("content-type").unwrap();
    assert!(form.starts_with("multipart/form-data; boundary="), "{form}");
    for part in [
        "name=\"lang\"\r\n\r\nen",
        "name=\"upload\"; filename=\"a b.txt\"",
        "text/plain\r\n\r\nhello",
    ] {
        assert!(seen[2].body.contains(part), "{part} in {}", seen[2].body);
    }
    assert_eq!(seen[3].body, "[\"hello\"]");
}

#[tokio::test]
async fn answers_that_are_no_success_are_named_by_what_to_do() {
    let server = Server::start([
        with(said(429, "slow down"), "retry-after", "9"),
        said(422, r#"{"error": {"message": "no such language"}}"#),
        said(200, r#"{"ok": false}"#),
        said(200, "<html>"),
        said(200, r#"{"ok": true}"#),
        with(said(302, ""), "location", "http://127.0.0.1:1/"),
        said(401, ""),
    ])
    .await;
    let step = step(
        &server,
        "",
        "file = \"bytes\"\nsuccess = { pointer = \"/ok\", equals = true }\nresult = \"/data\"",
    );
    let mut said = Vec::new();
    for _ in 0..7 {
        said.push(answered(&step).await.unwrap_err().to_string());
    }
    assert_eq!(
        said,
        [
            "rate limited: 429: slow down",
            "http_422: 422: no such language",
            "unsuccessful: 200: {\"ok\":false}",
            "malformed answer: 200: no JSON",
            "no_result: the answer has nothing at \"/data\"",
            "misconfigured: 302: redirected; correct the endpoint or path",
            "unauthorized: 401",
        ]
    );
    assert_eq!(
        server.seen().len(),
        7,
        "nothing was tried twice or followed"
    );
}

#[tokio::test]
async fn a_service_that_repeats_the_key_does_not_spread_it() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    write!(file, "k-secret").unwrap();
    let key = format!("key = {{ file = {:?} }}\n", file.path());
    let server = Server::start([said(400, "bad key Bearer k-secret")]).await;
    let error = answered(&step(&server, &key, "file = \"bytes\"")).await;
    let error = error.unwrap_err().to_string();
    assert_eq!(error, "http_400: 400: bad key Bearer [key]");
    let seen = server.seen().remove(0);
    assert_eq!(seen.header("authorization"), Some("Bearer k-secret"));
}

#[tokio::test]
async fn a_file_cannot_lead_a_request_elsewhere() {
    let server = Server::start([]).await;
    let step = step(&server, "", "method = \"GET\"\npath = \"{{ file.name }}\"");
    for name in ["..", "."] {
        let error = call(&step, &message(name)).await.unwrap_err();
        let expected = "template: a part of the path is `.` or `..`";
        assert_eq!(error.to_string(), expected);
    }
    assert_eq!(server.seen().len(), 0);
}

const POLL: &str = "file = \"bytes\"\nresult = \"/data\"\nusage = { pages = \"/pages\" }\n\
                    poll = { operation_header = \"Operation-Location\" }";

#[tokio::test]
async fn a_long_operation_is_asked_for_until_it_is_done() {
    let server = Server::start([]).await;
    let location = format!("http://127.0.0.1:{}/ops/7?v=1", server.port);
    server.answers.lock().unwrap().extend([
        with(
            with(said(202, ""), "operation-location", &location),
            "retry-after",
            "3",
        ),
        said(200, r#"{"status": "running"}"#),
        with(said(202, ""), "retry-after", "4"),
        said(
            200,
            r#"{"status": "Succeeded", "data": {"x": 1}, "pages": 2}"#,
        ),
        said(
            200,
            r#"{"status": "failed", "error": {"message": "no page"}}"#,
        ),
        said(404, ""),
        said(503, ""),
    ]);
    let step = step(&server, "", POLL);
    let first = message("a.txt");
    let accepted = accepted(&step, &first).await;
    assert_eq!(accepted.state, json!({"operation": "/ops/7?v=1"}));
    assert_eq!(accepted.check_after, Duration::from_secs(3));
    let begun = first.continued(accepted.state, UnixMillis::now());
    let waits = [None, Some(Duration::from_secs(4))];
    for wait in waits {
        let error = call(&step, &begun).await.unwrap_err();
        assert_eq!(error, CallError::Pending { retry_after: wait });
    }
    match call(&step, &begun).await {
        Ok(Reply::Answered(answer)) => {
            assert_eq!((answer.output, answer.usage.pages), (json!({"x": 1}), 2));
        }
        other => panic!("{other:?}"),
    }
    for expected in [
        "operation_failed: 200: no page",
        "operation_lost: 404",
        "overloaded: 503",
    ] {
        let error = call(&step, &begun).await.unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
    let seen = server.seen();
    assert_eq!(
        (seen[1].method.as_str(), seen[1].target.as_str()),
        ("GET", "/ops/7?v=1")
    );
}

#[tokio::test]
async fn an_operation_on_another_host_is_refused_before_and_after_it_was_kept() {
    let elsewhere = Server::start([]).await;
    let location = format!("http://127.0.0.1:{}/ops/7", elsewhere.port);
    let server = Server::start([
        with(said(202, ""), "operation-location", &location),
        said(202, ""),
    ])
    .await;
    let step = step(&server, "", POLL);
    for expected in [
        "misconfigured: the operation: it is on another host",
        "misconfigured: the operation: the answer does not name it where `poll` says",
    ] {
        let error = call(&step, &message("a.txt")).await.unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
    let forged = json!({ "operation": format!("//127.0.0.1:{}/x", elsewhere.port) });
    let forged = message("a.txt").continued(forged, UnixMillis::now());
    let error = call(&step, &forged).await.unwrap_err().to_string();
    assert!(error.starts_with("bad_continuation"), "{error}");
    assert_eq!(elsewhere.seen().len(), 0);
}

#[tokio::test]
async fn an_operation_can_be_an_id_in_the_answer_with_words_of_its_own() {
    let server = Server::start([
        said(200, r#"{"job": {"id": 17, "state": "queued"}}"#),
        said(200, r#"{"job": {"state": "DONE"}, "out": [1]}"#),
        said(200, r#"{"job": {"state": "done"}, "out": [2]}"#),
    ])
    .await;
    let step = step(
        &server,
        "",
        r#"
file = "bytes"
[pipeline.p.request.poll]
operation_pointer = "/job/id"
path = "jobs/{{ operation }}"
query = { v = "1" }
interval = "2s"
status = "/job/state"
success = ["done"]
result = "/out"
"#,
    );
    let first = message("a.txt");
    let accepted = accepted(&step, &first).await;
    assert_eq!(accepted.state, json!({"operation": "17"}));
    assert_eq!(accepted.check_after, Duration::from_secs(2));
    let begun = first.continued(accepted.state, UnixMillis::now());
    match call(&step, &begun).await {
        Ok(Reply::Answered(answer)) => assert_eq!(answer.output, json!([1])),
        other => panic!("{other:?}"),
    }
    assert_eq!(server.seen()[1].target, "/api/jobs/17?v=1");
    // Short work that is done at once is not asked for again.
    assert_eq!(answered(&step).await.unwrap().output, json!([2]));
}

#[tokio::test]
async fn a_rehearsal_sends_nothing_and_needs_an_answer_to_assume() {
    let server = Server::start([]).await;
    let key = "key = { env = \"FILEFLEET_TEST_NOT_SET\" }";
    let request = "json = { text = \"{{ text }}\" }";
    let refused = build(&server.endpoint(), key, request, true).unwrap_err();
    let expected = "step ask: a rehearsal cannot call service \"s\": give the step \
                    `rehearse = ...`, the answer to assume";
    assert_eq!(refused.to_string(), expected);
    let with_answer = format!("{request}\nrehearse = {{ n = 1 }}");
    let step = build(&server.endpoint(), key, &with_answer, true).unwrap();
    assert_eq!(answered(&step).await.unwrap().output, json!({"n": 1}));
    assert_eq!(server.seen().len(), 0);
}
