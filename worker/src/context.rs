//! What every step of a worker shares, and what every step of one service shares.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use filefleet_shared::{
    files::Roots,
    wire::{ControlRecord, RunId},
};
use tokio::{
    sync::{Semaphore, mpsc, watch},
    time::Instant,
};

use crate::{
    breaker::Breaker,
    budget::Budget,
    call::Call,
    journal::Journal,
    pool::Pool,
    retry::{RetryBudget, RetryPolicy},
    service::Catalog,
    spill::Spill,
};

/// Shared by all steps of a worker.
#[derive(Debug)]
pub(crate) struct Context {
    /// The worker's name in outcomes and dead letters.
    pub(crate) worker: String,
    /// Steps by name, bound to their services.
    pub(crate) catalog: Catalog,
    /// Where files are.
    pub(crate) roots: Arc<Roots>,
    /// Where outputs are that do not fit into a message.
    pub(crate) scratch: Option<Spill>,
    /// Where answers are kept that were paid.
    pub(crate) journal: Option<Journal>,
    /// When to try again.
    pub(crate) retry: RetryPolicy,
    /// File bytes in memory, in units of [`crate::input::UNIT`].
    pub(crate) bytes: Semaphore,
    /// What `bytes` started with.
    pub(crate) bytes_total: u32,
    /// Bytes of stored outputs in memory, as `bytes`. Apart from it, so that a step that has one
    /// and waits for the other never waits for a step that does the same.
    pub(crate) output_bytes: Semaphore,
    /// Longest a delivery is held.
    pub(crate) hold_budget: Duration,
    /// Deaths of workers after which a step goes to the quarantine.
    pub(crate) quarantine_after: u32,
    /// Deaths in the quarantine after which it is given up.
    pub(crate) dead_after: u32,
    /// What may be spent.
    pub(crate) budget: Arc<Budget>,
    /// Who is told of every call.
    pub(crate) calls: Option<mpsc::Sender<Call>>,
    /// What all workers should know.
    pub(crate) announce: mpsc::Sender<ControlRecord>,
    /// Runs that are complete: whatever still comes of them is a duplicate.
    pub(crate) complete: watch::Sender<HashSet<RunId>>,
}

impl Context {
    /// Every file of the run has its outcome, as far as this worker was told.
    pub(crate) fn is_complete(&self, run: RunId) -> bool {
        self.complete.borrow().contains(&run)
    }
}

/// Shared by all steps of one service, or by all questions for results of its operations.
#[derive(Debug)]
pub(crate) struct Lane {
    /// Name of its queues: the service's, or [`filefleet_shared::broker::polls_of`] it.
    pub(crate) name: String,
    /// Which deployment takes a call, and when.
    pub(crate) calls: Pool,
    /// Calls that may be repeated.
    pub(crate) retries: RetryBudget,
    /// It has a consumer.
    pub(crate) consuming: watch::Sender<bool>,
    /// Pauses the service, submits and polls alike.
    pub(crate) breaker: Arc<Breaker>,
    /// Counters of the worker.
    pub(crate) stats: Arc<Stats>,
}

/// A counter that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds.
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// The count so far.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counters of a worker since its start.
#[derive(Debug, Default)]
pub struct Stats {
    /// Deliveries taken.
    pub taken: Counter,
    /// Deliveries settled, with any verdict.
    pub settled: Counter,
    /// Calls made to services.
    pub calls: Counter,
    /// Calls that decided about their file: it succeeded, or was refused for good.
    pub answered: Counter,
    /// Answers that came from the journal, without a call.
    pub from_journal: Counter,
    /// Calls repeated after a wait in the worker.
    pub retries: Counter,
    /// Calls that a service refused as one too many.
    pub throttled: Counter,
    /// Steps put off as messages.
    pub put_off: Counter,
    /// Steps moved to the quarantine.
    pub quarantined: Counter,
    /// Steps handed back.
    pub released: Counter,
    /// Steps that ended as dead letters.
    pub dead: Counter,
    /// Redeliveries that needed no call of their own.
    pub joined: Counter,
    /// Settlements lost with their session; each is delivered again.
    pub lost: Counter,
    /// Tokens of prompts.
    pub input_tokens: Counter,
    /// Tokens of answers.
    pub output_tokens: Counter,
}

impl Stats {
    /// Deliveries in hand.
    #[must_use]
    pub fn in_hand(&self) -> u64 {
        self.taken.get().saturating_sub(self.settled.get())
    }
}

/// Which services throttle this worker, live.
#[derive(Clone, Debug)]
pub struct Throttles {
    pub(crate) lanes: Vec<Arc<Lane>>,
}

impl Throttles {
    /// Services, or their deployments, that have asked to be left alone, each with how much longer.
    #[must_use]
    pub fn now(&self) -> Vec<(&str, Duration)> {
        let now = Instant::now();
        let deployments = self.lanes.iter().flat_map(|lane| lane.calls.deployments());
        deployments
            .filter_map(|deployment| {
                let until = deployment.governor().stopped_until()?;
                Some((deployment.name(), until.saturating_duration_since(now)))
            })
            .collect()
    }
}

/// The lanes of a worker, by name.
pub(crate) type Lanes = BTreeMap<String, Arc<Lane>>;
