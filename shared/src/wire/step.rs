//! One step of one file: the unit of work on the wire.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{RunId, TaskId, VERSION, WireMessage};
use crate::time::UnixMillis;

/// The tag of a [`StepMessage`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StepTag {
    /// `"type": "step"`.
    Step,
}

/// One call of one service for one file.
///
/// Publish it to the exchange `filefleet.work` with the service's name as routing key,
/// persistent, with a `message_id` of `RUN:SEQ:STEP`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StepMessage {
    /// Version of the message, 1.
    pub v: u16,
    /// Always `step`.
    #[serde(rename = "type")]
    pub kind: StepTag,
    /// The run this file belongs to, a UUIDv7.
    pub run: RunId,
    /// The file's place in the run, counted from 0 without gaps; every file once.
    pub seq: u64,
    /// Name of the pipeline, as in the workers' configuration.
    pub pipeline: String,
    /// Name of the step within the pipeline.
    pub step: String,
    /// The file to work on.
    pub file: FileRef,
    /// Outputs of the steps before this one, by step name; at most 64 KiB in all. `null` of a step
    /// that was passed over, since its condition did not hold.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub outputs: BTreeMap<String, Value>,
    /// Outputs that do not fit beside them, by step name: they are in the scratch store.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub stored: BTreeMap<String, Stored>,
    /// What the steps before this one used, and this one before it was put off, summed.
    #[serde(default, skip_serializing_if = "super::Usage::is_zero")]
    pub usage: super::Usage,
    /// The same by service.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub by_service: BTreeMap<String, super::Usage>,
    /// A call that the service has accepted and goes on with by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub continuation: Option<Continuation>,
}

/// A JSON value in the scratch store. Where it is follows from the message and this, so that no
/// message can name another place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Stored {
    /// Length of its JSON text.
    pub bytes: u64,
    /// SHA-256 of that text, hex.
    pub sha256: String,
}

/// What a worker needs to ask for the result of a call that was accepted, and so was paid.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Continuation {
    /// Counts the continuations of one step, from 1.
    pub number: u32,
    /// What the service calls the operation: an id, never a URL or a secret.
    pub state: Value,
    /// When the service accepted it, by the worker's clock.
    pub accepted: UnixMillis,
    /// Which of the service's deployments accepted it, where it has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployment: Option<String>,
    /// What was asked, so that the answer can be kept in the journal; absent without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<Asked>,
}

/// What a service was asked, as two digests: SHA-256, hex.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// Of what the step's configuration says.
    pub step: String,
    /// Of what this file made of it.
    pub input: String,
    /// The operation was begun for another file, with the very same question.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub joined: bool,
}

impl StepMessage {
    /// The first step of a file.
    #[must_use]
    pub fn first(task: TaskId, pipeline: &str, step: &str, file: FileRef) -> Self {
        Self {
            v: VERSION,
            kind: StepTag::Step,
            run: task.run,
            seq: task.seq,
            pipeline: pipeline.to_owned(),
            step: step.to_owned(),
            file,
            outputs: BTreeMap::new(),
            stored: BTreeMap::new(),
            usage: super::Usage::default(),
            by_service: BTreeMap::new(),
            continuation: None,
        }
    }

    /// The same step, after its service has accepted a call.
    #[must_use]
    pub fn continued(&self, state: Value, accepted: UnixMillis) -> Self {
        let number = self.continuation.as_ref().map_or(0, |before| before.number);
        Self {
            continuation: Some(Continuation {
                number: number.saturating_add(1),
                state,
                accepted,
                asked: None,
                deployment: None,
            }),
            ..self.clone()
        }
    }

    /// The task this step belongs to.
    #[must_use]
    pub fn task(&self) -> TaskId {
        TaskId {
            run: self.run,
            seq: self.seq,
        }
    }

    /// The id of this step on the wire: the same over every retry and redelivery, another one
    /// after each continuation.
    #[must_use]
    pub fn message_id(&self) -> String {
        let id = format!("{}:{}:{}", self.run, self.seq, self.step);
        match &self.continuation {
            None => id,
            Some(continuation) => format!("{id}+{}", continuation.number),
        }
    }
}

impl WireMessage for StepMessage {
    const TYPES: &'static [&'static str] = &["step"];
}

/// A file as a key relative to a named root; workers map the root to a place of their own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileRef {
    /// Name of the root, as in the workers' configuration.
    pub root: String,
    /// Path relative to the root, `/` between components, never `..` or absolute.
    ///
    /// A name that is not UTF-8 has U+FFFD here, and its bytes in `key_bytes`.
    pub key: String,
    /// The exact bytes of the key, base64, where it is not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_bytes: Option<String>,
    /// Size in bytes when it was published.
    pub size: u64,
    /// Modification time when it was published, if the root has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modified: Option<UnixMillis>,
    /// What an object store called this version of it when it was published, without quotes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// Media type guessed from the name, like `text/plain`.
    pub media_type: String,
}
