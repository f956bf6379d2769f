//! AI services: one small trait, errors named by what the caller does.

pub mod azure;
mod bound;
mod catalog;
pub mod chunk;
pub mod command;
mod condition;
mod detail;
pub mod docintel;
pub mod entra;
pub mod http;
mod identity;
mod limits;
pub mod openai;
mod prompt;
pub(crate) mod refusal;
mod scope;
pub mod search;
pub(crate) mod signer;
mod slices;
mod text;
mod tokens;
pub(crate) mod transport;
pub mod vision;

use std::{borrow::Cow, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use filefleet_shared::wire::{StepMessage, Usage};
use serde_json::Value;

pub use crate::governor::{Bounds, Demand, Heard};
pub use bound::BoundStep;
pub use catalog::{BuildError, BuildErrors, Catalog, CatalogOptions};
pub use condition::Condition;
pub use identity::Identity;
pub use limits::{DeploymentLimits, ServiceLimits};
pub(crate) use prompt::only_expression;
pub use prompt::{Prompt, PromptError, RESERVED_NAMES};
pub use scope::{ITEM, Path};
pub use tokens::Tokenizer;

/// One step of a pipeline, bound to the service that carries it out.
///
/// Implementations never retry and never wait: the worker owns retries, deadlines and limits. A
/// call may put a second question about a first answer (chat does where it does not satisfy its
/// schema), within the deadline of the one call.
#[async_trait]
pub trait Service: Send + Sync {
    /// Makes one call for one file.
    ///
    /// # Errors
    /// A [`CallError`] that says what the worker must do.
    async fn call(&self, input: StepInput<'_>) -> Result<Reply, CallError>;

    /// The file itself is needed, not only outputs of earlier steps.
    fn needs_content(&self) -> bool;

    /// What this input makes of the request, the same for every input that makes the same of it;
    /// none if there is no request to make of it, or nobody can tell. What the step's
    /// configuration says is no part of it.
    fn identity(&self, _input: &StepInput<'_>) -> Option<Identity> {
        None
    }

    /// What a call for this input would use; asked only where tokens are limited.
    fn demand(&self, _input: &StepInput<'_>) -> Demand {
        Demand::default()
    }
}

/// What a step works on.
#[derive(Clone, Debug)]
pub struct StepInput<'a> {
    /// File reference and outputs of earlier steps.
    pub message: &'a StepMessage,
    /// Bytes of the file; empty if [`Service::needs_content`] is false, and for a continuation.
    pub content: Bytes,
    /// Where the service notes what answers say about its limits.
    pub heard: &'a Heard,
}

/// How a service takes a call.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// With its answer.
    Answered(Answer),
    /// It works on it, and must be asked for the answer later.
    Accepted(Accepted),
}

impl From<Answer> for Reply {
    fn from(answer: Answer) -> Self {
        Self::Answered(answer)
    }
}

/// A call that was accepted, and so is paid: from now on only its result is asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Accepted {
    /// What [`StepInput::message`] will have as continuation: an id, never a URL or a secret.
    pub state: Value,
    /// What is known to be used already.
    pub usage: Usage,
    /// When to ask first, as the service said it; not bounded.
    pub check_after: Duration,
}

/// What a service gave.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The step's output, as templates of later steps and the results see it.
    pub output: Value,
    /// What the service counted.
    pub usage: Usage,
}

/// Why a call gave no answer, named by what the worker does about it.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum CallError {
    /// Over the quota (429, or 503 with a time): wait; costs no attempt.
    #[error("rate limited: {detail}")]
    RateLimited {
        /// What the service asked for, as it said it; not floored or capped.
        retry_after: Option<Duration>,
        /// For a person.
        detail: String,
    },
    /// The service failed (408, 409, 5xx): wait and try again; costs an attempt.
    #[error("overloaded: {detail}")]
    Overloaded {
        /// What the service asked for, as it said it; not floored or capped.
        retry_after: Option<Duration>,
        /// For a person.
        detail: String,
    },
    /// No connection, so nothing was paid: wait; many in a row pause the service.
    #[error("unreachable: {0}")]
    Unreachable(String),
    /// The connection broke or no answer came in time; the call may have been paid.
    #[error("timeout: {0}")]
    Timeout(String),
    /// The answer cannot be read; it was probably paid. Try again; costs an attempt.
    #[error("malformed answer: {0}")]
    Malformed(String),
    /// The service still works on an accepted call: ask again; costs no attempt.
    #[error("not finished yet")]
    Pending {
        /// What the service asked for, as it said it.
        retry_after: Option<Duration>,
    },
    /// Key refused (401, 403): every file would fail, so the service is paused, unless other files
    /// are answered meanwhile.
    #[error("unauthorized: {0}")]
    Unauthorized(String),
    /// Model, deployment or path does not exist: as with a key.
    #[error("misconfigured: {0}")]
    Misconfigured(String),
    /// No money left (402, `insufficient_quota`): every file would fail, so the service is paused.
    #[error("quota exhausted: {0}")]
    QuotaExhausted(String),
    /// This file will never succeed: a named outcome.
    #[error("{cause}: {detail}")]
    Rejected {
        /// A stable word to count by, like `content_filter` or `truncated`.
        cause: Cow<'static, str>,
        /// For a person; no file content and no secret.
        detail: String,
        /// What was paid all the same; no calls, if it was decided here.
        usage: Usage,
    },
}

impl CallError {
    /// A refusal that was decided here, so nothing was paid.
    #[must_use]
    pub fn rejected(cause: impl Into<Cow<'static, str>>, detail: impl Into<String>) -> Self {
        Self::Rejected {
            cause: cause.into(),
            detail: detail.into(),
            usage: Usage::default(),
        }
    }

    /// The same error after calls that were answered: a refusal counts them too.
    #[must_use]
    pub fn after(self, paid: &Usage) -> Self {
        match self {
            Self::Rejected {
                cause,
                detail,
                mut usage,
            } => {
                usage.add(paid);
                Self::Rejected {
                    cause,
                    detail,
                    usage,
                }
            }
            other => other,
        }
    }

    /// The same error after a call was made: what a service rejects counts as a call.
    #[must_use]
    pub fn called(self) -> Self {
        match self {
            Self::Rejected {
                cause,
                detail,
                usage,
            } => Self::Rejected {
                cause,
                detail,
                usage: Usage { calls: 1, ..usage },
            },
            other => other,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use filefleet_shared::wire::{FileRef, RunId, TaskId};

    use super::*;

    /// The first step `answer` of a file of five bytes.
    pub(crate) fn message(key: &str) -> StepMessage {
        let task = TaskId {
            run: RunId::mint(),
            seq: 7,
        };
        let file = FileRef {
            root: "inbox".to_owned(),
            key: key.to_owned(),
            key_bytes: None,
            size: 5,
            modified: None,
            etag: None,
            media_type: "text/plain".to_owned(),
        };
        StepMessage::first(task, "default", "answer", file)
    }
}
