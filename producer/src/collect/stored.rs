//! Outputs that did not fit into their outcome's message: read from the scratch store.

use std::time::{Duration, Instant};

use filefleet_shared::{
    scratch::ScratchError,
    wire::{Failure, Outcome, Status},
};
use tokio::{runtime::Handle, sync::watch};

use super::{CollectError, CollectOptions};

/// How long the store may be away.
const PATIENCE: Duration = Duration::from_secs(15 * 60);
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// Reads outputs on a thread that may block, while the runtime goes on.
pub(super) struct Stored<'a> {
    pub(super) options: &'a CollectOptions,
    runtime: &'a Handle,
    stop: &'a watch::Receiver<bool>,
}

impl<'a> Stored<'a> {
    pub(super) fn new(
        options: &'a CollectOptions,
        runtime: &'a Handle,
        stop: &'a watch::Receiver<bool>,
    ) -> Self {
        Self {
            options,
            runtime,
            stop,
        }
    }

    /// The outcome with its output in it. One that is lost makes a failure of its outcome.
    pub(super) fn whole(&self, mut outcome: Outcome) -> Result<Outcome, CollectError> {
        let Some(stored) = outcome.stored.take() else {
            return Ok(outcome);
        };
        let Some(scratch) = &self.options.scratch else {
            return Err(CollectError::NoScratch(self.options.run));
        };
        let (began, mut wait) = (Instant::now(), FIRST_WAIT);
        loop {
            let read = scratch.read(outcome.task(), &outcome.step, &stored);
            match self.runtime.block_on(read) {
                Ok(output) => {
                    outcome.output = Some(output);
                    return Ok(outcome);
                }
                Err(error) if !error.may_pass() => return Ok(lost(outcome, &error)),
                Err(error) if *self.stop.borrow() || began.elapsed() > PATIENCE => {
                    return Err(CollectError::Scratch(explain(&error)));
                }
                Err(error) => {
                    tracing::warn!(error = explain(&error), "waiting for the scratch store");
                }
            }
            self.runtime.block_on(tokio::time::sleep(wait));
            wait = wait.saturating_mul(2).min(LONGEST_WAIT);
        }
    }
}

fn lost(outcome: Outcome, error: &ScratchError) -> Outcome {
    let failure = Failure {
        cause: error.cause().to_owned(),
        detail: error.to_string(),
        service: None,
    };
    Outcome {
        status: Status::Failed,
        failure: Some(failure),
        ..outcome
    }
}

/// Removes what the run has stored. What is left is harmless, so nobody waits for it.
pub(super) async fn remove(options: &CollectOptions) {
    let Some(scratch) = &options.scratch else {
        return;
    };
    if let Err(error) = scratch.remove_run(options.run).await {
        tracing::warn!(
            run = %options.run, error = explain(&error),
            "outputs of the run are left in the scratch store",
        );
    }
}

fn explain(error: &ScratchError) -> String {
    match error {
        ScratchError::Store(error) => error.explain(),
        other => other.to_string(),
    }
}
