//! What the outcomes in an output directory have cost, before anybody collects more of them.

use std::path::Path;

use filefleet_shared::wire::{Cost, RunId};

use super::{Sink, SinkError, read_state, seen::Seen};

/// The outcomes of a run that are in its output directory.
#[derive(Debug, Default)]
pub struct Recorded {
    seen: Seen,
    cost: Cost,
}

impl Recorded {
    /// Reads them; none if the directory holds another run, or nothing.
    ///
    /// # Errors
    /// [`SinkError::AnotherCollector`], [`SinkError::Corrupt`], [`SinkError::Disk`].
    pub fn read(out_dir: &Path, run: RunId) -> Result<Self, SinkError> {
        if read_state(out_dir)?.is_none_or(|state| state.run != run) {
            return Ok(Self::default());
        }
        let sink = Sink::open(out_dir, run)?;
        Ok(Self {
            cost: sink.tally.usage.cost,
            seen: sink.seen,
        })
    }

    /// What all steps of these tasks have cost.
    #[must_use]
    pub fn cost(&self) -> Cost {
        self.cost
    }

    /// The task is one of them.
    #[must_use]
    pub fn has(&self, seq: u64) -> bool {
        self.seen.has(seq)
    }
}
