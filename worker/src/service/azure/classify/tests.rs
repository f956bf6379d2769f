use super::*;
use crate::service::refusal::testing::{Pairs, headers, idle_rows, word};

const LAYOUT_429: &str = r#"{"error":{"code":"429","message":"Requests to the Analyze Layout Operation under Form Recognizer API (v2.0) have exceeded rate limit of your current FormRecognizer S0 pricing tier. Please retry after 1 second."}}"#;
const OUT_OF_QUOTA: &str = r#"{"error":{"code":"403","message":"Out of call volume quota for FormRecognizer F0 pricing tier. Please retry after 12 days."}}"#;
const IMAGE_SIZE: &str = r#"{"error":{"code":"InvalidRequest","message":"The image size is not allowed to be zero or larger than 20971520 bytes."}}"#;
const IMAGE_SIDES: &str = r#"{"error":{"code":"InvalidRequest","message":"The image dimension is not allowed to be smaller than 50 and larger than 16000."}}"#;

fn coded(code: &str, inner: &str) -> String {
    format!(
        r#"{{"error":{{"code":"{code}","message":"m","innererror":{{"code":"Outer","innererror":{{"code":"{inner}"}}}}}}}}"#
    )
}

type Case = (u16, Pairs, String, &'static str);

fn cases() -> Vec<Case> {
    let none: Pairs = &[];
    let invalid = |inner: &str| coded("InvalidRequest", inner);
    let mut cases: Vec<Case> = vec![
        (302, none, String::new(), "misconfigured"),
        (
            404,
            none,
            coded("NotFound", "ModelNotFound"),
            "misconfigured",
        ),
        (
            409,
            none,
            coded("Conflict", "ModelNotReady"),
            "misconfigured",
        ),
        (400, none, IMAGE_SIZE.to_owned(), "image_too_large"),
        (400, none, IMAGE_SIDES.to_owned(), "image_dimensions"),
        (400, none, invalid("Unheard"), "invalid_request"),
        (
            400,
            none,
            coded("InvalidArgument", "InvalidParameter"),
            "invalid_parameter",
        ),
        (401, none, coded("401", ""), "unauthorized"),
        (402, none, String::new(), "quota"),
        (403, none, OUT_OF_QUOTA.to_owned(), "quota"),
        (429, none, OUT_OF_QUOTA.to_owned(), "quota"),
        (403, none, coded("Forbidden", ""), "unauthorized"),
        (404, none, coded("404", ""), "misconfigured"),
        (405, none, String::new(), "misconfigured"),
        (408, none, String::new(), "overloaded"),
        (409, none, coded("Conflict", ""), "overloaded"),
        (413, none, String::new(), "invalid_content_length"),
        (
            415,
            none,
            coded("UnsupportedMediaType", ""),
            "unsupported_media_type",
        ),
        (429, none, LAYOUT_429.to_owned(), "limited 1"),
        (
            429,
            &[("retry-after", "7")],
            LAYOUT_429.to_owned(),
            "limited 7",
        ),
        (429, &[("retry-after-ms", "0")], String::new(), "limited"),
        (431, none, String::new(), "misconfigured"),
        (500, none, coded("InternalServerError", ""), "overloaded"),
        (
            500,
            none,
            coded("InternalServerError", "InvalidContent"),
            "overloaded",
        ),
        (503, &[("retry-after", "2")], String::new(), "limited 2"),
        (503, none, coded("ServiceUnavailable", ""), "overloaded"),
        (600, none, String::new(), "malformed"),
    ];
    for unmet in [
        "NotSupportedApiVersion",
        "UnsupportedApiVersion",
        "NotSupportedLanguage",
        "NotSupportedVisualFeature",
        "NotSupportedFeature",
    ] {
        cases.push((400, none, invalid(unmet), "misconfigured"));
    }
    for (code, cause) in CAUSES {
        cases.push((400, none, invalid(code), cause));
    }
    cases
}

#[test]
fn every_refusal_means_what_the_tables_say() {
    for (status, pairs, body, expected) in cases() {
        let status = StatusCode::from_u16(status).unwrap();
        let error = classify(
            status,
            &headers(pairs),
            body.as_bytes(),
            SystemTime::UNIX_EPOCH,
        );
        assert_eq!(word(&error), expected, "{status} {pairs:?} {body}");
    }
}

#[test]
fn every_row_of_the_table_decides_some_refusal() {
    let cases = cases();
    let refusals = cases
        .iter()
        .map(|(status, pairs, body, _)| (*status, *pairs, body.as_str()));
    let idle = idle_rows(OWN, refusals);
    assert_eq!(idle, Vec::<usize>::new());
}
