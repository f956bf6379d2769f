//! The broker of one machine: SQLite in the run's state directory, with the same laws.
//!
//! One thread writes. It takes all that callers have asked for, commits it in one transaction
//! that is on disk before anybody is answered, and gives consumers what they have room for in
//! the same transaction. A settlement with what follows from it is therefore atomic, and one
//! flush to disk serves as many callers as were waiting for it.
//!
//! A process that dies leaves its deliveries marked; opening the file makes them ready again,
//! counted once more.

mod control;
mod job;
mod schema;
mod session;
mod store;
mod ticket;
mod turn;
mod writer;

use std::{path::Path, sync::mpsc, thread, time::Duration};

use async_trait::async_trait;
use tokio::sync::oneshot;

use self::{control::encode_control, job::Handle, schema::broker_error, session::Session};
use super::{
    Broker, BrokerError, ConsumeOptions, Consumer, ControlLog, Depth, Message, Queue, Stopper,
};
use crate::wire::ControlRecord;

pub use control::{EmbeddedControl, QueueDepth};

/// Control records that are buffered for a follower.
const UPDATES: usize = 64;

/// A broker in one file, for one process at a time.
#[derive(Debug)]
pub struct EmbeddedBroker {
    handle: Handle,
}

impl EmbeddedBroker {
    /// Opens the queue file at `path`, creating it where it is missing, and its writer thread.
    ///
    /// Blocks for a moment on the disk. Close it before the process ends, or a reader beside it
    /// has to recover its log.
    ///
    /// # Errors
    /// [`BrokerError::Refused`] if another process has it open or it is not a queue file of this
    /// version, [`BrokerError::Unavailable`] if the disk refuses.
    pub fn open(path: &Path) -> Result<Self, BrokerError> {
        let lock = schema::Lock::take(path)?;
        let connection = schema::open(path)?;
        let (sender, orders) = mpsc::channel();
        let handle = Handle::new(sender);
        let session = {
            let store = store::Store(&connection);
            let last_seq = store.last_seq().map_err(|error| broker_error(&error))?;
            let next_due = store.next_due().map_err(|error| broker_error(&error))?;
            Session::new(handle.downgrade(), last_seq, next_due)
        };
        let writer = writer::Writer::new(connection, lock, orders, session);
        thread::Builder::new()
            .name("queue-writer".to_owned())
            .spawn(move || writer.run())
            .map_err(|error| BrokerError::Unavailable(format!("queue writer: {error}")))?;
        Ok(Self { handle })
    }
}

#[async_trait]
impl Broker for EmbeddedBroker {
    async fn declare(&self, queues: &[Queue]) -> Result<(), BrokerError> {
        let queues = queues.to_vec();
        self.handle
            .call(move |turn| turn.declare(&queues).map(Ok))
            .await
    }

    async fn publish(&self, messages: Vec<Message>) -> Result<(), BrokerError> {
        let records = ticket::records(messages)?;
        self.handle.call(move |turn| turn.publish(&records)).await
    }

    async fn consume(
        &self,
        queue: &Queue,
        options: ConsumeOptions,
    ) -> Result<Consumer, BrokerError> {
        let queue = queue.clone();
        let (id, deliveries) = self
            .handle
            .call(move |turn| turn.subscribe(&queue, options))
            .await?;
        let (cancel, cancelled) = oneshot::channel();
        let handle = self.handle.clone();
        let task = tokio::spawn(async move {
            // Sent to or dropped, both mean: cancel.
            if cancelled.await.is_err() {
                tracing::trace!(consumer = id, "consumer dropped or closed");
            }
            let removed: Result<(), BrokerError> = handle
                .call(move |turn| {
                    turn.session.cancel(id);
                    Ok(Ok(()))
                })
                .await;
            if let Err(error) = removed {
                tracing::debug!(%error, "consumer ended with its broker");
            }
        });
        Ok(Consumer::new(deliveries, Stopper { cancel, task }))
    }

    async fn inspect(&self, queue: &Queue) -> Result<Option<Depth>, BrokerError> {
        let name = queue.to_string();
        self.handle
            .call(move |turn| turn.inspect(&name).map(Ok))
            .await
    }

    async fn waiting(&self) -> Result<u64, BrokerError> {
        self.handle.call(|turn| turn.waiting().map(Ok)).await
    }

    async fn delete(&self, queue: &Queue) -> Result<(), BrokerError> {
        let name = queue.to_string();
        self.handle
            .call(move |turn| turn.delete(&name).map(Ok))
            .await
    }

    async fn append_control(&self, record: ControlRecord) -> Result<(), BrokerError> {
        let record = encode_control(&record)?;
        self.handle
            .call(move |turn| turn.append_control(&record).map(Ok))
            .await
    }

    async fn follow_control(&self) -> Result<ControlLog, BrokerError> {
        self.handle.call(|turn| turn.follow(UPDATES)).await
    }

    fn ack_timeout(&self) -> Option<Duration> {
        None
    }

    /// It is in this process; what it may have to wait for is room on the disk.
    fn outage(&self) -> Duration {
        Duration::MAX
    }

    async fn close(&self) {
        self.handle.halt().await;
    }
}

#[cfg(test)]
mod tests;
