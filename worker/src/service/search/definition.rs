//! The definition of an index: made once, and guessed for a rehearsal.

use reqwest::StatusCode;
use serde_json::{Map, Value, json};

use super::access::Access;
use crate::service::CallError;

/// Creates an index; one that exists stays as it is.
///
/// # Errors
/// `Misconfigured` if the definition is refused: no file could be indexed.
pub(super) async fn create(access: &Access, definition: &Value) -> Result<(), CallError> {
    let body = serde_json::to_vec(definition)
        .map_err(|error| CallError::Misconfigured(format!("cannot write the index: {error}")))?;
    let response = access.post(access.indexes_url(), body, None).await?;
    let status = response.status();
    if status.is_success() {
        tracing::info!(index = %definition["name"], "index created");
        return Ok(());
    }
    if status == StatusCode::CONFLICT {
        return Ok(());
    }
    Err(match access.refused(response).await {
        CallError::Rejected { detail, .. } => {
            CallError::Misconfigured(format!("the index cannot be created: {detail}"))
        }
        other => other,
    })
}

/// A definition that takes documents like this one: a simulator has none of the user's indexes.
pub(super) fn guess(name: &str, key: &str, document: &Map<String, Value>) -> Value {
    let fields: Vec<Value> = document
        .iter()
        .map(|(name, value)| field(name, value, name == key))
        .collect();
    json!({
        "name": name,
        "fields": fields,
        "vectorSearch": {
            "algorithms": [{"name": "hnsw", "kind": "hnsw"}],
            "profiles": [{"name": "hnsw", "algorithm": "hnsw"}],
        },
    })
}

fn field(name: &str, value: &Value, key: bool) -> Value {
    let kind = match value {
        Value::Null | Value::String(_) => "Edm.String",
        Value::Bool(_) => "Edm.Boolean",
        Value::Number(number) if number.is_f64() => "Edm.Double",
        Value::Number(_) => "Edm.Int64",
        Value::Object(_) => "Edm.ComplexType",
        Value::Array(items) => match items.first() {
            Some(Value::Number(_)) if items.len() > 1 => {
                return json!({
                    "name": name, "type": "Collection(Edm.Single)", "searchable": true,
                    "dimensions": items.len(), "vectorSearchProfile": "hnsw",
                });
            }
            Some(Value::Object(_)) => "Collection(Edm.ComplexType)",
            _ => "Collection(Edm.String)",
        },
    };
    json!({"name": name, "type": kind, "key": key})
}
