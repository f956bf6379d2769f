//! JSON that satisfies a schema, with values that are plausible for the document.

use serde_json::{Map, Value, json};

use crate::{answer::LABEL, document::Facts};

/// Optional parts of a schema are left out below this; a schema may contain itself.
const DEEP: usize = 8;
/// Nothing is filled in below this.
const DEEPEST: usize = 32;

/// Fills a schema (types, `enum`, `const`, `required`, bounds, formats, `$ref`, `anyOf`).
///
/// `pattern`, `not` and conditions are not looked at.
pub(crate) fn fill(schema: &Value, facts: &Facts, summary: &str) -> Value {
    Filler {
        root: schema,
        facts,
        summary,
    }
    .value(schema, "", 0)
}

struct Filler<'a> {
    root: &'a Value,
    facts: &'a Facts,
    summary: &'a str,
}

impl Filler<'_> {
    fn value(&self, schema: &Value, name: &str, depth: usize) -> Value {
        let Some(schema) = schema.as_object().filter(|_| depth < DEEPEST) else {
            return Value::Null;
        };
        if let Some(constant) = schema.get("const") {
            return constant.clone();
        }
        if let Some(values) = schema.get("enum").and_then(Value::as_array) {
            return self.choose(values);
        }
        if let Some(target) = schema.get("$ref").and_then(Value::as_str) {
            let target = target.strip_prefix('#').unwrap_or_default();
            return match self.root.pointer(target) {
                Some(target) => self.value(target, name, depth + 1),
                None => Value::Null,
            };
        }
        for key in ["anyOf", "oneOf"] {
            if let Some(options) = schema.get(key).and_then(Value::as_array) {
                return self.value(&self.option(options, depth), name, depth + 1);
            }
        }
        if let Some(all) = schema.get("allOf").and_then(Value::as_array) {
            return self.value(&self.merged(schema, all), name, depth + 1);
        }
        match kind(schema, depth) {
            "object" => self.object(schema, depth),
            "array" => self.array(schema, name, depth),
            "string" => Value::String(self.string(schema, name)),
            "integer" => self.number(schema, name, true),
            "number" => self.number(schema, name, false),
            "boolean" => Value::Bool(false),
            _ => Value::Null,
        }
    }

    /// The value that the document suggests, or the first.
    fn choose(&self, values: &[Value]) -> Value {
        let fits = |value: &&Value| {
            value.as_str().is_some_and(|text| {
                let text = text.to_lowercase();
                text == self.facts.kind
                    || Some(text.as_str()) == self.facts.language
                    || self
                        .facts
                        .total()
                        .is_some_and(|total| total.currency.to_lowercase() == text)
            })
        };
        let chosen = values.iter().find(fits).or(values.first());
        chosen.cloned().unwrap_or(Value::Null)
    }

    /// The first that is not `null`; deep down `null`, which ends recursion.
    fn option(&self, options: &[Value], depth: usize) -> Value {
        let null = |option: &&Value| option.get("type").and_then(Value::as_str) == Some("null");
        let chosen = if depth > DEEP {
            options.iter().find(null)
        } else {
            options.iter().find(|option| !null(option))
        };
        chosen.or(options.first()).cloned().unwrap_or(Value::Null)
    }

    /// One schema of several that hold together.
    fn merged(&self, schema: &Map<String, Value>, all: &[Value]) -> Value {
        let mut merged = schema.clone();
        merged.remove("allOf");
        for part in all {
            let part = match part.get("$ref").and_then(Value::as_str) {
                Some(target) => self
                    .root
                    .pointer(target.strip_prefix('#').unwrap_or_default())
                    .unwrap_or(part),
                None => part,
            };
            for (key, value) in part.as_object().into_iter().flatten() {
                match (merged.get_mut(key), value) {
                    (Some(Value::Object(into)), Value::Object(from)) => {
                        into.extend(from.clone());
                    }
                    (Some(Value::Array(into)), Value::Array(from)) => {
                        into.extend(from.iter().cloned());
                    }
                    _ => {
                        merged.insert(key.clone(), value.clone());
                    }
                }
            }
        }
        Value::Object(merged)
    }

    fn object(&self, schema: &Map<String, Value>, depth: usize) -> Value {
        let required: Vec<&str> = schema
            .get("required")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let properties = schema.get("properties").and_then(Value::as_object);
        let mut object = Map::new();
        for (name, inner) in properties.into_iter().flatten() {
            if depth < DEEP || required.contains(&name.as_str()) {
                object.insert(name.clone(), self.value(inner, name, depth + 1));
            }
        }
        for name in required {
            if !object.contains_key(name) {
                let text = self.string(&Map::new(), name);
                object.insert(name.to_owned(), Value::String(text));
            }
        }
        Value::Object(object)
    }

    fn array(&self, schema: &Map<String, Value>, name: &str, depth: usize) -> Value {
        let least = bound(schema, "minItems").unwrap_or(0);
        let most = bound(schema, "maxItems").unwrap_or(usize::MAX);
        let lower = name.to_lowercase();
        let asked = match lower.as_str() {
            _ if lower.contains("date") => self.facts.dates.len(),
            _ if lower.contains("amount") => self.facts.amounts.len(),
            _ if depth > DEEP => 0,
            _ => 1,
        };
        // Beyond some number of items there is nothing to see.
        let length = asked.max(least).min(most).min(1000);
        let first = schema.get("prefixItems").and_then(Value::as_array);
        let rest = schema
            .get("items")
            .cloned()
            .unwrap_or(json!({"type": "string"}));
        (0..length)
            .map(|index| {
                let item = first.and_then(|items| items.get(index)).unwrap_or(&rest);
                Filler {
                    facts: &self.from(index),
                    ..*self
                }
                .value(item, name, depth + 1)
            })
            .collect()
    }

    /// The facts, beginning with the date and amount at `index`.
    fn from(&self, index: usize) -> Facts {
        let mut facts = self.facts.clone();
        if index < facts.dates.len() {
            facts.dates.drain(..index);
        }
        if index > 0 && index < facts.amounts.len() {
            facts.amounts = vec![facts.amounts.swap_remove(index)];
        }
        facts
    }

    fn string(&self, schema: &Map<String, Value>, name: &str) -> String {
        let date = || {
            self.facts
                .dates
                .first()
                .map_or("2026-01-01", String::as_str)
        };
        match schema.get("format").and_then(Value::as_str) {
            Some("date") => return date().to_owned(),
            Some("date-time") => return format!("{}T00:00:00Z", date()),
            Some("time") => return "00:00:00Z".to_owned(),
            Some("email") => return "rehearsal@example.com".to_owned(),
            Some("uri" | "url") => return "https://example.com/rehearsal".to_owned(),
            Some("uuid") => return "00000000-0000-4000-8000-000000000000".to_owned(),
            _ => {}
        }
        let least = bound(schema, "minLength").unwrap_or(0).min(100_000);
        let most = bound(schema, "maxLength").unwrap_or(usize::MAX);
        let mut text: String = self.named(name).chars().take(most).collect();
        text.extend(std::iter::repeat_n(
            '.',
            least.saturating_sub(text.chars().count()),
        ));
        text
    }

    /// What a property of this name probably wants.
    fn named(&self, name: &str) -> String {
        let facts = self.facts;
        let lower = name.to_lowercase();
        let asks = |words: &[&str]| words.iter().any(|word| lower.contains(word));
        let found = if asks(&["date", "datum", "due", "when"]) {
            facts.dates.first().cloned()
        } else if asks(&["currency"]) {
            facts.total().map(|total| total.currency.to_owned())
        } else if asks(&["total", "amount", "price", "sum_", "betrag"]) {
            facts.total().map(|total| total.written.clone())
        } else if asks(&["language", "lang"]) {
            facts.language.map(str::to_owned)
        } else if asks(&["number", "_id", "reference"]) {
            facts.number.clone()
        } else if asks(&["kind", "type", "category"]) {
            Some(facts.kind.to_owned())
        } else if asks(&[
            "vendor", "supplier", "sender", "company", "from", "issuer", "seller",
        ]) {
            Some(facts.sender.clone())
        } else if asks(&["title", "subject", "heading"]) {
            Some(facts.title.clone())
        } else if asks(&["summary", "description", "text", "content"]) {
            Some(self.summary.to_owned())
        } else {
            None
        };
        found
            .filter(|text| !text.is_empty())
            .unwrap_or_else(|| format!("{LABEL} {name}").trim_end().to_owned())
    }

    fn number(&self, schema: &Map<String, Value>, name: &str, whole: bool) -> Value {
        let lower = name.to_lowercase();
        let money = ["total", "amount", "price", "sum", "net", "gross", "betrag"];
        let mut value = if lower.contains("confidence") || lower.contains("score") {
            0.5
        } else if lower.contains("word") {
            f64::from(u32::try_from(self.facts.words).unwrap_or(u32::MAX))
        } else if money.iter().any(|word| lower.contains(word)) {
            self.facts.total().map_or(0.0, |total| total.value)
        } else {
            0.0
        };
        let limit = |key: &str| schema.get(key).and_then(Value::as_f64);
        let step = limit("multipleOf").filter(|step| *step > 0.0);
        let step = step.unwrap_or(if whole { 1.0 } else { 0.0 });
        // Just inside of a bound that is not allowed itself.
        let inside = if step > 0.0 { step } else { 0.001 };
        if let Some(least) = limit("minimum") {
            value = value.max(least);
        }
        if let Some(above) = limit("exclusiveMinimum") {
            value = value.max(above + inside);
        }
        if let Some(most) = limit("maximum") {
            value = value.min(most);
        }
        if let Some(below) = limit("exclusiveMaximum") {
            value = value.min(below - inside);
        }
        if step > 0.0 {
            let down = (value / step).floor() * step;
            let low = limit("minimum").is_some_and(|least| down < least);
            value = if low { down + step } else { down };
        }
        if whole {
            // Up to 2^53 every whole f64 is exact, and saturates beyond an i64.
            #[expect(clippy::cast_possible_truncation, reason = "whole and saturating")]
            return json!(value as i64);
        }
        json!(value)
    }
}

/// The type to fill in: of several the first that is not `null`, deep down `null`.
fn kind(schema: &Map<String, Value>, depth: usize) -> &str {
    match schema.get("type") {
        Some(Value::String(kind)) => kind,
        Some(Value::Array(kinds)) => {
            let mut kinds = kinds.iter().filter_map(Value::as_str);
            if depth > DEEP && kinds.clone().any(|kind| kind == "null") {
                return "null";
            }
            kinds.find(|kind| *kind != "null").unwrap_or("null")
        }
        _ if schema.contains_key("properties") || schema.contains_key("required") => "object",
        _ if schema.contains_key("items") || schema.contains_key("prefixItems") => "array",
        _ => "string",
    }
}

fn bound(schema: &Map<String, Value>, key: &str) -> Option<usize> {
    usize::try_from(schema.get(key)?.as_u64()?).ok()
}

#[cfg(test)]
mod tests;
