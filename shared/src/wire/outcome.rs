//! The terminal record of a task, and the sentinel that ends a run's input.

use std::{collections::BTreeMap, fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Cost, FileRef, RunId, Stored, TaskId, WireMessage};
use crate::time::UnixMillis;

/// How a task ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// The last step gave an answer, or no step's condition held for the file.
    Succeeded,
    /// Given up, with a [`Failure`].
    Failed,
    /// Cancelled before it ended.
    Cancelled,
}

impl Status {
    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Status {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Succeeded, Self::Failed, Self::Cancelled]
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or_else(|| format!("unknown status {text:?}"))
    }
}

/// The tag of an [`Outcome`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OutcomeTag {
    /// `"type": "outcome"`.
    Outcome,
}

/// The terminal record of one task; the collector keeps the first per task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Outcome {
    /// Version of the message, 1.
    pub v: u16,
    /// Always `outcome`.
    #[serde(rename = "type")]
    pub kind: OutcomeTag,
    /// The run of the task.
    pub run: RunId,
    /// The task's place in the run.
    pub seq: u64,
    /// How it ended.
    pub status: Status,
    /// The file, as it was published.
    pub file: FileRef,
    /// Name of the pipeline.
    pub pipeline: String,
    /// The last step that was tried.
    pub step: String,
    /// The last step's answer, if it succeeded and there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
    /// The last step's answer, if it does not fit into a message: it is in the scratch store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored: Option<Stored>,
    /// Why it failed, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// What all steps used.
    pub usage: Usage,
    /// The same by service.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub by_service: BTreeMap<String, Usage>,
    /// Attempts of the last step, 1 if the first one ended it.
    pub attempts: u32,
    /// The file's size, modification time or version was not the published one when it was read.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub input_changed: bool,
    /// It succeeded because no step's condition held for the file: nothing was asked for it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unmatched: bool,
    /// The worker that ended it.
    pub worker: String,
    /// When it happened.
    pub timings: Timings,
}

impl Outcome {
    /// The task this outcome ends.
    #[must_use]
    pub fn task(&self) -> TaskId {
        TaskId {
            run: self.run,
            seq: self.seq,
        }
    }

    /// The id of this outcome on the wire.
    #[must_use]
    pub fn message_id(&self) -> String {
        format!("{}:{}:outcome", self.run, self.seq)
    }
}

impl WireMessage for Outcome {
    const TYPES: &'static [&'static str] = &["outcome"];
}

/// Why a task failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Failure {
    /// A stable word to count by, like `content_filter` or `input_missing`.
    pub cause: String,
    /// What happened, for a person; no file content and no secret.
    pub detail: String,
    /// The service that was called, if one was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
}

/// What was used of the services, summed over calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Usage {
    /// Calls that the service answered, successfully or not.
    pub calls: u64,
    /// Tokens of prompts, as the service counted them.
    pub input_tokens: u64,
    /// Tokens of answers, reasoning included, as the service counted them.
    pub output_tokens: u64,
    /// Of `input_tokens`, those the service had cached.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cached_tokens: u64,
    /// Of `output_tokens`, those spent on reasoning.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub reasoning_tokens: u64,
    /// Pages of documents, as the service counted them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub pages: u64,
    /// Answers that came from the journal, without a call.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub from_journal: u64,
    /// By the prices in the worker's configuration.
    #[serde(default, skip_serializing_if = "Cost::is_zero")]
    pub cost: Cost,
}

/// A count that is left out of what is written.
#[must_use]
pub fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl Usage {
    /// Nothing was used.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        *self == Self::default()
    }

    /// Adds another usage, saturating.
    pub fn add(&mut self, other: &Self) {
        self.calls = self.calls.saturating_add(other.calls);
        self.input_tokens = self.input_tokens.saturating_add(other.input_tokens);
        self.output_tokens = self.output_tokens.saturating_add(other.output_tokens);
        self.cached_tokens = self.cached_tokens.saturating_add(other.cached_tokens);
        self.reasoning_tokens = self.reasoning_tokens.saturating_add(other.reasoning_tokens);
        self.pages = self.pages.saturating_add(other.pages);
        self.from_journal = self.from_journal.saturating_add(other.from_journal);
        self.cost = self.cost.plus(other.cost);
    }
}

/// When a task's last step happened, by the worker's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Timings {
    /// First attempt of the last step began.
    pub started: UnixMillis,
    /// The outcome was decided.
    pub finished: UnixMillis,
    /// Time of the last call to the service, in milliseconds.
    pub call_ms: u64,
}

/// The tag of a [`RunClosed`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunClosedTag {
    /// `"type": "run_closed"`.
    RunClosed,
}

/// The sentinel after a run's last task: how many outcomes make it complete.
///
/// Publish it to `filefleet.results` with routing key `RUN.closed` after every task is confirmed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunClosed {
    /// Version of the message, 1.
    pub v: u16,
    /// Always `run_closed`.
    #[serde(rename = "type")]
    pub kind: RunClosedTag,
    /// The run that is closed.
    pub run: RunId,
    /// Tasks published; the run is complete with as many distinct outcomes.
    pub total: u64,
    /// SHA-256, hex, chained over the files in order; see the producer's manifest.
    pub digest: String,
    /// Directory entries that could not be read and so are not tasks.
    pub unreadable: u64,
    /// When publishing began.
    pub opened: UnixMillis,
    /// When the last task was confirmed.
    pub closed: UnixMillis,
}

impl WireMessage for RunClosed {
    const TYPES: &'static [&'static str] = &["run_closed"];
}
