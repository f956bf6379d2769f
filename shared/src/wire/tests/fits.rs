//! As much of JSON Schema as our schemas use.

use serde_json::Value;

/// Checks a value against a schema.
pub(super) fn fits(schema: &Value, root: &Value, value: &Value) -> Result<(), String> {
    if let Some(name) = schema["$ref"].as_str() {
        let path = name.strip_prefix('#').unwrap();
        fits(root.pointer(path).unwrap(), root, value)?;
    }
    for key in ["oneOf", "anyOf"] {
        if let Some(choices) = schema[key].as_array()
            && !choices
                .iter()
                .any(|choice| fits(choice, root, value).is_ok())
        {
            return Err(format!("{value} is none of {choices:?}"));
        }
    }
    if let Some(constant) = schema.get("const")
        && constant != value
    {
        return Err(format!("{value} is not {constant}"));
    }
    if let Some(choices) = schema["enum"].as_array()
        && !choices.contains(value)
    {
        return Err(format!("{value} is none of {choices:?}"));
    }
    has_type(schema, value)?;
    let Some(fields) = value.as_object() else {
        return Ok(());
    };
    for required in schema["required"].as_array().into_iter().flatten() {
        if !fields.contains_key(required.as_str().unwrap()) {
            return Err(format!("{required} is missing"));
        }
    }
    for (name, field) in fields {
        match (
            schema["properties"].get(name),
            &schema["additionalProperties"],
        ) {
            (Some(property), _) => {
                fits(property, root, field).map_err(|e| format!("{name}: {e}"))?;
            }
            (None, Value::Bool(false)) => return Err(format!("{name} is not in the schema")),
            (None, _) => {}
        }
    }
    Ok(())
}

fn has_type(schema: &Value, value: &Value) -> Result<(), String> {
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    match &schema["type"] {
        Value::Null => Ok(()),
        Value::String(name) if name == kind => Ok(()),
        Value::Array(names) if names.iter().any(|name| name == kind) => Ok(()),
        other => Err(format!("{value} is not of type {other}")),
    }
}
