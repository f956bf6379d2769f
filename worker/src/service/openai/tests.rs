//! Endpoints, request bodies, and calls against a server that answers what a test tells it to.

use std::sync::Arc;

use bytes::Bytes;
use reqwest::header::AUTHORIZATION;
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::oneshot,
};

use super::*;
use crate::service::{Answer, Heard, signer::Signer, tests::message, transport};

fn endpoint(text: &str, dialect: Option<Dialect>, version: Option<&str>) -> Endpoint {
    Endpoint::parse(text, dialect, version).unwrap()
}

#[test]
fn endpoints_are_taken_as_people_write_them() {
    let azure_v1 = "https://x.openai.azure.com/openai/v1/chat/completions";
    let azure = "https://x.openai.azure.com/openai/deployments/m%2F1/chat/completions?api-version=2024-10-21";
    let cases = [
        (
            "https://api.openai.com/v1",
            None,
            "https://api.openai.com/v1/chat/completions",
        ),
        (
            "https://api.openai.com",
            None,
            "https://api.openai.com/v1/chat/completions",
        ),
        (
            "https://api.openai.com/v1/",
            None,
            "https://api.openai.com/v1/chat/completions",
        ),
        (
            "https://api.openai.com/v1/chat/completions",
            None,
            "https://api.openai.com/v1/chat/completions",
        ),
        (
            "http://[::1]:11434/",
            None,
            "http://[::1]:11434/v1/chat/completions",
        ),
        (
            "https://h/api/v1",
            None,
            "https://h/api/v1/chat/completions",
        ),
        ("https://x.openai.azure.com", None, azure_v1),
        ("https://x.openai.azure.com/openai/v1/", None, azure_v1),
        ("https://x.openai.azure.com/openai", None, azure_v1),
        ("https://x.openai.azure.com/", Some("2024-10-21"), azure),
        (
            "https://x.openai.azure.com/openai/deployments/other",
            Some("2024-10-21"),
            azure,
        ),
        (
            "https://x.openai.azure.com/openai/",
            Some("2024-10-21"),
            azure,
        ),
    ];
    for (text, version, expected) in cases {
        let url = endpoint(text, None, version).chat_url("m/1");
        assert_eq!(url.as_str(), expected, "{text}");
    }
}

#[test]
fn endpoints_that_cannot_be_meant_are_refused_with_their_key() {
    let wrong =
        |text: &str, dialect, version| Endpoint::parse(text, dialect, version).unwrap_err().key;
    assert_eq!(wrong("api.openai.com", None, None), "endpoint");
    assert_eq!(wrong("https://u:p@h", None, None), "endpoint");
    assert_eq!(wrong("https://h/?api-version=1", None, None), "endpoint");
    assert_eq!(
        wrong("https://h", Some(Dialect::Azure), None),
        "api_version"
    );
    assert_eq!(
        wrong("https://h", Some(Dialect::OpenAi), Some("2024-10-21")),
        "api_version"
    );
}

#[test]
fn the_bound_of_an_answer_is_named_as_the_service_wants_it() {
    use MaxTokensField::{MaxCompletionTokens as New, MaxTokens as Old};
    let cases = [
        ("https://api.openai.com/v1", None, "gpt-4o", New),
        ("https://api.deepseek.com", None, "deepseek-chat", Old),
        ("http://localhost:8080", None, "qwen", Old),
        ("http://proxy:4000", None, "o3-mini", New),
        ("http://proxy:4000", None, "gpt-5", New),
        ("http://proxy:4000", None, "o1x", Old),
        ("https://x.openai.azure.com", None, "gpt-4o", New),
        (
            "https://x.openai.azure.com",
            Some("2024-10-21"),
            "gpt-4o",
            New,
        ),
        (
            "https://x.openai.azure.com",
            Some("2024-06-01"),
            "gpt-4o",
            Old,
        ),
    ];
    for (text, version, model, expected) in cases {
        let field = endpoint(text, None, version).max_tokens_field(model);
        assert_eq!(field, expected, "{text} {model}");
    }
}

#[test]
fn a_rehearsal_speaks_the_same_dialect_to_the_simulator() {
    let at = |text: &str, version: Option<&str>| {
        let endpoint = endpoint(text, None, version)
            .rehearsed("http://127.0.0.1:9/")
            .unwrap();
        endpoint.chat_url("m").to_string()
    };
    assert_eq!(
        at("https://h/api/v1", None),
        "http://127.0.0.1:9/v1/chat/completions"
    );
    assert_eq!(
        at("https://x.openai.azure.com", None),
        "http://127.0.0.1:9/openai/v1/chat/completions"
    );
    assert_eq!(
        at("https://x.openai.azure.com", Some("2024-10-21")),
        "http://127.0.0.1:9/openai/deployments/m/chat/completions?api-version=2024-10-21"
    );
}

fn config(prompt: &str) -> ChatConfig {
    ChatConfig {
        model: "m".to_owned(),
        prompt: Arc::new(Prompt::compile(prompt, &["read"]).unwrap()),
        system: None,
        parameters: ChatParameters::default(),
        json: false,
        schema: None,
        detail: Detail::Low,
        content: ContentMode::Auto,
    }
}

fn chat_at(base: &str, key: Option<&str>, config: ChatConfig) -> Chat {
    let endpoint = endpoint(base, None, None);
    let access = Access {
        client: transport::client(endpoint.base(), 4, std::time::Duration::from_secs(5)).unwrap(),
        signer: key.map_or_else(Signer::nobody, |key| {
            Signer::key(AUTHORIZATION, "Bearer ", SecretString::from(key)).unwrap()
        }),
        real: endpoint.clone(),
        endpoint,
        organization: None,
        max_tokens_field: Some(MaxTokensField::MaxTokens),
    };
    Chat::new(&access, config).unwrap()
}

fn body(config: ChatConfig, content: &'static [u8]) -> Result<Value, CallError> {
    let mut step = message("in/a.txt");
    step.outputs
        .insert("read".to_owned(), json!({"text": "earlier"}));
    let input = StepInput {
        message: &step,
        content: Bytes::from_static(content),
        heard: &Heard::default(),
    };
    let chat = chat_at("http://127.0.0.1:1", None, config);
    let bytes = chat.body(&chat.question(&input)?, None)?;
    Ok(serde_json::from_slice(&bytes).unwrap())
}

fn user(text: &str) -> Value {
    json!({"model": "m", "messages": [{"role": "user", "content": text}]})
}

#[test]
fn text_follows_a_prompt_that_has_no_place_for_it() {
    let expected = user("Sum up.\n\n\"quoted\" ünd\n");
    assert_eq!(
        body(config("Sum up."), "\"quoted\" ünd\n".as_bytes()).unwrap(),
        expected
    );
    assert_eq!(
        body(config("<{{ text }}>"), b"hello").unwrap(),
        user("<hello>")
    );
    assert_eq!(
        body(config("<{{ read.text }}>"), b"").unwrap(),
        user("<earlier>")
    );
}

#[test]
fn text_that_the_system_prompt_has_is_not_sent_twice() {
    let system = Prompt::compile("Know: {{ text }}", &[]).unwrap();
    let config = ChatConfig {
        system: Some(Arc::new(system)),
        ..config("Sum up.")
    };
    let messages = json!([
        {"role": "system", "content": "Know: hello"},
        {"role": "user", "content": "Sum up."},
    ]);
    assert_eq!(body(config, b"hello").unwrap()["messages"], messages);
}

#[test]
fn an_image_goes_as_a_data_url_beside_the_prompt() {
    let png = b"\x89PNG\r\n\x1a\n";
    let content = json!([
        {"type": "text", "text": "What is it? "},
        {"type": "image_url", "image_url": {
            "url": "data:image/png;base64,iVBORw0KGgo=", "detail": "low",
        }},
    ]);
    let sent = body(config("What is it? {{ text }}"), png).unwrap();
    assert_eq!(sent["messages"][0]["content"], content);
}

#[test]
fn parameters_are_sent_only_if_they_are_set() {
    let config = ChatConfig {
        parameters: ChatParameters {
            max_tokens: Some(9),
            temperature: Some(0.0),
            top_p: Some(0.5),
            seed: Some(-1),
        },
        json: true,
        content: ContentMode::None,
        ..config("JSON!")
    };
    let mut expected = user("JSON!");
    expected["max_tokens"] = json!(9);
    expected["temperature"] = json!(0.0);
    expected["top_p"] = json!(0.5);
    expected["seed"] = json!(-1);
    expected["response_format"] = json!({"type": "json_object"});
    assert_eq!(body(config, b"").unwrap(), expected);
}

#[test]
fn a_prompt_that_this_file_cannot_fill_is_a_named_refusal() {
    match body(config("{{ read.total }}"), b"") {
        Err(CallError::Rejected { cause, usage, .. }) => {
            assert_eq!(cause, "prompt");
            assert!(usage.is_zero());
        }
        other => panic!("{other:?}"),
    }
}

/// Takes one request, answers with these bytes, hangs up, and gives what it was sent.
async fn answering(answer: Vec<u8>) -> (String, oneshot::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/v1", listener.local_addr().unwrap());
    let (sender, receiver) = oneshot::channel();
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"}]}") {
            assert!(socket.read_buf(&mut request).await.unwrap() > 0);
        }
        socket.write_all(&answer).await.unwrap();
        socket.shutdown().await.unwrap();
        sender.send(String::from_utf8(request).unwrap()).unwrap();
    });
    (base, receiver)
}

async fn call(answer: &str) -> (Result<Answer, CallError>, String) {
    let (base, request) = answering(answer.as_bytes().to_vec()).await;
    let chat = chat_at(&base, Some("sk-hunter2"), config("Sum up."));
    let step = message("in/a.txt");
    let input = StepInput {
        message: &step,
        content: Bytes::from_static(b"hello"),
        heard: &Heard::default(),
    };
    let answer = chat.call(input).await.map(|reply| match reply {
        Reply::Answered(answer) => answer,
        Reply::Accepted(accepted) => panic!("chat answers at once: {accepted:?}"),
    });
    (answer, request.await.unwrap())
}

fn http(status: &str, headers: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\ncontent-length: {}\r\n{headers}\r\n{body}",
        body.len()
    )
}

#[tokio::test]
async fn a_call_names_its_task_and_signs_itself() {
    let body = r#"{"choices":[{"message":{"content":"hi"},"finish_reason":"stop"}]}"#;
    let (answer, request) = call(&http("200 OK", "", body)).await;
    assert_eq!(answer.unwrap().output["text"], "hi");
    assert!(
        request.starts_with("POST /v1/chat/completions HTTP/1.1\r\n"),
        "{request}"
    );
    assert!(
        request.contains("authorization: Bearer sk-hunter2\r\n"),
        "{request}"
    );
    assert!(request.contains("/7:answer\r\n"), "{request}");
    assert!(request.contains("x-client-request-id: "), "{request}");
    let head = request.split("\r\n\r\n").next().unwrap();
    assert!(
        head.lines().count() <= 11,
        "Azure refuses more than ten headers: {head}"
    );
}

#[tokio::test]
async fn a_refused_key_is_not_repeated() {
    let body = r#"{"error":{"message":"Incorrect API key provided: sk-hunter2."}}"#;
    let (answer, _) = call(&http("401 Unauthorized", "", body)).await;
    let expected = "401: Incorrect API key provided: [key].".to_owned();
    assert_eq!(answer, Err(CallError::Unauthorized(expected)));
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let (answer, _) = call(&http("302 Found", "location: http://127.0.0.1:1/\r\n", "")).await;
    assert!(matches!(answer, Err(CallError::Misconfigured(text)) if text.contains("127.0.0.1:1")));
}

#[tokio::test]
async fn a_connection_that_breaks_may_have_been_paid() {
    let (before, _) = call("").await;
    assert!(matches!(before, Err(CallError::Timeout(_))), "{before:?}");
    let (within, _) = call("HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{\"cho").await;
    assert!(matches!(within, Err(CallError::Timeout(_))), "{within:?}");
}

#[tokio::test]
async fn an_answer_without_end_is_not_read() {
    let (answer, _) = call("HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n{").await;
    assert!(matches!(answer, Err(CallError::Malformed(_))), "{answer:?}");
}

#[tokio::test]
async fn nobody_there_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let step = message("in/a.txt");
    let input = StepInput {
        message: &step,
        content: Bytes::from_static(b"hello"),
        heard: &Heard::default(),
    };
    let answer = chat_at(&base, None, config("Sum up.")).call(input).await;
    assert!(
        matches!(answer, Err(CallError::Unreachable(_))),
        "{answer:?}"
    );
}

#[tokio::test]
async fn a_file_that_cannot_be_sent_costs_no_call() {
    let step = message("in/a.txt");
    let input = StepInput {
        message: &step,
        content: Bytes::from_static(b"a\0b"),
        heard: &Heard::default(),
    };
    // Nobody listens there: a call would be `Unreachable`.
    let answer = chat_at("http://127.0.0.1:1", None, config("Sum up."))
        .call(input)
        .await;
    assert!(
        matches!(&answer, Err(CallError::Rejected { cause, .. }) if cause == "not_text"),
        "{answer:?}"
    );
}
