//! The scratch store: outputs too large for a message, until the run that made them is complete.
//!
//! An object is written before the message that refers to it. Its key follows from run, task,
//! step and content: what is redelivered writes the same object again, and another answer another
//! one. What a crash leaves is harmless, and goes with its run.

use bytes::Bytes;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::{
    config::check_name,
    store::{Read, Store, StoreError},
    wire::{RunId, Stored, TaskId},
};

/// Largest value that is stored.
pub const MAX_STORED_BYTES: u64 = 128 * 1024 * 1024;

/// Outputs of steps, in a store that all workers of a fleet and its collector share.
#[derive(Clone, Debug)]
pub struct Scratch {
    store: Store,
}

/// Why a stored value cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ScratchError {
    /// It is not there: removed, or written into another store.
    #[error(
        "the scratch store does not have the output of step {0:?} (scratch.url must be the same everywhere)"
    )]
    Missing(String),
    /// It is not what was written.
    #[error("the scratch store has another content for the output of step {0:?}")]
    Changed(String),
    /// It is over [`MAX_STORED_BYTES`].
    #[error("an output of {0} bytes, the scratch store takes {MAX_STORED_BYTES}")]
    TooLarge(u64),
    /// The message names a step that can be none.
    #[error("no name of a step: {0:?}")]
    BadStep(String),
    /// The store.
    #[error("scratch store: {0}")]
    Store(#[from] StoreError),
}

impl ScratchError {
    /// A stable word to count by.
    #[must_use]
    pub fn cause(&self) -> &'static str {
        match self {
            Self::Missing(_) => "scratch_missing",
            Self::Changed(_) | Self::BadStep(_) => "scratch_changed",
            Self::TooLarge(_) => "output_too_large",
            Self::Store(_) => "scratch_unreachable",
        }
    }

    /// The same call can succeed later.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Store(error) if error.may_pass())
    }
}

impl Scratch {
    /// In a store, below its place.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    /// Writes the JSON text of a step's output; durable when it returns.
    ///
    /// # Errors
    /// [`ScratchError::TooLarge`], [`ScratchError::Store`].
    pub async fn write(
        &self,
        task: TaskId,
        step: &str,
        json: Bytes,
    ) -> Result<Stored, ScratchError> {
        let bytes = json.len() as u64;
        if bytes > MAX_STORED_BYTES {
            return Err(ScratchError::TooLarge(bytes));
        }
        let stored = Stored {
            bytes,
            sha256: sha256(&json),
        };
        self.store.write(&key(task, step, &stored)?, json).await?;
        Ok(stored)
    }

    /// Reads a step's output.
    ///
    /// # Errors
    /// Every [`ScratchError`].
    pub async fn read(
        &self,
        task: TaskId,
        step: &str,
        stored: &Stored,
    ) -> Result<Value, ScratchError> {
        if stored.bytes > MAX_STORED_BYTES {
            return Err(ScratchError::TooLarge(stored.bytes));
        }
        let changed = || ScratchError::Changed(step.to_owned());
        let read = match self
            .store
            .read(&key(task, step, stored)?, stored.bytes)
            .await
        {
            Err(StoreError::Missing) => return Err(ScratchError::Missing(step.to_owned())),
            read => read?,
        };
        let Read::Whole { content, .. } = read else {
            return Err(changed());
        };
        if sha256(&content) != stored.sha256 {
            return Err(changed());
        }
        serde_json::from_slice(&content).map_err(|_| changed())
    }

    /// Writes what nobody reads, to learn whether the store takes anything.
    ///
    /// # Errors
    /// [`ScratchError::Store`].
    pub async fn probe(&self) -> Result<(), ScratchError> {
        Ok(self.store.write("probe", Bytes::from_static(b"{}")).await?)
    }

    /// Removes all that a run has written.
    ///
    /// # Errors
    /// [`ScratchError::Store`].
    pub async fn remove_run(&self, run: RunId) -> Result<(), ScratchError> {
        Ok(self.store.remove_below(&run.to_string()).await?)
    }
}

/// `RUN/SEQ/STEP-DIGEST.json`; every part of it is checked to be a name.
fn key(task: TaskId, step: &str, stored: &Stored) -> Result<String, ScratchError> {
    let digest = stored.sha256.as_str();
    let hex = digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
    if check_name(step).is_err() || !hex {
        return Err(ScratchError::BadStep(step.to_owned()));
    }
    let TaskId { run, seq } = task;
    Ok(format!("{run}/{seq}/{step}-{digest}.json"))
}

fn sha256(bytes: &[u8]) -> String {
    let mut hex = String::with_capacity(64);
    for byte in Sha256::digest(bytes) {
        hex.push_str(&format!("{byte:02x}"));
    }
    hex
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{config::StoreConfig, store::StorePlace};

    fn scratch(dir: &tempfile::TempDir) -> Scratch {
        let place = StorePlace::Directory(dir.path().join("scratch"));
        Scratch::new(Store::open(&StoreConfig::at(place)).unwrap())
    }

    fn task(seq: u64) -> TaskId {
        TaskId {
            run: RunId::mint(),
            seq,
        }
    }

    fn files(dir: &tempfile::TempDir) -> Vec<std::path::PathBuf> {
        let mut found = Vec::new();
        let mut left = vec![dir.path().join("scratch")];
        while let Some(next) = left.pop() {
            for entry in std::fs::read_dir(next).unwrap() {
                let path = entry.unwrap().path();
                let into = if path.is_dir() { &mut left } else { &mut found };
                into.push(path);
            }
        }
        found
    }

    #[tokio::test]
    async fn a_value_reads_back_and_writing_it_again_is_the_same_object() {
        let dir = tempfile::tempdir().unwrap();
        let (scratch, task) = (scratch(&dir), task(3));
        let value = json!({"content": "x".repeat(100_000), "n": 0.1});
        let text = Bytes::from(serde_json::to_vec(&value).unwrap());
        let stored = scratch.write(task, "read", text.clone()).await.unwrap();
        assert_eq!(scratch.write(task, "read", text).await.unwrap(), stored);
        assert_eq!(files(&dir).len(), 1);
        assert_eq!(scratch.read(task, "read", &stored).await.unwrap(), value);
        // Another answer to the same step does not touch what a message refers to already.
        let other = scratch
            .write(task, "read", Bytes::from_static(b"1"))
            .await
            .unwrap();
        assert_eq!(scratch.read(task, "read", &other).await.unwrap(), json!(1));
        assert_eq!(scratch.read(task, "read", &stored).await.unwrap(), value);
    }

    #[tokio::test]
    async fn what_is_missing_or_changed_is_named_and_an_unreachable_store_may_pass() {
        let dir = tempfile::tempdir().unwrap();
        let (scratch, task) = (scratch(&dir), task(0));
        let stored = scratch
            .write(task, "read", Bytes::from_static(b"[1]"))
            .await
            .unwrap();
        std::fs::write(&files(&dir)[0], "[2]").unwrap();
        let changed = scratch.read(task, "read", &stored).await.unwrap_err();
        assert_eq!(
            (changed.cause(), changed.may_pass()),
            ("scratch_changed", false)
        );
        std::fs::write(&files(&dir)[0], "[1, 2]").unwrap();
        let longer = scratch.read(task, "read", &stored).await.unwrap_err();
        assert_eq!(longer.cause(), "scratch_changed");
        std::fs::remove_file(&files(&dir)[0]).unwrap();
        let missing = scratch.read(task, "read", &stored).await.unwrap_err();
        assert_eq!(
            (missing.cause(), missing.may_pass()),
            ("scratch_missing", false)
        );
        let down = ScratchError::Store(StoreError::Timeout(std::time::Duration::from_secs(1)));
        assert_eq!(
            (down.cause(), down.may_pass()),
            ("scratch_unreachable", true)
        );
    }

    #[tokio::test]
    async fn a_forged_message_reads_nothing_outside_its_own_task() {
        let dir = tempfile::tempdir().unwrap();
        let (scratch, task) = (scratch(&dir), task(0));
        std::fs::write(dir.path().join("secret.json"), "1").unwrap();
        let good = scratch
            .write(task, "read", Bytes::from_static(b"1"))
            .await
            .unwrap();
        for step in ["../secret", "..", "", "a/b", "Read"] {
            let refused = scratch.read(task, step, &good).await.unwrap_err();
            assert!(
                matches!(refused, ScratchError::BadStep(_)),
                "{step}: {refused}"
            );
        }
        for sha256 in ["", "../../secret", "zz"] {
            let forged = Stored {
                bytes: 1,
                sha256: sha256.to_owned(),
            };
            assert!(scratch.read(task, "read", &forged).await.is_err());
        }
        let huge = Stored {
            bytes: u64::MAX,
            ..good
        };
        let refused = scratch.read(task, "read", &huge).await.unwrap_err();
        assert_eq!(refused.cause(), "output_too_large");
    }

    #[tokio::test]
    async fn removing_a_run_leaves_the_others() {
        let dir = tempfile::tempdir().unwrap();
        let scratch = scratch(&dir);
        let (done, goes_on) = (task(0), task(0));
        for seq in 0..5 {
            let task = TaskId { seq, ..done };
            scratch
                .write(task, "read", Bytes::from_static(b"1"))
                .await
                .unwrap();
        }
        let kept = scratch
            .write(goes_on, "read", Bytes::from_static(b"1"))
            .await
            .unwrap();
        scratch.remove_run(done.run).await.unwrap();
        scratch.remove_run(done.run).await.unwrap();
        assert_eq!(
            scratch.read(goes_on, "read", &kept).await.unwrap(),
            json!(1)
        );
        assert_eq!(files(&dir).len(), 1);
    }
}
