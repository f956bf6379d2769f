//! A step's way to and from the scratch store. One that is not there puts steps off, never fails
//! them before `retry.total`.

use std::{borrow::Cow, time::Duration};

use filefleet_shared::broker::Verdict;
use tokio::{
    sync::SemaphorePermit,
    time::{Instant, sleep_until},
};

use super::{Attempts, CROWDED, SOON, UNKNOWN, in_time};
use crate::{
    input, outcome,
    route::{self, Way},
    service::{Answer, BoundStep},
    spill::{self, SpillError},
};

/// How long a paid answer is held for a store that is away. Then it is given up, and the call made
/// again when the store is there.
const KEPT: Duration = Duration::from_secs(300);

impl<'a> Attempts<'a> {
    /// Reads the outputs that the message only refers to, so that the step sees them as if they
    /// stood in it. The permit is their share of memory.
    pub(super) async fn fetch_outputs(
        &mut self,
    ) -> Result<Option<SemaphorePermit<'a>>, Box<Verdict>> {
        if let Some(spill) = &self.context.scratch
            && self.message.continuation.is_none()
            && let Err(error) = spill.check().await
        {
            return Err(Box::new(self.without_scratch(&error)));
        }
        if self.message.stored.is_empty() {
            return Ok(None);
        }
        let bytes = self.message.stored.values().map(|stored| stored.bytes);
        let bytes = bytes.fold(0, u64::saturating_add);
        let share = input::units(bytes).min(self.context.bytes_total);
        let waiting = self.context.output_bytes.acquire_many(share);
        let budget = match in_time(self.latest(), waiting).await {
            Some(Ok(budget)) => budget,
            Some(Err(_)) => return Err(Box::new(self.later(SOON, "closing"))),
            None => return Err(Box::new(self.later(CROWDED, "crowded"))),
        };
        let spill = self.context.scratch.as_ref();
        let mut whole = self.message.clone();
        for (step, stored) in &self.message.stored {
            match spill::read(spill, self.message.task(), step, stored).await {
                Ok(output) => drop(whole.outputs.insert(step.clone(), output)),
                Err(error) => return Err(Box::new(self.without_scratch(&error))),
            }
        }
        self.input = Cow::Owned(whole);
        Ok(Some(budget))
    }

    /// What follows from an answer. It is paid, so a store that is away is asked again for as
    /// long as the delivery may be held.
    pub(super) async fn succeeded(&mut self, answer: Answer) -> Verdict {
        let context = self.context;
        // Conditions see outputs that the message only refers to, as the step did.
        let way = match route::after(&context.catalog, &self.input, &answer.output) {
            Ok(way) => way,
            Err(detail) => return self.failed(route::BAD_CONDITION, detail),
        };
        match way.next {
            Some(next) => self.go_on(answer, &way, next).await,
            None => self.last(answer).await,
        }
    }

    async fn go_on(&mut self, answer: Answer, way: &Way<'_>, next: &BoundStep) -> Verdict {
        let (ended, output) = (self.ended(), Some(answer.output));
        let mut following = outcome::following(self.message, &ended, output, way, next);
        for tried in 1.. {
            let fitted = match spill::fit(self.context.scratch.as_ref(), &mut following).await {
                Ok(()) => outcome::go_on(&following, next, &self.envelope.headers)
                    .map_err(SpillError::from),
                Err(error) => Err(error),
            };
            match fitted {
                Ok(verdict) => return verdict,
                Err(error) if self.wait_for_scratch(tried, &error).await => {}
                Err(error) => return self.without_scratch(&error),
            }
        }
        self.later(SOON, "scratch_unreachable")
    }

    async fn last(&mut self, answer: Answer) -> Verdict {
        let (ended, output) = (self.ended(), Some(answer.output));
        let mut outcome = outcome::last(self.context, self.message, &ended, output);
        let headers = &self.envelope.headers;
        let spill = self.context.scratch.as_ref();
        for tried in 1.. {
            match spill::fit_outcome(spill, &mut outcome, headers).await {
                Ok(message) => return Verdict::Done(vec![message]),
                Err(error) if self.wait_for_scratch(tried, &error).await => {}
                Err(error) => return self.without_scratch(&error),
            }
        }
        self.later(SOON, "scratch_unreachable")
    }

    /// Waits before an answer is written again; false if that has to be given up here.
    async fn wait_for_scratch(&mut self, tried: u32, error: &SpillError) -> bool {
        let wait = self.retry().wait_asked(None, tried);
        let longest = KEPT.min(self.context.hold_budget / 2);
        if !error.may_pass() || self.taken.elapsed() + wait > longest {
            return false;
        }
        tracing::warn!(
            run = %self.message.run, seq = self.message.seq, error = error.explain(), tried,
            "an answer cannot be kept yet",
        );
        let until = Instant::now() + wait;
        tokio::select! {
            biased;
            _ = self.draining.wait_for(|draining| *draining) => false,
            () = sleep_until(until) => true,
        }
    }

    /// Puts the step off, or fails it if no waiting helps.
    fn without_scratch(&mut self, error: &SpillError) -> Verdict {
        let (run, seq) = (self.message.run, self.message.seq);
        tracing::warn!(%run, seq, error = error.explain(), "cannot use the scratch store");
        if matches!(error, SpillError::NoStore) && self.attempt() < self.retry().attempts {
            // Another worker may have one, while a configuration is rolled out.
            self.counted += 1;
            return self.later(UNKNOWN, error.cause());
        }
        if error.may_pass() {
            return self.until_back(error.cause(), error.to_string());
        }
        self.failed(error.cause(), error.to_string())
    }
}
