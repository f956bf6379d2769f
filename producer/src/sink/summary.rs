//! The summary of a run, `run.json`.

use std::collections::BTreeMap;

use filefleet_shared::{
    time::UnixMillis,
    wire::{RunClosed, RunId, Usage},
};
use serde::{Deserialize, Serialize};

use super::Tally;

/// Whether every task has its outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// succeeded + failed + cancelled = total.
    Complete,
    /// Collecting was stopped before; collect again to go on.
    Incomplete,
}

/// The summary of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The run.
    pub run: RunId,
    /// Name of its pipeline.
    pub pipeline: String,
    /// Whether every task has its outcome.
    pub status: RunStatus,
    /// Tasks; unknown until publishing has ended.
    pub total: Option<u64>,
    /// Tasks that succeeded.
    pub succeeded: u64,
    /// Of these, tasks for whose file no step's condition held.
    #[serde(default)]
    pub unmatched: u64,
    /// Tasks given up.
    pub failed: u64,
    /// Tasks cancelled.
    pub cancelled: u64,
    /// Further outcomes of tasks that had one: dropped. A crash of the collector forgets some.
    pub duplicates: u64,
    /// Directory entries that could not be read and so are not tasks.
    pub unreadable: Option<u64>,
    /// Failed and cancelled tasks by cause.
    pub failures_by_cause: BTreeMap<String, u64>,
    /// What was used of the services by all tasks.
    pub usage: Usage,
    /// The same by service.
    #[serde(default)]
    pub by_service: BTreeMap<String, Usage>,
    /// When publishing began.
    pub opened: Option<UnixMillis>,
    /// When the last task was published.
    pub closed: Option<UnixMillis>,
    /// The first outcome, by the worker's clock.
    pub first_outcome: Option<UnixMillis>,
    /// The last outcome, by the worker's clock.
    pub last_outcome: Option<UnixMillis>,
    /// From the beginning of publishing, if known, to the last outcome.
    pub wall_seconds: Option<f64>,
    /// Outcomes in that time.
    pub files_per_second: Option<f64>,
    /// Times of the last call of each task.
    pub call_ms: Option<CallTimes>,
    /// See [`crate::manifest::Digest`]; hex.
    pub digest: Option<String>,
}

/// Milliseconds; the quantiles are rounded up by at most 1/32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallTimes {
    /// Half of the calls took no longer.
    pub p50: u64,
    /// 95 % of the calls took no longer.
    pub p95: u64,
    /// No call took longer.
    pub max: u64,
}

impl Summary {
    pub(super) fn new(
        run: RunId,
        pipeline: &str,
        status: RunStatus,
        sentinel: Option<&RunClosed>,
        tally: &Tally,
    ) -> Self {
        let opened = sentinel.map(|closed| closed.opened);
        let begun = opened.or(tally.first);
        let wall = begun
            .zip(tally.last)
            .map(|(begun, last)| last.since(begun).as_secs_f64());
        #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
        let rate = wall
            .filter(|wall| *wall > 0.0)
            .map(|wall| tally.outcomes() as f64 / wall);
        Self {
            run,
            pipeline: pipeline.to_owned(),
            status,
            total: sentinel.map(|closed| closed.total),
            succeeded: tally.succeeded,
            unmatched: tally.unmatched,
            failed: tally.failed,
            cancelled: tally.cancelled,
            duplicates: tally.duplicates,
            unreadable: sentinel.map(|closed| closed.unreadable),
            failures_by_cause: tally.causes.clone(),
            usage: tally.usage,
            by_service: tally.by_service.clone(),
            opened,
            closed: sentinel.map(|closed| closed.closed),
            first_outcome: tally.first,
            last_outcome: tally.last,
            wall_seconds: wall,
            files_per_second: rate,
            call_ms: call_times(tally),
            digest: sentinel.map(|closed| closed.digest.clone()),
        }
    }
}

fn call_times(tally: &Tally) -> Option<CallTimes> {
    Some(CallTimes {
        p50: tally.calls.quantile(50)?,
        p95: tally.calls.quantile(95)?,
        max: tally.calls.greatest()?,
    })
}
