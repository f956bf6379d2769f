use std::time::Duration;

use filefleet_worker::service::{Accepted, CallError, Catalog, CatalogOptions, Reply};
use serde_json::{Value, json};

use super::stand::{Answer, Stand, call, cause, continued, message};

const SPEC: &str = include_str!("../specs/docintel-2024-11-30.json");
const ID: &str = "36f78948-f0d2-4cee-8565-0416f0a84961";
const PDF: &[u8] = b"%PDF-1.7 a document";

const ACCEPTED: &[(&str, &str)] = &[
    (
        "operation-location",
        "BASE/documentintelligence/documentModels/prebuilt-read/analyzeResults/36f78948-f0d2-4cee-8565-0416f0a84961?api-version=2024-11-30",
    ),
    ("retry-after", "3"),
];

fn accepted() -> Answer {
    (202, ACCEPTED, String::new())
}

fn operation(status: &str, more: Value) -> Answer {
    let mut operation = json!({
        "status": status,
        "createdDateTime": "2024-11-30T00:00:00Z",
        "lastUpdatedDateTime": "2024-11-30T00:00:00Z",
    });
    if let Value::Object(more) = more {
        operation.as_object_mut().unwrap().extend(more);
    }
    (200, &[("retry-after", "2")], operation.to_string())
}

async fn stand(answers: Vec<Answer>) -> Stand {
    Stand::new(SPEC, answers).await
}

fn expect_accepted(reply: Result<Reply, CallError>) -> Accepted {
    match reply {
        Ok(Reply::Accepted(accepted)) => accepted,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_document_is_submitted_once_and_its_result_asked_for() {
    let result = json!({
        "apiVersion": "2024-11-30", "modelId": "prebuilt-read", "stringIndexType": "textElements",
        "content": "hello", "pages": [{"pageNumber": 1, "spans": []}, {"pageNumber": 2, "spans": []}],
    });
    let stand = stand(vec![
        accepted(),
        operation("notStarted", json!({})),
        operation("running", json!({})),
        operation("succeeded", json!({"analyzeResult": result})),
    ])
    .await;
    let step = stand.step("docintel", "read = {}");
    let first = message(&step, "application/pdf");
    let accepted = expect_accepted(call(&step, &first, PDF).await);
    assert_eq!(accepted.state, json!(ID), "an id, and never an address");
    assert_eq!(accepted.check_after, Duration::from_secs(3));
    let next = continued(&first, &accepted.state);
    for _ in 0..2 {
        let retry_after = Some(Duration::from_secs(2));
        assert_eq!(
            call(&step, &next, b"").await,
            Err(CallError::Pending { retry_after })
        );
    }
    match call(&step, &next, b"").await.unwrap() {
        Reply::Answered(answer) => {
            let output = json!({"content": "hello", "format": "text", "pages": 2});
            assert_eq!((answer.output, answer.usage.pages), (output, 2));
        }
        Reply::Accepted(accepted) => panic!("{accepted:?}"),
    }
    let requests = stand.requests();
    let methods: Vec<&str> = requests
        .iter()
        .map(|request| request.method.as_str())
        .collect();
    assert_eq!(methods, ["POST", "GET", "GET", "GET"]);
    assert_eq!(requests[0].body, PDF);
    let path = "/documentintelligence/documentModels/prebuilt-read";
    let version = "api-version=2024-11-30";
    assert_eq!(
        requests[0].target,
        format!("{path}:analyze?{version}&outputContentFormat=text")
    );
    assert_eq!(
        requests[1].target,
        format!("{path}/analyzeResults/{ID}?{version}")
    );
}

#[tokio::test]
async fn everything_that_can_be_asked_for_is_as_the_specification_has_it() {
    let stand = stand(vec![accepted()]).await;
    let action = "read = { model = \"prebuilt-layout\", pages = \"1-3,5\", locale = \"en-US\", \
                  features = [\"ocrHighResolution\", \"languages\", \"barcodes\", \"formulas\", \
                  \"keyValuePairs\", \"styleFont\"], query_fields = [\"Total\", \"Größe & x\"], \
                  format = \"markdown\" }";
    let step = stand.step("docintel", action);
    expect_accepted(call(&step, &message(&step, "application/pdf"), PDF).await);
    let query = stand.requests()[0].query();
    let features =
        "ocrHighResolution,languages,barcodes,formulas,keyValuePairs,styleFont,queryFields";
    for (name, value) in [
        ("pages", "1-3,5"),
        ("locale", "en-US"),
        ("features", features),
        ("queryFields", "Total,Größe & x"),
        ("outputContentFormat", "markdown"),
    ] {
        assert_eq!(query[name], value);
    }
}

#[tokio::test]
async fn a_file_is_sent_as_what_it_is_or_not_at_all() {
    let spec: Value = serde_json::from_str(SPEC).unwrap();
    let consumed = &spec["paths"]["/documentModels/{modelId}:analyze"]["post"]["consumes"];
    let types: Vec<&str> = consumed
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    // JSON is for addresses of documents, which is not how files are sent.
    let binary: Vec<&str> = types
        .into_iter()
        .filter(|kind| *kind != "application/json")
        .collect();
    assert_eq!(binary.len(), 11);
    let stand = stand(binary.iter().map(|_| accepted()).collect()).await;
    let step = stand.step("docintel", "read = {}");
    for media_type in &binary {
        expect_accepted(call(&step, &message(&step, media_type), b"PK\x03\x04").await);
    }
    for (media_type, content, expected) in [
        ("text/plain", &b"a letter"[..], "unsupported_media_type"),
        ("application/json", b"{}", "unsupported_media_type"),
        ("video/mp4", b"....", "unsupported_media_type"),
        ("application/pdf", b"", "empty_file"),
    ] {
        assert_eq!(
            cause(call(&step, &message(&step, media_type), content).await),
            expected
        );
    }
    let sent: Vec<String> = stand
        .requests()
        .iter()
        .map(|request| request.header("content-type").to_owned())
        .collect();
    assert_eq!(sent, binary);
}

#[tokio::test]
async fn an_acceptance_that_leads_elsewhere_is_malformed() {
    const FOREIGN: &[(&str, &str)] = &[(
        "operation-location",
        "https://elsewhere.example/documentintelligence/documentModels/m/analyzeResults/1",
    )];
    const SHAPELESS: &[(&str, &str)] = &[("operation-location", "BASE/elsewhere")];
    for headers in [FOREIGN, SHAPELESS, &[]] {
        let stand = stand(vec![(202, headers, String::new())]).await;
        let step = stand.step("docintel", "read = {}");
        let reply = call(&step, &message(&step, "application/pdf"), PDF).await;
        assert!(matches!(reply, Err(CallError::Malformed(_))), "{reply:?}");
    }
}

/// None of these may lead to the document being submitted again.
#[tokio::test]
async fn questions_that_fail_stay_questions() {
    let gone = r#"{"error":{"code":"NotFound","message":"Resource not found.","innererror":{"code":"OperationNotFound","message":"The operation has expired."}}}"#;
    let corrupted = json!({"error": {"code": "InvalidRequest", "message": "Invalid request.",
        "innererror": {"code": "InvalidContent", "message": "The file is corrupted."}}});
    let stand = stand(vec![
        (429, &[("retry-after", "4")], String::new()),
        (500, &[], String::new()),
        (200, &[], "<html>".to_owned()),
        operation("failed", corrupted),
        (404, &[], gone.to_owned()),
    ])
    .await;
    let step = stand.step("docintel", "read = {}");
    let next = continued(&message(&step, "application/pdf"), &json!(ID));
    let limited = call(&step, &next, b"").await;
    let wait = Some(Duration::from_secs(4));
    assert!(
        matches!(limited, Err(CallError::RateLimited { retry_after, .. }) if retry_after == wait)
    );
    let failed = call(&step, &next, b"").await;
    assert!(
        matches!(failed, Err(CallError::Overloaded { .. })),
        "{failed:?}"
    );
    let garbled = call(&step, &next, b"").await;
    assert!(
        matches!(garbled, Err(CallError::Malformed(_))),
        "{garbled:?}"
    );
    assert_eq!(cause(call(&step, &next, b"").await), "invalid_content");
    assert_eq!(cause(call(&step, &next, b"").await), "operation_expired");
    let elsewhere = continued(&next, &json!("../../../elsewhere"));
    assert_eq!(
        cause(call(&step, &elsewhere, b"").await),
        "unknown_operation"
    );
    let requests = stand.requests();
    assert_eq!(requests.len(), 5);
    assert!(requests.iter().all(|request| request.method == "GET"));
}

#[tokio::test]
async fn refusals_of_a_document_are_named() {
    let refusal = |code: &str, inner: &str| {
        json!({"error": {"code": code, "message": "m", "innererror": {"code": inner, "message": "why"}}}).to_string()
    };
    let unauthorized = r#"{"error":{"code":"401","message":"Access denied due to invalid subscription key key-1234567890."}}"#;
    let stand = stand(vec![
        (400, &[], refusal("InvalidRequest", "UnsupportedContent")),
        (401, &[], unauthorized.to_owned()),
        (404, &[], refusal("NotFound", "ModelNotFound")),
        (
            503,
            &[("retry-after", "1")],
            refusal("ServiceUnavailable", ""),
        ),
    ])
    .await;
    let step = stand.step("docintel", "read = {}");
    let first = message(&step, "application/pdf");
    assert_eq!(cause(call(&step, &first, PDF).await), "unsupported_content");
    match call(&step, &first, PDF).await {
        Err(CallError::Unauthorized(said)) => assert!(said.contains("[key]"), "{said}"),
        other => panic!("{other:?}"),
    }
    let missing = call(&step, &first, PDF).await;
    assert!(
        matches!(missing, Err(CallError::Misconfigured(_))),
        "{missing:?}"
    );
    let busy = call(&step, &first, PDF).await;
    assert!(
        matches!(busy, Err(CallError::RateLimited { .. })),
        "{busy:?}"
    );
}

#[tokio::test]
async fn a_rehearsal_asks_the_simulator_without_a_key() {
    let stand = stand(vec![accepted()]).await;
    let text = "[service.x]\nkind = \"docintel\"\nendpoint = \"https://real.example\"\n\
                key = { env = \"FILEFLEET_TEST_NOT_SET\" }\n\
                [[pipeline.p]]\nname = \"s\"\nservice = \"x\"\nread = {}\n";
    let config = filefleet_worker::config::Config::parse("test.toml", text).unwrap();
    let options = CatalogOptions {
        rehearse: Some(format!("{}/v1", stand.base)),
    };
    let catalog = Catalog::build(&config, &options).unwrap();
    let step = catalog.first_step("p").unwrap();
    expect_accepted(call(step, &message(step, "application/pdf"), PDF).await);
}
