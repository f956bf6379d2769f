//! Room for the calls of one service, and less of it while the service throttles.
//!
//! A 429 stops every call of this worker to the service until the time it asked for, and halves
//! how many may be in flight then: steps that wait and try again one by one would keep a quota
//! exhausted that also counts what it refuses. Answers win the room back, quickly up to near
//! where it was lost and slowly beyond.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

/// Shortest and longest stop after a 429, whatever the service asked for: a step whose wait is
/// longer waits in the broker.
const SHORTEST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(20);
/// The stop after a 429 that named no time.
const UNNAMED: Duration = Duration::from_secs(1);
/// Part of the room that stays after a 429.
const CUT: f64 = 0.5;
/// Up to this part of the room at the last 429, room comes back quickly.
const NEAR: f64 = 0.9;
/// Room won by so many answers as there is room: below and above [`NEAR`].
const QUICK: f64 = 4.0;
const SLOW: f64 = 0.05;

/// Room for calls.
#[derive(Debug)]
pub(crate) struct Limiter {
    most: f64,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug)]
struct State {
    room: f64,
    used: usize,
    /// Room at the last 429.
    lost_at: f64,
    until: Option<Instant>,
}

/// Room for one call, given back when dropped.
#[derive(Debug)]
pub(crate) struct Permit<'a> {
    limiter: &'a Limiter,
}

enum Try {
    Taken,
    Full,
    Stopped(Instant),
}

impl Limiter {
    pub(crate) fn new(most: usize) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "calls in flight are few")]
        let most = most.max(1) as f64;
        Self {
            most,
            state: Mutex::new(State {
                room: most,
                used: 0,
                lost_at: most,
                until: None,
            }),
            changed: Notify::new(),
        }
    }

    /// Waits for room, and for the end of a stop.
    pub(crate) async fn acquire(&self) -> Permit<'_> {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            // Before the look at the room, so that no change after it is missed.
            changed.as_mut().enable();
            match self.try_take(Instant::now()) {
                Try::Taken => return Permit { limiter: self },
                Try::Full => changed.await,
                Try::Stopped(until) => tokio::time::sleep_until(until).await,
            }
        }
    }

    /// The service refused a call as one too many.
    pub(crate) fn throttled(&self, asked: Option<Duration>) {
        self.throttled_at(Instant::now(), asked);
    }

    /// The service answered a call.
    pub(crate) fn answered(&self) {
        let mut state = self.lock();
        if state.room >= self.most {
            return;
        }
        let pace = if state.room < state.lost_at * NEAR {
            QUICK
        } else {
            SLOW
        };
        state.room = (state.room + pace / state.room).min(self.most);
    }

    /// Until when calls are stopped.
    pub(crate) fn stopped_until(&self) -> Option<Instant> {
        self.lock().until.filter(|until| *until > Instant::now())
    }

    fn throttled_at(&self, now: Instant, asked: Option<Duration>) {
        let wait = asked.filter(|asked| !asked.is_zero()).unwrap_or(UNNAMED);
        let until = now + wait.clamp(SHORTEST, LONGEST);
        let mut state = self.lock();
        // Calls that were in flight at the first 429 belong to the same loss.
        if state.until.is_none_or(|before| before <= now) {
            state.lost_at = state.room;
            state.room = (state.room * CUT).max(1.0);
        }
        state.until = state.until.max(Some(until));
    }

    fn try_take(&self, now: Instant) -> Try {
        let mut state = self.lock();
        match state.until {
            Some(until) if until > now => Try::Stopped(until),
            _ if free(&state) > 0 => {
                state.used += 1;
                Try::Taken
            }
            _ => Try::Full,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Whole after every operation.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let free = {
            let mut state = self.limiter.lock();
            state.used = state.used.saturating_sub(1);
            free(&state)
        };
        // One for this room, one for room that was won.
        for _ in 0..free.min(2) {
            self.limiter.changed.notify_one();
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a positive number of calls, rounded down"
)]
fn free(state: &State) -> usize {
    (state.room as usize).saturating_sub(state.used)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(limiter: &Limiter) -> f64 {
        limiter.lock().room
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_than_the_room_are_in_flight_and_each_that_ends_lets_one_in() {
        let limiter = Limiter::new(2);
        let first = limiter.acquire().await;
        let _second = limiter.acquire().await;
        let mut third = std::pin::pin!(limiter.acquire());
        let waited = tokio::time::timeout(Duration::from_secs(1), &mut third).await;
        assert!(waited.is_err(), "there was no room");
        drop(first);
        let third = tokio::time::timeout(Duration::from_secs(1), third).await;
        assert!(third.is_ok(), "there was room");
    }

    #[tokio::test(start_paused = true)]
    async fn a_throttled_service_is_left_alone_until_the_time_it_asked_for() {
        let limiter = Limiter::new(8);
        let begun = Instant::now();
        limiter.throttled(Some(Duration::from_secs(3)));
        limiter.throttled(Some(Duration::from_secs(1)));
        let _permit = limiter.acquire().await;
        assert_eq!(begun.elapsed(), Duration::from_secs(3));
    }

    #[test]
    fn refusals_of_one_stop_halve_the_room_once_and_never_to_nothing() {
        let limiter = Limiter::new(16);
        let now = Instant::now();
        for _ in 0..10 {
            limiter.throttled_at(now, None);
        }
        assert!((room(&limiter) - 8.0).abs() < f64::EPSILON);
        for after in 1..20u64 {
            limiter.throttled_at(now + Duration::from_secs(60 * after), None);
        }
        assert!((room(&limiter) - 1.0).abs() < f64::EPSILON);
    }

    #[test]
    fn answers_win_the_room_back_and_slow_down_where_it_was_lost() {
        let limiter = Limiter::new(100);
        limiter.throttled_at(Instant::now(), None);
        let mut answers = 0;
        while room(&limiter) < 90.0 {
            limiter.answered();
            answers += 1;
        }
        assert!(answers < 1000, "{answers} to 90");
        for _ in 0..1000 {
            limiter.answered();
        }
        assert!(
            room(&limiter) < 92.0,
            "{} where 100 was too much",
            room(&limiter)
        );
        let untouched = Limiter::new(100);
        untouched.answered();
        assert!((room(&untouched) - 100.0).abs() < f64::EPSILON);
    }

    #[test]
    fn absurd_times_are_bounded() {
        for asked in [Duration::from_secs(86_400), Duration::MAX] {
            let limiter = Limiter::new(1);
            let now = Instant::now();
            limiter.throttled_at(now, Some(asked));
            assert_eq!(limiter.lock().until, Some(now + LONGEST));
        }
    }
}
