use super::*;

fn operation(status: &str, more: &Value) -> Vec<u8> {
    let mut operation = json!({
        "status": status,
        "createdDateTime": "2024-11-30T00:00:00Z",
        "lastUpdatedDateTime": "2024-11-30T00:00:01Z",
    });
    if let (Value::Object(operation), Value::Object(more)) = (&mut operation, more) {
        operation.extend(more.clone());
    }
    operation.to_string().into_bytes()
}

fn invoice() -> Value {
    json!({
        "apiVersion": "2024-11-30",
        "modelId": "prebuilt-invoice",
        "stringIndexType": "textElements",
        "contentFormat": "markdown",
        "content": "# Invoice",
        "pages": [
            {"pageNumber": 1, "spans": [], "words": [{"content": "Invoice"}],
             "barcodes": [{"kind": "QRCode", "value": "42", "span": {}, "confidence": 1}]},
            {"pageNumber": 2, "spans": []},
        ],
        "tables": [{"rowCount": 2, "columnCount": 2, "spans": [], "cells": [
            {"kind": "columnHeader", "rowIndex": 0, "columnIndex": 0, "columnSpan": 2, "content": "Items", "spans": []},
            {"rowIndex": 1, "columnIndex": 1, "content": "12.50", "spans": []},
            {"rowIndex": 9, "columnIndex": 9, "content": "outside", "spans": []},
        ]}],
        "documents": [{"docType": "invoice", "spans": [], "confidence": 0.5,
            "fields": {"Total": {"type": "number", "valueNumber": 12.5}}}],
        "keyValuePairs": [{"key": {"content": "Due"}, "value": {"content": "now"}, "confidence": 1},
            {"key": {"content": "Ref"}, "confidence": 1}],
        "languages": [{"locale": "en", "spans": [], "confidence": 1},
            {"locale": "de", "spans": [], "confidence": 1},
            {"locale": "en", "spans": [], "confidence": 1}],
    })
}

fn read(body: &[u8]) -> Result<Option<Answer>, CallError> {
    interpret(body, &ReadConfig::default())
}

#[test]
fn the_useful_parts_of_a_result_are_small_and_plain() {
    let body = operation("succeeded", &json!({"analyzeResult": invoice()}));
    let answer = read(&body).unwrap().unwrap();
    let expected = json!({
        "content": "# Invoice",
        "format": "markdown",
        "pages": 2,
        "tables": [[["Items", ""], ["", "12.50"]]],
        "documents": [{"type": "invoice", "confidence": 0.5, "fields": {"Total": 12.5}}],
        "key_values": [{"key": "Due", "value": "now"}, {"key": "Ref", "value": null}],
        "languages": ["en", "de"],
        "barcodes": [{"kind": "QRCode", "value": "42"}],
    });
    assert_eq!(answer.output, expected);
    assert_eq!(answer.usage.pages, 2);
}

#[test]
fn a_plain_text_has_no_empty_parts() {
    let result = json!({"content": "hello", "pages": [{}]});
    let body = operation("succeeded", &json!({"analyzeResult": result}));
    let output = json!({"content": "hello", "format": "text", "pages": 1});
    assert_eq!(read(&body).unwrap().unwrap().output, output);
}

#[test]
fn the_full_result_is_as_the_service_gave_it() {
    let config = ReadConfig {
        full: true,
        ..ReadConfig::default()
    };
    let body = operation("succeeded", &json!({"analyzeResult": invoice()}));
    let answer = interpret(&body, &config).unwrap().unwrap();
    assert_eq!((answer.output, answer.usage.pages), (invoice(), 2));
}

#[test]
fn an_operation_that_goes_on_has_no_answer() {
    for status in ["notStarted", "running"] {
        assert_eq!(read(&operation(status, &json!({}))).unwrap(), None);
    }
}

#[test]
fn a_failed_operation_is_a_named_refusal() {
    let inner = |code: &str| {
        json!({"error": {"code": "InvalidRequest", "message": "Invalid request.",
        "innererror": {"code": code, "message": "The file is corrupted."}}})
    };
    let detailed = json!({"error": {"code": "InternalServerError", "message": "Unexpected.", "details": [
        {"code": "InternalServerError", "message": "Unexpected."},
        {"code": "InvalidContentDimensions", "message": "Out of range.", "target": "2"}]}});
    let cases = [
        ("failed", inner("InvalidContent"), "invalid_content"),
        ("failed", inner("UnsupportedContent"), "unsupported_content"),
        (
            "failed",
            inner("InvalidContentLength"),
            "invalid_content_length",
        ),
        ("failed", detailed, "invalid_content_dimensions"),
        ("failed", inner("Unheard"), "analysis_failed"),
        ("failed", json!({}), "analysis_failed"),
        ("canceled", json!({}), "operation_canceled"),
        ("skipped", json!({}), "operation_skipped"),
    ];
    for (status, more, expected) in cases {
        match read(&operation(status, &more)) {
            Err(CallError::Rejected { cause, .. }) => assert_eq!(cause, expected, "{more}"),
            other => panic!("{more}: {other:?}"),
        }
    }
    let error = read(&operation("failed", &inner("InvalidContent"))).unwrap_err();
    let expected = "invalid_content: Invalid request. The file is corrupted.";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn what_is_no_operation_is_malformed() {
    let huge = json!({"analyzeResult": {"content": "", "pages": [], "tables": [
        {"rowCount": 4_000_000_000_u64, "columnCount": 4_000_000_000_u64, "cells": []}]}});
    let bodies = [
        b"<html>".to_vec(),
        b"{}".to_vec(),
        operation("succeeded", &json!({})),
        operation("succeeded", &json!({"analyzeResult": {"pages": []}})),
        operation("thinking", &json!({})),
        operation("succeeded", &huge),
    ];
    for body in bodies {
        let result = read(&body);
        let text = String::from_utf8_lossy(&body);
        assert!(matches!(result, Err(CallError::Malformed(_))), "{text}");
    }
}
