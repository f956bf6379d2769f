//! What is kept of the words of a service.

use serde_json::Value;

/// Longest part of a service's message that is kept: it may quote the file.
const MAX_DETAIL_CHARS: usize = 300;
/// Errors within errors that are looked into.
const MAX_DEPTH: usize = 8;

/// The message in an error of any dialect: an object, a text, or FastAPI's `detail`.
///
/// Azure's outer message is often only "Invalid request."; the innermost one says why.
pub(crate) fn message(body: &Value) -> String {
    let error = body.get("error").unwrap_or(body);
    let text = ["message", "detail", "error"]
        .iter()
        .find_map(|key| error.get(key))
        .unwrap_or(error);
    let Value::String(text) = text else {
        return shortened(&text.to_string());
    };
    let why = inner_errors(error)
        .filter_map(|inner| inner.get("message")?.as_str())
        .last();
    match why {
        Some(why) if why != text => shortened(&format!("{text} {why}")),
        _ => shortened(text),
    }
}

/// The errors within an error, from the outermost.
pub(crate) fn inner_errors(error: &Value) -> impl Iterator<Item = &Value> {
    std::iter::successors(inner_error(error), |error| inner_error(error)).take(MAX_DEPTH)
}

fn inner_error(error: &Value) -> Option<&Value> {
    error.get("innererror").or_else(|| error.get("inner_error"))
}

/// One line, not too long.
pub(crate) fn shortened(text: &str) -> String {
    let mut chars = text
        .trim()
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c });
    let mut short: String = chars.by_ref().take(MAX_DETAIL_CHARS).collect();
    if chars.next().is_some() {
        short.push('…');
    }
    short
}
