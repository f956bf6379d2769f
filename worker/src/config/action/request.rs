//! `request = { .. }`: a request to any HTTP service.

use std::sync::Arc;

use filefleet_shared::config::Section;
use reqwest::{Method, header::HeaderName};
use serde_json::Value;

use super::{Action, compile, poll};
use crate::{
    config::service::header_name,
    service::{
        Prompt,
        http::{Body, FileForm, Node, Reading, RequestConfig, Statuses, Success, UsagePointers},
    },
};

/// How the file goes into the body.
#[derive(Clone, Copy, PartialEq, Eq)]
enum FileAs {
    Bytes,
    Base64,
    Multipart,
}

pub(super) fn read(mut section: Section<'_>, earlier: &[String]) -> Option<Action> {
    const METHODS: &[(&str, &Method)] = &[
        ("GET", &Method::GET),
        ("POST", &Method::POST),
        ("PUT", &Method::PUT),
        ("PATCH", &Method::PATCH),
        ("DELETE", &Method::DELETE),
    ];
    let method = section.opt_enum("method", METHODS).unwrap_or(&Method::POST);
    let path = read_path(&mut section, earlier);
    let query = templates(&mut section, "query", earlier);
    let headers = read_headers(&mut section, earlier);
    let body = read_body(&mut section, method, earlier);
    let reading = read_reading(&mut section);
    let result = reading.result.as_deref();
    let poll = section
        .opt_section("poll")
        .and_then(|table| poll::read(table, earlier, result));
    let rehearse = section.opt_value("rehearse");
    section.finish();
    Some(Action::Request(Box::new(RequestConfig {
        method: method.clone(),
        path,
        query,
        headers,
        body: body?,
        reading,
        poll,
        rehearse,
    })))
}

/// A path below the endpoint.
pub(super) fn read_path(section: &mut Section<'_>, earlier: &[String]) -> Option<Arc<Prompt>> {
    let path = section.opt_string("path")?;
    if path.contains('?') {
        section.error("path", "must not have a query: use `query`");
    }
    compile(section, "path", &path, earlier)
}

/// A table of templates.
pub(super) fn templates(
    section: &mut Section<'_>,
    key: &str,
    earlier: &[String],
) -> Vec<(String, Arc<Prompt>)> {
    let entries = section.opt_text_table(key).unwrap_or_default();
    entries
        .into_iter()
        .filter_map(|(name, source)| Some((name, compile(section, key, &source, earlier)?)))
        .collect()
}

/// A JSON pointer.
pub(super) fn pointer(section: &mut Section<'_>, key: &str) -> Option<String> {
    let pointer = section.opt_string(key)?;
    if !pointer.starts_with('/') {
        section.error(key, "is a JSON pointer: write it like \"/document/text\"");
    }
    Some(pointer)
}

fn read_headers(section: &mut Section<'_>, earlier: &[String]) -> Vec<(HeaderName, Arc<Prompt>)> {
    let entries = templates(section, "headers", earlier);
    entries
        .into_iter()
        .filter_map(|(name, prompt)| match header_name(&name) {
            Ok(name) => Some((name, prompt)),
            Err(message) => {
                section.error("headers", message);
                None
            }
        })
        .collect()
}

fn read_body(section: &mut Section<'_>, method: &Method, earlier: &[String]) -> Option<Body> {
    const WAYS: &[(&str, FileAs)] = &[
        ("bytes", FileAs::Bytes),
        ("base64", FileAs::Base64),
        ("multipart", FileAs::Multipart),
    ];
    let json = section.opt_value("json");
    let text = section.opt_text("text");
    let file = section.opt_enum("file", WAYS);
    let place = pointer(section, "base64_at");
    let form = read_form(section, earlier);
    let goes = |way| file == Some(way);
    for (key, way) in [
        ("base64_at", FileAs::Base64),
        ("field", FileAs::Multipart),
        ("file_name", FileAs::Multipart),
        ("fields", FileAs::Multipart),
    ] {
        let word = WAYS.iter().find(|(_, each)| *each == way);
        if let (true, false, Some((word, _))) = (section.has(key), goes(way), word) {
            section.error(key, format!("is only for `file = {word:?}`"));
        }
    }
    let bodies = [
        section.has("json"),
        section.has("text"),
        section.has("file"),
    ];
    let both = goes(FileAs::Base64) && section.has("json") && !section.has("text");
    match bodies.iter().filter(|has| **has).count() {
        0 if matches!(*method, Method::GET | Method::DELETE) => return Some(Body::Nothing),
        0 => section.error("json", "what to send? write one of `json`, `text`, `file`"),
        1 if *method == Method::GET => {
            let key = ["json", "text", "file"]
                .into_iter()
                .find(|key| section.has(key));
            section.error(key.unwrap_or("method"), "GET carries nothing");
        }
        1 => {}
        _ if both => {}
        _ => {
            let second = if section.has("file") { "file" } else { "text" };
            section.error(second, "write only one of `json`, `text`, `file`");
        }
    }
    match (file, json, text) {
        (Some(FileAs::Bytes), ..) => Some(Body::File),
        (Some(FileAs::Multipart), ..) => form.map(Body::Form),
        (Some(FileAs::Base64), json, _) => read_base64(section, json, place, earlier),
        (None, Some(Value::String(source)), _) => {
            compile(section, "json", &source, earlier).map(Body::JsonTemplate)
        }
        (None, Some(json), _) => node(section, json, earlier).map(Body::Json),
        (None, None, Some(source)) => compile(section, "text", &source, earlier).map(Body::Text),
        (None, None, None) => None,
    }
}

fn read_form(section: &mut Section<'_>, earlier: &[String]) -> Option<FileForm> {
    let field = section.opt_string("field");
    let file_name = section.opt_string("file_name");
    let file_name = file_name.as_deref().unwrap_or("{{ file.name }}");
    let file_name = compile(section, "file_name", file_name, earlier);
    let fields = templates(section, "fields", earlier);
    Some(FileForm {
        field: field.unwrap_or_else(|| "file".to_owned()),
        file_name: file_name?,
        fields,
    })
}

fn read_base64(
    section: &mut Section<'_>,
    json: Option<Value>,
    place: Option<String>,
    earlier: &[String],
) -> Option<Body> {
    section.require("base64_at");
    let mut body = match json {
        None => Node::Object(Vec::new()),
        Some(Value::String(_)) => {
            section.error(
                "json",
                "must be a table, for the file to have a place in it",
            );
            return None;
        }
        Some(json) => node(section, json, earlier)?,
    };
    match body.place_file(&place?) {
        Ok(()) => Some(Body::Json(body)),
        Err(message) => {
            section.error("base64_at", message);
            None
        }
    }
}

fn node(section: &Section<'_>, json: Value, earlier: &[String]) -> Option<Node> {
    Some(match json {
        Value::String(source) => Node::Text(compile(section, "json", &source, earlier)?),
        Value::Array(items) => Node::List(
            items
                .into_iter()
                .map(|item| node(section, item, earlier))
                .collect::<Option<_>>()?,
        ),
        Value::Object(entries) => Node::Object(
            entries
                .into_iter()
                .map(|(name, value)| Some((name, node(section, value, earlier)?)))
                .collect::<Option<_>>()?,
        ),
        fixed @ (Value::Null | Value::Bool(_) | Value::Number(_)) => Node::Fixed(fixed),
    })
}

fn read_reading(section: &mut Section<'_>) -> Reading {
    let mut success = section.section("success");
    let statuses = success.opt_integers("statuses", 100..=599);
    let at = pointer(&mut success, "pointer");
    let equals = success.opt_value("equals");
    if success.has("pointer") != success.has("equals") {
        success.error("pointer", "write `pointer` and `equals` together");
    }
    success.finish();
    let mut usage = section.section("usage");
    let pointers = UsagePointers {
        input_tokens: pointer(&mut usage, "input_tokens"),
        output_tokens: pointer(&mut usage, "output_tokens"),
        pages: pointer(&mut usage, "pages"),
        cost: pointer(&mut usage, "cost"),
    };
    usage.finish();
    let retry: Vec<u16> = section
        .opt_integers("retry_statuses", 300..=599)
        .unwrap_or_default();
    let reject: Vec<u16> = section
        .opt_integers("reject_statuses", 300..=599)
        .unwrap_or_default();
    if retry.iter().any(|status| reject.contains(status)) {
        section.error("reject_statuses", "has a status of `retry_statuses`");
    }
    Reading {
        success: Success {
            statuses: statuses.unwrap_or_default(),
            equals: at.zip(equals),
        },
        result: pointer(section, "result"),
        usage: pointers,
        statuses: Statuses { retry, reject },
    }
}
