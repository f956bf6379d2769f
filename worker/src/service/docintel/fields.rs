//! Fields of documents, as plain values.

use serde_json::{Map, Value};

/// The value of a field: typed where the service gives a type, else its text.
///
/// Lists and groups of fields become arrays and objects; their places on the page are left out.
pub(super) fn value(field: Value) -> Value {
    let Value::Object(mut field) = field else {
        return Value::Null;
    };
    match (field.remove("valueArray"), field.remove("valueObject")) {
        (Some(Value::Array(items)), _) => items.into_iter().map(value).collect(),
        (_, Some(Value::Object(fields))) => Value::Object(values(fields)),
        _ => plain(field),
    }
}

/// The values of named fields.
pub(super) fn values(fields: Map<String, Value>) -> Map<String, Value> {
    fields
        .into_iter()
        .map(|(name, field)| (name, value(field)))
        .collect()
}

/// `valueDate`, `valueCurrency` and so on, whatever the type is called.
fn plain(mut field: Map<String, Value>) -> Value {
    let typed = field.keys().find(|key| key.starts_with("value")).cloned();
    let key = typed.as_deref().unwrap_or("content");
    field.remove(key).unwrap_or(Value::Null)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_are_their_values() {
        let field = json!({
            "type": "object",
            "valueObject": {
                "Date": {"type": "date", "valueDate": "2024-01-02", "content": "Jan 2", "confidence": 0.9},
                "Total": {"type": "currency", "valueCurrency": {"amount": 12.5, "currencyCode": "EUR"}},
                "Items": {"type": "array", "valueArray": [{"type": "string", "valueString": "a"}]},
                "Vague": {"type": "date", "content": "some day", "spans": []},
                "Empty": {"type": "string"},
            },
        });
        let expected = json!({
            "Date": "2024-01-02",
            "Total": {"amount": 12.5, "currencyCode": "EUR"},
            "Items": ["a"],
            "Vague": "some day",
            "Empty": null,
        });
        assert_eq!(value(field), expected);
    }
}
