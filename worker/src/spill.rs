//! Outputs that do not fit into a message: the largest go to the scratch store, the rest stays.

use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use filefleet_shared::{
    broker::{Headers, MAX_BODY_BYTES, Message},
    scratch::{Scratch, ScratchError},
    wire::{Outcome, StepMessage, Stored, TaskId},
};
use serde_json::Value;

use crate::{context::Context, outcome};

/// Outputs of earlier steps that travel in a message, all together.
const MAX_OUTPUTS_BYTES: usize = 64 * 1024;

/// The scratch store, and whether it took what was written last.
#[derive(Debug)]
pub(crate) struct Spill {
    scratch: Scratch,
    suspect: AtomicBool,
}

/// Why an output has no place, or cannot be had again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SpillError {
    /// The scratch store.
    #[error(transparent)]
    Scratch(#[from] ScratchError),
    /// There is no scratch store to write to.
    #[error(
        "{what} of {bytes} bytes, {limit} fit in a message: larger ones need a scratch store \
         (scratch.url)"
    )]
    NoRoom {
        what: &'static str,
        bytes: usize,
        limit: usize,
    },
    /// A message refers to a scratch store, and there is none here.
    #[error("outputs are in a scratch store, and this worker has none (scratch.url)")]
    NoStore,
    /// It has no JSON text.
    #[error("{0}")]
    Unwritable(#[from] serde_json::Error),
}

impl SpillError {
    /// A stable word to count by.
    pub(crate) fn cause(&self) -> &'static str {
        match self {
            Self::Scratch(error) => error.cause(),
            Self::NoRoom { .. } => "output_too_large",
            Self::NoStore => "scratch_missing",
            Self::Unwritable(_) => "unwritable_output",
        }
    }

    /// The store may be there again later.
    pub(crate) fn may_pass(&self) -> bool {
        matches!(self, Self::Scratch(error) if error.may_pass())
    }

    /// All that is known, for the log of this worker alone.
    pub(crate) fn explain(&self) -> String {
        match self {
            Self::Scratch(ScratchError::Store(error)) => error.explain(),
            other => other.to_string(),
        }
    }
}

impl Spill {
    pub(crate) fn new(scratch: Scratch) -> Self {
        Self {
            scratch,
            suspect: AtomicBool::new(false),
        }
    }

    /// After a failed write, learns whether the store is there again: before a call is paid whose
    /// answer could not be kept.
    pub(crate) async fn check(&self) -> Result<(), SpillError> {
        if self.suspect.load(Ordering::Relaxed) {
            self.scratch.probe().await?;
            self.suspect.store(false, Ordering::Relaxed);
        }
        Ok(())
    }

    async fn write(&self, task: TaskId, step: &str, json: Vec<u8>) -> Result<Stored, SpillError> {
        let written = self.scratch.write(task, step, Bytes::from(json)).await;
        let failed = matches!(&written, Err(error) if error.may_pass());
        self.suspect.store(failed, Ordering::Relaxed);
        Ok(written?)
    }
}

/// Moves the largest outputs out of a message until the rest fits. Called again after an error,
/// it goes on with what is left.
pub(crate) async fn fit(context: &Context, message: &mut StepMessage) -> Result<(), SpillError> {
    loop {
        let bytes = serde_json::to_vec(&message.outputs)?.len();
        if bytes <= MAX_OUTPUTS_BYTES {
            return Ok(());
        }
        let Some(spill) = &context.scratch else {
            return Err(SpillError::NoRoom {
                what: "outputs",
                bytes,
                limit: MAX_OUTPUTS_BYTES,
            });
        };
        let mut largest: Option<(String, Vec<u8>)> = None;
        for (step, output) in &message.outputs {
            let json = serde_json::to_vec(output)?;
            if largest
                .as_ref()
                .is_none_or(|(_, most)| json.len() > most.len())
            {
                largest = Some((step.clone(), json));
            }
        }
        let Some((step, json)) = largest else {
            return Ok(());
        };
        let stored = spill.write(message.task(), &step, json).await?;
        message.outputs.remove(&step);
        message.stored.insert(step, stored);
    }
}

/// The outcome's message; an output too large for it goes out of it.
pub(crate) async fn fit_outcome(
    context: &Context,
    outcome: &mut Outcome,
    headers: &Headers,
) -> Result<Message, SpillError> {
    let message = outcome::publishable(outcome, headers)?;
    let bytes = message.body.len();
    if bytes <= MAX_BODY_BYTES {
        return Ok(message);
    }
    let Some(spill) = &context.scratch else {
        return Err(SpillError::NoRoom {
            what: "an outcome",
            bytes,
            limit: MAX_BODY_BYTES,
        });
    };
    let json = serde_json::to_vec(&outcome.output)?;
    let stored = spill.write(outcome.task(), &outcome.step, json).await?;
    outcome.output = None;
    outcome.stored = Some(stored);
    Ok(outcome::publishable(outcome, headers)?)
}

/// Reads an output that a message refers to.
pub(crate) async fn read(
    context: &Context,
    task: TaskId,
    step: &str,
    stored: &Stored,
) -> Result<Value, SpillError> {
    let spill = context.scratch.as_ref().ok_or(SpillError::NoStore)?;
    Ok(spill.scratch.read(task, step, stored).await?)
}
