//! Values that are made for each document, from texts that are templates.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::service::{
    Prompt, PromptError,
    scope::{Path, View},
};

/// A value of a document or a query.
#[derive(Clone, Debug)]
pub enum Node {
    /// The same for all.
    Fixed(Value),
    /// What is at the end of a path, as it is.
    At(Path),
    /// What one expression gives, as it is.
    Expression(Arc<Prompt>),
    /// A text.
    Text(Arc<Prompt>),
    /// A list.
    List(Vec<Self>),
    /// An object.
    Object(Vec<(String, Self)>),
}

impl Node {
    /// The value for one document.
    pub(crate) fn make(&self, view: View<'_>) -> Result<Value, PromptError> {
        Ok(match self {
            Self::Fixed(value) => value.clone(),
            Self::At(path) => view.find(path).cloned().ok_or_else(|| {
                let detail = format!("`{}…` leads to nothing", path.first());
                PromptError::Input(detail)
            })?,
            Self::Expression(prompt) => prompt.value_in(view.context())?,
            Self::Text(prompt) => Value::String(prompt.render_in(view.context())?),
            Self::List(items) => {
                let items = items.iter().map(|item| item.make(view));
                Value::Array(items.collect::<Result<_, _>>()?)
            }
            Self::Object(entries) => Value::Object(make(entries, view)?),
        })
    }

    /// It needs the text of the file.
    pub(crate) fn mentions_text(&self) -> bool {
        match self {
            Self::Fixed(_) | Self::At(_) => false,
            Self::Expression(prompt) | Self::Text(prompt) => prompt.mentions_text(),
            Self::List(items) => items.iter().any(Self::mentions_text),
            Self::Object(entries) => entries.iter().any(|(_, value)| value.mentions_text()),
        }
    }
}

/// The fields of an object for one document.
pub(crate) fn make(
    entries: &[(String, Node)],
    view: View<'_>,
) -> Result<Map<String, Value>, PromptError> {
    entries
        .iter()
        .map(|(name, node)| Ok((name.clone(), node.make(view)?)))
        .collect()
}
