//! `response_format`: text, any JSON object, or JSON that satisfies a schema.

use serde_json::{Map, Value};

use crate::{
    refusal::Invalid,
    request::{invalid, missing, unsupported, wrong_type},
};

/// Schemas nested deeper are refused, as the real service does.
const DEEPEST: usize = 10;

/// The form of an answer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Format {
    Text,
    Object,
    Schema(Value),
}

/// Validates the parameter as the real service does.
pub(crate) fn parse(format: Option<Value>) -> Result<Format, Invalid> {
    let mut format = match format {
        None | Some(Value::Null) => return Ok(Format::Text),
        Some(Value::Object(format)) => format,
        Some(other) => return Err(wrong_type("response_format", "an object", &other)),
    };
    match format.get("type").and_then(Value::as_str) {
        None => Err(missing("response_format.type")),
        Some("text") => Ok(Format::Text),
        Some("json_object") => Ok(Format::Object),
        Some("json_schema") => schema(format.remove("json_schema")),
        Some(other) => Err(unsupported(
            "response_format.type",
            other,
            "'json_object', 'json_schema', and 'text'",
        )),
    }
}

fn schema(json_schema: Option<Value>) -> Result<Format, Invalid> {
    const AT: &str = "response_format.json_schema";
    let mut json_schema = match json_schema {
        None | Some(Value::Null) => return Err(missing(AT)),
        Some(Value::Object(json_schema)) => json_schema,
        Some(other) => return Err(wrong_type(AT, "an object", &other)),
    };
    let name = match json_schema.remove("name") {
        Some(Value::String(name)) => name,
        None | Some(Value::Null) => return Err(missing(&format!("{AT}.name"))),
        Some(other) => return Err(wrong_type(&format!("{AT}.name"), "a string", &other)),
    };
    check_name(&name)?;
    let strict = json_schema.get("strict").and_then(Value::as_bool) == Some(true);
    match json_schema.remove("schema") {
        // Without a schema every object will do.
        None if !strict => Ok(Format::Object),
        None => Err(missing(&format!("{AT}.schema"))),
        Some(Value::Object(schema)) => {
            if strict {
                check_strict(&name, &schema)?;
            }
            Ok(Format::Schema(Value::Object(schema)))
        }
        Some(other) => Err(wrong_type(&format!("{AT}.schema"), "an object", &other)),
    }
}

fn check_name(name: &str) -> Result<(), Invalid> {
    let at = "response_format.json_schema.name";
    if name.chars().count() > 64 {
        return Err(invalid(
            format!(
                "Invalid '{at}': string too long. Expected a string with maximum length 64, but \
                 got a string with length {} instead.",
                name.chars().count()
            ),
            Some(at),
            Some("string_above_max_length"),
        ));
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if name.is_empty() || !name.chars().all(allowed) {
        return Err(invalid(
            format!(
                "Invalid '{at}': string does not match pattern. Expected a string that matches \
                 the pattern '^[a-zA-Z0-9_-]+$'."
            ),
            Some(at),
            Some("invalid_value"),
        ));
    }
    Ok(())
}

fn check_strict(name: &str, schema: &Map<String, Value>) -> Result<(), Invalid> {
    if schema.get("type").and_then(Value::as_str) != Some("object") {
        return Err(refused(
            name,
            "schema must be a JSON Schema of 'type: \"object\"'",
        ));
    }
    strict_object(name, &mut Vec::new(), schema)
}

/// Strict mode: every object closed, every property required.
fn strict_object<'a>(
    name: &str,
    path: &mut Vec<&'a str>,
    schema: &'a Map<String, Value>,
) -> Result<(), Invalid> {
    if path.len() > 2 * DEEPEST {
        return Err(refused(name, "the schema is nested too deep"));
    }
    if schema.get("type").and_then(Value::as_str) == Some("object") {
        let context = context(path);
        if schema.get("additionalProperties") != Some(&Value::Bool(false)) {
            return Err(refused(
                name,
                &format!(
                    "In context={context}, 'additionalProperties' is required to be supplied and \
                     to be false"
                ),
            ));
        }
        let required = schema.get("required").and_then(Value::as_array);
        for property in properties(schema).into_iter().flat_map(Map::keys) {
            if !required.is_some_and(|all| all.iter().any(|one| one == property.as_str())) {
                return Err(refused(
                    name,
                    &format!(
                        "In context={context}, 'required' is required to be supplied and to be \
                         an array including every key in properties. Missing '{property}'"
                    ),
                ));
            }
        }
    }
    for (property, inner) in properties(schema).into_iter().flatten() {
        inside(name, path, ["properties", property], inner)?;
    }
    for (definition, inner) in ["$defs", "definitions"]
        .into_iter()
        .filter_map(|key| schema.get(key).and_then(Value::as_object))
        .flatten()
    {
        inside(name, path, ["$defs", definition], inner)?;
    }
    if let Some(items) = schema.get("items") {
        inside(name, path, ["items", ""], items)?;
    }
    Ok(())
}

fn inside<'a>(
    name: &str,
    path: &mut Vec<&'a str>,
    step: [&'a str; 2],
    inner: &'a Value,
) -> Result<(), Invalid> {
    let Some(inner) = inner.as_object() else {
        return Ok(());
    };
    path.extend(step);
    strict_object(name, path, inner)?;
    path.truncate(path.len() - step.len());
    Ok(())
}

fn properties(schema: &Map<String, Value>) -> Option<&Map<String, Value>> {
    schema.get("properties").and_then(Value::as_object)
}

/// As Python prints a tuple, which is what the service shows.
fn context(path: &[&str]) -> String {
    let steps: Vec<_> = path
        .iter()
        .filter(|step| !step.is_empty())
        .map(|step| format!("'{step}'"))
        .collect();
    match steps.as_slice() {
        [one] => format!("({one},)"),
        more => format!("({})", more.join(", ")),
    }
}

fn refused(name: &str, why: &str) -> Invalid {
    invalid(
        format!("Invalid schema for response_format '{name}': {why}."),
        Some("response_format"),
        None,
    )
}
