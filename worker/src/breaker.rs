//! A breaker per service: what would fail every file pauses the service, loudly, and probes.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::{sync::watch, time::Instant};

/// Why a service is paused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PauseKind {
    /// The key is refused.
    Unauthorized,
    /// The model, deployment or path does not exist.
    Misconfigured,
    /// The account has no money left.
    QuotaExhausted,
    /// No connection, several times in a row.
    Unreachable,
    /// No call succeeds any more.
    Failing,
    /// It asked to be left alone for longer than a step is held.
    Throttled,
}

impl PauseKind {
    /// A stable word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unauthorized => "unauthorized",
            Self::Misconfigured => "misconfigured",
            Self::QuotaExhausted => "quota_exhausted",
            Self::Unreachable => "unreachable",
            Self::Failing => "failing",
            Self::Throttled => "throttled",
        }
    }

    /// Whether only a person can mend it, so that waiting is of no use.
    #[must_use]
    pub fn needs_a_person(self) -> bool {
        !matches!(self, Self::Unreachable | Self::Failing | Self::Throttled)
    }
}

/// A pause of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pause {
    /// Why.
    pub kind: PauseKind,
    /// What the service said.
    pub detail: String,
    /// When the service was first found so.
    pub since: Instant,
    /// When one call will be let through to try.
    pub until: Instant,
    /// The service has answered this worker before.
    pub answered_before: bool,
}

/// Connections refused in a row, without any answer, before the service is paused.
const UNREACHABLE_IN_A_ROW: u32 = 5;
/// Calls that failed in a row, without any answer that is one, before the service is paused.
const FAILED_IN_A_ROW: u32 = 10;
/// Longest time between two probes.
const LONGEST: Duration = Duration::from_secs(30);
/// First time between a pause and its probe, where the service may come back by itself.
const SHORTEST: Duration = Duration::from_secs(1);

/// The breaker of one service in one worker.
#[derive(Debug)]
pub struct Breaker {
    service: String,
    counts: Mutex<Counts>,
    paused: watch::Sender<Option<Pause>>,
}

#[derive(Debug, Default)]
struct Counts {
    unreachable: u32,
    failed: u32,
    trips: u32,
    answered: bool,
}

impl Breaker {
    /// A closed breaker.
    #[must_use]
    pub fn new(service: String) -> Self {
        let (paused, _) = watch::channel(None);
        Self {
            service,
            counts: Mutex::default(),
            paused,
        }
    }

    /// The current pause, and its changes.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Option<Pause>> {
        self.paused.subscribe()
    }

    /// The service is paused.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.paused.borrow().is_some()
    }

    /// A call may be made: the service is not paused, or it is time to probe it.
    #[must_use]
    pub fn may_call(&self) -> bool {
        self.paused
            .borrow()
            .as_ref()
            .is_none_or(|pause| pause.until <= Instant::now())
    }

    /// The service answered a call, well or badly: it is there, and takes the key.
    pub fn answered(&self) {
        {
            let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
            counts.unreachable = 0;
            counts.failed = 0;
            counts.trips = 0;
            counts.answered = true;
        }
        let resumed = self.paused.send_if_modified(|pause| pause.take().is_some());
        if resumed {
            tracing::info!(service = %self.service, "service resumed");
        }
    }

    /// No connection; pauses the service after several in a row.
    pub fn unreachable(&self, detail: &str) {
        let many = {
            let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
            counts.unreachable = counts.unreachable.saturating_add(1);
            counts.unreachable >= UNREACHABLE_IN_A_ROW
        };
        if many || self.is_open() {
            self.trip(PauseKind::Unreachable, detail);
        }
    }

    /// A call failed at the service; pauses it after many in a row. Each failure still costs its
    /// step an attempt: a file that makes its service fail must come to an end.
    pub fn failed(&self, detail: &str) {
        let many = {
            let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
            counts.unreachable = 0;
            counts.failed = counts.failed.saturating_add(1);
            counts.failed >= FAILED_IN_A_ROW
        };
        if many || self.is_open() {
            self.trip(PauseKind::Failing, detail);
        }
    }

    /// Pauses the service. Calls that were in flight at a trip belong to that same trip.
    pub fn trip(&self, kind: PauseKind, detail: &str) {
        self.trip_at(Instant::now(), kind, detail, None);
    }

    /// The service asked to be left alone for so long.
    pub fn throttled(&self, wait: Duration, detail: &str) {
        self.trip_at(Instant::now(), PauseKind::Throttled, detail, Some(wait));
    }

    fn trip_at(&self, now: Instant, kind: PauseKind, detail: &str, asked: Option<Duration>) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let mut begins = false;
        self.paused.send_if_modified(|pause| {
            if pause.as_ref().is_some_and(|pause| pause.until > now) {
                return false;
            }
            counts.trips = counts.trips.saturating_add(1);
            let grown = SHORTEST.saturating_mul(1 << (counts.trips - 1).min(8));
            let delay = match asked {
                Some(asked) => asked,
                None if kind.needs_a_person() => LONGEST,
                None => grown.min(LONGEST),
            };
            begins = pause.is_none();
            let since = pause.as_ref().map_or(now, |pause| pause.since);
            *pause = Some(Pause {
                kind,
                detail: detail.to_owned(),
                since,
                until: now + delay,
                answered_before: counts.answered,
            });
            true
        });
        drop(counts);
        // A probe that fails prolongs what is known already.
        if begins && kind == PauseKind::Throttled {
            let wait = asked.unwrap_or_default();
            tracing::warn!(
                service = %self.service, wait_s = wait.as_secs(), detail,
                "service throttled: it asked to be left alone; its steps wait",
            );
        } else if begins {
            tracing::error!(
                service = %self.service, cause = kind.as_str(), detail,
                "service paused: every file would fail; nothing is lost, fix it and it goes on",
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pause(breaker: &Breaker) -> Option<Pause> {
        breaker.watch().borrow().clone()
    }

    #[test]
    fn a_refused_key_pauses_at_once_and_an_answer_resumes() {
        let breaker = Breaker::new("gpt".to_owned());
        breaker.trip(PauseKind::Unauthorized, "401");
        assert_eq!(
            pause(&breaker).map(|pause| pause.kind),
            Some(PauseKind::Unauthorized)
        );
        breaker.answered();
        assert_eq!(pause(&breaker), None);
    }

    #[test]
    fn one_lost_connection_pauses_nothing_and_several_in_a_row_do() {
        let breaker = Breaker::new("gpt".to_owned());
        for _ in 0..2 {
            for _ in 1..UNREACHABLE_IN_A_ROW {
                breaker.unreachable("refused");
            }
            assert!(!breaker.is_open());
            breaker.answered();
        }
        for _ in 0..UNREACHABLE_IN_A_ROW {
            breaker.unreachable("refused");
        }
        assert!(breaker.is_open());
    }

    #[test]
    fn a_service_that_fails_every_call_is_paused_and_one_answer_resumes_it() {
        let breaker = Breaker::new("gpt".to_owned());
        for _ in 1..FAILED_IN_A_ROW {
            breaker.failed("500");
        }
        assert!(!breaker.is_open());
        breaker.failed("500");
        assert_eq!(
            pause(&breaker).map(|pause| pause.kind),
            Some(PauseKind::Failing)
        );
        breaker.answered();
        breaker.failed("500");
        assert!(!breaker.is_open());
    }

    #[test]
    fn calls_in_flight_at_a_trip_do_not_prolong_it_and_failed_probes_do() {
        let breaker = Breaker::new("gpt".to_owned());
        let start = Instant::now();
        for _ in 0..100 {
            breaker.trip_at(start, PauseKind::Unreachable, "refused", None);
        }
        let first = pause(&breaker).expect("paused");
        assert_eq!((first.since, first.until), (start, start + SHORTEST));
        breaker.trip_at(first.until, PauseKind::Unreachable, "refused", None);
        let second = pause(&breaker).expect("paused");
        assert_eq!(
            (second.since, second.until),
            (start, first.until + SHORTEST * 2)
        );
    }
}
