//! The pace of one kind of unit, requests or tokens: even in time, and bounded in every window.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

/// Part of a quota that is used. The rest is for clocks and networks: a service judges when a
/// request arrives, not when it is sent.
const USED: f64 = 0.985;
/// The least part that is used, however many share a small quota.
const LEAST_USED: f64 = 0.8;
/// Uses within this time of each other are remembered as one.
const GRAIN: u32 = 512;

/// What a call used beyond what was taken for it holds back others for no longer.
const LONGEST_DEBT: Duration = Duration::from_secs(600);
/// No time of units is longer, so that none overflows.
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// How a service judges a kind of unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Judged {
    /// Over this time, sliding.
    pub(crate) window: Duration,
    /// So much of what was not used may be made up for at once.
    pub(crate) burst: Duration,
}

/// Requests are judged by the second, whatever unit a quota is written in.
pub(crate) const REQUESTS: Judged = Judged {
    window: Duration::from_secs(1),
    burst: Duration::from_millis(250),
};

/// Tokens are counted by the minute.
pub(crate) const TOKENS: Judged = Judged {
    window: Duration::from_secs(60),
    burst: Duration::from_secs(3),
};

/// What this worker may use of one quota.
///
/// Two bounds at once: units come evenly at the rate, and no window holds more than its share.
/// The first alone would let a full window follow what was made up for; the second alone would
/// let a minute's quota go in its first second.
#[derive(Debug)]
pub(crate) struct Pace {
    judged: Judged,
    /// Units per second.
    rate: f64,
    /// The part of it that is used.
    used_part: f64,
    /// When all that was used is paid for at the rate.
    even_at: Instant,
    /// Uses within the window, oldest first, with their sum.
    uses: VecDeque<Uses>,
    used: u64,
}

/// Uses at about one time.
#[derive(Debug)]
struct Uses {
    first: Instant,
    last: Instant,
    units: u64,
}

impl Pace {
    /// Nothing can be used before the first unit is due: no pace starts full.
    pub(crate) fn new(judged: Judged, rate: f64, now: Instant) -> Self {
        Self {
            judged,
            rate,
            used_part: USED,
            even_at: now + judged.burst,
            uses: VecDeque::new(),
            used: 0,
        }
    }

    /// Units per second.
    pub(crate) fn rate(&self) -> f64 {
        self.rate
    }

    /// Changes the rate, from now on, to a share among so many.
    ///
    /// What many send evenly, each by itself, comes together by chance: the more of them there are
    /// to a window, the more room that takes.
    pub(crate) fn set_rate(&mut self, rate: f64, members: f64, now: Instant) {
        let window = rate * members * self.judged.window.as_secs_f64();
        self.used_part = (1.0 - (members - 1.0).max(0.0).sqrt() / window).clamp(LEAST_USED, USED);
        let ahead = now + self.judged.burst;
        // What is owed is owed in units, not in time.
        let owed = self.even_at.saturating_duration_since(ahead);
        if !owed.is_zero() {
            let owed = owed.mul_f64((self.rate / rate).clamp(0.0, 1000.0));
            self.even_at = ahead + owed.min(YEAR);
        }
        self.rate = rate;
    }

    /// What was not used until now is not made up for: the service was left alone.
    pub(crate) fn forget_unused(&mut self, now: Instant) {
        self.even_at = self.even_at.max(now + self.judged.burst);
    }

    /// When so many units can be used: now, or later.
    ///
    /// More than ever fit are let through alone: refusing them for ever would help nobody.
    pub(crate) fn ready_at(&mut self, now: Instant, units: u64) -> Instant {
        self.expire(now);
        let burst = self.judged.burst;
        let even = self.even_at.checked_sub(burst).unwrap_or(now);
        let mut free = self.room().saturating_sub(self.used);
        let mut windowed = now;
        for uses in &self.uses {
            if free >= units {
                break;
            }
            free = free.saturating_add(uses.units);
            windowed = uses.last + self.window();
        }
        even.max(windowed).max(now)
    }

    /// Uses units.
    pub(crate) fn take(&mut self, now: Instant, units: u64) {
        self.even_at = self.even_at.max(now) + self.time_of(units);
        self.remember(now, units);
    }

    /// Of units that were taken at a time, another number was used.
    pub(crate) fn settle(&mut self, now: Instant, taken_at: Instant, taken: u64, used: u64) {
        let (more, less) = (used.saturating_sub(taken), taken.saturating_sub(used));
        if more > 0 {
            let paid = self.even_at + self.time_of(more);
            self.even_at = self.even_at.max(paid.min(now + LONGEST_DEBT));
            self.remember(now, more);
        }
        if less > 0 {
            let even_at = self.even_at.checked_sub(self.time_of(less));
            self.even_at = even_at.unwrap_or(now);
            self.forget(taken_at, less);
        }
    }

    /// Takes units back from the uses of their time: later ones stay in the window for longer.
    fn forget(&mut self, at: Instant, units: u64) {
        let after = self.uses.partition_point(|uses| uses.first <= at);
        let Some(uses) = after.checked_sub(1).and_then(|at| self.uses.get_mut(at)) else {
            // The window has passed over them.
            return;
        };
        let back = units.min(uses.units);
        uses.units -= back;
        self.used = self.used.saturating_sub(back);
    }

    fn remember(&mut self, now: Instant, units: u64) {
        let grain = self.judged.window / GRAIN;
        self.used = self.used.saturating_add(units);
        match self.uses.back_mut() {
            Some(uses) if now < uses.first + grain => {
                uses.last = now;
                uses.units = uses.units.saturating_add(units);
            }
            _ => self.uses.push_back(Uses {
                first: now,
                last: now,
                units,
            }),
        }
    }

    fn expire(&mut self, now: Instant) {
        let window = self.window();
        while let Some(uses) = self.uses.front()
            && now >= uses.last + window
        {
            self.used = self.used.saturating_sub(uses.units);
            self.uses.pop_front();
        }
    }

    /// Whole units that are due in about a window of the service's.
    pub(crate) fn room(&self) -> u64 {
        whole(self.rate * self.judged.window.as_secs_f64())
    }

    /// The time in which they are due, and a little longer: two that are sent further apart can
    /// arrive closer.
    #[expect(clippy::cast_precision_loss, reason = "units are far below 2^52")]
    fn window(&self) -> Duration {
        let seconds = self.room() as f64 / self.rate * 1.005;
        Duration::try_from_secs_f64(seconds).map_or(YEAR, |time| time.min(YEAR))
    }

    #[expect(clippy::cast_precision_loss, reason = "units are far below 2^52")]
    fn time_of(&self, units: u64) -> Duration {
        let seconds = units as f64 / (self.rate * self.used_part);
        Duration::try_from_secs_f64(seconds).map_or(YEAR, |time| time.min(YEAR))
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a positive number of units, rounded down"
)]
fn whole(units: f64) -> u64 {
    (units as u64).max(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Sends as soon as allowed for so long, and stalls where `stalled` says; when each was sent.
    fn send(pace: &mut Pace, start: Instant, seconds: u64, stalls: &[(u64, u64)]) -> Vec<Instant> {
        let mut now = start;
        let mut sent = Vec::new();
        while now < start + Duration::from_secs(seconds) {
            for (at, long) in stalls {
                let from = start + Duration::from_millis(*at);
                let to = from + Duration::from_millis(*long);
                if now >= from && now < to {
                    now = to;
                }
            }
            let ready = pace.ready_at(now, 1);
            if ready > now {
                now = ready;
                continue;
            }
            pace.take(now, 1);
            sent.push(now);
        }
        sent
    }

    fn most_in(window: Duration, sent: &[Instant]) -> usize {
        sent.iter()
            .enumerate()
            .map(|(first, at)| {
                sent[first..]
                    .iter()
                    .take_while(|later| **later < *at + window)
                    .count()
            })
            .max()
            .unwrap_or_default()
    }

    #[test]
    fn a_quota_is_used_up_to_its_margin_and_from_the_start_evenly() {
        let start = Instant::now();
        let mut pace = Pace::new(REQUESTS, 100.0, start);
        let sent = send(&mut pace, start, 10, &[]);
        assert!((970..=990).contains(&sent.len()), "{}", sent.len());
        let soon = start + Duration::from_millis(100);
        let early = sent.iter().filter(|at| **at < soon).count();
        assert!(early <= 11, "{early} in the first tenth of a second");
    }

    proptest! {
        #[test]
        fn no_window_holds_more_than_the_quota_whatever_stalls(
            rate in 1u32..300, stalls in prop::collection::vec((0u64..9000, 1u64..900), 0..8),
        ) {
            let start = Instant::now();
            let mut pace = Pace::new(REQUESTS, f64::from(rate), start);
            let sent = send(&mut pace, start, 10, &stalls);
            let most = most_in(Duration::from_secs(1), &sent);
            prop_assert!(most <= rate as usize, "{} of {}", most, rate);
        }
    }

    #[test]
    fn what_short_stalls_cost_is_made_up_for() {
        let start = Instant::now();
        let mut even = Pace::new(REQUESTS, 100.0, start);
        let mut stalled = Pace::new(REQUESTS, 100.0, start);
        let stalls: Vec<(u64, u64)> = (1..40).map(|n| (n * 500 + n * 13 % 90, 80)).collect();
        let whole = send(&mut even, start, 20, &[]).len();
        let rest = send(&mut stalled, start, 20, &stalls).len();
        assert!(rest + 40 >= whole, "{rest} of {whole}, in 3 s less");
    }

    #[test]
    fn less_than_one_a_second_is_sent_so_seldom() {
        let start = Instant::now();
        let mut pace = Pace::new(REQUESTS, 0.25, start);
        let sent = send(&mut pace, start, 60, &[]);
        assert!((14..=16).contains(&sent.len()), "{}", sent.len());
        assert_eq!(most_in(Duration::from_millis(3900), &sent), 1);
    }

    /// Most tokens in any minute that begins with a call.
    fn most_tokens(sent: &[(Instant, u64)]) -> u64 {
        let within = |from: Instant| {
            let minute = |(at, _): &&(Instant, u64)| *at >= from && *at < from + TOKENS.window;
            sent.iter().filter(minute).map(|(_, units)| units).sum()
        };
        let sums = sent.iter().map(|(from, _)| within(*from));
        sums.max().expect("some were sent")
    }

    #[test]
    fn a_minute_holds_its_tokens_and_one_request_over_all_of_them_goes_alone() {
        let start = Instant::now();
        let mut pace = Pace::new(TOKENS, 1000.0, start);
        let mut now = start;
        let mut sent: Vec<(Instant, u64)> = Vec::new();
        while now < start + Duration::from_secs(300) {
            let ready = pace.ready_at(now, 7_000);
            if ready > now {
                now = ready;
                continue;
            }
            pace.take(now, 7_000);
            sent.push((now, 7_000));
        }
        let most = most_tokens(&sent);
        assert!(most <= 60_000, "{most} in a minute");
        assert!(sent.len() > 38, "{} of 42", sent.len());
        let alone = pace.ready_at(now, 100_000);
        assert!(alone <= now + Duration::from_secs(62));
    }

    #[test]
    fn a_new_rate_holds_from_now_on() {
        let start = Instant::now();
        let mut pace = Pace::new(REQUESTS, 100.0, start);
        send(&mut pace, start, 5, &[]);
        let later = start + Duration::from_secs(5);
        pace.set_rate(10.0, 1.0, later);
        let sent = send(&mut pace, later, 10, &[]).len();
        assert!((90..=100).contains(&sent), "{sent}");
    }

    #[test]
    fn tokens_that_were_used_beyond_the_estimate_are_paid_back() {
        let start = Instant::now();
        let mut pace = Pace::new(TOKENS, 100.0, start);
        pace.take(start, 100);
        pace.settle(start, start, 100, 1000);
        let ready = pace.ready_at(start, 1);
        assert!(ready >= start + Duration::from_secs(9));
    }

    #[test]
    fn what_was_used_beyond_the_estimate_is_not_paid_back_for_ever() {
        let start = Instant::now();
        let mut pace = Pace::new(TOKENS, 100.0, start);
        for _ in 0..3 {
            pace.take(start, 100);
            pace.settle(start, start, 100, u64::MAX);
        }
        let ready = pace.ready_at(start + TOKENS.window * 2, 1);
        assert!(ready <= start + LONGEST_DEBT, "{:?}", ready - start);
        pace.set_rate(1e-9, 1.0, start);
        pace.set_rate(1e-18, 1.0, start);
        pace.ready_at(start, 1);
    }

    #[test]
    fn tokens_that_were_not_used_are_given_back_and_no_minute_holds_more_than_its_own() {
        let start = Instant::now();
        let mut pace = Pace::new(TOKENS, 1000.0, start);
        let mut now = start;
        let mut sent: Vec<(Instant, u64)> = Vec::new();
        let mut in_flight: VecDeque<(Instant, Instant, u64)> = VecDeque::new();
        while now < start + Duration::from_secs(300) {
            let answered = in_flight.front().map(|(at, ..)| *at);
            let ready = pace.ready_at(now, 500);
            if let Some(at) = answered.filter(|at| *at <= ready) {
                now = now.max(at);
                let (_, taken_at, used) = in_flight.pop_front().expect("one is in flight");
                pace.settle(now, taken_at, 500, used);
            } else if ready > now {
                now = ready;
            } else {
                let used = [100, 500, 300, 450, 150][sent.len() % 5];
                pace.take(now, 500);
                in_flight.push_back((now + Duration::from_secs(2), now, used));
                sent.push((now, used));
            }
        }
        let most = most_tokens(&sent);
        assert!(most <= 60_000, "{most} in a minute");
        let all: u64 = sent.iter().map(|(_, used)| used).sum();
        assert!((285_000..=300_000).contains(&all), "{all} of 300000");
    }
}
