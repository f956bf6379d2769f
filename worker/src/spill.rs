//! Outputs that do not fit into a message: the largest go to the scratch store, the rest stays.

use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use filefleet_shared::{
    broker::{Headers, MAX_BODY_BYTES, Message},
    scratch::{Scratch, ScratchError},
    wire::{Outcome, StepMessage, Stored, TaskId},
};
use serde_json::Value;

use crate::outcome;

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
pub(crate) async fn fit(
    spill: Option<&Spill>,
    message: &mut StepMessage,
) -> Result<(), SpillError> {
    loop {
        let bytes = serde_json::to_vec(&message.outputs)?.len();
        if bytes <= MAX_OUTPUTS_BYTES {
            return Ok(());
        }
        let Some(spill) = spill else {
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
    spill: Option<&Spill>,
    outcome: &mut Outcome,
    headers: &Headers,
) -> Result<Message, SpillError> {
    let message = outcome::publishable(outcome, headers)?;
    let bytes = message.body.len();
    if bytes <= MAX_BODY_BYTES {
        return Ok(message);
    }
    let Some(spill) = spill else {
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
    spill: Option<&Spill>,
    task: TaskId,
    step: &str,
    stored: &Stored,
) -> Result<Value, SpillError> {
    let spill = spill.ok_or(SpillError::NoStore)?;
    Ok(spill.scratch.read(task, step, stored).await?)
}

#[cfg(test)]
mod tests {
    use filefleet_shared::{
        config::StoreConfig,
        store::{Store, StorePlace},
    };
    use serde_json::json;

    use super::*;
    use crate::service::tests::message;

    fn spill(dir: &tempfile::TempDir) -> Spill {
        let place = StorePlace::Directory(dir.path().join("scratch"));
        Spill::new(Scratch::new(Store::open(&StoreConfig::at(place)).unwrap()))
    }

    /// A message with outputs of as many bytes.
    fn with_outputs(sizes: &[(&str, usize)]) -> StepMessage {
        let mut message = message("a.txt");
        for (step, bytes) in sizes {
            let output = json!("x".repeat(*bytes));
            message.outputs.insert((*step).to_owned(), output);
        }
        message
    }

    #[tokio::test]
    async fn the_largest_outputs_move_out_until_the_rest_fits_and_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let spill = spill(&dir);
        let sizes = [
            ("small", 10_000),
            ("large", 60_000),
            ("larger", 70_000),
            ("tiny", 1),
        ];
        let whole = with_outputs(&sizes);
        let mut fitted = whole.clone();
        fit(Some(&spill), &mut fitted).await.unwrap();
        let inline: Vec<&str> = fitted.outputs.keys().map(String::as_str).collect();
        let stored: Vec<&str> = fitted.stored.keys().map(String::as_str).collect();
        assert_eq!(
            (inline, stored),
            (vec!["small", "tiny"], vec!["large", "larger"])
        );
        for (step, stored) in &fitted.stored {
            let output = read(Some(&spill), fitted.task(), step, stored)
                .await
                .unwrap();
            assert_eq!(output, whole.outputs[step]);
        }
        // Again, as after a redelivery: the same references.
        let mut again = whole;
        fit(Some(&spill), &mut again).await.unwrap();
        assert_eq!(again, fitted);
    }

    #[tokio::test]
    async fn outputs_that_fit_stay_in_the_message_and_need_no_store() {
        let whole = with_outputs(&[("a", 30_000), ("b", 30_000)]);
        let mut fitted = whole.clone();
        fit(None, &mut fitted).await.unwrap();
        assert_eq!(fitted, whole);
    }

    #[tokio::test]
    async fn without_a_store_it_is_a_failure_that_names_the_key_to_set() {
        let mut message = with_outputs(&[("a", 70_000)]);
        let refused = fit(None, &mut message).await.unwrap_err();
        assert_eq!(
            (refused.cause(), refused.may_pass()),
            ("output_too_large", false)
        );
        assert!(refused.to_string().contains("scratch.url"), "{refused}");
        let stored = Stored {
            bytes: 1,
            sha256: "0".repeat(64),
        };
        let missing = read(None, message.task(), "a", &stored).await.unwrap_err();
        assert_eq!(missing.cause(), "scratch_missing");
    }

    #[tokio::test]
    async fn after_a_failed_write_the_store_is_asked_before_the_next_call() {
        let dir = tempfile::tempdir().unwrap();
        let spill = spill(&dir);
        let place = dir.path().join("scratch");
        // A file in place of the directory: the store refuses to be written.
        std::fs::remove_dir(&place).unwrap();
        std::fs::write(&place, "").unwrap();
        let mut message = with_outputs(&[("a", 70_000)]);
        let error = fit(Some(&spill), &mut message).await.unwrap_err();
        assert_eq!(
            (error.cause(), error.may_pass()),
            ("scratch_unreachable", true)
        );
        assert!(spill.check().await.is_err());
        std::fs::remove_file(&place).unwrap();
        std::fs::create_dir(&place).unwrap();
        spill.check().await.unwrap();
        fit(Some(&spill), &mut message).await.unwrap();
        assert_eq!(message.stored.len(), 1);
    }
}
