//! What a worker may spend: no call is begun once it is spent.

use std::sync::atomic::{AtomicU64, Ordering};

use filefleet_shared::wire::Cost;

/// Money spent, and the most of it.
#[derive(Debug)]
pub struct Budget {
    most: AtomicU64,
    spent: AtomicU64,
}

impl Default for Budget {
    /// Without a bound.
    fn default() -> Self {
        Self {
            most: AtomicU64::new(u64::MAX),
            spent: AtomicU64::new(0),
        }
    }
}

impl Budget {
    /// Calls are begun until so much is spent; those that are in flight then still end.
    pub fn limit(&self, most: Cost) {
        self.most.store(most.billionths(), Ordering::Relaxed);
    }

    /// Counts what was spent, here or before.
    pub fn spend(&self, cost: Cost) {
        self.spent.fetch_add(cost.billionths(), Ordering::Relaxed);
    }

    /// What was spent.
    #[must_use]
    pub fn spent(&self) -> Cost {
        Cost::from_billionths(self.spent.load(Ordering::Relaxed))
    }

    /// Nothing is left.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.spent.load(Ordering::Relaxed) >= self.most.load(Ordering::Relaxed)
    }
}
