//! The counts of a run, the same whether counted live or from the result files.

use std::collections::BTreeMap;

use filefleet_shared::{
    time::UnixMillis,
    wire::{Status, Usage},
};

use super::{histogram::Histogram, line::CountedLine};

/// Causes are stable words, few of them; a faulty worker must not fill the memory with others.
const MOST_CAUSES: usize = 256;
const OTHER_CAUSES: &str = "other";

/// Counts over the first outcome of every task.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) succeeded: u64,
    pub(crate) unmatched: u64,
    pub(crate) failed: u64,
    pub(crate) cancelled: u64,
    pub(crate) duplicates: u64,
    pub(crate) usage: Usage,
    pub(super) by_service: BTreeMap<String, Usage>,
    pub(super) causes: BTreeMap<String, u64>,
    pub(super) first: Option<UnixMillis>,
    pub(super) last: Option<UnixMillis>,
    pub(super) calls: Histogram,
}

impl Tally {
    pub(super) fn with_duplicates(duplicates: u64) -> Self {
        Self {
            duplicates,
            ..Self::default()
        }
    }

    pub(super) fn add(&mut self, line: &CountedLine<'_>) {
        match line.status {
            Status::Succeeded => self.succeeded += 1,
            Status::Failed => self.failed += 1,
            Status::Cancelled => self.cancelled += 1,
        }
        self.unmatched += u64::from(line.unmatched);
        if let Some(cause) = &line.cause {
            let known = self.causes.contains_key(&**cause) || self.causes.len() < MOST_CAUSES;
            let cause = if known { cause } else { OTHER_CAUSES };
            *self.causes.entry(cause.to_owned()).or_default() += 1;
        }
        self.usage.add(&line.usage);
        for (service, usage) in line.by_service.iter() {
            let known =
                self.by_service.contains_key(service) || self.by_service.len() < MOST_CAUSES;
            let service = if known { service } else { OTHER_CAUSES };
            self.by_service
                .entry(service.to_owned())
                .or_default()
                .add(usage);
        }
        let at = line.finished;
        self.first = Some(self.first.map_or(at, |first| first.min(at)));
        self.last = self.last.max(Some(at));
        if line.call_ms > 0 {
            self.calls.add(line.call_ms);
        }
    }

    /// Tasks that have their outcome.
    pub(crate) fn outcomes(&self) -> u64 {
        self.succeeded + self.failed + self.cancelled
    }
}
