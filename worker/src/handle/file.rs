//! A step's way to its file. A store that is away puts it off, never fails it before `retry.total`.

use std::time::Duration;

use filefleet_shared::{
    broker::{Headers, Verdict},
    time::UnixMillis,
};

use super::{Attempts, CROWDED, SOON, in_time};
use crate::input::{self, Loaded};

impl<'a> Attempts<'a> {
    /// The file, if the step needs it.
    pub(super) async fn read_file(&mut self) -> Result<Loaded<'a>, Box<Verdict>> {
        if !self.step.call.needs_content() || self.message.continuation.is_some() {
            return Ok(Loaded::default());
        }
        let load = input::load(self.context, self.step, &self.message.file);
        let error = match in_time(self.latest(), load).await {
            Some(Ok(loaded)) => return Ok(loaded),
            Some(Err(error)) => error,
            // Others had the memory, or the store took too long.
            None => return Err(Box::new(self.later(CROWDED, "crowded"))),
        };
        let may_pass = error.may_pass() && self.attempt() < self.retry().attempts;
        if error.is_away() || may_pass {
            tracing::warn!(
                run = %self.message.run, seq = self.message.seq, %error,
                "put off: the file cannot be read here now",
            );
        }
        Err(Box::new(if error.is_away() {
            self.until_back(error.cause(), error.to_string())
        } else if may_pass {
            self.counted = 1;
            self.later(self.retry().wait(self.attempt()), error.cause())
        } else {
            self.failed(error.cause(), error.to_string())
        }))
    }

    /// Since the first attempt. Nobody gives up a step because it lay in its queue until now: it is
    /// tried once more.
    pub(super) fn age(&self) -> Duration {
        UnixMillis::now()
            .since(self.started)
            .saturating_sub(self.waited)
    }

    /// Puts the step off without counting an attempt: nothing was tried that could have failed.
    pub(super) fn until_back(&self, cause: &str, detail: String) -> Verdict {
        let deferred = self.envelope.headers.deferred.saturating_add(1);
        let delay = self.retry().wait_asked(None, deferred).max(SOON);
        if self.age().saturating_add(delay) <= self.retry().total {
            self.later(delay, cause)
        } else {
            self.failed(cause, detail)
        }
    }
}

/// How long a delivery has been due.
pub(super) fn waited(headers: &Headers) -> Duration {
    let due = headers.not_before;
    due.map_or(Duration::ZERO, |due| UnixMillis::now().since(due))
}
