//! Our own headers: what changes from attempt to attempt, while id and body stay the same.

use serde::{Deserialize, Serialize};

use crate::{telemetry::TraceContext, time::UnixMillis};

/// Headers of a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Headers {
    /// 1 for the first attempt.
    pub attempt: u32,
    /// Times the step was put off without costing an attempt.
    #[serde(default)]
    pub deferred: u32,
    /// When the first attempt of this step began, or the first that was refused as if every file
    /// were; the total deadline counts from here.
    #[serde(default)]
    pub first_attempt: Option<UnixMillis>,
    /// Why the last attempt was put off.
    #[serde(default)]
    pub retry_cause: Option<String>,
    /// Not to be delivered before this instant.
    #[serde(default)]
    pub not_before: Option<UnixMillis>,
    /// The file's trace.
    #[serde(default)]
    pub trace: Option<TraceContext>,
    /// Why it is a dead letter.
    #[serde(default)]
    pub death: Option<Death>,
}

impl Default for Headers {
    fn default() -> Self {
        Self {
            attempt: 1,
            deferred: 0,
            first_attempt: None,
            retry_cause: None,
            not_before: None,
            trace: None,
            death: None,
        }
    }
}

impl Headers {
    /// Headers of a new message in a trace.
    #[must_use]
    pub fn traced(trace: Option<TraceContext>) -> Self {
        Self {
            trace,
            ..Self::default()
        }
    }

    /// Headers of the same message put off by `later`, decided at `now`.
    #[must_use]
    pub fn put_off(&self, later: &super::Later, now: UnixMillis) -> Self {
        Self {
            attempt: self.attempt.saturating_add(later.attempts),
            deferred: self.deferred.saturating_add(u32::from(later.attempts == 0)),
            first_attempt: later.first_attempt.or(self.first_attempt).or(Some(now)),
            retry_cause: Some(later.cause.clone()),
            not_before: Some(now.after(later.delay)),
            ..self.clone()
        }
    }

    /// Headers of the dead letter.
    #[must_use]
    pub fn dead(&self, death: Death) -> Self {
        Self {
            death: Some(death),
            not_before: None,
            ..self.clone()
        }
    }
}

/// Why, where from and when a message became a dead letter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Death {
    /// A stable word, like `unknown_version` or `content_filter`.
    pub reason: String,
    /// For a person; no file content and no secret.
    pub detail: String,
    /// The queue it came from.
    pub from: String,
    /// The process that gave it up.
    pub by: String,
    /// When.
    pub at: UnixMillis,
}
