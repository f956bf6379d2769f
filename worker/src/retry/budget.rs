//! How many calls may be repeated: a part of those that succeed, so that a service in trouble is
//! not asked ever more.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// Calls that can be repeated at once before any has succeeded, and at most.
const FIRST: f64 = 10.0;
const MOST: f64 = 100.0;
/// Repeated per second all the same, or a run whose rest has all failed once would never end.
const PER_SECOND: f64 = 1.0;

/// Calls of one service in one worker that may be repeated.
#[derive(Debug)]
pub(crate) struct RetryBudget {
    per_success: f64,
    left: Mutex<(f64, Option<Instant>)>,
}

impl RetryBudget {
    /// So many may be repeated per success, 0 to 1 of them usually.
    pub(crate) fn new(per_success: f64) -> Self {
        Self {
            per_success,
            left: Mutex::new((FIRST, None)),
        }
    }

    /// A call has succeeded.
    pub(crate) fn succeeded(&self) {
        self.change(Instant::now(), |left| (left + self.per_success, true));
    }

    /// A call that was to be repeated was not made, or has succeeded: at a service that works it
    /// costs nothing to repeat.
    pub(crate) fn give_back(&self) {
        self.change(Instant::now(), |left| (left + 1.0, true));
    }

    /// Takes leave to repeat a call; false if it must wait.
    pub(crate) fn take(&self) -> bool {
        self.take_at(Instant::now())
    }

    fn take_at(&self, now: Instant) -> bool {
        self.change(now, |left| {
            if left >= 1.0 {
                (left - 1.0, true)
            } else {
                (left, false)
            }
        })
    }

    fn change(&self, now: Instant, change: impl FnOnce(f64) -> (f64, bool)) -> bool {
        let mut state = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let (left, since) = *state;
        let passed = since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        let (left, done) = change((left + passed.as_secs_f64() * PER_SECOND).min(MOST));
        *state = (left.min(MOST), Some(now));
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_repeated_with_success_lets_more_be_repeated() {
        let budget = RetryBudget::new(0.1);
        let repeated = (0..1000u32)
            .take_while(|number| {
                let leave = budget.take();
                if leave && number % 10 >= 3 {
                    budget.give_back();
                    budget.succeeded();
                }
                leave
            })
            .count();
        assert!(repeated > 25, "{repeated} with 30 % of them in vain");
    }

    #[test]
    fn a_part_of_what_succeeds_may_be_repeated_and_a_little_always() {
        let budget = RetryBudget::new(0.1);
        let now = Instant::now();
        let take = |at: Instant| (0..1000).take_while(|_| budget.take_at(at)).count();
        assert_eq!(take(now), 10);
        for _ in 0..300 {
            budget.change(now, |left| (left + budget.per_success, true));
        }
        assert!((29..=30).contains(&take(now)));
        let later = now + Duration::from_secs(5);
        assert!((5..=6).contains(&take(later)));
        assert_eq!(take(later + Duration::from_secs(500)), 100);
    }
}
