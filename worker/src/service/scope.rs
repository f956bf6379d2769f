//! What templates and paths see of a file, made once for many of them.

use std::{collections::BTreeMap, sync::OnceLock};

use filefleet_shared::wire::StepMessage;
use minijinja::{Value, value::Serde};
use serde_json::Value as Json;

use super::prompt::file_value;

/// The name of the one item of a list that a template is filled in for.
pub const ITEM: &str = "item";

/// What is there for a file.
pub(crate) struct Scope<'a> {
    message: &'a StepMessage,
    text: &'a str,
    /// What does not change from item to item: outputs can be large.
    fixed: OnceLock<BTreeMap<&'a str, Value>>,
}

/// A file and one item of a list.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    scope: &'a Scope<'a>,
    item: Option<&'a Json>,
}

/// A way through a value, by names and numbers: `embed.chunks` or `item.vector`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    first: String,
    rest: Vec<String>,
}

impl Path {
    /// Reads `name.name[0].name`; none if it is anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let plain = text.trim().replace('[', ".").replace(']', "");
        let mut parts = plain.split('.').map(str::to_owned);
        let first = parts.next().filter(|name| is_name(name))?;
        let rest: Vec<String> = parts.collect();
        let named = |part: &String| is_name(part) || part.parse::<usize>().is_ok();
        rest.iter().all(named).then_some(Self { first, rest })
    }

    /// The name it begins with.
    #[must_use]
    pub fn first(&self) -> &str {
        &self.first
    }
}

fn is_name(text: &str) -> bool {
    let mut chars = text.chars();
    chars
        .next()
        .is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

impl<'a> Scope<'a> {
    pub(crate) fn new(message: &'a StepMessage, text: &'a str) -> Self {
        Self {
            message,
            text,
            fixed: OnceLock::new(),
        }
    }

    /// Without an item.
    pub(crate) fn view(&'a self) -> View<'a> {
        View {
            scope: self,
            item: None,
        }
    }

    /// With one.
    pub(crate) fn with(&'a self, item: &'a Json) -> View<'a> {
        View {
            scope: self,
            item: Some(item),
        }
    }

    fn fixed(&self) -> &BTreeMap<&'a str, Value> {
        self.fixed.get_or_init(|| {
            let outputs = &self.message.outputs;
            let converted = |(step, output): (&'a String, &'a Json)| {
                (step.as_str(), Value::from(Serde(output)))
            };
            let mut fixed: BTreeMap<&str, Value> = outputs.iter().map(converted).collect();
            let all: Value = fixed.iter().map(|(k, v)| (*k, v.clone())).collect();
            fixed.insert("outputs", all);
            fixed.insert("text", Value::from(self.text));
            fixed.insert("file", file_value(self.message, None));
            fixed
        })
    }
}

impl<'a> View<'a> {
    /// What is at the end of a path, if it is there.
    pub(crate) fn find(self, path: &Path) -> Option<&'a Json> {
        let start = match (path.first.as_str(), self.item) {
            (ITEM, Some(item)) => item,
            (step, _) => self.scope.message.outputs.get(step)?,
        };
        path.rest.iter().try_fold(start, |value, part| match value {
            Json::Array(items) => items.get(part.parse::<usize>().ok()?),
            other => other.get(part),
        })
    }

    /// Everything, as a template sees it.
    pub(crate) fn context(self) -> Value {
        let mut all = self.scope.fixed().clone();
        all.extend(self.item.map(|item| (ITEM, Value::from(Serde(item)))));
        Value::from(all)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::service::tests::message;

    #[test]
    fn paths_lead_through_outputs_and_items() {
        let mut step = message("a");
        let output = json!({"chunks": [{"vector": [0.5, 1]}]});
        step.outputs.insert("embed".to_owned(), output);
        let scope = Scope::new(&step, "");
        let item = json!({"text": "t"});
        let find = |text: &str| scope.with(&item).find(&Path::parse(text).unwrap()).cloned();
        assert_eq!(find("embed.chunks[0].vector[1]"), Some(json!(1)));
        assert_eq!(find(" embed.chunks.0.vector.0 "), Some(json!(0.5)));
        assert_eq!(find("item.text"), Some(json!("t")));
        assert_eq!(find("item.texts"), None);
        assert_eq!(find("other"), None);
        for none in ["", "a b", "a|b", "0.a", "a..b", "a[", "'a'", "a.b()"] {
            assert_eq!(Path::parse(none), None, "{none}");
        }
    }
}
