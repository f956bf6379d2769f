//! A directory that gets a further run: what is finished stays, what failed is tried again.

use std::{collections::BTreeSet, fs, path::Path};

use filefleet_shared::wire::RunId;

use super::{FAILURES, RESULTS, STATE, SUMMARY, Sink, SinkError, State, lock, read_state};
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
    let new = State {
        run,
        earlier,
        sentinel: None,
        duplicates: 0,
        ..old
    };
    // First: from here on, old lines that a crash leaves behind are known to be old.
    durable::replace(&out_dir.join(STATE), &serde_json::to_vec(&new)?)?;
    keep(out_dir, old.run, &[FAILURES, SUMMARY])
}

/// Moves all that `out_dir` holds of any run to `runs/RUN/`, of the last run it holds.
///
/// Left half done by a crash, the same call ends it. Nothing happens if it is empty.
///
/// # Errors
/// [`SinkError::AnotherCollector`], [`SinkError::Corrupt`], [`SinkError::Disk`].
pub fn set_aside(out_dir: &Path) -> Result<(), SinkError> {
    let Some(old) = read_state(out_dir)? else {
        return Ok(());
    };
    let _lock = lock(out_dir)?;
    keep(out_dir, old.run, &[RESULTS, FAILURES, SUMMARY])?;
    // Last: it says where the others went, if a crash comes in between.
    keep(out_dir, old.run, &[STATE])
}

/// Moves files that exist to `runs/RUN/`.
fn keep(out_dir: &Path, run: RunId, names: &[&str]) -> Result<(), SinkError> {
    let kept = out_dir.join("runs").join(run.to_string());
    fs::create_dir_all(&kept).map_err(DiskError::at(&kept))?;
    for name in names {
        let from = out_dir.join(name);
        if from.exists() {
            fs::rename(&from, kept.join(name)).map_err(DiskError::at(&from))?;
        }
    }
    Ok(durable::sync_directory_of(&out_dir.join(STATE))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_aside_is_kept_under_its_run_and_the_directory_is_as_new() {
        let dir = tempfile::tempdir().unwrap();
        let (out, run) = (dir.path(), RunId::mint());
        set_aside(out).unwrap();
        drop(Sink::open(out, run).unwrap());
        for name in [RESULTS, FAILURES, SUMMARY] {
            fs::write(out.join(name), name).unwrap();
        }
        let kept = out.join("runs").join(run.to_string());
        // A crash after the first file.
        fs::create_dir_all(&kept).unwrap();
        fs::rename(out.join(RESULTS), kept.join(RESULTS)).unwrap();
        set_aside(out).unwrap();
        for name in [RESULTS, FAILURES, SUMMARY] {
            assert!(!out.join(name).exists(), "{name}");
            assert_eq!(fs::read_to_string(kept.join(name)).unwrap(), name);
        }
        assert!(!is_finished(out, run).unwrap());
        drop(Sink::open(out, RunId::mint()).unwrap());
    }
}
