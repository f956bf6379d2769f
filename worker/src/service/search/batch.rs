//! Batches across files: documents wait a moment for others, and each file for its own results.
//!
//! Nobody who waits is needed for a batch to go: a step that is given up loses nothing of others.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use reqwest::header::HeaderValue;
use tokio::sync::Semaphore;

use super::{
    delivery::Delivery,
    ticket::{Entry, Ticket},
};
use crate::service::CallError;

/// How large a batch becomes, and how long it waits to become so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchConfig {
    /// Most documents.
    pub documents: usize,
    /// Most bytes, unless one document has more.
    pub bytes: usize,
    /// From its first document to its sending, if it is not full before.
    pub linger: Duration,
}

impl Default for BatchConfig {
    fn default() -> Self {
        Self {
            documents: 1000,
            bytes: 16_000_000,
            linger: Duration::from_millis(50),
        }
    }
}

/// A document with its key, as JSON.
pub(super) type Document = (String, Vec<u8>);

/// The batches of one step of a pipeline.
#[derive(Debug)]
pub(super) struct Batcher {
    config: BatchConfig,
    delivery: Delivery,
    /// Requests at once.
    room: Semaphore,
    open: Mutex<Open>,
}

/// The batch that still takes documents.
#[derive(Debug, Default)]
struct Open {
    entries: Vec<Entry>,
    bytes: usize,
    /// Counts batches, so that the clock of one does not send the next.
    number: u64,
    /// Its clock runs.
    timed: bool,
}

impl Open {
    fn take(&mut self) -> Vec<Entry> {
        self.bytes = 0;
        self.number += 1;
        self.timed = false;
        std::mem::take(&mut self.entries)
    }
}

impl Batcher {
    pub(super) fn new(config: BatchConfig, delivery: Delivery, at_once: usize) -> Self {
        Self {
            config,
            delivery,
            room: Semaphore::new(at_once),
            open: Mutex::default(),
        }
    }

    /// Writes documents, and waits until each is written or refused; how many requests had any.
    ///
    /// # Errors
    /// The worst of what became of them.
    pub(super) async fn write(
        self: &Arc<Self>,
        documents: Vec<Document>,
        task: Option<HeaderValue>,
    ) -> Result<u64, CallError> {
        let (ticket, told) = Ticket::new(documents.len(), task);
        self.put(documents.into_iter().map(|(key, json)| Entry {
            key,
            json,
            ticket: ticket.clone(),
        }));
        // Only batches have it now, so that a batch that is lost is heard of.
        drop(ticket);
        told.await.unwrap_or_else(|_| {
            let detail = "the batch ended without a word about this file";
            Err(CallError::Timeout(detail.to_owned()))
        })
    }

    fn put(self: &Arc<Self>, entries: impl Iterator<Item = Entry>) {
        let mut full = Vec::new();
        let begun = {
            let mut open = self.open();
            for entry in entries {
                let bytes = open.bytes + entry.json.len();
                if bytes > self.config.bytes && !open.entries.is_empty() {
                    full.push(open.take());
                }
                open.bytes += entry.json.len() + 1;
                open.entries.push(entry);
                if open.entries.len() >= self.config.documents {
                    full.push(open.take());
                }
            }
            let begun = !open.entries.is_empty() && !open.timed;
            open.timed |= begun;
            begun.then_some(open.number)
        };
        for batch in full {
            drop(tokio::spawn(self.clone().send(batch)));
        }
        if let Some(number) = begun {
            drop(tokio::spawn(self.clone().send_in_time(number)));
        }
    }

    async fn send_in_time(self: Arc<Self>, number: u64) {
        tokio::time::sleep(self.config.linger).await;
        let batch = {
            let mut open = self.open();
            if open.number != number {
                return;
            }
            open.take()
        };
        self.send(batch).await;
    }

    async fn send(self: Arc<Self>, batch: Vec<Entry>) {
        // Never closed; if it were, whoever waits would hear of it.
        if let Ok(_permit) = self.room.acquire().await {
            self.delivery.deliver(batch).await;
        }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
