//! The governor of one deployment of a service in one worker: when a call may be made.
//!
//! Three bounds, and all of them hold: room for calls in flight, this worker's share of the
//! fleet's quotas, and a stop while the service says so. Who may ask next is the pool's to say.

mod heard;
mod pace;
mod permit;
mod quota;
mod room;
mod share;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rand::RngExt;
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

use self::{
    pace::{REQUESTS, TOKENS},
    quota::Quota,
    room::Room,
};
pub use heard::Heard;
pub(crate) use permit::Permit;
pub(crate) use share::{Membership, NEWS as MEMBER_NEWS, News as MemberNews};

/// Shortest and longest stop after a refusal, whatever the service asked for: one that asks for
/// more is paused, and its steps wait in the broker.
const SHORTEST: Duration = Duration::from_millis(50);
pub(crate) const LONGEST: Duration = Duration::from_secs(20);
/// The stop after a refusal that named no time.
const UNNAMED: Duration = Duration::from_secs(1);
/// Nobody waits for longer, whatever a service asked for.
const ABSURD: Duration = Duration::from_secs(24 * 3600);
/// Shorter stops are over before another worker would hear of them.
const NEWS: Duration = Duration::from_secs(1);
/// Three refusals within this time are no chance.
const OFTEN: Duration = Duration::from_secs(5);

/// Bounds of one service, or of the questions for results of its operations; quotas are the
/// whole fleet's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// Most calls in flight in this worker.
    pub in_flight: usize,
    /// `in_flight` is only the most there can be: what is good is to be found.
    pub seeking: bool,
    /// Requests per second.
    pub requests: Option<f64>,
    /// Tokens per second.
    pub tokens: Option<f64>,
}

/// What a call will use, as far as it is known before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// Tokens of the prompt, estimated from its length.
    pub prompt: u64,
    /// Most tokens of the answer; services count them when a call arrives, used or not.
    pub answer: u64,
}

/// Lets calls to one deployment of a service through.
#[derive(Debug)]
pub(crate) struct Governor {
    state: Mutex<State>,
    shared: Arc<Shared>,
}

/// What all governors of a lane tell those who wait for one of them.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// There may be room where there was none.
    pub(crate) changed: Notify,
    /// How many calls may be in flight, in steps that are worth another prefetch.
    pub(crate) tier: watch::Sender<usize>,
}

#[derive(Debug)]
struct State {
    room: Room,
    /// Its part of the lane's tier.
    tier: usize,
    requests: Quota,
    tokens: Quota,
    /// Tokens that the service counts for each estimated one, in a prompt.
    per_estimate: f64,
    /// A count of the service's was not believed.
    disbelieved: bool,
    until: Option<Instant>,
    /// Until when a call was last in flight, or waited for.
    wanted: Instant,
    /// Until when other workers know of a stop.
    announced: Option<Instant>,
    /// When refusals last meant something, the latest last.
    lost: [Option<Instant>; 3],
}

/// What came of asking for a call.
pub(crate) enum Try<'a> {
    Taken(Permit<'a>),
    /// Room or a share must come first.
    Blocked,
    NotBefore(Instant),
}

impl Governor {
    pub(crate) fn new(bounds: Bounds, shared: Arc<Shared>) -> Self {
        let room = Room::new(bounds.in_flight, bounds.seeking);
        let tier = tier(&room);
        shared.tier.send_modify(|all| *all += tier);
        Self {
            state: Mutex::new(State {
                room,
                tier,
                requests: Quota::new(REQUESTS, bounds.requests),
                tokens: Quota::new(TOKENS, bounds.tokens),
                per_estimate: 1.0,
                disbelieved: false,
                until: None,
                wanted: Instant::now(),
                announced: None,
                lost: [None; 3],
            }),
            shared,
        }
    }

    /// Calls in flight.
    pub(crate) fn in_flight(&self) -> usize {
        self.lock().room.taken()
    }

    /// Tokens of calls are counted, so that callers should say what they demand.
    pub(crate) fn counts_tokens(&self) -> bool {
        self.lock().tokens.is_known()
    }

    /// A quota is known, so that the fleet's members must share it.
    pub(crate) fn is_shared(&self) -> bool {
        let state = self.lock();
        state.requests.is_known() || state.tokens.is_known()
    }

    /// How many workers share the quotas, this one included.
    pub(crate) fn share(&self, members: u64) {
        let now = Instant::now();
        {
            let mut state = self.lock();
            state.requests.share(members, now);
            state.tokens.share(members, now);
        }
        self.shared.changed.notify_waiters();
    }

    /// Another worker was told to leave the service alone.
    pub(crate) fn stop(&self, wait: Duration) {
        let now = Instant::now();
        let mut state = self.lock();
        state.stop(now, wait.min(LONGEST));
    }

    /// Nothing was called until now, nor is it made up for.
    pub(crate) fn left_alone(&self, now: Instant) {
        self.lock().forget_unused(now);
    }

    /// Until when calls are stopped.
    pub(crate) fn stopped_until(&self) -> Option<Instant> {
        self.lock().until.filter(|until| *until > Instant::now())
    }

    /// Lets a call through if that may be now.
    pub(crate) fn try_take(&self, now: Instant, demand: Demand) -> Try<'_> {
        let mut state = self.lock();
        state.want(now);
        if let Some(until) = state.until.filter(|until| *until > now) {
            return state.not_before(until);
        }
        if state.room.free() == 0 {
            return Try::Blocked;
        }
        let estimated = state.tokens_of(demand);
        // What no minute has room for is let through when one is empty: the service decides.
        let most = state.tokens.in_a_minute().unwrap_or(u64::MAX);
        let reserved = estimated.min(most);
        let ready = [
            state.requests.ready_at(now, 1),
            state.tokens.ready_at(now, reserved),
        ];
        match ready {
            [None, _] | [_, None] => Try::Blocked,
            [Some(one), Some(other)] if one.max(other) > now => state.not_before(one.max(other)),
            _ => {
                state.requests.take(now, 1);
                state.tokens.take(now, reserved);
                let round = state.room.take();
                Try::Taken(Permit {
                    governor: self,
                    round,
                    taken: now,
                    demand,
                    reserved,
                    too_large: (estimated > most).then_some((estimated, most)),
                    requests: 1,
                })
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Whole after every operation.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Somebody wants a call now.
    fn want(&mut self, now: Instant) {
        if self.room.taken() == 0 {
            let idle = now.saturating_duration_since(self.wanted);
            self.requests.idle(idle);
        }
        self.wanted = self.wanted.max(now);
    }

    /// Who wants a call waits until then.
    fn not_before<'a>(&mut self, at: Instant) -> Try<'a> {
        self.wanted = self.wanted.max(at);
        Try::NotBefore(at)
    }

    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "tokens are far below 2^52 and not negative"
    )]
    fn tokens_of(&self, demand: Demand) -> u64 {
        ((demand.prompt as f64 * self.per_estimate).ceil() as u64).saturating_add(demand.answer)
    }

    /// Finds out what to do less of.
    fn lose(&mut self, now: Instant) {
        self.lost.rotate_left(1);
        self.lost[2] = Some(now);
        let requests = self.requests.doubt(now);
        let named = self.tokens.doubt(now) || requests;
        // One refusal can be chance; with several, what the service names is not all there is.
        let often = self.lost[0].is_some_and(|first| now - first < OFTEN);
        if (!named || often) && !self.requests.find(now) {
            self.room.refused();
        }
    }

    fn stop(&mut self, now: Instant, wait: Duration) {
        // Not all of a fleet at one instant.
        let jitter = wait.mul_f64(rand::rng().random_range(0.0..0.1));
        let until = now + wait + jitter;
        self.until = self.until.max(Some(until));
        self.forget_unused(until);
    }

    fn forget_unused(&mut self, until: Instant) {
        self.requests.forget_unused(until);
        self.tokens.forget_unused(until);
    }
}

/// The room in powers of two, so that it seldom changes.
fn tier(room: &Room) -> usize {
    room.size().next_power_of_two().max(8).min(room.most())
}

#[cfg(test)]
mod tests;
