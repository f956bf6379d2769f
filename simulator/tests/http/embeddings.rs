//! Embeddings: shapes, limits, and what they share with the other services.

use base64::{Engine, prelude::BASE64_STANDARD};
use filefleet_simulator::{Faults, Kind, Quirk, Quotas, SimulatorConfig};
use serde_json::{Value, json};

use super::{Reply, Service};

const PATH: &str = "/v1/embeddings";
const AZURE: &str = "/openai/deployments/dep/embeddings?api-version=2024-10-21";

fn of(input: impl Into<Value>) -> Value {
    json!({"model": "text-embedding-3-small", "input": input.into()})
}

fn with(mut body: Value, name: &str, value: impl Into<Value>) -> Value {
    body[name] = value.into();
    body
}

async fn embed(service: &Service, body: &Value) -> Reply {
    service.post(PATH, body).await
}

async fn refused(service: &Service, body: &Value) -> Value {
    let reply = embed(service, body).await;
    assert_eq!(reply.status, 400, "{}", reply.text);
    let error = reply.error();
    for field in ["message", "type", "param", "code"] {
        assert!(error.get(field).is_some(), "{field}");
    }
    error
}

fn floats(embedding: &Value) -> Vec<f32> {
    serde_json::from_value(embedding["embedding"].clone()).unwrap()
}

fn dot(one: &[f32], other: &[f32]) -> f32 {
    one.iter().zip(other).map(|(x, y)| x * y).sum()
}

#[tokio::test]
async fn every_path_answers_a_list_of_vectors() {
    let service = Service::with(&[]).await;
    for (path, model) in [
        (PATH, "text-embedding-3-small"),
        ("/embeddings", "text-embedding-3-small"),
        ("/openai/v1/embeddings", "text-embedding-3-small"),
        (AZURE, "dep"),
    ] {
        let reply = service.post(path, &of(json!(["Hello there", "x"]))).await;
        assert_eq!(reply.status, 200, "{}", reply.text);
        let body = reply.json();
        assert_eq!(
            (&body["object"], &body["model"]),
            (&json!("list"), &json!(model))
        );
        assert_eq!(
            body["usage"],
            json!({"prompt_tokens": 4, "total_tokens": 4})
        );
        let data = body["data"].as_array().unwrap();
        assert_eq!(data.len(), 2);
        for (index, embedding) in data.iter().enumerate() {
            assert_eq!(embedding["object"], "embedding");
            assert_eq!(embedding["index"], index);
            let vector = floats(embedding);
            assert_eq!(vector.len(), 1536);
            assert!((dot(&vector, &vector) - 1.0).abs() < 1e-4);
        }
    }
    let without_version = AZURE.split_once('?').unwrap().0;
    assert_eq!(service.post(without_version, &of("x")).await.status, 404);
    assert_eq!(service.get(PATH).await.status, 405);
}

#[tokio::test]
async fn base64_holds_the_same_floats() {
    let service = Service::with(&[]).await;
    let body = with(of("Dear Ms Smith"), "dimensions", 64);
    let plain = floats(&embed(&service, &body).await.json()["data"][0]);
    let coded = embed(&service, &with(body, "encoding_format", "base64")).await;
    let coded = coded.json()["data"][0]["embedding"].clone();
    let bytes = BASE64_STANDARD.decode(coded.as_str().unwrap()).unwrap();
    let coded: Vec<_> = bytes
        .chunks_exact(4)
        .map(|four| f32::from_le_bytes(four.try_into().unwrap()))
        .collect();
    assert_eq!((coded.len(), coded), (64, plain));
}

#[tokio::test]
async fn every_form_of_input_is_embedded() {
    let service = Service::with(&[]).await;
    for (input, vectors, tokens) in [
        (json!("a b c d e"), 1, 3),
        (json!(["a", "b"]), 2, 2),
        (json!([1212, 318, 257]), 1, 3),
        (json!([[1212, 318], [257]]), 2, 3),
    ] {
        let reply = embed(&service, &of(input)).await.json();
        assert_eq!(reply["data"].as_array().unwrap().len(), vectors);
        assert_eq!(reply["usage"]["prompt_tokens"], tokens);
    }
}

#[tokio::test]
async fn dimensions_are_the_models_own_or_fewer() {
    let service = Service::with(&[]).await;
    for (model, asked, given) in [
        ("text-embedding-3-large", None, 3072),
        ("text-embedding-3-small", Some(256), 256),
        ("text-embedding-ada-002", None, 1536),
        ("nomic-embed-text", Some(768), 768),
    ] {
        let mut body = with(of("x"), "model", model);
        if let Some(asked) = asked {
            body = with(body, "dimensions", asked);
        }
        let reply = embed(&service, &body).await.json();
        assert_eq!(floats(&reply["data"][0]).len(), given, "{model}");
    }
    let error = refused(&service, &with(of("x"), "dimensions", 3072)).await;
    let message = error["message"].as_str().unwrap();
    assert!(message.ends_with("Must be less than or equal to 1536."));
    let zero = refused(&service, &with(of("x"), "dimensions", 0)).await;
    assert_eq!(zero["code"], "integer_below_min_value");
    let ada = with(of("x"), "model", "text-embedding-ada-002");
    let error = refused(&service, &with(ada, "dimensions", 8)).await;
    assert_eq!(
        error["message"],
        "This model does not support specifying dimensions."
    );
}

#[tokio::test]
async fn a_search_finds_the_text_that_shares_words() {
    let service = Service::with(&[]).await;
    let texts = [
        "Invoice 4711 of Miller Ltd: 12 chairs, due in March.",
        "Minutes of the works council about parental leave.",
        "Recipe for a soup of pumpkins with ginger.",
    ];
    let reply = embed(&service, &of(json!(texts))).await.json();
    let vectors: Vec<_> = reply["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(floats)
        .collect();
    for (question, best) in [
        ("When are the chairs of the invoice due?", 0),
        ("what does the works council say about leave", 1),
        ("pumpkin soup", 2),
    ] {
        let asked = embed(&service, &of(question)).await.json();
        let asked = floats(&asked["data"][0]);
        let nearest = (0..3).max_by(|&one, &other| {
            dot(&asked, &vectors[one]).total_cmp(&dot(&asked, &vectors[other]))
        });
        assert_eq!(nearest, Some(best), "{question}");
    }
}

#[tokio::test]
async fn what_cannot_be_embedded_is_refused_in_the_words_of_openai() {
    let service = Service::with(&[]).await;
    for input in [
        json!(""),
        json!([]),
        json!(["a", ""]),
        json!(["a", 1]),
        json!([[1], []]),
        json!([-1]),
        json!({"text": "a"}),
    ] {
        let error = refused(&service, &of(input)).await;
        let message = error["message"].as_str().unwrap();
        assert!(message.starts_with("'$.input' is invalid."), "{message}");
        assert_eq!(error["type"], "invalid_request_error");
    }
    let missing = refused(&service, &json!({"model": "m"})).await;
    assert_eq!(missing["code"], "missing_required_parameter");
    let format = refused(&service, &with(of("x"), "encoding_format", "int8")).await;
    assert_eq!(format["param"], "encoding_format");
    let model = refused(&service, &json!({"input": "x"})).await;
    assert_eq!(model["message"], "you must provide a model parameter");
}

#[tokio::test]
async fn requests_over_the_limits_are_refused() {
    let service = Service::with(&[]).await;
    let many = |count: usize| vec!["a"; count];
    let fits = embed(&service, &with(of(many(2048)), "dimensions", 1)).await;
    assert_eq!(fits.status, 200);
    let error = refused(&service, &of(many(2049))).await;
    assert_eq!(error["code"], "array_above_max_length");
    assert_eq!(error["param"], "input");

    let long = |tokens: usize| "x".repeat(4 * tokens);
    assert_eq!(embed(&service, &of(long(8192))).await.status, 200);
    let error = refused(&service, &of(json!(["a", long(8193)]))).await;
    assert_eq!(
        error["message"],
        "Invalid 'input[1]': maximum input length is 8192 tokens."
    );

    let error = refused(&service, &of(json!(vec![long(8000); 38]))).await;
    assert_eq!(
        error,
        json!({
            "message": "Requested 304000 tokens, max 300000 tokens per request",
            "type": "max_tokens_per_request",
            "param": null,
            "code": "max_tokens_per_request",
        })
    );
}

#[tokio::test]
async fn input_tokens_count_against_a_quota_of_their_own() {
    let service = Service::start(SimulatorConfig {
        quotas: Quotas {
            tokens_per_minute: Some(100),
            ..Quotas::default()
        },
        ..SimulatorConfig::default()
    })
    .await;
    assert_eq!(service.chat(&"x".repeat(380)).await.status, 200);
    let body = of("x".repeat(240));
    let first = embed(&service, &body).await;
    assert_eq!(first.status, 200);
    assert_eq!(first.header("x-ratelimit-remaining-tokens"), "40");
    let refused = embed(&service, &body).await;
    assert_eq!(refused.status, 429);
    assert_eq!(refused.error()["type"], "tokens");
    let azure = service.post(AZURE, &body).await;
    let message = azure.error()["message"].as_str().unwrap().to_owned();
    assert!(message.starts_with(
        "Requests to the Embeddings_Create Operation under Azure OpenAI API version 2024-10-21 \
         have exceeded token rate limit"
    ));
}

#[tokio::test]
async fn faults_and_quirks_strike_embeddings_too() {
    let service = Service::start(SimulatorConfig {
        faults: Faults {
            reset: 1.0,
            ..Faults::default()
        },
        ..SimulatorConfig::default()
    })
    .await;
    let request = service.request(PATH, &of("x"));
    assert!(request.send().await.unwrap().text().await.is_err());
    let stats = service.stats().await;
    assert_eq!((stats.paid, stats.reset), (1, 1));

    let marked = Service::with(&[Quirk::Markers]).await;
    let reply = embed(&marked, &of(json!(["fine", "SIM_ERROR"]))).await;
    assert_eq!(reply.status, 500);
    // There is no completion that could be filtered.
    assert_eq!(embed(&marked, &of("SIM_CONTENT_FILTER")).await.status, 200);
    let short = Service::start(SimulatorConfig {
        quirks: [Quirk::ContextExceeded, Quirk::IntegerCode].into(),
        context_tokens: 10,
        ..SimulatorConfig::default()
    })
    .await;
    let error = embed(&short, &of("x".repeat(80))).await.error();
    assert_eq!(error["type"], "exceed_context_size_error");
}

#[tokio::test]
async fn tasks_are_counted_for_each_kind_of_service() {
    let service = Service::with(&[]).await;
    for (path, body) in [
        (PATH, of("x")),
        ("/v1/chat/completions", super::chat("x")),
        (PATH, of("y")),
    ] {
        let request = service.request(path, &body);
        let reply = request.header("x-filefleet-task", "run/0").send().await;
        assert_eq!(reply.unwrap().status(), 200);
    }
    let stats = service.stats().await;
    assert_eq!((stats.paid, stats.repeated), (3, 1));
    let embeddings = stats.kinds[&Kind::Embeddings];
    assert_eq!((embeddings.paid, embeddings.distinct_tasks), (2, 1));
    assert_eq!(embeddings.repeated, 1);
    assert_eq!(stats.kinds[&Kind::Chat].repeated, 0);
    assert!(!stats.kinds.contains_key(&Kind::Vision));
}
