//! Chat and embeddings against the published specifications of OpenAI and of Azure OpenAI.

use serde_json::{Value, json};

use super::stand::{Answer, Stand, call, cause, message};
use filefleet_worker::service::{BoundStep, CallError, Reply};

const OPENAI: &str = include_str!("../specs/openai-2.3.0.json");
const AZURE: &str = include_str!("../specs/azure-openai-2024-10-21.json");

const CLASSIC: &str = "kind = \"openai\"\ndialect = \"azure\"\napi_version = \"2024-10-21\"";
const V1: &str = "kind = \"openai\"\ndialect = \"azure-v1\"";
const PLAIN: &str = "kind = \"openai\"";

/// Azure's newer paths take what OpenAI's do, below a path and with a key of their own.
fn v1() -> String {
    let mut spec: Value = serde_json::from_str(OPENAI).unwrap();
    spec["x-ms-parameterized-host"]["hostTemplate"] = json!("{endpoint}/openai/v1");
    spec["securityDefinitions"]["ApiKeyAuth"]["name"] = json!("api-key");
    spec.to_string()
}

fn answer(body: &Value) -> Answer {
    (200, &[], body.to_string())
}

fn vectors(count: usize, tokens: u64) -> Answer {
    let data: Vec<Value> = (0..count)
        .map(|index| json!({"object": "embedding", "index": index, "embedding": [0.25, -1.5]}))
        .collect();
    let usage = json!({"prompt_tokens": tokens, "total_tokens": tokens});
    answer(&json!({"object": "list", "model": "m-1", "data": data, "usage": usage}))
}

async fn output(
    step: &BoundStep,
    content: &[u8],
) -> Result<filefleet_worker::service::Answer, CallError> {
    match call(step, &message(step, "text/plain"), content).await? {
        Reply::Answered(answer) => Ok(answer),
        Reply::Accepted(accepted) => panic!("{accepted:?}"),
    }
}

#[tokio::test]
async fn chat_requests_are_as_every_specification_has_them() {
    let chat = "chat = { model = \"gpt-4o\", prompt = \"Sum up as JSON.\", system = \"Be brief.\", \
                max_tokens = 9, temperature = 0.5, top_p = 0.5, seed = 1, json = true, detail = \"low\" }";
    let completion = json!({
        "model": "gpt-4o", "choices": [{"finish_reason": "stop", "message": {"content": "{}"}}],
    });
    let png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR";
    for (spec, service) in [(OPENAI, PLAIN), (AZURE, CLASSIC), (&v1(), V1)] {
        let stand = Stand::new(spec, vec![answer(&completion), answer(&completion)]).await;
        let step = stand.step_of(service, "", chat);
        output(&step, b"A letter.").await.unwrap();
        let image = message(&step, "image/png");
        call(&step, &image, png).await.unwrap();
        assert_eq!(stand.requests().len(), 2);
    }
}

#[tokio::test]
async fn embedding_requests_are_as_every_specification_has_them() {
    let embed = "embed = { model = \"text-embedding-3-small\", dimensions = 2 }";
    for (spec, service, path) in [
        (OPENAI, PLAIN, "/v1/embeddings"),
        (
            AZURE,
            CLASSIC,
            "/openai/deployments/text-embedding-3-small/embeddings?api-version=2024-10-21",
        ),
        (&v1(), V1, "/openai/v1/embeddings"),
    ] {
        let stand = Stand::new(spec, vec![vectors(1, 3)]).await;
        let answer = output(&stand.step_of(service, "", embed), b"A letter.")
            .await
            .unwrap();
        assert_eq!(answer.output["chunks"][0]["vector"], json!([0.25, -1.5]));
        let requests = stand.requests();
        assert_eq!(requests[0].target, path);
        let body: Value = serde_json::from_slice(&requests[0].body).unwrap();
        // As the official client sends it.
        let expected = json!({
            "model": "text-embedding-3-small", "input": ["A letter."], "encoding_format": "base64",
            "dimensions": 2,
        });
        assert_eq!(body, expected);
    }
}

#[tokio::test]
async fn a_long_text_takes_several_requests_and_all_are_counted() {
    let stand = Stand::new(OPENAI, vec![vectors(2048, 4000), vectors(52, 100)]).await;
    let embed = "embed = { model = \"m\", max_chunks = 2100, tokenizer = \"bytes\", encoding = \"float\", \
                 chunk = { tokens = 16, overlap = 0 } }";
    let step = stand.step_of(PLAIN, "", embed);
    let text = "sixteen letters\n".repeat(2100);
    let answer = output(&step, text.as_bytes()).await.unwrap();
    assert_eq!((answer.usage.calls, answer.usage.input_tokens), (2, 4100));
    assert_eq!(answer.output["model"], "m-1");
    assert_eq!(answer.output["dimensions"], 2);
    let chunks = answer.output["chunks"].as_array().unwrap();
    assert_eq!(chunks.len(), 2100);
    let last = &chunks[2099];
    assert_eq!(last["index"], 2099);
    assert_eq!(
        (&last["start"], &last["end"]),
        (&json!(33_584), &json!(33_600))
    );
    assert_eq!(
        (&last["text"], &last["tokens"]),
        (&json!("sixteen letters\n"), &json!(16))
    );
    let inputs = |at: usize| {
        let body: Value = serde_json::from_slice(&stand.requests()[at].body).unwrap();
        assert_eq!(body["encoding_format"], "float");
        assert_eq!(body.get("dimensions"), None);
        body["input"].as_array().unwrap().len()
    };
    assert_eq!((inputs(0), inputs(1)), (2048, 52));
}

#[tokio::test]
async fn what_cannot_be_embedded_is_refused_before_a_call() {
    let stand = Stand::new(OPENAI, Vec::new()).await;
    let step = stand.step_of(PLAIN, "", "embed = { model = \"m\", max_chunks = 2 }");
    assert_eq!(cause(output(&step, b" \n\t ").await), "empty");
    assert_eq!(cause(output(&step, b"\xff\xfe\0").await), "not_text");
    let long = "word ".repeat(1200);
    assert_eq!(
        cause(output(&step, long.as_bytes()).await),
        "too_many_chunks"
    );
    assert!(stand.requests().is_empty());
}

#[tokio::test]
async fn a_template_over_an_earlier_output_is_embedded_in_place_of_the_file() {
    let stand = Stand::new(OPENAI, vec![vectors(1, 3)]).await;
    let before = "[service.pdf]\nkind = \"command\"\nprogram = \"true\"\n\
                  [[pipeline.p]]\nname = \"read\"\nservice = \"pdf\"\nrun = { args = [] }";
    let embed = "embed = { model = \"m\", input = \"{{ file.name }}: {{ read.content }}\" }";
    let step = stand.step_of(PLAIN, before, embed);
    assert!(!step.call.needs_content());
    let mut message = message(&step, "application/pdf");
    message
        .outputs
        .insert("read".to_owned(), json!({"content": "Total 5"}));
    call(&step, &message, b"").await.unwrap();
    let body: Value = serde_json::from_slice(&stand.requests()[0].body).unwrap();
    assert_eq!(body["input"], json!(["a: Total 5"]));
}

#[tokio::test]
async fn answers_that_do_not_fit_are_malformed_and_refusals_are_named() {
    let filtered =
        json!({"error": {"code": "content_filter", "message": "no", "param": null, "type": null}});
    let answers = vec![
        vectors(2, 1),
        (200, &[], "not JSON".to_owned()),
        (400, &[], filtered.to_string()),
        (429, &[("retry-after", "3")], "{}".to_owned()),
    ];
    let stand = Stand::new(OPENAI, answers).await;
    let step = stand.step_of(PLAIN, "", "embed = { model = \"m\" }");
    for _ in 0..2 {
        let error = output(&step, b"text").await;
        assert!(matches!(error, Err(CallError::Malformed(_))), "{error:?}");
    }
    assert_eq!(cause(output(&step, b"text").await), "content_filter");
    let error = output(&step, b"text").await;
    assert!(
        matches!(
            error,
            Err(CallError::RateLimited {
                retry_after: Some(_),
                ..
            })
        ),
        "{error:?}"
    );
}
