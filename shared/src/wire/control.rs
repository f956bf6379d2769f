//! Control records: the retained log that workers read from its start, so late joiners know.

use std::{collections::BTreeMap, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{CollectionId, RunId, VERSION, WireMessage};
use crate::time::UnixMillis;

/// One record of the control log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ControlRecord {
    /// A run was opened: a new epoch, so pills before it are over.
    RunOpened(RunOpened),
    /// Workers of the epoch drain and leave.
    Pill(Pill),
    /// The outcomes of a run go into one place: nobody may take any to another.
    Collecting(Collecting),
    /// The run is complete: every outcome is in that place.
    Collected(Collected),
    /// Workers came or left: those that share a quota count anew.
    Members(Members),
    /// A service wants to be left alone: by every worker.
    Throttled(Throttled),
}

impl WireMessage for ControlRecord {
    const TYPES: &'static [&'static str] = &[
        "run_opened",
        "pill",
        "collecting",
        "collected",
        "members",
        "throttled",
    ];
}

/// A run was opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunOpened {
    /// Version of the record, 1.
    pub v: u16,
    /// The run.
    pub run: RunId,
    /// One more than the greatest epoch in the log before it.
    pub epoch: u64,
    /// Name of the pipeline the run goes through.
    pub pipeline: String,
    /// Services its steps use, so that whoever looks knows the queues.
    pub services: Vec<String>,
    /// When it was opened.
    pub at: UnixMillis,
}

/// Which workers a pill is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PillScope {
    /// All workers of the namespace.
    Fleet,
}

/// What a pill means for the work that is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PillMode {
    /// The run is complete: nothing is left.
    Complete,
    /// Leave now: what is left stays queued.
    Drain,
}

/// The retained record that makes workers drain and leave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pill {
    /// Version of the record, 1.
    pub v: u16,
    /// Which workers it is for.
    pub scope: PillScope,
    /// The epoch it ends; a run opened later (a greater epoch) is not hurt by it.
    pub epoch: u64,
    /// What becomes of the work that is left.
    pub mode: PillMode,
    /// When it was issued.
    pub at: UnixMillis,
}

/// Where the outcomes of a run are kept.
///
/// Host and directory are for people to read; nobody opens a path because a record names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OutputPlace {
    /// Lies in the directory too, so that it is the same one when it is moved.
    pub id: CollectionId,
    /// The host whose collector began.
    pub host: String,
    /// The directory there, as it was then.
    pub directory: String,
}

impl std::fmt::Display for OutputPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.host, self.directory)
    }
}

/// The first collector of a run has begun; written before it takes an outcome.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Collecting {
    /// Version of the record, 1.
    pub v: u16,
    /// The run.
    pub run: RunId,
    /// Where its outcomes go.
    pub into: OutputPlace,
    /// When it began.
    pub at: UnixMillis,
}

/// A run is complete; written before its results queue is deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Collected {
    /// Version of the record, 1.
    pub v: u16,
    /// The run.
    pub run: RunId,
    /// Where its outcomes are.
    pub into: OutputPlace,
    /// Tasks that succeeded.
    pub succeeded: u64,
    /// Tasks that failed or were cancelled.
    pub failed: u64,
    /// Directory entries that could not be read and so are not tasks.
    pub unreadable: u64,
    /// When it was complete.
    pub at: UnixMillis,
}

/// Workers came or left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Members {
    /// Version of the record, 1.
    pub v: u16,
    /// What has changed; without it, anybody may have come or left, and counts already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<Change>,
    /// When.
    pub at: UnixMillis,
}

/// What one worker says about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum Change {
    /// It consumes, and will make no call for a while: its share is the others' until then.
    Coming {
        /// The service, or the name of the queue of its polls.
        service: String,
        /// From `at` on it makes no call for at least so long.
        idle_ms: u64,
    },
    /// It consumes no more, and makes no call again: its share is the others'.
    Left {
        /// The service, or the name of the queue of its polls.
        service: String,
    },
}

/// A service wants to be left alone for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Throttled {
    /// Version of the record, 1.
    pub v: u16,
    /// The service, or the name of the queue of its polls; of several deployments with its own, as
    /// `gpt/east`.
    pub service: String,
    /// Until then.
    pub until: UnixMillis,
    /// The worker that was told.
    pub by: String,
    /// When it was told.
    pub at: UnixMillis,
}

impl Throttled {
    /// How much longer after `now`: never longer than was asked for when it was told, whatever
    /// clock that machine has.
    #[must_use]
    pub fn rest(&self, now: UnixMillis) -> Duration {
        self.until.since(now).min(self.until.since(self.at))
    }
}

/// Services that want to be left alone after `now`, each with until when, as the log says.
#[must_use]
pub fn throttled(history: &[ControlRecord], now: UnixMillis) -> BTreeMap<&str, UnixMillis> {
    let mut services = BTreeMap::new();
    for record in history {
        if let ControlRecord::Throttled(throttled) = record
            && !throttled.rest(now).is_zero()
        {
            let until = services.entry(throttled.service.as_str()).or_insert(now);
            *until = now.after(throttled.rest(now)).max(*until);
        }
    }
    services
}

/// Where the outcomes of one run are, as the control log says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunOutput {
    /// Where they go; `None` if nobody collected yet.
    pub into: Option<OutputPlace>,
    /// How the run ended, if it is complete.
    pub collected: Option<Collected>,
}

impl RunOutput {
    /// What `history` says about `run`.
    #[must_use]
    pub fn of(run: RunId, history: &[ControlRecord]) -> Self {
        let mut output = Self::default();
        for record in history {
            match record {
                // The first one counts: later ones are the same, read again.
                ControlRecord::Collecting(begun) if begun.run == run => {
                    output.into.get_or_insert_with(|| begun.into.clone());
                }
                ControlRecord::Collected(done) if done.run == run => {
                    output.into.get_or_insert_with(|| done.into.clone());
                    output.collected.get_or_insert_with(|| done.clone());
                }
                _ => {}
            }
        }
        output
    }
}

/// What the control log says, folded record by record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FleetState {
    /// The greatest epoch seen; 0 before the first run.
    pub epoch: u64,
    /// The run that opened it.
    pub latest_run: Option<RunOpened>,
    /// The pill that ends the current epoch, if there is one.
    pub pill: Option<Pill>,
}

impl FleetState {
    /// Folds one record in the order of the log.
    pub fn apply(&mut self, record: &ControlRecord) {
        match record {
            ControlRecord::RunOpened(opened) if opened.epoch >= self.epoch => {
                self.epoch = opened.epoch;
                self.latest_run = Some(opened.clone());
                self.pill = None;
            }
            ControlRecord::Pill(pill) if pill.epoch >= self.epoch => {
                self.epoch = pill.epoch;
                self.pill = Some(pill.clone());
            }
            // Of an epoch that is over: it hurts nobody.
            ControlRecord::RunOpened(_) | ControlRecord::Pill(_) => {}
            // Of one run, not of the fleet: see [`RunOutput`].
            ControlRecord::Collecting(_) | ControlRecord::Collected(_) => {}
            // Of services, for as long as they last.
            ControlRecord::Members(_) | ControlRecord::Throttled(_) => {}
        }
    }

    /// The record that opens `run` as the next epoch.
    #[must_use]
    pub fn open(&self, run: RunId, pipeline: &str, services: &[String]) -> ControlRecord {
        ControlRecord::RunOpened(RunOpened {
            v: VERSION,
            run,
            epoch: self.epoch.saturating_add(1),
            pipeline: pipeline.to_owned(),
            services: services.to_vec(),
            at: UnixMillis::now(),
        })
    }

    /// The pill that ends `epoch`.
    #[must_use]
    pub fn pill(epoch: u64, mode: PillMode) -> ControlRecord {
        ControlRecord::Pill(Pill {
            v: VERSION,
            scope: PillScope::Fleet,
            epoch,
            mode,
            at: UnixMillis::now(),
        })
    }
}

impl<R: std::borrow::Borrow<ControlRecord>> FromIterator<R> for FleetState {
    fn from_iter<I: IntoIterator<Item = R>>(records: I) -> Self {
        let mut state = Self::default();
        for record in records {
            state.apply(record.borrow());
        }
        state
    }
}
