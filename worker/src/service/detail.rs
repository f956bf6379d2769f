//! What is kept of the words of a service.

use serde_json::Value;

/// Longest part of a service's message that is kept: it may quote the file.
const MAX_DETAIL_CHARS: usize = 300;

/// The message in an error of any dialect: an object, a text, or FastAPI's `detail`.
pub(crate) fn message(body: &Value) -> String {
    let error = body.get("error").unwrap_or(body);
    let text = ["message", "detail", "error"]
        .iter()
        .find_map(|key| error.get(key))
        .unwrap_or(error);
    match text {
        Value::String(text) => shortened(text),
        other => shortened(&other.to_string()),
    }
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
