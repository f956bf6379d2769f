//! What all requests share.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::time::Instant;

use crate::{
    ConfigError, Control, Quotas, SimulatorConfig, Stats,
    docintel::Operations,
    quota::{Bucket, Exceeded, Levels, Quota},
    search::Indexes,
    stats::Ledger,
};

/// The service: its configuration, and what was used and counted.
#[derive(Debug)]
pub(crate) struct App {
    config: RwLock<Arc<SimulatorConfig>>,
    books: Mutex<Books>,
    /// What was sent to be read, and its results.
    pub(crate) operations: Operations,
    /// What was indexed to be searched.
    pub(crate) indexes: Indexes,
    number: AtomicU64,
    /// The wall clock at `began`; later times are counted from it, so that they never go back.
    epoch: Duration,
    began: Instant,
}

/// Everything behind the one lock. It is held for counting only, never over an await.
#[derive(Debug)]
pub(crate) struct Books {
    pub(crate) ledger: Ledger,
    quotas: BTreeMap<Bucket, Quota>,
    since: Instant,
}

impl App {
    pub(crate) fn new(config: SimulatorConfig) -> Self {
        let began = Instant::now();
        Self {
            config: RwLock::new(Arc::new(config)),
            books: Mutex::new(Books {
                ledger: Ledger::default(),
                quotas: BTreeMap::new(),
                since: began,
            }),
            operations: Operations::default(),
            indexes: Indexes::default(),
            number: AtomicU64::new(0),
            // A clock before 1970 has no meaning to keep.
            epoch: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default(),
            began,
        }
    }

    pub(crate) fn config(&self) -> Arc<SimulatorConfig> {
        let config = self.config.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&config)
    }

    /// Replaces the configuration by what `change` makes of it, if a service can be so.
    pub(crate) fn change(
        &self,
        change: impl FnOnce(&SimulatorConfig) -> SimulatorConfig,
    ) -> Result<(), ConfigError> {
        let mut config = self.config.write().unwrap_or_else(PoisonError::into_inner);
        let changed = change(&config);
        changed.validate()?;
        *config = Arc::new(changed);
        Ok(())
    }

    pub(crate) fn control(&self, control: Control) -> Result<(), ConfigError> {
        self.change(|config| control.apply(config))
    }

    /// The number of the next request, from 0.
    pub(crate) fn next_number(&self) -> u64 {
        self.number.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn books(&self) -> MutexGuard<'_, Books> {
        // Counts are whole after every statement, so a panic elsewhere leaves nothing half done.
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Judges a request against the quota of its bucket, counting it.
    pub(crate) fn admit(
        &self,
        bucket: Bucket,
        quotas: &Quotas,
        tokens: u64,
    ) -> (Result<(), Exceeded>, Levels) {
        let mut books = self.books();
        // Inside of the lock, so that arrivals are in order.
        let now = Instant::now();
        let quota = books.quotas.entry(bucket).or_default();
        let judged = quota.admit(now, quotas, tokens);
        if judged.0.is_ok() {
            books.ledger.accepted(self.unix_ms(now));
        }
        judged
    }

    pub(crate) fn unix_ms(&self, at: Instant) -> u64 {
        let time = self.epoch + at.saturating_duration_since(self.began);
        u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
    }

    /// The model is still loading, `loading` after the start or the last reset.
    pub(crate) fn is_loading(&self, loading: Duration) -> bool {
        self.books().since.elapsed() < loading
    }

    pub(crate) fn stats(&self) -> Stats {
        self.books().ledger.snapshot()
    }

    /// As if just started, with the configuration of now.
    pub(crate) fn reset(&self) {
        let mut books = self.books();
        books.ledger.clear();
        books.quotas.clear();
        books.since = Instant::now();
        self.number.store(0, Ordering::Relaxed);
        drop(books);
        self.operations.clear();
        self.indexes.clear();
    }
}
