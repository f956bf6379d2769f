use reqwest::header::{HeaderValue, LOCATION};

use super::*;
use crate::service::refusal::testing::{Pairs, headers, idle_rows, word};

const AZURE_429: &str = r#"{"error":{"code":"429","message":"Requests to the Embeddings_Create Operation under Azure OpenAI API version 2024-05-01-preview have exceeded call rate limit of your current OpenAI S0 pricing tier. Please retry after 6 seconds. Please go here"}}"#;
const AZURE_FILTER: &str = r#"{"error":{"message":"The response was filtered","type":null,"param":"prompt","code":"content_filter","status":400,"innererror":{"code":"ResponsibleAIPolicyViolation"}}}"#;
const INNER_ERROR: &str =
    r#"{"error":{"message":"filtered","inner_error":{"code":"ResponsibleAIPolicyViolation"}}}"#;
const LLAMA_LONG: &str = r#"{"error":{"code":400,"message":"request (20024 tokens) exceeds","type":"exceed_context_size_error","n_ctx":2048}}"#;
const LLAMA_LOADING: &str =
    r#"{"error":{"message":"Loading model","type":"unavailable_error","code":503}}"#;
const VLLM_LONG: &str = r#"{"object":"error","message":"This model's maximum context length is 2048 tokens. However","type":"BadRequestError","code":400}"#;

const OPENAI_LARGE: &str = r#"{"error":{"message":"Request too large for gpt-4o in organization org-1 on tokens per min (TPM): Limit 30000, Requested 45058. The input or output tokens must be reduced in order to run successfully.","type":"tokens","param":null,"code":"rate_limit_exceeded"}}"#;
const OLLAMA_BUSY: &str = r#"{"error":{"message":"server busy, please try again.  maximum pending requests exceeded","type":"api_error","param":null,"code":null}}"#;

struct Case {
    status: u16,
    headers: Pairs,
    body: &'static str,
    expected: &'static str,
}

const fn case(status: u16, headers: Pairs, body: &'static str, expected: &'static str) -> Case {
    Case {
        status,
        headers,
        body,
        expected,
    }
}

const CASES: &[Case] = &[
    case(
        307,
        &[("location", "https://elsewhere/v1")],
        "",
        "misconfigured",
    ),
    case(400, &[], AZURE_FILTER, "content_filter"),
    case(400, &[], INNER_ERROR, "content_filter"),
    case(
        400,
        &[],
        r#"{"error":{"message":"m","code":"context_length_exceeded"}}"#,
        "context_length",
    ),
    case(400, &[], LLAMA_LONG, "context_length"),
    case(400, &[], VLLM_LONG, "context_length"),
    case(
        400,
        &[],
        r#"{"error":{"code":"model_not_found"}}"#,
        "misconfigured",
    ),
    case(
        400,
        &[],
        r#"{"error":{"message":"Model Not Exist","type":"invalid_request_error"}}"#,
        "misconfigured",
    ),
    case(400, &[], "nonsense", "invalid_request"),
    case(429, &[], OPENAI_LARGE, "request_too_large"),
    case(503, &[], OLLAMA_BUSY, "limited"),
    case(401, &[], "", "unauthorized"),
    case(
        402,
        &[],
        r#"{"error":{"message":"Insufficient Balance"}}"#,
        "quota",
    ),
    case(403, &[], "", "unauthorized"),
    case(
        404,
        &[],
        r#"{"error":"model 'x' not found, try pulling it first"}"#,
        "misconfigured",
    ),
    case(
        405,
        &[],
        r#"{"detail":"Method Not Allowed"}"#,
        "misconfigured",
    ),
    case(408, &[], "", "overloaded"),
    case(408, &[("x-should-retry", "false")], "", "overloaded"),
    case(409, &[], "", "overloaded"),
    case(409, &[("x-should-retry", "false")], "", "not_retryable"),
    case(413, &[], "", "invalid_request"),
    case(415, &[], "", "invalid_request"),
    case(
        422,
        &[],
        r#"{"detail":[{"loc":["body"],"msg":"bad"}]}"#,
        "invalid_request",
    ),
    case(
        429,
        &[],
        r#"{"error":{"type":"insufficient_quota","message":"m","code":"insufficient_quota"}}"#,
        "quota",
    ),
    case(429, &[("retry-after", "6")], "", "limited 6"),
    case(429, &[("retry-after-ms", "0")], "", "limited"),
    case(429, &[("retry-after-ms", "0")], AZURE_429, "limited 6"),
    case(431, &[], "", "misconfigured"),
    case(451, &[], "", "invalid_request"),
    case(500, &[("x-should-retry", "false")], "", "not_retryable"),
    case(500, &[("x-should-retry", "true")], "", "overloaded"),
    case(
        501,
        &[],
        r#"{"error":{"type":"not_supported_error"}}"#,
        "misconfigured",
    ),
    case(502, &[], "<html>Bad Gateway</html>", "overloaded"),
    case(503, &[("retry-after", "2")], LLAMA_LOADING, "limited 2"),
    case(503, &[], LLAMA_LOADING, "overloaded"),
    case(503, &[("retry-after", "0")], "", "overloaded"),
    case(504, &[("retry-after", "9")], "", "overloaded 9"),
    case(529, &[], "", "overloaded"),
    case(600, &[], "", "malformed"),
];

#[test]
fn every_refusal_means_what_the_table_says() {
    for case in CASES {
        let status = StatusCode::from_u16(case.status).unwrap();
        let error = classify(
            status,
            &headers(case.headers),
            case.body.as_bytes(),
            SystemTime::UNIX_EPOCH,
        );
        assert_eq!(
            word(&error),
            case.expected,
            "{} {:?} {}",
            case.status,
            case.headers,
            case.body
        );
    }
}

#[test]
fn every_row_of_the_table_decides_some_refusal() {
    let refusals = CASES
        .iter()
        .map(|case| (case.status, case.headers, case.body));
    let idle = idle_rows(OWN, refusals);
    assert_eq!(idle, Vec::<usize>::new());
}

fn detail(status: u16, headers: &HeaderMap, body: &str) -> String {
    let status = StatusCode::from_u16(status).unwrap();
    classify(status, headers, body.as_bytes(), SystemTime::UNIX_EPOCH).to_string()
}

#[test]
fn the_detail_is_the_services_message_in_one_short_line() {
    let none = HeaderMap::new();
    let text = detail(400, &none, r#"{"error":{"message":"bad\nparameter"}}"#);
    assert_eq!(text, "invalid_request: 400: bad parameter");
    let long = format!(r#"{{"error":{{"message":"{}"}}}}"#, "é".repeat(5000));
    assert_eq!(
        detail(400, &none, &long).chars().count(),
        "invalid_request: 400: ".len() + 301
    );
    assert_eq!(detail(502, &none, "<html>"), "overloaded: 502: <html>");
    assert_eq!(
        detail(404, &none, r#"{"error":"no model"}"#),
        "misconfigured: 404: no model"
    );
    assert_eq!(detail(401, &none, ""), "unauthorized: 401");
}

#[test]
fn a_redirect_names_its_target() {
    let target = HeaderValue::from_static("https://elsewhere/v1");
    let headers = HeaderMap::from_iter([(LOCATION, target)]);
    let text = detail(301, &headers, "");
    let expected = "misconfigured: 301: redirected to https://elsewhere/v1; correct the endpoint";
    assert_eq!(text, expected);
}
