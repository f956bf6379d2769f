//! A call that was let through, and what its end says.

use std::time::Duration;

use filefleet_shared::wire::Usage;
use tokio::time::Instant;

use super::{ABSURD, Demand, Governor, Heard, LONGEST, NEWS, SHORTEST, State, UNNAMED, tier};

/// So many times what was reserved can have been used: models count an image by up to 33 times what
/// it is taken for. More than that, and than a window holds, cannot be.
const BELIEVED: u64 = 50;

/// A call that was let through. Dropped without an end, it only leaves.
#[derive(Debug)]
pub(crate) struct Permit<'a> {
    pub(super) governor: &'a Governor,
    pub(super) round: u32,
    pub(super) taken: Instant,
    pub(super) demand: Demand,
    pub(super) reserved: u64,
    /// Its tokens as estimated and those of a minute, if it has more.
    pub(super) too_large: Option<(u64, u64)>,
    /// Requests that were counted for it.
    pub(super) requests: u64,
}

impl Permit<'_> {
    /// Tokens that were reserved for the call; none where they are not counted.
    pub(crate) fn reserved(&self) -> u64 {
        self.reserved
    }

    /// Its tokens as estimated, and as the quota has in a minute, if those are fewer.
    pub(crate) fn too_large(&self) -> Option<(u64, u64)> {
        self.too_large
    }

    /// Takes what the service says about its limits, and counts the requests beyond the first.
    pub(crate) fn hear(&mut self, heard: &Heard) {
        let now = Instant::now();
        let mut state = self.governor.lock();
        let requests = heard.answers().max(self.requests);
        state
            .requests
            .settle(now, self.taken, self.requests, requests);
        self.requests = requests;
        if let Some((requests, tokens)) = heard.limits() {
            state.requests.hear(requests, now);
            state.tokens.hear(tokens, now);
        }
    }

    /// Nothing was sent: what was taken is there for another call.
    pub(crate) fn unused(self) {
        let now = Instant::now();
        let mut state = self.governor.lock();
        state.requests.settle(now, self.taken, 1, 0);
        state.tokens.settle(now, self.taken, self.reserved, 0);
    }

    /// The service answered; what it counted, if it did. True if that cannot be, for the first time.
    pub(crate) fn answered(self, usage: &Usage) -> bool {
        let now = Instant::now();
        let mut state = self.governor.lock();
        state.room.answered(self.round, now - self.taken);
        state.requests.accepted(now, self.requests);
        let believed = self.settle(&mut state, now, usage);
        // Never back: taking deliveries anew costs each in hand a redelivery.
        let grown = tier(&state.room).saturating_sub(state.tier);
        state.tier += grown;
        if grown > 0 {
            self.governor.shared.tier.send_modify(|all| *all += grown);
        }
        !believed && !std::mem::replace(&mut state.disbelieved, true)
    }

    /// The service refused the call as one too many. Gives how long it wants to be left alone if
    /// that is news to the other workers.
    pub(crate) fn throttled(self, asked: Option<Duration>) -> Option<Duration> {
        let now = Instant::now();
        let wait = asked.filter(|asked| !asked.is_zero()).unwrap_or(UNNAMED);
        let wait = wait.min(ABSURD);
        let mut state = self.governor.lock();
        state.requests.accepted(now, self.requests - 1);
        // Calls that were in flight at a refusal belong to the same loss.
        if state.lost[2].is_none_or(|lost| lost < self.taken) {
            state.lose(now);
        }
        state.stop(now, wait.clamp(SHORTEST, LONGEST));
        let until = now + wait;
        let news = wait >= NEWS && state.announced.is_none_or(|known| known + NEWS < until);
        if news {
            state.announced = Some(until);
        }
        news.then_some(wait)
    }

    /// Corrects the estimate by what the service counted, pays for what was too little and takes
    /// back what was too much. False if no more than can be was paid for.
    #[expect(clippy::cast_precision_loss, reason = "tokens are far below 2^52")]
    fn settle(&self, state: &mut State, now: Instant, usage: &Usage) -> bool {
        let Demand { prompt, answer } = self.demand;
        if prompt == 0 || usage.input_tokens == 0 {
            return true;
        }
        let Some(room) = state.tokens.room() else {
            return true;
        };
        // Each request may have had so long an answer.
        let answers = answer.saturating_mul(self.requests);
        let counted = usage.input_tokens.saturating_add(answers);
        let used = counted.min(self.reserved.saturating_mul(BELIEVED).max(room));
        state.tokens.settle(now, self.taken, self.reserved, used);
        if used < counted {
            return false;
        }
        let most = BELIEVED as f64;
        let ratio = (usage.input_tokens as f64 / prompt as f64).clamp(1.0 / most, most);
        // Up at once and down slowly: too little is refused, too much only waits.
        let weight = if ratio > state.per_estimate {
            0.5
        } else {
            0.05
        };
        state.per_estimate += (ratio - state.per_estimate) * weight;
        true
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        {
            let mut state = self.governor.lock();
            state.room.leave();
            state.wanted = state.wanted.max(Instant::now());
        }
        self.governor.shared.changed.notify_waiters();
    }
}
