//! Answers and refusals have every field that the specification requires.

use filefleet_simulator::SimulatorConfig;
use serde_json::{Value, json};

use super::{Service, chat};

const AZURE: &str = "/openai/deployments/dep/chat/completions?api-version=2024-10-21";

fn assert_is_a_completion(body: &Value) {
    assert_eq!(body["object"], "chat.completion");
    assert!(body["id"].as_str().unwrap().starts_with("chatcmpl-"));
    assert!(body["created"].as_u64().unwrap() > 1_700_000_000);
    let choice = &body["choices"][0];
    assert_eq!(choice["index"], 0);
    assert_eq!(choice["finish_reason"], "stop");
    assert_eq!(choice.get("logprobs"), Some(&Value::Null));
    let message = &choice["message"];
    assert_eq!(message["role"], "assistant");
    assert!(
        message["content"]
            .as_str()
            .unwrap()
            .starts_with("[rehearsal]")
    );
    assert_eq!(message.get("refusal"), Some(&Value::Null));
    let usage = &body["usage"];
    let of = |name: &str| usage[name].as_u64().unwrap();
    assert!(of("prompt_tokens") > 0 && of("completion_tokens") > 0);
    assert_eq!(
        of("total_tokens"),
        of("prompt_tokens") + of("completion_tokens")
    );
    assert_eq!(usage["prompt_tokens_details"]["cached_tokens"], 0);
    assert_eq!(usage["completion_tokens_details"]["reasoning_tokens"], 0);
}

#[tokio::test]
async fn every_path_of_openai_answers_a_completion() {
    let service = Service::start(SimulatorConfig::default()).await;
    for path in ["/v1/chat/completions", "/chat/completions"] {
        let reply = service.post(path, &chat("Hello there")).await;
        assert_eq!(reply.status, 200, "{}", reply.text);
        assert_is_a_completion(&reply.json());
        assert_eq!(reply.json()["model"], "gpt-4o");
        assert!(reply.json().get("prompt_filter_results").is_none());
        assert!(reply.header("x-request-id").starts_with("req_"));
        reply.header("openai-processing-ms").parse::<u64>().unwrap();
        assert_eq!(reply.header("content-type"), "application/json");
    }
}

#[tokio::test]
async fn every_path_of_azure_answers_with_filter_results() {
    let service = Service::start(SimulatorConfig::default()).await;
    for (path, model) in [(AZURE, "dep"), ("/openai/v1/chat/completions", "gpt-4o")] {
        let reply = service.post(path, &chat("Hello there")).await;
        assert_eq!(reply.status, 200, "{}", reply.text);
        let body = reply.json();
        assert_is_a_completion(&body);
        assert_eq!(body["model"], model);
        let prompt = &body["prompt_filter_results"][0];
        assert_eq!(prompt["prompt_index"], 0);
        let jailbreak = &prompt["content_filter_results"]["jailbreak"];
        assert_eq!(*jailbreak, json!({"filtered": false, "detected": false}));
        let answer = &body["choices"][0]["content_filter_results"]["violence"];
        assert_eq!(*answer, json!({"filtered": false, "severity": "safe"}));
        reply.header("apim-request-id");
    }
}

#[tokio::test]
async fn a_wrong_key_is_refused_in_the_words_of_the_dialect() {
    let service = Service::start(SimulatorConfig {
        require_key: Some("right".to_owned()),
        ..SimulatorConfig::default()
    })
    .await;
    let openai = service.chat("x").await;
    assert_eq!(openai.status, 401);
    assert_eq!(openai.error()["type"], "invalid_request_error");
    assert_eq!(openai.error()["code"], Value::Null);

    let wrong = service.request("/v1/chat/completions", &chat("x"));
    let wrong = wrong.bearer_auth("secret").send().await.unwrap();
    assert_eq!(wrong.status(), 401);
    let text = wrong.text().await.unwrap();
    assert!(text.contains("invalid_api_key") && !text.contains("secret"));

    let azure = service.post(AZURE, &chat("x")).await;
    assert_eq!(azure.status, 401);
    assert_eq!(azure.error()["code"], "401");
    assert!(azure.error().get("type").is_none());

    let bearer = service.request("/v1/chat/completions", &chat("x"));
    assert_eq!(
        bearer.bearer_auth("right").send().await.unwrap().status(),
        200
    );
    for request in [
        service
            .request(AZURE, &chat("x"))
            .header("api-key", "right"),
        service.request(AZURE, &chat("x")).bearer_auth("right"),
    ] {
        assert_eq!(request.send().await.unwrap().status(), 200);
    }
    assert_eq!(service.get("/v1/models").await.status, 401);
    assert_eq!(service.stats().await.paid, 3);
}

#[tokio::test]
async fn an_unknown_model_is_refused_in_the_words_of_the_dialect() {
    let service = Service::start(SimulatorConfig {
        models: Some(vec!["small".to_owned()]),
        ..SimulatorConfig::default()
    })
    .await;
    let openai = service.chat("x").await;
    assert_eq!(openai.status, 404);
    assert_eq!(openai.error()["code"], "model_not_found");
    let azure = service.post(AZURE, &chat("x")).await;
    assert_eq!(azure.status, 404);
    assert_eq!(azure.error()["code"], "DeploymentNotFound");
    let known = "/openai/deployments/small/chat/completions?api-version=2024-10-21";
    assert_eq!(service.post(known, &chat("x")).await.status, 200);

    let models = service.get("/v1/models").await.json();
    assert_eq!(models["object"], "list");
    assert_eq!(models["data"][0]["id"], "small");
    assert_eq!(models["data"][0]["object"], "model");
}

#[tokio::test]
async fn paths_that_do_not_exist_are_refused_in_the_words_of_the_dialect() {
    let service = Service::start(SimulatorConfig::default()).await;
    let openai = service.post("/v2/chat", &chat("x")).await;
    assert_eq!(openai.status, 404);
    assert_eq!(openai.error()["message"], "Invalid URL (POST /v2/chat)");
    let method = service.get("/v1/chat/completions").await;
    assert_eq!(method.status, 405);
    assert_eq!(method.error()["type"], "invalid_request_error");
    let without_version = AZURE.split_once('?').unwrap().0;
    let azure = service.post(without_version, &chat("x")).await;
    assert_eq!(azure.status, 404);
    assert_eq!(
        azure.error(),
        json!({"code": "404", "message": "Resource not found"})
    );
}

#[tokio::test]
async fn the_same_request_has_the_same_answer_and_a_seed_decides_its_id() {
    let seeded = |seed| {
        Service::start(SimulatorConfig {
            seed,
            ..SimulatorConfig::default()
        })
    };
    let (one, same, other) = (seeded(1).await, seeded(1).await, seeded(2).await);
    let text = "Dear Tom, this is a letter of 2026-03-12.";
    let first = one.chat(text).await;
    let again = same.chat(text).await;
    assert_eq!(first.content(), again.content());
    assert_eq!(first.json()["id"], again.json()["id"]);
    assert_eq!(first.header("x-request-id"), again.header("x-request-id"));
    assert_ne!(first.json()["id"], other.chat(text).await.json()["id"]);
    assert_ne!(first.json()["id"], one.chat(text).await.json()["id"]);
}

#[tokio::test]
async fn it_is_healthy_until_it_is_shut_down() {
    let service = Service::start(SimulatorConfig::default()).await;
    assert_eq!(service.get("/health").await.json(), json!({"status": "ok"}));
    let url = service.simulator.base_url();
    service.simulator.shutdown().await;
    let error = service.client.get(url).send().await.unwrap_err();
    assert!(error.is_connect(), "{error:?}");
}
