//! The one owner of retries.

mod budget;

use std::time::Duration;

use backoff::{ExponentialBackoffBuilder, backoff::Backoff};

pub(crate) use budget::RetryBudget;

/// When to try again, and when to give up.
#[derive(Clone, Debug, PartialEq)]
pub struct RetryPolicy {
    /// Most attempts of a step, the first included; being throttled costs none.
    pub attempts: u32,
    /// Upper bound of the first wait; it doubles per attempt, and the wait is drawn from 0 to it.
    pub base: Duration,
    /// Upper bound of every wait, a `Retry-After` included.
    pub cap: Duration,
    /// Waits up to this stay in the worker; longer ones are messages in the broker.
    pub hold: Duration,
    /// From the first attempt of a step to giving up, throttling included.
    pub total: Duration,
    /// Calls that may be repeated in vain, for each that succeeds.
    pub budget: f64,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts: 6,
            base: Duration::from_secs(1),
            cap: Duration::from_secs(300),
            hold: Duration::from_secs(20),
            total: Duration::from_secs(6 * 3600),
            budget: 0.1,
        }
    }
}

impl RetryPolicy {
    /// A wait drawn from 0 to `base` x 2^(`failures` - 1), capped: exponential, full jitter.
    ///
    /// `failures` counts from 1.
    #[must_use]
    pub fn wait(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        let bound = self.base.saturating_mul(1 << doublings).min(self.cap);
        // The crate draws from interval x (1 +- factor): half the bound and a factor of 1
        // make that 0..=bound. Its elapsed-time limit would count the calls, so it is off.
        let mut draw = ExponentialBackoffBuilder::new()
            .with_initial_interval(bound / 2)
            .with_randomization_factor(1.0)
            .with_max_interval(bound / 2)
            .with_max_elapsed_time(None)
            .build();
        draw.next_backoff().unwrap_or(bound).min(bound)
    }

    /// A wait for a service that named its time: never before it, never over the cap, and
    /// spread over up to `base` more, so that a fleet does not come back at one instant.
    ///
    /// Zero is what some services say when they mean "later" and counts as nothing said.
    #[must_use]
    pub fn wait_asked(&self, asked: Option<Duration>, failures: u32) -> Duration {
        match asked.filter(|asked| !asked.is_zero()) {
            Some(asked) => (asked + self.wait(1)).max(FLOOR).min(self.cap),
            None => self.wait(failures).max(FLOOR.min(self.cap)),
        }
    }
}

/// The shortest wait after a service asked for one, in words or by refusing.
const FLOOR: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn policies() -> impl Strategy<Value = RetryPolicy> {
        (1u64..10_000, 1u64..1_000_000).prop_map(|(base, cap)| RetryPolicy {
            base: Duration::from_millis(base),
            cap: Duration::from_millis(base.max(cap)),
            ..RetryPolicy::default()
        })
    }

    proptest! {
        #[test]
        fn a_wait_is_never_over_its_bound_or_the_cap(policy in policies(), failures in 0u32..100) {
            let wait = policy.wait(failures);
            let bound = policy.base.saturating_mul(1 << failures.saturating_sub(1).min(31));
            prop_assert!(wait <= policy.cap);
            prop_assert!(wait <= bound);
        }

        #[test]
        fn a_named_time_is_never_undercut_and_never_over_the_cap(
            policy in policies(), asked in 1u64..100_000_000, failures in 1u32..100,
        ) {
            let asked = Duration::from_millis(asked);
            let wait = policy.wait_asked(Some(asked), failures);
            prop_assert!(wait >= asked.min(policy.cap));
            prop_assert!(wait <= policy.cap);
        }

        #[test]
        fn zero_or_no_time_named_means_backoff_and_never_no_wait(
            policy in policies(), failures in 1u32..100,
        ) {
            for asked in [None, Some(Duration::ZERO)] {
                let wait = policy.wait_asked(asked, failures);
                prop_assert!(wait >= FLOOR.min(policy.cap));
                prop_assert!(wait <= policy.cap.max(FLOOR));
            }
        }
    }

    #[test]
    fn waits_spread_over_the_whole_range() {
        let policy = RetryPolicy {
            base: Duration::from_secs(8),
            ..RetryPolicy::default()
        };
        let waits: Vec<_> = (0..400).map(|_| policy.wait(1)).collect();
        let below = waits
            .iter()
            .filter(|wait| **wait < Duration::from_secs(2))
            .count();
        let above = waits
            .iter()
            .filter(|wait| **wait > Duration::from_secs(6))
            .count();
        assert!(
            (40..180).contains(&below),
            "{below} of 400 in the first quarter"
        );
        assert!(
            (40..180).contains(&above),
            "{above} of 400 in the last quarter"
        );
    }
}
