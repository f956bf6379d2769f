//! A directory that gets a further run: what is finished stays, what failed is tried again.

use std::{collections::BTreeSet, fs, path::Path};

use filefleet_shared::wire::RunId;

use super::{FAILURES, STATE, SUMMARY, Sink, SinkError, State, lock, read_state};
use crate::durable::{self, DiskError};

/// Whether a run's results in `out_dir` are complete; false if there are none.
///
/// # Errors
/// [`SinkError::AnotherCollector`], [`SinkError::Corrupt`], [`SinkError::Disk`].
pub fn is_finished(out_dir: &Path, run: RunId) -> Result<bool, SinkError> {
    match read_state(out_dir)? {
        Some(state) if state.run == run => Ok(Sink::open(out_dir, run)?.is_complete()),
        _ => Ok(false),
    }
}

/// Makes `out_dir` ready for `run`, a later run than the one it holds.
///
/// Lines of earlier runs stay in `results.jsonl`, where the last line of a file counts. Their
/// failures and summary move to `runs/RUN/`. Nothing happens if it is empty or holds `run`.
///
/// # Errors
/// [`SinkError::AnotherCollector`], [`SinkError::Corrupt`], [`SinkError::Disk`].
pub fn roll_over(out_dir: &Path, run: RunId) -> Result<(), SinkError> {
    let Some(old) = read_state(out_dir)?.filter(|old| old.run != run) else {
        return Ok(());
    };
    let _lock = lock(out_dir)?;
    let earlier: BTreeSet<RunId> = old.earlier.iter().copied().chain([old.run]).collect();
    let kept = out_dir.join("runs").join(old.run.to_string());
    let new = State {
        run,
        earlier,
        sentinel: None,
        duplicates: 0,
        ..old
    };
    // First: from here on, old lines that a crash leaves behind are known to be old.
    durable::replace(&out_dir.join(STATE), &serde_json::to_vec(&new)?)?;
    fs::create_dir_all(&kept).map_err(DiskError::at(&kept))?;
    for name in [FAILURES, SUMMARY] {
        let from = out_dir.join(name);
        if from.exists() {
            fs::rename(&from, kept.join(name)).map_err(DiskError::at(&from))?;
        }
    }
    Ok(())
}
