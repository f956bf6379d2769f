//! The output directory of a run: one line per task, durable before its message is gone.
//!
//! The result files are the memory of what was collected: they are read at the start, so
//! results and dedupe state cannot disagree.

mod again;
mod finished;
mod histogram;
mod line;
mod recorded;
mod seen;
mod summary;
mod tally;

use std::{
    collections::BTreeSet,
    fs::{self, File, OpenOptions},
    path::{Path, PathBuf},
};

use filefleet_shared::wire::{CollectionId, Outcome, RunClosed, RunId, Status, VERSION};
use serde::{Deserialize, Serialize};

pub use again::{is_finished, roll_over, set_aside};
pub use finished::{FinishedFiles, each_finished};
pub use recorded::Recorded;
pub use summary::{CallTimes, RunStatus, Summary};
pub(crate) use tally::Tally;

use crate::durable::{self, DiskError, LineFault, LineFile};
use line::{CountedLine, Line};
use seen::Seen;

/// Succeeded tasks, one JSON object per line.
pub const RESULTS: &str = "results.jsonl";
/// Failed and cancelled tasks, one JSON object per line.
pub const FAILURES: &str = "failures.jsonl";
/// The summary of the run.
pub const SUMMARY: &str = "run.json";
const STATE: &str = "collect.json";
const LOCK: &str = "collect.lock";

/// Why an output directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// Another collector writes into it.
    #[error("another collector is writing into {0}; wait for it or stop it")]
    AnotherCollector(PathBuf),
    /// It holds the results of another run.
    #[error(
        "{dir} holds the results of run {found}, not of run {asked}; use another output directory"
    )]
    OtherRun {
        /// The directory.
        dir: PathBuf,
        /// The run whose results it holds.
        found: RunId,
        /// The run to collect.
        asked: RunId,
    },
    /// Something else wrote into a file of ours, or the disk lost part of it.
    #[error("{path}, line {line}: {why}; the file is damaged")]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// What is wrong with it.
        why: String,
    },
    /// A record cannot be encoded.
    #[error("cannot encode a record: {0}")]
    Encode(#[from] serde_json::Error),
    /// It cannot be read or written.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// What the directory knows beside the lines.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct State {
    v: u16,
    run: RunId,
    /// Kept here because its message is gone once it was received.
    sentinel: Option<RunClosed>,
    duplicates: u64,
    /// By which a collector knows that the run is its own.
    #[serde(default = "CollectionId::mint")]
    collection: CollectionId,
    /// Runs before this one, whose lines may still be in the files.
    #[serde(default)]
    earlier: BTreeSet<RunId>,
}

/// What became of an outcome or a sentinel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It is the first, and will be durable with the next commit.
    New,
    /// There is one already.
    Duplicate,
    /// No task of this run has this sequence number.
    UnknownTask,
    /// Another sentinel said something else.
    Conflict,
}

/// The output directory, locked against other collectors.
#[derive(Debug)]
pub(crate) struct Sink {
    dir: PathBuf,
    results: LineFile,
    failures: LineFile,
    state: State,
    state_changed: bool,
    seen: Seen,
    tally: Tally,
    /// Lines of the next commit.
    new_results: Vec<u8>,
    new_failures: Vec<u8>,
    _lock: File,
}

impl Sink {
    /// Opens the directory of `run`, and reads what is in it.
    pub(crate) fn open(dir: &Path, run: RunId) -> Result<Self, SinkError> {
        fs::create_dir_all(dir).map_err(DiskError::at(dir))?;
        let lock = lock(dir)?;
        let state = state(dir, run)?;
        let mut sink = Self {
            dir: dir.to_owned(),
            results: LineFile::open(&dir.join(RESULTS))?,
            failures: LineFile::open(&dir.join(FAILURES))?,
            state_changed: false,
            tally: Tally::with_duplicates(state.duplicates),
            state,
            seen: Seen::default(),
            new_results: Vec::new(),
            new_failures: Vec::new(),
            _lock: lock,
        };
        let (seen, tally, earlier) = (&mut sink.seen, &mut sink.tally, &sink.state.earlier);
        for file in [&mut sink.results, &mut sink.failures] {
            let path = file.path().to_owned();
            file.recover(|line| count(seen, tally, run, earlier, line))
                .map_err(|fault| refused(dir, run, path, fault))?;
        }
        // Only now: a directory with another run's lines is left as it is.
        sink.save_state()?;
        Ok(sink)
    }

    /// Takes the first outcome of a task. The caller has checked that it is of this run.
    pub(crate) fn outcome(&mut self, outcome: &Outcome) -> Result<Taken, SinkError> {
        let total = self.total();
        if total.is_some_and(|total| outcome.seq >= total) {
            return Ok(Taken::UnknownTask);
        }
        if !self.seen.insert(outcome.seq) {
            self.tally.duplicates += 1;
            return Ok(Taken::Duplicate);
        }
        let lines = match outcome.status {
            Status::Succeeded => &mut self.new_results,
            Status::Failed | Status::Cancelled => &mut self.new_failures,
        };
        serde_json::to_writer(&mut *lines, &Line::from(outcome))?;
        lines.push(b'\n');
        self.tally.add(&CountedLine::from(outcome));
        Ok(Taken::New)
    }

    /// Takes the sentinel. The caller has checked that it is of this run.
    pub(crate) fn sentinel(&mut self, closed: RunClosed) -> Taken {
        match &self.state.sentinel {
            None => {
                self.state.sentinel = Some(closed);
                self.state_changed = true;
                Taken::New
            }
            // The hour may differ: a producer that crashed at the end sends it again.
            Some(known) if (known.total, &known.digest) == (closed.total, &closed.digest) => {
                Taken::Duplicate
            }
            Some(_) => Taken::Conflict,
        }
    }

    /// The task has an outcome.
    pub(crate) fn has(&self, seq: u64) -> bool {
        self.seen.has(seq)
    }

    /// Bytes of lines that are not durable yet.
    pub(crate) fn uncommitted(&self) -> usize {
        self.new_results.len() + self.new_failures.len()
    }

    /// Makes durable what was taken. After an error the sink must be opened again.
    pub(crate) fn commit(&mut self) -> Result<(), SinkError> {
        for (file, lines) in [
            (&mut self.results, &mut self.new_results),
            (&mut self.failures, &mut self.new_failures),
        ] {
            if !lines.is_empty() {
                file.append(lines)?;
                file.sync()?;
                lines.clear();
            }
        }
        if std::mem::take(&mut self.state_changed) {
            self.save_state()?;
        }
        Ok(())
    }

    /// Every task has its outcome.
    pub(crate) fn is_complete(&self) -> bool {
        self.total()
            .is_some_and(|total| self.seen.len_below(total) == total)
    }

    /// How many tasks the run has, once the sentinel said so.
    pub(crate) fn total(&self) -> Option<u64> {
        self.state.sentinel.as_ref().map(|closed| closed.total)
    }

    pub(crate) fn collection(&self) -> CollectionId {
        self.state.collection
    }

    pub(crate) fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Writes the summary, and what only this process knows.
    pub(crate) fn finish(&mut self, pipeline: &str) -> Result<Summary, SinkError> {
        self.state.duplicates = self.tally.duplicates;
        self.save_state()?;
        let status = if self.is_complete() {
            RunStatus::Complete
        } else {
            RunStatus::Incomplete
        };
        let sentinel = self.state.sentinel.as_ref();
        let summary = Summary::new(self.state.run, pipeline, status, sentinel, &self.tally);
        let mut text = serde_json::to_vec_pretty(&summary)?;
        text.push(b'\n');
        durable::replace(&self.dir.join(SUMMARY), &text)?;
        Ok(summary)
    }

    fn save_state(&self) -> Result<(), SinkError> {
        let text = serde_json::to_vec(&self.state)?;
        Ok(durable::replace(&self.dir.join(STATE), &text)?)
    }
}

/// Marks a directory, which exists, as one that results go into.
///
/// # Errors
/// [`SinkError::Disk`].
pub fn mark(dir: &Path) -> Result<(), SinkError> {
    open_lock(&dir.join(LOCK)).map(drop)
}

/// Results went into the directory, or will: what is in it is ours, and not a user's.
pub(crate) fn is_marked(dir: &Path) -> bool {
    dir.join(LOCK).is_file()
}

fn open_lock(path: &Path) -> Result<File, SinkError> {
    let mut options = OpenOptions::new();
    let options = options.write(true).create(true).truncate(false);
    Ok(options.open(path).map_err(DiskError::at(path))?)
}

fn lock(dir: &Path) -> Result<File, SinkError> {
    let path = dir.join(LOCK);
    let file = open_lock(&path)?;
    if durable::try_lock(&file, &path)? {
        Ok(file)
    } else {
        Err(SinkError::AnotherCollector(dir.to_owned()))
    }
}

fn state(dir: &Path, run: RunId) -> Result<State, SinkError> {
    match read_state(dir)? {
        None => Ok(State {
            v: VERSION,
            run,
            sentinel: None,
            duplicates: 0,
            collection: CollectionId::mint(),
            earlier: BTreeSet::new(),
        }),
        Some(state) if state.run == run => Ok(state),
        Some(state) => Err(SinkError::OtherRun {
            dir: dir.to_owned(),
            found: state.run,
            asked: run,
        }),
    }
}

/// The id of the directory, if it holds what was collected of `run`. Changes nothing.
pub(crate) fn collection_of(dir: &Path, run: RunId) -> Result<Option<CollectionId>, SinkError> {
    let state = read_state(dir)?.filter(|state| state.run == run);
    Ok(state.map(|state| state.collection))
}

fn read_state(dir: &Path) -> Result<Option<State>, SinkError> {
    let path = dir.join(STATE);
    let Some(text) = durable::read_if_exists(&path)? else {
        return Ok(None);
    };
    let corrupt = |why: String| SinkError::Corrupt {
        path: path.clone(),
        line: 1,
        why,
    };
    let state: State = serde_json::from_slice(&text).map_err(|error| corrupt(error.to_string()))?;
    if state.v != VERSION {
        return Err(corrupt(format!("version {}, not {VERSION}", state.v)));
    }
    Ok(Some(state))
}

/// Why a line of a result file is refused.
enum Refused {
    OtherRun(RunId),
    Malformed(serde_json::Error),
}

fn count(
    seen: &mut Seen,
    tally: &mut Tally,
    run: RunId,
    earlier: &BTreeSet<RunId>,
    line: &[u8],
) -> Result<(), Refused> {
    let line: CountedLine<'_> = serde_json::from_slice(line).map_err(Refused::Malformed)?;
    if earlier.contains(&line.run) {
        return Ok(());
    }
    if line.run != run {
        return Err(Refused::OtherRun(line.run));
    }
    if seen.insert(line.seq) {
        tally.add(&line);
    }
    Ok(())
}

fn refused(dir: &Path, run: RunId, path: PathBuf, fault: LineFault<Refused>) -> SinkError {
    match fault {
        LineFault::Disk(error) => error.into(),
        LineFault::Line {
            error: Refused::OtherRun(found),
            ..
        } => SinkError::OtherRun {
            dir: dir.to_owned(),
            found,
            asked: run,
        },
        LineFault::Line {
            number,
            error: Refused::Malformed(error),
        } => SinkError::Corrupt {
            path,
            line: number,
            why: error.to_string(),
        },
    }
}
