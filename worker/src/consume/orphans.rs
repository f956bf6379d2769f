//! Runs without a queue of results: nobody can be told what became of their files.
//!
//! The queue was deleted by hand, or never declared. A call for such a run is paid in vain, so its
//! steps are put off while the queue is missing. It may only be away for a while, as queues are
//! when a broker is started again; after as long as a broker may be away they are dead letters.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use filefleet_shared::{
    broker::{Broker, BrokerError, Dead, Later, Queue, Verdict},
    wire::RunId,
};
use tokio::time::Instant;

/// Between two looks for a queue.
const LOOK: Duration = Duration::from_secs(2);
/// How soon a step comes back whose run has no queue of results.
const BACK: Duration = Duration::from_secs(15);

/// The runs whose queue of results was missing at the last look.
#[derive(Debug, Default)]
pub(crate) struct Orphans(Mutex<HashMap<RunId, Orphan>>);

#[derive(Clone, Copy, Debug)]
struct Orphan {
    since: Instant,
    looked: Instant,
    /// It was told of.
    told: bool,
}

impl Orphans {
    fn lock(&self) -> MutexGuard<'_, HashMap<RunId, Orphan>> {
        // Every change of the map is one operation.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// The run needs no more thought.
    pub(super) fn forget(&self, run: RunId) {
        self.lock().remove(&run);
    }

    /// Looks whether a run has no queue of results, and remembers it.
    ///
    /// # Errors
    /// The broker does not tell.
    pub(super) async fn finds(&self, broker: &dyn Broker, run: RunId) -> Result<bool, BrokerError> {
        let queue = Queue::Results(run);
        if broker.inspect(&queue).await?.is_some() {
            self.forget(run);
            return Ok(false);
        }
        let now = Instant::now();
        let new = Orphan {
            since: now,
            looked: now,
            told: false,
        };
        self.lock().entry(run).or_insert(new).looked = now;
        Ok(true)
    }

    /// What becomes of a step, if its run has no queue of results.
    pub(super) async fn verdict(
        &self,
        broker: &dyn Broker,
        run: RunId,
        worker: &str,
    ) -> Option<Verdict> {
        let orphan = self.lock().get(&run).copied()?;
        let looked = match orphan.looked.elapsed() < LOOK {
            true => Ok(true),
            false => self.finds(broker, run).await,
        };
        match &looked {
            Ok(true) => {}
            Ok(false) => return None,
            Err(error) => tracing::debug!(%run, %error, "cannot look for the queue of results"),
        }
        self.tell(broker, run);
        if looked.is_err() || orphan.since.elapsed() < broker.outage() {
            return Some(Verdict::Later(Later {
                delay: BACK.min(broker.outage()),
                attempts: 0,
                cause: "no_results_queue".to_owned(),
                first_attempt: None,
                body: None,
            }));
        }
        Some(Verdict::Dead(Dead {
            reason: "no_results_queue".to_owned(),
            detail: format!("run {run} has no queue for its outcome"),
            by: worker.to_owned(),
            publish: Vec::new(),
        }))
    }

    /// Says once that a run's steps are put off.
    fn tell(&self, broker: &dyn Broker, run: RunId) {
        let mut orphans = self.lock();
        let Some(orphan) = orphans.get_mut(&run).filter(|orphan| !orphan.told) else {
            return;
        };
        orphan.told = true;
        tracing::warn!(
            "queue {} is missing: the run's steps are put off, and are dead letters after {}; \
             `filefleet collect --run {run}` makes it anew",
            Queue::Results(run),
            humantime::format_duration(broker.outage()),
        );
    }
}
