//! The table from (answer, attempt, age) to what happens next. Pure: no clock, no broker.

use std::time::Duration;

use crate::{blame::Blame, breaker::PauseKind, retry::RetryPolicy, service::CallError};

/// Shortest time between two questions for the result of an operation.
const POLL: Duration = Duration::from_secs(1);
/// Longest time between two questions for the result of an operation.
const LONGEST_POLL: Duration = Duration::from_secs(60);
/// Until a file is asked again of which nobody can tell yet whether only it is refused.
const UNCLEAR: Duration = Duration::from_secs(5);

/// What is known when a call has failed.
#[derive(Clone, Copy, Debug)]
pub struct Situation {
    /// Counted attempts of this step, the one that just failed included; 1 after the first.
    pub attempt: u32,
    /// Times this step was throttled or put off without costing an attempt, now included.
    pub deferred: u32,
    /// Since the first attempt of the step.
    pub age: Duration,
    /// Since this delivery was taken.
    pub held: Duration,
    /// Longest a delivery is held, waits and one more attempt included.
    pub hold_budget: Duration,
    /// The step's deadline for one attempt.
    pub timeout: Duration,
    /// The service has accepted the call before, so it is paid: only its result is asked for.
    pub accepted: bool,
    /// The call was made to see whether its service is back: that it failed costs no attempt.
    pub forgiven: bool,
    /// Whose fault it is, where the error could be every file's.
    pub blame: Blame,
}

/// What to do about a failed call.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// Wait in the worker, then try again.
    Hold(Wait),
    /// Put off as a message in the broker.
    PutOff(Wait),
    /// Every file would fail: pause the service, put this step off untouched.
    Pause(PauseKind),
    /// This file has failed.
    Fail {
        /// A stable word to count by.
        cause: String,
        /// For a person.
        detail: String,
    },
}

/// How long to wait, and what it costs.
#[derive(Clone, Debug, PartialEq)]
pub struct Wait {
    /// How long.
    pub delay: Duration,
    /// Whether the failed call costs an attempt.
    pub counted: bool,
    /// A stable word.
    pub cause: &'static str,
}

/// How each error is treated: one row per [`CallError`].
struct Row {
    cause: &'static str,
    counted: bool,
    delay: Duration,
}

/// Decides about a failed call.
#[must_use]
pub fn decide(error: &CallError, at: Situation, policy: &RetryPolicy) -> Decision {
    let row = match error {
        CallError::RateLimited { retry_after, .. } => Row {
            cause: "rate_limited",
            counted: false,
            delay: policy.wait_asked(*retry_after, at.deferred),
        },
        CallError::Overloaded { retry_after, .. } => Row {
            cause: "overloaded",
            counted: true,
            delay: policy.wait_asked(*retry_after, at.attempt),
        },
        CallError::Unreachable(_) => Row {
            cause: "unreachable",
            counted: false,
            delay: policy.wait_asked(None, at.deferred),
        },
        CallError::Timeout(_) => Row {
            cause: "timeout",
            counted: true,
            delay: policy.wait(at.attempt),
        },
        CallError::Malformed(_) => Row {
            cause: "malformed_answer",
            counted: true,
            delay: policy.wait(at.attempt),
        },
        CallError::Pending { retry_after } => return pending(*retry_after, at, policy),
        CallError::Unauthorized(_) => {
            return refused(PauseKind::Unauthorized, error, at, policy);
        }
        CallError::Misconfigured(_) => {
            return refused(PauseKind::Misconfigured, error, at, policy);
        }
        // An account without money is no file's fault, whatever was answered before.
        CallError::QuotaExhausted(_) => return Decision::Pause(PauseKind::QuotaExhausted),
        CallError::Rejected { cause, detail, .. } => {
            return Decision::Fail {
                cause: cause.clone().into_owned(),
                detail: detail.clone(),
            };
        }
    };
    let row = Row {
        counted: row.counted && !at.forgiven,
        ..row
    };
    place(&row, error, at, policy)
}

/// What could be every file's pauses the service, unless others are answered meanwhile: a gateway
/// may refuse one file for what is in it, or a path may be wrong for one.
fn refused(kind: PauseKind, error: &CallError, at: Situation, policy: &RetryPolicy) -> Decision {
    let cause = kind.as_str();
    match at.blame {
        Blame::Service => Decision::Pause(kind),
        Blame::Unclear => Decision::PutOff(Wait {
            delay: UNCLEAR,
            counted: false,
            cause,
        }),
        Blame::File => {
            let row = Row {
                cause,
                counted: true,
                delay: policy.wait(at.attempt),
            };
            place(&row, error, at, policy)
        }
    }
}

/// How long until the result of an operation is asked for, whatever its service said.
pub(crate) fn until_asked(said: Duration) -> Duration {
    said.clamp(POLL, LONGEST_POLL)
}

/// An operation that is not finished waits in the broker: holding deliveries would bound how many
/// operations run at once.
fn pending(retry_after: Option<Duration>, at: Situation, policy: &RetryPolicy) -> Decision {
    let grown = POLL.saturating_mul(1 << at.deferred.min(5));
    let delay = until_asked(retry_after.unwrap_or(grown));
    if at.age.saturating_add(delay) > policy.total {
        return Decision::Fail {
            cause: "operation_unfinished".to_owned(),
            detail: format!(
                "the service did not finish within {:.1} h",
                policy.total.as_secs_f64() / 3600.0
            ),
        };
    }
    Decision::PutOff(Wait {
        delay,
        counted: false,
        cause: "pending",
    })
}

/// Where a wait happens: in the worker, in the broker, or not at all.
fn place(row: &Row, error: &CallError, at: Situation, policy: &RetryPolicy) -> Decision {
    // What is paid is not given up for a few failed questions, only when its time is over.
    if row.counted && !at.accepted && at.attempt >= policy.attempts {
        return Decision::Fail {
            cause: row.cause.to_owned(),
            detail: format!("{error} (attempt {} of {})", at.attempt, policy.attempts),
        };
    }
    if at.age.saturating_add(row.delay) > policy.total {
        let hours = policy.total.as_secs_f64() / 3600.0;
        return Decision::Fail {
            cause: row.cause.to_owned(),
            detail: format!("{error} (given up after {hours:.1} h)"),
        };
    }
    let wait = Wait {
        delay: row.delay,
        counted: row.counted,
        cause: row.cause,
    };
    let held_then = at.held.saturating_add(row.delay).saturating_add(at.timeout);
    if row.delay <= policy.hold && held_then <= at.hold_budget {
        Decision::Hold(wait)
    } else {
        Decision::PutOff(wait)
    }
}

#[cfg(test)]
mod tests;
