//! Steps in flight in this worker, so that a redelivery of one does not pay it twice.
//!
//! When a session is lost, the broker delivers its unsettled steps again, often to the same
//! worker, while the call still runs. The running call keeps going, and the new delivery waits
//! for its end. A step whose settlement was lost after its results were published is
//! remembered, and its redelivery is acknowledged without a call.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use filefleet_shared::broker::{Delivery, Envelope, Queue};

/// Most steps remembered after a lost settlement.
const REMEMBERED: usize = 10_000;

/// One attempt of one step: a step put off has the same id and another attempt.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    queue: Queue,
    id: String,
    attempt: u32,
    deferred: u32,
}

impl Key {
    fn of(envelope: &Envelope) -> Self {
        Self {
            queue: envelope.queue.clone(),
            id: envelope.id.clone(),
            attempt: envelope.headers.attempt,
            deferred: envelope.headers.deferred,
        }
    }
}

#[derive(Debug, Default)]
struct Tables {
    running: HashMap<Key, Option<Delivery>>,
    published: HashSet<Key>,
    order: VecDeque<Key>,
}

/// The steps in flight in one worker.
#[derive(Clone, Debug, Default)]
pub(crate) struct InFlight(Arc<Mutex<Tables>>);

/// What to do with a delivery just taken.
#[derive(Debug)]
pub(crate) enum Taken {
    /// Work on it; end the [`Slot`] afterwards.
    Start(Delivery, Slot),
    /// The same step is running: its slot keeps this delivery.
    Joined,
    /// Its results are published already: acknowledge it.
    Finished(Delivery),
}

impl InFlight {
    fn lock(&self) -> MutexGuard<'_, Tables> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers a delivery.
    #[must_use]
    pub(crate) fn take(&self, delivery: Delivery) -> Taken {
        let key = Key::of(delivery.envelope());
        let mut tables = self.lock();
        if tables.published.contains(&key) {
            return Taken::Finished(delivery);
        }
        if let Some(waiting) = tables.running.get_mut(&key) {
            // An older one waiting here is stale too: dropping it hands it back.
            let stale = waiting.replace(delivery);
            drop(tables);
            drop(stale);
            return Taken::Joined;
        }
        tables.running.insert(key.clone(), None);
        drop(tables);
        Taken::Start(
            delivery,
            Slot {
                key: Some(key),
                steps: self.clone(),
            },
        )
    }
}

/// A step in flight. Dropped without an end, it only forgets.
#[derive(Debug)]
pub(crate) struct Slot {
    key: Option<Key>,
    steps: InFlight,
}

impl Slot {
    /// Ends the step; returns a redelivery of it that came meanwhile.
    ///
    /// `lost` says that results are published but the settlement was lost, so that the
    /// redelivery still to come is known as finished.
    #[must_use]
    pub(crate) fn end(mut self, lost: bool) -> Option<Delivery> {
        let key = self.key.take()?;
        let mut tables = self.steps.lock();
        let joined = tables.running.remove(&key).flatten();
        if lost && joined.is_none() {
            if tables.order.len() >= REMEMBERED
                && let Some(oldest) = tables.order.pop_front()
            {
                tables.published.remove(&oldest);
            }
            tables.order.push_back(key.clone());
            tables.published.insert(key);
        }
        joined
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            let joined = self.steps.lock().running.remove(&key);
            drop(joined);
        }
    }
}

#[cfg(test)]
mod tests;
