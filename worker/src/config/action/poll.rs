//! `poll = { .. }`: how the result of a long operation is asked for.

use filefleet_shared::config::Section;

use super::request::{pointer, read_path, templates};
use crate::{
    config::service::header_name,
    service::http::{Operation, Poll},
};

/// The name by which templates see the operation.
const OPERATION: &str = "operation";

pub(super) fn read(
    mut section: Section<'_>,
    earlier: &[String],
    result: Option<&str>,
) -> Option<Poll> {
    let operation = read_operation(&mut section);
    let known: Vec<String> = earlier
        .iter()
        .cloned()
        .chain([OPERATION.to_owned()])
        .collect();
    let path = read_path(&mut section, &known);
    let query = templates(&mut section, "query", &known);
    if section.has("query") && !section.has("path") {
        section.error("query", "belongs to a `path`, which is missing");
    }
    let texts = path.iter().chain(query.iter().map(|(_, prompt)| prompt));
    if texts.into_iter().any(|prompt| prompt.mentions_text()) {
        section.error("path", "`text` is not read again for a poll");
    }
    let interval = section.opt_duration("interval");
    let status = pointer(&mut section, "status");
    let success = words(&mut section, "success", &["succeeded"]);
    let failure = words(&mut section, "failure", &["failed", "canceled"]);
    let own = pointer(&mut section, "result");
    section.finish();
    Some(Poll {
        operation: operation?,
        path,
        query,
        interval,
        status: status.unwrap_or_else(|| "/status".to_owned()),
        success,
        failure,
        result: own.or_else(|| result.map(str::to_owned)),
    })
}

fn read_operation(section: &mut Section<'_>) -> Option<Operation> {
    let header = section.opt_string("operation_header");
    let at = pointer(section, "operation_pointer");
    if section.has("operation_header") == section.has("operation_pointer") {
        let message = "write either `operation_header` or `operation_pointer`";
        section.error("operation_header", message);
        return None;
    }
    match header.as_deref().map(header_name) {
        None => at.map(Operation::Pointer),
        Some(Ok(name)) => Some(Operation::Header(name)),
        Some(Err(message)) => {
            section.error("operation_header", message);
            None
        }
    }
}

fn words(section: &mut Section<'_>, key: &str, default: &[&str]) -> Vec<String> {
    let words = section.opt_texts(key);
    if words.as_ref().is_some_and(Vec::is_empty) {
        section.error(key, "must not be empty");
    }
    words.unwrap_or_else(|| default.iter().map(|word| (*word).to_owned()).collect())
}
