//! One quota of the fleet, and this worker's share of it.

use std::time::Duration;

use tokio::time::Instant;

use super::pace::{Judged, Pace};

/// Time over which accepted calls are counted, and after which without any call they say nothing.
const COUNTED: Duration = Duration::from_secs(4);
/// Part of what was accepted that is tried after a refusal, where the service names no limit.
const AFTER: f64 = 0.95;
/// Least part of a rate that is left by one refusal.
const LEAST: f64 = 0.5;
/// Part of a rate that is won back per second; after a while without a refusal, of all of it.
const BACK: f64 = 0.01;
const CALM: f64 = 10.0;
const QUICK: f64 = 1.1;

/// A quota: as configured, as heard of, or as found out by refusals; the least of them holds.
#[derive(Debug)]
pub(super) struct Quota {
    judged: Judged,
    /// Units per second of the whole fleet.
    configured: Option<f64>,
    /// As the service says; it counts once a refusal has given reason to doubt the other.
    heard: Option<f64>,
    doubted: bool,
    /// Of this worker, as refusals and answers say.
    found: Option<Found>,
    accepted: Accepted,
    members: Option<u64>,
    pace: Option<Pace>,
}

#[derive(Clone, Copy, Debug)]
struct Found {
    rate: f64,
    /// What it grows back from since.
    since: Instant,
}

/// Answers of the last seconds in which calls were made or wanted.
#[derive(Debug, Default)]
struct Accepted {
    since: Option<Instant>,
    count: u32,
    before: Option<f64>,
}

impl Quota {
    pub(super) fn new(judged: Judged, configured: Option<f64>) -> Self {
        Self {
            judged,
            configured,
            heard: None,
            doubted: false,
            found: None,
            accepted: Accepted::default(),
            members: None,
            pace: None,
        }
    }

    /// The fleet has a quota to share.
    pub(super) fn is_known(&self) -> bool {
        self.fleet().is_some()
    }

    /// When so many units may be used; none while this worker does not know its share.
    pub(super) fn ready_at(&mut self, now: Instant, units: u64) -> Option<Instant> {
        if self.is_known() && self.members.is_none() {
            return None;
        }
        self.refresh(now);
        match &mut self.pace {
            Some(pace) => Some(pace.ready_at(now, units)),
            None => Some(now),
        }
    }

    pub(super) fn take(&mut self, now: Instant, units: u64) {
        if let Some(pace) = &mut self.pace {
            pace.take(now, units);
        }
    }

    pub(super) fn settle(&mut self, now: Instant, taken_at: Instant, taken: u64, used: u64) {
        if let Some(pace) = &mut self.pace {
            pace.settle(now, taken_at, taken, used);
        }
    }

    /// Units of the whole fleet in a minute, if they are known.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "not negative, and saturating is right"
    )]
    pub(super) fn in_a_minute(&self) -> Option<u64> {
        self.fleet().map(|rate| (rate * 60.0).round() as u64)
    }

    /// Units that are due in a window of the service's; none without a quota.
    pub(super) fn room(&self) -> Option<u64> {
        self.pace.as_ref().map(Pace::room)
    }

    pub(super) fn forget_unused(&mut self, until: Instant) {
        if let Some(pace) = &mut self.pace {
            pace.forget_unused(until);
        }
    }

    pub(super) fn share(&mut self, members: u64, now: Instant) {
        self.members = Some(members.max(1));
        self.refresh(now);
    }

    /// The service has said what its limit is, per second.
    pub(super) fn hear(&mut self, limit: Option<f64>, now: Instant) {
        if limit.is_some() && limit != self.heard {
            self.heard = limit;
            self.refresh(now);
        }
    }

    /// The service has answered so many requests.
    pub(super) fn accepted(&mut self, now: Instant, requests: u64) {
        if requests > 0 {
            self.accepted.add(now, requests);
        }
    }

    /// Nobody wanted a call for so long.
    pub(super) fn idle(&mut self, time: Duration) {
        self.accepted.leave_out(time);
    }

    /// What was believed may be wrong; true if the service says what is right.
    pub(super) fn doubt(&mut self, now: Instant) -> bool {
        self.doubted = true;
        self.refresh(now);
        self.heard.is_some()
    }

    /// Takes for the limit what was accepted before a refusal; false if that is not known yet.
    pub(super) fn find(&mut self, now: Instant) -> bool {
        let rate = self.pace.as_ref().map(Pace::rate);
        let Some(accepted) = self.accepted.rate(now) else {
            return rate.is_some();
        };
        let least = rate.map_or(0.0, |rate| rate * LEAST);
        self.accepted = Accepted::default();
        self.found = Some(Found {
            rate: (accepted * AFTER).max(least).max(0.01),
            since: now,
        });
        self.refresh(now);
        true
    }

    fn fleet(&self) -> Option<f64> {
        let heard = self.heard.filter(|_| self.doubted);
        match (self.configured, heard) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        }
    }

    /// Brings the pace up to what is known.
    fn refresh(&mut self, now: Instant) {
        #[expect(clippy::cast_precision_loss, reason = "workers are few")]
        let members = self.members.unwrap_or(1) as f64;
        let share = self.fleet().map(|fleet| fleet / members);
        let found = self.found.map(|found| found.at(now));
        let rate = match (share, found) {
            (Some(share), Some(found)) => Some(share.min(found)),
            (one, other) => one.or(other),
        };
        match (&mut self.pace, rate) {
            (Some(pace), Some(rate)) => pace.set_rate(rate, members, now),
            (None, Some(rate)) => self.pace = Some(Pace::new(self.judged, rate, now)),
            (_, None) => self.pace = None,
        }
    }
}

impl Found {
    fn at(self, now: Instant) -> f64 {
        let seconds = now.saturating_duration_since(self.since).as_secs_f64();
        let calm = (seconds - CALM).clamp(0.0, 200.0);
        self.rate * (1.0 + BACK * seconds) * QUICK.powf(calm)
    }
}

impl Accepted {
    fn add(&mut self, now: Instant, requests: u64) {
        let since = *self.since.get_or_insert(now);
        let passed = now - since;
        if passed >= COUNTED {
            self.before = Some(f64::from(self.count) / passed.as_secs_f64());
            (self.since, self.count) = (Some(now), 0);
        }
        self.count = self
            .count
            .saturating_add(u32::try_from(requests).unwrap_or(u32::MAX));
    }

    /// That there were no answers says nothing about the limit.
    fn leave_out(&mut self, idle: Duration) {
        if idle > COUNTED {
            *self = Self::default();
        } else if let Some(since) = &mut self.since {
            *since += idle;
        }
    }

    /// Answers per second; none before there were enough.
    fn rate(&self, now: Instant) -> Option<f64> {
        let passed = now - self.since?;
        if passed < COUNTED / 2 {
            return self.before;
        }
        Some(f64::from(self.count) / passed.as_secs_f64())
    }
}
