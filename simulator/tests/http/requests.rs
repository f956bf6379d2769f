//! Requests are validated as the real service does it.

use filefleet_simulator::SimulatorConfig;
use serde_json::{Value, json};

use super::{Service, chat};

async fn assert_refused(service: &Service, body: &Value, param: Value, code: Value) {
    let reply = service.post("/v1/chat/completions", body).await;
    assert_eq!(reply.status, 400, "{body}: {}", reply.text);
    let error = reply.error();
    assert_eq!(error["type"], "invalid_request_error", "{body}");
    assert_eq!(error["param"], param, "{body}: {error}");
    assert_eq!(error["code"], code, "{body}: {error}");
    assert!(!error["message"].as_str().unwrap().is_empty());
}

fn with(key: &str, value: Value) -> Value {
    let mut body = chat("x");
    body[key] = value;
    body
}

#[tokio::test]
async fn messages_that_are_missing_or_wrong_are_named() {
    let service = Service::start(SimulatorConfig::default()).await;
    let missing = json!("missing_required_parameter");
    let wrong = json!("invalid_type");
    let model = json!({"messages": []});
    assert_refused(&service, &model, Value::Null, Value::Null).await;
    let none = json!({"model": "m"});
    assert_refused(&service, &none, json!("messages"), missing.clone()).await;
    for (messages, param, code) in [
        (json!([]), "messages", json!("empty_array")),
        (json!("hi"), "messages", wrong.clone()),
        (json!(["hi"]), "messages[0]", wrong.clone()),
        (
            json!([{"content": "x"}]),
            "messages[0].role",
            missing.clone(),
        ),
        (
            json!([{"role": "robot"}]),
            "messages[0].role",
            json!("invalid_value"),
        ),
        (json!([{"role": "user"}]), "messages[0].content", missing),
        (
            json!([{"role": "user", "content": 1}]),
            "messages[0].content",
            wrong,
        ),
    ] {
        assert_refused(&service, &with("messages", messages), json!(param), code).await;
    }
}

#[tokio::test]
async fn parameters_out_of_range_are_named() {
    let service = Service::start(SimulatorConfig::default()).await;
    for (param, value, code) in [
        ("max_tokens", json!(0), "integer_below_min_value"),
        ("max_tokens", json!(-3), "integer_below_min_value"),
        ("max_tokens", json!("9"), "invalid_type"),
        ("max_completion_tokens", json!(0), "integer_below_min_value"),
        ("n", json!(129), "integer_above_max_value"),
        ("temperature", json!(2.5), "decimal_above_max_value"),
        ("top_p", json!(-0.5), "decimal_below_min_value"),
        ("stream", json!(true), "unsupported_value"),
    ] {
        assert_refused(&service, &with(param, value), json!(param), json!(code)).await;
    }
}

#[tokio::test]
async fn a_body_that_is_not_json_is_refused() {
    let service = Service::start(SimulatorConfig::default()).await;
    for body in ["{", "", "[]", "\"text\""] {
        let request = service.request("/v1/chat/completions", &Value::Null);
        let reply = request.body(body).send().await.unwrap();
        assert_eq!(reply.status(), 400, "{body}");
        let text = reply.text().await.unwrap();
        assert!(text.contains("could not parse the JSON body"), "{text}");
    }
    let form = service
        .client
        .post(format!(
            "{}/v1/chat/completions",
            service.simulator.base_url()
        ))
        .body(chat("x").to_string());
    assert_eq!(form.send().await.unwrap().status(), 415);
}

#[tokio::test]
async fn a_schema_is_checked_and_its_answer_satisfies_it() {
    let service = Service::start(SimulatorConfig::default()).await;
    let asking = |format: Value| {
        let mut body = chat("Müller GmbH\nRechnung Nr. 7\n12.03.2026\nGesamt 9,50 €");
        body["response_format"] = format;
        body
    };
    let schema = |name: &str, schema: Value| {
        asking(json!({"type": "json_schema",
            "json_schema": {"name": name, "strict": true, "schema": schema}}))
    };
    let open = json!({"type": "object", "properties": {"total": {"type": "number"}}});
    let at = "response_format";
    for (body, param, code) in [
        (
            asking(json!({"type": "xml"})),
            "response_format.type",
            json!("invalid_value"),
        ),
        (
            asking(json!({"type": "json_schema"})),
            "response_format.json_schema",
            json!("missing_required_parameter"),
        ),
        (
            schema("no spaces", json!({})),
            "response_format.json_schema.name",
            json!("invalid_value"),
        ),
        (schema("s", json!({"type": "array"})), at, Value::Null),
        (schema("s", open), at, Value::Null),
        (
            asking(json!({"type": "json_object"})),
            "messages",
            Value::Null,
        ),
    ] {
        assert_refused(&service, &body, json!(param), code).await;
    }
    let closed = json!({"type": "object", "additionalProperties": false,
        "required": ["total", "due"], "properties": {
            "total": {"type": "number"}, "due": {"type": ["string", "null"], "format": "date"}}});
    let reply = service
        .post("/v1/chat/completions", &schema("s", closed))
        .await;
    let answer: Value = serde_json::from_str(&reply.content()).unwrap();
    assert_eq!(answer, json!({"total": 9.5, "due": "2026-03-12"}));
}

#[tokio::test]
async fn images_are_parsed_and_counted() {
    let service = Service::start(SimulatorConfig::default()).await;
    let with = |url: &str| {
        json!({"model": "m", "messages": [{"role": "user", "content": [
            {"type": "text", "text": "What is it?"},
            {"type": "image_url", "image_url": {"url": url, "detail": "high"}},
        ]}]})
    };
    let png = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAgAAAAIAAAAAAA==";
    let reply = service.post("/v1/chat/completions", &with(png)).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    let content = reply.content();
    assert!(
        content.contains("image/png, 28 bytes, 512 x 512 pixels"),
        "{content}"
    );
    let details = &reply.json()["usage"]["prompt_tokens_details"];
    assert_eq!(details["image_tokens"], 255);
    assert_eq!(details["text_tokens"], 3);

    let at = json!("messages[0].content[1].image_url.url");
    for (url, code) in [
        ("data:image/png;base64,a*", "invalid_base64"),
        ("scan.png", "invalid_image_url"),
        ("data:application/pdf;base64,aaaa", "invalid_image_format"),
    ] {
        assert_refused(&service, &with(url), at.clone(), json!(code)).await;
    }
}

#[tokio::test]
async fn an_answer_longer_than_max_tokens_is_cut() {
    let service = Service::start(SimulatorConfig::default()).await;
    let mut body = chat("Dear Tom, hello.");
    body["max_completion_tokens"] = json!(4);
    let reply = service.post("/v1/chat/completions", &body).await;
    assert_eq!(reply.choice()["finish_reason"], "length");
    assert_eq!(reply.content().chars().count(), 16);
    assert_eq!(reply.json()["usage"]["completion_tokens"], 4);
}
