//! A step's way to its file. A store that is away puts it off, never fails it before `retry.total`.

use filefleet_shared::{broker::Verdict, time::UnixMillis};

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

    /// Puts the step off without counting an attempt: nothing was tried that could have failed.
    pub(super) fn until_back(&self, cause: &str, detail: String) -> Verdict {
        let deferred = self.envelope.headers.deferred.saturating_add(1);
        let delay = self.retry().wait_asked(None, deferred).max(SOON);
        let age = UnixMillis::now().since(self.started).saturating_add(delay);
        if age <= self.retry().total {
            self.later(delay, cause)
        } else {
            self.failed(cause, detail)
        }
    }
}
