//! A JSON Schema that answers must satisfy: how it is asked for, and how answers are checked.

use std::{fmt, fmt::Write};

use jsonschema::{ValidationError, Validator, error::ValidationErrorKind};
use serde::Serialize;
use serde_json::{Map, Value};

use super::response::parse_json;

/// Most errors of one answer that are told.
const MOST_ERRORS: usize = 5;
/// The longest of them, in characters.
const LONGEST_ERROR: usize = 300;
/// Deeper or wider schemas are refused by some services where they are `strict`.
const DEEPEST: usize = 5;
const MOST_PROPERTIES: usize = 100;

/// How a service is held to a schema.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SchemaMode {
    /// It is told the schema as such.
    #[default]
    JsonSchema,
    /// It is held to JSON, and the schema stands in the system's message.
    JsonObject,
    /// It only finds the schema in the system's message.
    Prompt,
}

/// A schema that answers must satisfy.
pub struct AnswerSchema {
    name: String,
    schema: Value,
    length: usize,
    strict: bool,
    mode: SchemaMode,
    instruction: Option<String>,
    validator: Validator,
}

/// An answer that does not satisfy its schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mismatch {
    /// For the model, with what it said.
    pub(crate) told: Vec<String>,
    /// For a person, without anything of the answer.
    pub(crate) detail: String,
}

impl AnswerSchema {
    /// Compiles a schema; `strict` is decided by what is in it if nothing is said.
    ///
    /// # Errors
    /// It is no JSON Schema, or refers to another document.
    pub fn compile(schema: Value, strict: Option<bool>, mode: SchemaMode) -> Result<Self, String> {
        let validator = jsonschema::validator_for(&schema)
            .map_err(|error| format!("is not a JSON Schema: {}", shortened(&error.to_string())))?;
        let instruction = (mode != SchemaMode::JsonSchema).then(|| {
            format!("Answer with JSON alone. It must satisfy this JSON Schema:\n{schema}")
        });
        Ok(Self {
            name: name(&schema),
            strict: strict.unwrap_or_else(|| is_strict(&schema)),
            mode,
            instruction,
            validator,
            length: schema.to_string().len(),
            schema,
        })
    }

    /// How many bytes the schema has.
    pub(crate) fn length(&self) -> usize {
        self.length
    }

    /// The name under which it is sent.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The schema itself.
    pub(crate) fn schema(&self) -> &Value {
        &self.schema
    }

    /// The service itself must hold the model to it.
    pub(crate) fn strict(&self) -> bool {
        self.strict
    }

    /// How the service is held to it.
    pub(crate) fn mode(&self) -> SchemaMode {
        self.mode
    }

    /// What the model is told, where the service is not told the schema.
    pub(crate) fn instruction(&self) -> Option<&str> {
        self.instruction.as_deref()
    }

    /// Reads an answer.
    pub(crate) fn read(&self, text: &str) -> Result<Value, Mismatch> {
        let value = parse_json(text).map_err(|error| {
            let detail = format!("the answer is not JSON: {error}");
            Mismatch {
                told: vec![detail.clone()],
                detail,
            }
        })?;
        let errors: Vec<_> = self
            .validator
            .iter_errors(&value)
            .take(MOST_ERRORS)
            .collect();
        if errors.is_empty() {
            return Ok(value);
        }
        let details: Vec<String> = errors.iter().map(without_answer).collect();
        Err(Mismatch {
            told: errors.iter().map(told).collect(),
            detail: format!(
                "the answer does not satisfy the schema: {}",
                details.join(", ")
            ),
        })
    }
}

impl Mismatch {
    /// The message that asks for a better answer.
    pub(crate) fn request(&self) -> String {
        let mut text = "That answer cannot be used:\n".to_owned();
        for error in &self.told {
            // Writing to a text does not fail.
            if writeln!(text, "- {error}").is_err() {
                break;
            }
        }
        text.push_str("Answer again, with the corrected JSON alone.");
        text
    }
}

fn told(error: &ValidationError<'_>) -> String {
    let place = error.instance_path().as_str();
    let place = if place.is_empty() { "/" } else { place };
    shortened(&format!("at {place}: {error}"))
}

/// Only what the schema says itself: values and names of an answer may come from the file.
fn without_answer(error: &ValidationError<'_>) -> String {
    match error.kind() {
        ValidationErrorKind::Required { property } => shortened(&format!("{property} is missing")),
        _ => shortened(error.schema_path().as_str()),
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(LONGEST_ERROR).collect()
}

/// The schema's title as services take it for a name.
fn name(schema: &Value) -> String {
    let title = schema
        .get("title")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let name: String = title
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '-' {
                c
            } else {
                '_'
            }
        })
        .take(64)
        .collect();
    match name.trim_matches('_') {
        "" => "answer".to_owned(),
        name => name.to_owned(),
    }
}

/// Whether services take it as `strict`: an object, closed all the way down, of what they all know.
fn is_strict(schema: &Value) -> bool {
    let mut properties = 0;
    schema.get("type").and_then(Value::as_str) == Some("object")
        && schema.get("anyOf").is_none()
        && is_closed(schema, 0, &mut properties)
        && properties <= MOST_PROPERTIES
}

fn is_closed(schema: &Value, depth: usize, properties: &mut usize) -> bool {
    const KNOWN: [&str; 13] = [
        "$defs",
        "$ref",
        "$schema",
        "additionalProperties",
        "anyOf",
        "const",
        "definitions",
        "description",
        "enum",
        "items",
        "properties",
        "required",
        "title",
    ];
    let Some(schema) = schema.as_object() else {
        return false;
    };
    let known = |key: &String| key == "type" || KNOWN.contains(&key.as_str());
    let mut within = |inner: &Value| is_closed(inner, depth + 1, properties);
    let all = |key: &str, within: &mut dyn FnMut(&Value) -> bool| match schema.get(key) {
        None => true,
        Some(Value::Object(inner)) => inner.values().all(within),
        Some(Value::Array(inner)) => inner.iter().all(within),
        Some(_) => false,
    };
    let parts = ["properties", "$defs", "definitions", "anyOf"]
        .into_iter()
        .all(|key| all(key, &mut within));
    let items = schema.get("items").is_none_or(&mut within);
    let object = properties_of(schema);
    *properties += object.len();
    depth <= DEEPEST && schema.keys().all(known) && parts && items && is_complete(schema, &object)
}

/// An object must name all its properties as required, and have no others.
fn is_complete(schema: &Map<String, Value>, properties: &[&String]) -> bool {
    let kind = schema.get("type");
    let is_object = kind.and_then(Value::as_str) == Some("object")
        || kind
            .and_then(Value::as_array)
            .is_some_and(|kinds| kinds.iter().any(|kind| kind == "object"));
    if !is_object {
        return properties.is_empty();
    }
    let required = schema.get("required").and_then(Value::as_array);
    let is_required =
        |name: &&String| required.is_some_and(|all| all.iter().any(|one| one == name.as_str()));
    schema.get("additionalProperties") == Some(&Value::Bool(false))
        && properties.iter().all(is_required)
}

fn properties_of(schema: &Map<String, Value>) -> Vec<&String> {
    let properties = schema.get("properties").and_then(Value::as_object);
    properties.into_iter().flat_map(Map::keys).collect()
}

impl fmt::Debug for AnswerSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnswerSchema")
            .field("name", &self.name)
            .field("strict", &self.strict)
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn invoice() -> Value {
        json!({
            "title": "An invoice!",
            "type": "object",
            "properties": {
                "vendor": {"type": "string"},
                "total": {"type": "number"},
                "lines": {"type": "array", "items": {"$ref": "#/$defs/line"}},
            },
            "required": ["vendor", "total", "lines"],
            "additionalProperties": false,
            "$defs": {"line": {
                "type": "object",
                "properties": {"text": {"type": ["string", "null"]}},
                "required": ["text"],
                "additionalProperties": false,
            }},
        })
    }

    fn compile(schema: Value) -> AnswerSchema {
        AnswerSchema::compile(schema, None, SchemaMode::JsonSchema).unwrap()
    }

    #[test]
    fn an_answer_that_satisfies_the_schema_is_read_and_another_says_why_not() {
        let schema = compile(invoice());
        assert_eq!(schema.name(), "An_invoice");
        let good = json!({"vendor": "Ada", "total": 3, "lines": [{"text": null}]});
        assert_eq!(schema.read(&format!("```json\n{good}\n```")), Ok(good));
        let wrong = schema
            .read("{\"vendor\": 7, \"lines\": [{\"text\": \"a\", \"secret\": 1}]}")
            .unwrap_err();
        let told = wrong.request();
        for expected in [
            "at /vendor: 7 is not of type",
            "at /lines/0: ",
            "secret",
            "\"total\" is a required property",
        ] {
            assert!(told.contains(expected), "{expected} in {told}");
        }
        assert!(
            wrong.detail.contains("\"total\" is missing"),
            "{}",
            wrong.detail
        );
        assert!(
            wrong.detail.contains("/properties/vendor/type"),
            "{}",
            wrong.detail
        );
        assert!(
            !wrong.detail.contains('7') && !wrong.detail.contains("secret"),
            "{}",
            wrong.detail
        );
        let cut = schema.read("{\"vendor\": \"A").unwrap_err();
        assert!(
            cut.detail.starts_with("the answer is not JSON: "),
            "{}",
            cut.detail
        );
    }

    #[test]
    fn only_what_services_take_as_strict_is_sent_as_strict() {
        assert!(compile(invoice()).strict());
        let changes: [(&str, Value); 6] = [
            ("/additionalProperties", json!(true)),
            ("/required", json!(["vendor"])),
            ("/properties/total", json!({"type": "number", "minimum": 0})),
            ("/properties/total", json!({"oneOf": [{"type": "number"}]})),
            (
                "/$defs/line/additionalProperties",
                json!({"type": "string"}),
            ),
            ("/type", json!(["object", "null"])),
        ];
        for (at, value) in changes {
            let mut schema = invoice();
            *schema.pointer_mut(at).unwrap() = value;
            assert!(!compile(schema.clone()).strict(), "{schema}");
            let said = AnswerSchema::compile(schema, Some(true), SchemaMode::JsonSchema).unwrap();
            assert!(said.strict());
        }
        let mut deep = json!({"type": "string"});
        for _ in 0..6 {
            deep = json!({
                "type": "object", "properties": {"a": deep}, "required": ["a"],
                "additionalProperties": false,
            });
        }
        assert!(!compile(deep).strict());
    }

    #[test]
    fn what_is_no_schema_or_stands_elsewhere_is_refused() {
        for schema in [
            json!({"type": "objekt"}),
            json!({"$ref": "https://example.com/invoice.json"}),
            json!({"$ref": "other.json"}),
            json!({"$ref": "#/$defs/nothing"}),
            json!("object"),
        ] {
            let wrong = AnswerSchema::compile(schema.clone(), None, SchemaMode::JsonSchema);
            assert!(
                wrong.is_err_and(|why| why.starts_with("is not a JSON Schema: ")),
                "{schema}"
            );
        }
    }
}
