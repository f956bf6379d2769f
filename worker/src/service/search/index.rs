//! `index`: what is known of a file, as documents of an index.

use std::sync::Arc;

use async_trait::async_trait;
use filefleet_shared::wire::{FileRef, Usage};
use serde::Serialize;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::OnceCell;

use super::{
    access::{Access, task},
    batch::{BatchConfig, Batcher, Document},
    definition,
    delivery::Delivery,
    document::{Node, make},
};
use crate::service::{
    Answer, CallError, PromptError, Reply, Service, StepInput,
    scope::{Path, Scope, View},
    text,
};

/// What a step puts into an index.
#[derive(Clone, Debug)]
pub struct IndexConfig {
    /// Name of the index.
    pub index: String,
    /// What is done with its documents.
    pub verb: Verb,
    /// A list in the outputs of earlier steps, of which each item is a document; if none, the
    /// file is one.
    pub each: Option<Path>,
    /// Name of the field with the key.
    pub key: String,
    /// The fields. A key that is not among them is made of root, file and place in the list.
    pub document: Vec<(String, Node)>,
    /// The index as it is made if it does not exist.
    pub create: Option<Value>,
    /// How documents travel together.
    pub batch: BatchConfig,
}

/// What is done with documents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Verb {
    /// It takes the place of the document with its key.
    Upload,
    /// Its fields are put into the document with its key, which must be there.
    Merge,
    /// The same, or it is a new one.
    #[default]
    MergeOrUpload,
    /// The document with its key is taken out.
    Delete,
}

/// One index step, bound to its service.
pub(crate) struct Index {
    access: Access,
    config: IndexConfig,
    batcher: Arc<Batcher>,
    /// Full when the index was seen to exist.
    created: OnceCell<()>,
}

/// A document with its action, in the service's words.
#[derive(Serialize)]
struct Action<'a> {
    #[serde(rename = "@search.action")]
    verb: Verb,
    #[serde(flatten)]
    fields: &'a Map<String, Value>,
}

impl Index {
    pub(crate) fn new(access: Access, config: IndexConfig) -> Self {
        let delivery = Delivery::new(access.clone(), &config.index);
        let batcher = Batcher::new(config.batch, delivery, access.in_flight);
        Self {
            access,
            config,
            batcher: Arc::new(batcher),
            created: OnceCell::new(),
        }
    }

    /// The documents of a file, as their fields.
    fn documents(&self, input: &StepInput<'_>) -> Result<Vec<Map<String, Value>>, CallError> {
        let text = if self.needs_content() {
            text::read(&input.content, &input.message.file.media_type)?
        } else {
            "".into()
        };
        let scope = Scope::new(input.message, &text);
        let file = &input.message.file;
        let made = match &self.config.each {
            None => vec![self.fields(scope.view(), &key(file, None))],
            Some(path) => {
                let items = scope.view().find(path).and_then(Value::as_array);
                let items = items.ok_or_else(|| {
                    let detail = "`each` does not lead to a list for this file";
                    CallError::rejected("template", detail)
                })?;
                let fields = |(place, item)| self.fields(scope.with(item), &key(file, Some(place)));
                items.iter().enumerate().map(fields).collect()
            }
        };
        made.into_iter()
            .collect::<Result<_, _>>()
            .map_err(|error: PromptError| error.into_call("template"))
    }

    fn fields(&self, view: View<'_>, key: &str) -> Result<Map<String, Value>, PromptError> {
        let mut fields = make(&self.config.document, view)?;
        let name = &self.config.key;
        match fields.get_mut(name) {
            None => drop(fields.insert(name.clone(), key.into())),
            // A key is a text, also one made of a number.
            Some(number @ Value::Number(_)) => *number = number.to_string().into(),
            Some(Value::String(_)) => {}
            Some(_) => return Err(PromptError::Input(format!("`{name}` is no text"))),
        }
        Ok(fields)
    }

    fn written(&self, fields: &Map<String, Value>) -> Result<Document, CallError> {
        let key = fields.get(&self.config.key).and_then(Value::as_str);
        let verb = self.config.verb;
        let json = serde_json::to_vec(&Action { verb, fields }).map_err(|error| {
            CallError::Misconfigured(format!("cannot write a document: {error}"))
        })?;
        Ok((key.unwrap_or_default().to_owned(), json))
    }

    /// Makes the index where that is asked for; in a rehearsal always, after a first document.
    async fn create(&self, first: &Map<String, Value>) -> Result<(), CallError> {
        let guessed;
        let definition = match &self.config.create {
            Some(definition) => definition,
            None if self.access.rehearsing => {
                guessed = definition::guess(&self.config.index, &self.config.key, first);
                &guessed
            }
            None => return Ok(()),
        };
        let create = || definition::create(&self.access, definition);
        self.created.get_or_try_init(create).await.map(drop)
    }
}

#[async_trait]
impl Service for Index {
    async fn call(&self, input: StepInput<'_>) -> Result<Reply, CallError> {
        let documents = self.documents(&input)?;
        let mut usage = Usage::default();
        let keys: Vec<Value> = documents
            .iter()
            .filter_map(|fields| fields.get(&self.config.key).cloned())
            .collect();
        if let Some(first) = documents.first() {
            self.create(first).await?;
            let written = documents.iter().map(|fields| self.written(fields));
            let written = written.collect::<Result<_, _>>()?;
            drop(documents);
            usage.calls = self.batcher.write(written, task(input.message)).await?;
        }
        let output = json!({
            "index": self.config.index,
            "documents": keys.len(),
            "keys": keys,
        });
        Ok(Answer { output, usage }.into())
    }

    fn needs_content(&self) -> bool {
        let mut nodes = self.config.document.iter().map(|(_, node)| node);
        nodes.any(Node::mentions_text)
    }
}

/// The key of a file's document: the same however often it is written, and of letters that keys
/// can have. The place in a list stands at its end, so that all keys of a file are alike.
fn key(file: &FileRef, place: Option<usize>) -> String {
    let exact = file.key_bytes.as_ref().unwrap_or(&file.key);
    let mut digest = Sha256::new();
    digest.update(file.root.as_bytes());
    // No root has it in its name.
    digest.update([0, u8::from(file.key_bytes.is_some())]);
    digest.update(exact.as_bytes());
    let digest = digest.finalize();
    let file: String = digest.iter().take(16).map(|b| format!("{b:02x}")).collect();
    match place {
        Some(place) => format!("{file}-{place}"),
        None => file,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::tests::message;

    #[test]
    fn keys_are_the_same_in_every_build_and_differ_by_file_and_place() {
        let file = message("in/a.txt").file;
        assert_eq!(key(&file, Some(3)), "0011b5b8da262280a913764156fcf95d-3");
        let keys = [
            key(&file, None),
            key(&file, Some(0)),
            key(&message("in/b.txt").file, Some(0)),
            key(
                &FileRef {
                    root: "other".to_owned(),
                    ..file.clone()
                },
                Some(0),
            ),
            key(
                &FileRef {
                    key_bytes: Some(file.key.clone()),
                    ..file
                },
                Some(0),
            ),
        ];
        let distinct: std::collections::BTreeSet<&String> = keys.iter().collect();
        assert_eq!(distinct.len(), keys.len());
    }
}
