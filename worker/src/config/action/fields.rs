//! Values that are made for each document.

use std::sync::Arc;

use filefleet_shared::config::Section;
use serde_json::Value;

use super::compile;
use crate::service::{ITEM, Path, Prompt, only_expression, search::Node};

/// A value: a text that is one expression gives what the expression does, any other a text.
pub(super) fn node(
    section: &Section<'_>,
    key: &str,
    json: Value,
    known: &[String],
) -> Option<Node> {
    Some(match json {
        Value::String(source) => text(section, key, &source, known)?,
        Value::Array(items) => Node::List(
            items
                .into_iter()
                .map(|item| node(section, key, item, known))
                .collect::<Option<_>>()?,
        ),
        Value::Object(entries) => Node::Object(
            entries
                .into_iter()
                .map(|(name, value)| Some((name, node(section, key, value, known)?)))
                .collect::<Option<_>>()?,
        ),
        fixed @ (Value::Null | Value::Bool(_) | Value::Number(_)) => Node::Fixed(fixed),
    })
}

/// A text, or the value of its only expression.
pub(super) fn text(
    section: &Section<'_>,
    key: &str,
    source: &str,
    known: &[String],
) -> Option<Node> {
    // Compiled in every case: it knows which names there are.
    let prompt: Arc<Prompt> = compile(section, key, source, known)?;
    let Some(expression) = only_expression(source) else {
        return Some(Node::Text(prompt));
    };
    let path = Path::parse(expression).filter(|path| known.iter().any(|name| name == path.first()));
    Some(path.map_or(Node::Expression(prompt), Node::At))
}

/// The names of the steps before, and of the item of a list.
pub(super) fn with_item(section: &Section<'_>, key: &str, earlier: &[String]) -> Vec<String> {
    if earlier.iter().any(|step| step == ITEM) {
        let message = format!("the step {ITEM:?} has the name of the list's item; rename it");
        section.error(key, message);
    }
    let mut known = earlier.to_vec();
    known.push(ITEM.to_owned());
    known
}

/// The name of an index.
pub(super) fn index_name(section: &mut Section<'_>) -> Option<String> {
    let name = section.string("index")?;
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let right = (2..=128).contains(&name.len())
        && name.bytes().all(plain)
        && !name.starts_with('-')
        && !name.ends_with('-');
    if !right {
        let message = "must be 2 to 128 lower-case letters, digits and dashes, no dash at an end";
        section.error("index", message);
    }
    Some(name)
}
