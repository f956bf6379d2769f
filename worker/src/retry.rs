//! The one owner of retries.

use std::time::Duration;

/// When to try again, and when to give up.
#[derive(Clone, Debug, PartialEq, Eq)]
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
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts: 6,
            base: Duration::from_secs(1),
            cap: Duration::from_secs(300),
            hold: Duration::from_secs(20),
            total: Duration::from_secs(6 * 3600),
        }
    }
}
