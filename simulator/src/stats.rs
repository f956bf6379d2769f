//! What was asked, answered and paid, in bounded memory.

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    hash::{BuildHasherDefault, Hasher},
};

use serde::{Deserialize, Serialize};

use crate::Kind;

/// Seconds of history that are kept.
const HISTORY: usize = 15 * 60;
/// Distinct tasks that are told apart; about 70 MB at most.
const MOST_TASKS: usize = 4_000_000;

/// What `GET /_stats` answers. Times are milliseconds since 1970.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Requests to services that arrived.
    pub requests: u64,
    /// Answers by status; requests without an answer are in `closed` and `abandoned`.
    pub by_status: BTreeMap<u16, u64>,
    /// Answers that are the work asked for, also those `reset` or `malformed`. Polls and changes
    /// of an index's definition are not.
    pub paid: u64,
    /// Distinct tasks among the paid answers, by the header `x-filefleet-task`. A task that is
    /// paid at several kinds of service counts at each.
    pub distinct_tasks: u64,
    /// Paid answers for a task that had one of the same kind already.
    pub repeated: u64,
    /// Paid answers to requests without the header.
    pub untagged: u64,
    /// Too many tasks to tell apart: `repeated` is only a lower bound.
    pub tasks_overflowed: bool,
    /// 429 answers.
    pub throttled: u64,
    /// Of `paid`, answers whose connection was closed in the middle.
    pub reset: u64,
    /// Of `paid`, answers whose body was not JSON.
    pub malformed: u64,
    /// Requests whose connection was closed without an answer, while down.
    pub closed: u64,
    /// Requests whose client left before the answer.
    pub abandoned: u64,
    /// Prompt tokens of paid answers.
    pub input_tokens: u64,
    /// Completion tokens of paid answers.
    pub output_tokens: u64,
    /// Pages that were read and would be billed.
    pub pages: u64,
    /// Questions for a token.
    pub token_requests: u64,
    /// Tokens that were issued.
    pub tokens_issued: u64,
    /// The same per kind of service; kinds without a request are left out.
    pub kinds: BTreeMap<Kind, KindStats>,
    /// Requests in flight now.
    pub in_flight: u64,
    /// The most that were ever in flight.
    pub max_in_flight: u64,
    /// When the first request arrived.
    pub first_request_ms: Option<u64>,
    /// When the last request arrived.
    pub last_request_ms: Option<u64>,
    /// Seconds in which something was judged, in order, of the last 15 minutes of activity.
    pub seconds: Vec<Second>,
}

/// What one kind of service was asked and paid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KindStats {
    /// Requests that arrived.
    pub requests: u64,
    /// As [`Stats::paid`].
    pub paid: u64,
    /// As [`Stats::distinct_tasks`].
    pub distinct_tasks: u64,
    /// As [`Stats::repeated`].
    pub repeated: u64,
    /// As [`Stats::untagged`].
    pub untagged: u64,
}

/// What was judged within one second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Second {
    /// Seconds since 1970.
    pub at: u64,
    /// Requests that the quota let through.
    pub accepted: u64,
    /// Requests answered with 429.
    pub throttled: u64,
}

/// An answer that was paid.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paid {
    pub(crate) kind: Kind,
    pub(crate) task: Option<u64>,
    pub(crate) input_tokens: u64,
    pub(crate) output_tokens: u64,
    pub(crate) pages: u64,
}

/// Counts; one of it, behind a mutex.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    stats: Stats,
    seconds: VecDeque<Second>,
    tasks: HashSet<u64, BuildHasherDefault<AlreadyHashed>>,
}

impl Ledger {
    pub(crate) fn arrived(&mut self, kind: Kind, at_ms: u64) -> usize {
        self.stats.requests += 1;
        self.stats.kinds.entry(kind).or_default().requests += 1;
        self.stats.first_request_ms.get_or_insert(at_ms);
        self.stats.last_request_ms = Some(at_ms);
        self.stats.in_flight += 1;
        self.stats.max_in_flight = self.stats.max_in_flight.max(self.stats.in_flight);
        usize::try_from(self.stats.in_flight).unwrap_or(usize::MAX)
    }

    pub(crate) fn left(&mut self) {
        // Saturating: a reset of the counts may come between arriving and leaving.
        self.stats.in_flight = self.stats.in_flight.saturating_sub(1);
    }

    pub(crate) fn accepted(&mut self, at_ms: u64) {
        if let Some(second) = self.second(at_ms) {
            second.accepted += 1;
        }
    }

    pub(crate) fn answered(&mut self, status: u16, at_ms: u64) {
        *self.stats.by_status.entry(status).or_default() += 1;
        if status == 429 {
            self.stats.throttled += 1;
            if let Some(second) = self.second(at_ms) {
                second.throttled += 1;
            }
        }
    }

    pub(crate) fn paid(&mut self, paid: Paid) {
        self.stats.paid += 1;
        self.stats.input_tokens += paid.input_tokens;
        self.stats.output_tokens += paid.output_tokens;
        self.stats.pages += paid.pages;
        let kind = self.stats.kinds.entry(paid.kind).or_default();
        kind.paid += 1;
        match paid.task.map(|task| paid.kind.of_task(task)) {
            None => {
                self.stats.untagged += 1;
                kind.untagged += 1;
            }
            Some(task) if self.tasks.contains(&task) => {
                self.stats.repeated += 1;
                kind.repeated += 1;
            }
            Some(_) if self.tasks.len() >= MOST_TASKS => self.stats.tasks_overflowed = true,
            Some(task) => {
                self.tasks.insert(task);
                kind.distinct_tasks += 1;
            }
        }
    }

    pub(crate) fn reset(&mut self) {
        self.stats.reset += 1;
    }

    pub(crate) fn malformed(&mut self) {
        self.stats.malformed += 1;
    }

    pub(crate) fn asked_for_token(&mut self) {
        self.stats.token_requests += 1;
    }

    /// The number of the token, from 1.
    pub(crate) fn issued_token(&mut self) -> u64 {
        self.stats.tokens_issued += 1;
        self.stats.tokens_issued
    }

    pub(crate) fn closed(&mut self) {
        self.stats.closed += 1;
    }

    pub(crate) fn abandoned(&mut self) {
        self.stats.abandoned += 1;
    }

    /// Starts counting again; requests in flight stay so.
    pub(crate) fn clear(&mut self) {
        let in_flight = self.stats.in_flight;
        *self = Self::default();
        self.stats.in_flight = in_flight;
        self.stats.max_in_flight = in_flight;
    }

    pub(crate) fn snapshot(&self) -> Stats {
        Stats {
            distinct_tasks: self.tasks.len() as u64,
            seconds: self.seconds.iter().copied().collect(),
            ..self.stats.clone()
        }
    }

    fn second(&mut self, at_ms: u64) -> Option<&mut Second> {
        let at = at_ms / 1000;
        if self.seconds.back().is_none_or(|last| last.at < at) {
            if self.seconds.len() == HISTORY {
                self.seconds.pop_front();
            }
            self.seconds.push_back(Second {
                at,
                ..Second::default()
            });
        }
        self.seconds.back_mut()
    }
}

/// Task ids come hashed; hashing them again would be wasted.
#[derive(Debug, Default)]
struct AlreadyHashed(u64);

impl Hasher for AlreadyHashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = crate::chance::hash(bytes);
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paid(task: Option<u64>) -> Paid {
        Paid {
            kind: Kind::Chat,
            task,
            input_tokens: 3,
            output_tokens: 2,
            pages: 0,
        }
    }

    #[test]
    fn a_million_tasks_are_told_apart() {
        let mut ledger = Ledger::default();
        for task in 0..1_000_000 {
            ledger.paid(paid(Some(crate::chance::mix(task))));
        }
        ledger.paid(paid(Some(crate::chance::mix(17))));
        ledger.paid(paid(None));
        let stats = ledger.snapshot();
        assert_eq!(stats.paid, 1_000_002);
        assert_eq!(stats.distinct_tasks, 1_000_000);
        assert_eq!((stats.repeated, stats.untagged), (1, 1));
        assert!(!stats.tasks_overflowed);
    }

    #[test]
    fn a_task_is_repeated_only_at_the_same_kind_of_service() {
        let mut ledger = Ledger::default();
        ledger.paid(paid(Some(7)));
        let ocr = Paid {
            kind: Kind::Ocr,
            pages: 3,
            ..paid(Some(7))
        };
        let vision = Paid {
            kind: Kind::Vision,
            ..paid(Some(7))
        };
        ledger.paid(ocr);
        ledger.paid(vision);
        assert_eq!(ledger.snapshot().repeated, 0);
        ledger.paid(ocr);
        let stats = ledger.snapshot();
        assert_eq!(
            (stats.repeated, stats.distinct_tasks, stats.pages),
            (1, 3, 6)
        );
        assert_eq!(stats.kinds[&Kind::Ocr].repeated, 1);
        assert_eq!(stats.kinds[&Kind::Vision].repeated, 0);
        assert_eq!(stats.kinds[&Kind::Chat].repeated, 0);
    }

    #[test]
    fn history_is_bounded() {
        let mut ledger = Ledger::default();
        for second in 0..2_000 {
            ledger.accepted(second * 1000);
            ledger.accepted(second * 1000 + 999);
        }
        let stats = ledger.snapshot();
        assert_eq!(stats.seconds.len(), HISTORY);
        assert_eq!(stats.seconds[0].at, 1_100);
        assert!(stats.seconds.iter().all(|second| second.accepted == 2));
    }

    #[test]
    fn clearing_keeps_what_is_in_flight() {
        let mut ledger = Ledger::default();
        ledger.arrived(Kind::Chat, 1);
        ledger.arrived(Kind::Chat, 2);
        ledger.left();
        ledger.clear();
        let stats = ledger.snapshot();
        assert_eq!((stats.requests, stats.in_flight), (0, 1));
        ledger.left();
        ledger.left();
        assert_eq!(ledger.snapshot().in_flight, 0);
    }
}
