//! Batches of documents: each is written or not on its own.

use axum::http::StatusCode;
use serde_json::{Map, Value, json};

use super::{
    definition::Definition,
    json_of, problems,
    store::{Document, Index, Written},
};
use crate::{
    azure::{Answer, Ask, Problem, Scene},
    chance,
};

/// Of a request, in bytes.
pub(super) const LARGEST: usize = 16 * 1024 * 1024;
/// Of a batch, in documents.
const MOST: usize = 1000;

struct Action {
    verb: Verb,
    key: String,
    document: Document,
}

#[derive(Clone, Copy)]
enum Verb {
    Upload,
    Merge,
    MergeOrUpload,
    Delete,
}

/// What became of an action.
struct Fate {
    status: u16,
    error: Option<String>,
}

/// Answers a batch. A batch that is wrong in its form is refused whole.
pub(super) fn index(ask: &Ask, scene: &Scene<'_>, name: &str) -> Result<Answer, Problem> {
    let Value::Object(mut body) = json_of(ask)? else {
        return Err(problems::invalid("The batch must be an object."));
    };
    let Some(Value::Array(actions)) = body.remove("value") else {
        return Err(problems::invalid("The batch must have an array 'value'."));
    };
    if actions.is_empty() {
        return Err(problems::invalid(
            "No indexing actions found in the request.",
        ));
    }
    if actions.len() > MOST {
        return Err(problems::invalid(&format!(
            "The batch has {} actions, and at most {MOST} are allowed.",
            actions.len()
        )));
    }
    let told = scene.app.indexes.change(name, |index| {
        let actions = actions.into_iter().enumerate();
        let actions = actions.map(|(at, action)| Action::parse(at, action, &index.definition));
        let actions: Vec<Action> = actions.collect::<Result<_, _>>()?;
        let told = actions.into_iter().enumerate().map(|(position, action)| {
            let key = action.key.clone();
            let fate = struck(scene, position as u64).unwrap_or_else(|| action.apply(index));
            (key, fate)
        });
        Ok(told.collect::<Vec<_>>())
    })??;
    let all = told.iter().all(|(_, fate)| fate.error.is_none());
    let results: Vec<_> = told
        .into_iter()
        .map(|(key, fate)| {
            json!({
                "key": key,
                "status": fate.error.is_none(),
                "errorMessage": fate.error,
                "statusCode": fate.status,
            })
        })
        .collect();
    let status = if all {
        StatusCode::OK
    } else {
        StatusCode::MULTI_STATUS
    };
    Ok(Answer::json(status, &json!({"value": results})))
}

/// A failure by chance: the three that a retry mends.
fn struck(scene: &Scene<'_>, position: u64) -> Option<Fate> {
    let config = scene.config;
    let share = config.search.document_failures;
    if !chance::strikes(config.seed, scene.number, position, share) {
        return None;
    }
    let (status, error) = match position % 3 {
        0 => (
            503,
            "Your search service is temporarily unavailable, possibly due to heavy load.",
        ),
        1 => (
            409,
            "A version conflict was detected when attempting to index a document.",
        ),
        _ => (422, "The index is temporarily unavailable."),
    };
    Some(Fate::failed(status, error.to_owned()))
}

impl Fate {
    fn done(status: u16) -> Self {
        Self {
            status,
            error: None,
        }
    }

    fn failed(status: u16, error: String) -> Self {
        Self {
            status,
            error: Some(error),
        }
    }
}

impl Action {
    fn parse(at: usize, action: Value, definition: &Definition) -> Result<Self, Problem> {
        let wrong = |what: &str| problems::invalid(&format!("actions : {at}: {what}"));
        let Value::Object(mut fields) = action else {
            return Err(wrong("An action must be an object."));
        };
        let verb = match fields.remove("@search.action") {
            None => Verb::Upload,
            Some(verb) => Verb::named(&verb)
                .ok_or_else(|| wrong(&format!("The action {verb} is not known.")))?,
        };
        let key = fields.get(&definition.key).and_then(Value::as_str);
        let Some(key) = key.filter(|key| !key.is_empty()).map(str::to_owned) else {
            return Err(wrong("Document key cannot be missing or empty."));
        };
        let document = Document::parse(fields, definition).map_err(|what| wrong(&what))?;
        Ok(Self {
            verb,
            key,
            document,
        })
    }

    fn apply(self, index: &mut Index) -> Fate {
        if let Some(error) = wrong_key(&self.key) {
            return Fate::failed(400, error);
        }
        let has = index.documents.contains_key(&self.key);
        let verb = match self.verb {
            Verb::MergeOrUpload if has => Verb::Merge,
            Verb::MergeOrUpload => Verb::Upload,
            verb => verb,
        };
        match verb {
            Verb::Merge => {
                if index.merge(&self.key, self.document) {
                    Fate::done(200)
                } else {
                    Fate::failed(404, "Document not found.".to_owned())
                }
            }
            Verb::Delete => {
                index.delete(&self.key);
                Fate::done(200)
            }
            Verb::Upload | Verb::MergeOrUpload => match index.upload(&self.key, self.document) {
                Written::New => Fate::done(201),
                Written::Old => Fate::done(200),
            },
        }
    }
}

impl Verb {
    fn named(verb: &Value) -> Option<Self> {
        Some(match verb.as_str()? {
            "upload" => Self::Upload,
            "merge" => Self::Merge,
            "mergeOrUpload" => Self::MergeOrUpload,
            "delete" => Self::Delete,
            _ => return None,
        })
    }
}

impl Document {
    /// Checks every field against its definition, and puts vectors apart.
    fn parse(fields: Map<String, Value>, definition: &Definition) -> Result<Self, String> {
        let mut document = Self::default();
        for (name, value) in fields {
            let Some(field) = definition.field(&name) else {
                return Err(format!(
                    "The property '{name}' does not exist on type 'search.documentFields' or is \
                     not present in the API version of the request."
                ));
            };
            if !field.takes(&value) {
                return Err(format!("The value of '{name}' is not of the field's type."));
            }
            match (field.dimensions, &value) {
                (Some(dimensions), Value::Array(numbers)) => {
                    if numbers.len() != dimensions {
                        return Err(format!(
                            "There's a mismatch in vector dimensions. The vector field '{name}', \
                             with dimension of '{dimensions}', expects a length of \
                             '{dimensions}'. However, the provided vector has a length of '{}'.",
                            numbers.len()
                        ));
                    }
                    document.vectors.insert(name, vector(numbers));
                }
                _ => {
                    document.fields.insert(name, value);
                }
            }
        }
        Ok(document)
    }
}

/// The numbers of a JSON array, as the service keeps them.
#[expect(
    clippy::cast_possible_truncation,
    reason = "a vector field holds single precision"
)]
pub(super) fn vector(numbers: &[Value]) -> Vec<f32> {
    let numbers = numbers.iter().filter_map(Value::as_f64);
    numbers.map(|number| number as f32).collect()
}

fn wrong_key(key: &str) -> Option<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '=');
    if key.chars().all(plain) && !key.starts_with('_') && key.len() <= 1024 {
        return None;
    }
    Some(format!(
        "Invalid document key: '{key}'. Keys can only contain letters, digits, underscore (_), \
         dash (-), or equal sign (=), do not begin with an underscore and have at most 1024 \
         characters."
    ))
}
