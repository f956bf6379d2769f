//! A breaker per service: what would fail every file pauses the service, loudly, and probes.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
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
/// Longest time between two probes, where a person must mend the service and where it may come
/// back by itself.
const LONGEST: Duration = Duration::from_secs(30);
const LONGEST_AWAY: Duration = Duration::from_secs(4);
/// For so long a service that is away, and not the file, is to blame for a probe that fails.
const FORGIVEN: Duration = Duration::from_secs(180);
/// First time between a pause and its probe, where the service may come back by itself.
const SHORTEST: Duration = Duration::from_secs(1);

/// The breaker of one service in one worker, with a circuit for each of its deployments. The service
/// is paused while all of them are.
#[derive(Debug)]
pub struct Breaker {
    states: Mutex<Vec<State>>,
    paused: watch::Sender<Option<Pause>>,
}

/// What is known of one deployment.
#[derive(Debug)]
struct State {
    name: String,
    /// The service has no other.
    alone: bool,
    unreachable: u32,
    failed: u32,
    trips: u32,
    answered: bool,
    pause: Option<Pause>,
    /// When its pause was last found right.
    tripped: Option<Instant>,
}

/// One deployment's part of a [`Breaker`].
#[derive(Clone, Copy, Debug)]
pub struct Circuit<'a> {
    breaker: &'a Breaker,
    deployment: usize,
}

impl Breaker {
    /// A closed breaker of these deployments, or of the service alone.
    #[must_use]
    pub fn new(deployments: Vec<String>) -> Self {
        let alone = deployments.len() == 1;
        let state = |name| State {
            name,
            alone,
            unreachable: 0,
            failed: 0,
            trips: 0,
            answered: false,
            pause: None,
            tripped: None,
        };
        Self {
            states: Mutex::new(deployments.into_iter().map(state).collect()),
            paused: watch::Sender::default(),
        }
    }

    /// The part of a deployment, by its place among them.
    #[must_use]
    pub fn circuit(&self, deployment: usize) -> Circuit<'_> {
        Circuit {
            breaker: self,
            deployment,
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

    fn lock(&self) -> MutexGuard<'_, Vec<State>> {
        // Whole after every operation.
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says what the deployments are together.
    fn publish(&self, states: &[State]) {
        let together = pause_of(states);
        self.paused.send_if_modified(|known| {
            let changed = *known != together;
            *known = together;
            changed
        });
    }
}

/// The pause of a service: none while one of its deployments has none.
fn pause_of(states: &[State]) -> Option<Pause> {
    let pauses: Option<Vec<&Pause>> = states.iter().map(|state| state.pause.as_ref()).collect();
    let pauses = pauses?;
    // What comes back by itself tells more than what a person must mend.
    let first = pauses
        .iter()
        .min_by_key(|pause| (pause.kind.needs_a_person(), pause.until))?;
    Some(Pause {
        since: pauses.iter().map(|pause| pause.since).max()?,
        until: pauses.iter().map(|pause| pause.until).min()?,
        answered_before: states.iter().any(|state| state.answered),
        ..Pause::clone(first)
    })
}

impl Circuit<'_> {
    /// When a call may be made: at once, or when it is time to probe. And whether it is a probe.
    pub(crate) fn ready_at(self) -> (Option<Instant>, bool) {
        self.read(|state| match &state.pause {
            None => (None, false),
            Some(pause) => (Some(pause.until), true),
        })
        .unwrap_or_default()
    }

    /// A call that is made now and fails is no fault of its file.
    #[must_use]
    pub fn forgives(self) -> bool {
        let lately = |pause: &Pause| pause.since.elapsed() < FORGIVEN;
        self.read(|state| state.pause.as_ref().is_some_and(lately))
            .unwrap_or_default()
    }

    /// It answered a call that began then, well or badly: it is there, and takes the key.
    pub fn answered(self, began: Instant) {
        self.change(|state| {
            state.answered = true;
            if state.outlasts(began) {
                return;
            }
            state.unreachable = 0;
            state.failed = 0;
            state.trips = 0;
            if state.pause.take().is_some() {
                tracing::info!(service = %state.name, "service resumed");
            }
        });
    }

    /// No connection; pauses it after several in a row.
    pub fn unreachable(self, detail: &str) {
        self.change(|state| {
            state.unreachable = state.unreachable.saturating_add(1);
            if state.unreachable >= UNREACHABLE_IN_A_ROW || state.pause.is_some() {
                state.trip(Instant::now(), PauseKind::Unreachable, detail, None);
            }
        });
    }

    /// A call failed there; pauses it after many in a row. Each failure still costs its step an
    /// attempt: a file that makes its service fail must come to an end.
    pub fn failed(self, detail: &str) {
        self.change(|state| {
            state.unreachable = 0;
            state.failed = state.failed.saturating_add(1);
            if state.failed >= FAILED_IN_A_ROW || state.pause.is_some() {
                state.trip(Instant::now(), PauseKind::Failing, detail, None);
            }
        });
    }

    /// Pauses it. Calls that were in flight at a trip belong to that same trip.
    pub fn trip(self, kind: PauseKind, detail: &str) {
        self.change(|state| state.trip(Instant::now(), kind, detail, None));
    }

    /// It asked to be left alone for so long.
    pub fn throttled(self, wait: Duration, detail: &str) {
        let kind = PauseKind::Throttled;
        self.change(|state| state.trip(Instant::now(), kind, detail, Some(wait)));
    }

    fn read<T>(self, read: impl FnOnce(&State) -> T) -> Option<T> {
        self.breaker.lock().get(self.deployment).map(read)
    }

    fn change(self, change: impl FnOnce(&mut State)) {
        let mut states = self.breaker.lock();
        if let Some(state) = states.get_mut(self.deployment) {
            change(state);
        }
        self.breaker.publish(&states);
    }
}

impl State {
    fn trip(&mut self, now: Instant, kind: PauseKind, detail: &str, asked: Option<Duration>) {
        if let Some(pause) = self.pause.as_mut().filter(|pause| pause.until > now) {
            // Of several times it asked for, the longest counts.
            if let (PauseKind::Throttled, Some(asked)) = (pause.kind, asked) {
                pause.until = pause.until.max(now + asked);
            }
            return;
        }
        self.trips = self.trips.saturating_add(1);
        let grown = SHORTEST.saturating_mul(1 << (self.trips - 1).min(8));
        let delay = match asked {
            Some(asked) => asked,
            None if kind.needs_a_person() => LONGEST,
            None => grown.min(LONGEST_AWAY),
        };
        // A probe that fails prolongs what is known already.
        if self.pause.is_none() {
            self.report(kind, detail, asked);
        }
        let since = self.pause.as_ref().map_or(now, |pause| pause.since);
        self.pause = Some(Pause {
            kind,
            detail: detail.to_owned(),
            since,
            until: now + delay,
            answered_before: self.answered,
        });
        self.tripped = Some(now);
    }

    /// Whether its pause goes on after an answer to a call that began then. One from before says
    /// nothing of a key, and shortens no time that the service has asked for.
    fn outlasts(&self, began: Instant) -> bool {
        let before = self.tripped.is_some_and(|tripped| began <= tripped);
        let lasts = |pause: &Pause| pause.kind.needs_a_person() || Instant::now() < pause.until;
        before && self.pause.as_ref().is_some_and(lasts)
    }

    fn report(&self, kind: PauseKind, detail: &str, asked: Option<Duration>) {
        let service = &self.name;
        if kind == PauseKind::Throttled {
            let wait_s = asked.unwrap_or_default().as_secs();
            tracing::warn!(
                %service, wait_s, detail,
                "service throttled: it asked to be left alone; its steps wait",
            );
        } else if self.alone {
            tracing::error!(
                %service, cause = kind.as_str(), detail,
                "service paused: every file would fail; nothing is lost, fix it and it goes on",
            );
        } else {
            tracing::error!(
                %service, cause = kind.as_str(), detail,
                "deployment paused: the others take its calls; fix it and it takes them again",
            );
        }
    }
}

#[cfg(test)]
mod tests;
