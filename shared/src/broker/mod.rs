//! The broker contract: few methods, the same laws in every implementation.
//!
//! 1. [`Broker::publish`] returns when every message is durable and routed, or an error.
//! 2. A [`Delivery`] is settled once, last, by value: what follows from it is durable before
//!    the delivery is gone.
//! 3. Attempts travel in the message's headers, on a stable id.
//!
//! [`conformance`] holds one function per law; both implementations run all of them.

pub mod conformance;
mod delivery;
pub mod embedded;
mod headers;
mod message;
pub mod rabbit;
pub mod topology;

use std::{fmt, time::Duration};

use async_trait::async_trait;
use tokio::sync::mpsc;

pub use delivery::{Dead, Delivery, Envelope, Later, Settle, SettleError, Verdict};
pub use headers::{Death, Headers};
pub use message::{Message, Queue, ResultKey, Route, polls_of};

use crate::wire::{ControlRecord, DecodeError};

/// Largest body a broker takes: RabbitMQ 4 refuses more than 16 MiB by default.
pub const MAX_BODY_BYTES: usize = 8 * 1024 * 1024;

/// A durable message broker.
#[async_trait]
pub trait Broker: Send + Sync + fmt::Debug {
    /// Creates the queues that are missing, and leaves existing ones as they are.
    ///
    /// # Errors
    /// [`BrokerError::Refused`] if a queue exists with other arguments.
    async fn declare(&self, queues: &[Queue]) -> Result<(), BrokerError>;

    /// Publishes messages in order; all are durable and routed when it returns.
    ///
    /// # Errors
    /// After an error each message may or may not be in its queue: publish again under the same
    /// ids. [`BrokerError::Unroutable`] names a queue that does not exist, and
    /// [`BrokerError::TooLarge`] a body over [`MAX_BODY_BYTES`].
    async fn publish(&self, messages: Vec<Message>) -> Result<(), BrokerError>;

    /// Starts taking deliveries; at most `prefetch` are unsettled at any time.
    ///
    /// # Errors
    /// [`BrokerError::Unroutable`] if the queue does not exist, [`BrokerError::Busy`] if
    /// `exclusive` and another consumer has it.
    async fn consume(
        &self,
        queue: &Queue,
        options: ConsumeOptions,
    ) -> Result<Consumer, BrokerError>;

    /// How much a queue holds; `None` if it does not exist.
    ///
    /// # Errors
    /// [`BrokerError::Unavailable`].
    async fn inspect(&self, queue: &Queue) -> Result<Option<Depth>, BrokerError>;

    /// How many messages were put off and wait for their time, of all queues together.
    ///
    /// # Errors
    /// [`BrokerError::Unavailable`].
    async fn waiting(&self) -> Result<u64, BrokerError>;

    /// Deletes a queue with what is in it; a queue that does not exist is deleted already.
    ///
    /// # Errors
    /// [`BrokerError::Unavailable`].
    async fn delete(&self, queue: &Queue) -> Result<(), BrokerError>;

    /// Appends to the retained control log; durable when it returns.
    ///
    /// # Errors
    /// [`BrokerError::Unavailable`].
    async fn append_control(&self, record: ControlRecord) -> Result<(), BrokerError>;

    /// Reads the retained control log from its start, then follows it.
    ///
    /// # Errors
    /// [`BrokerError::Unavailable`].
    async fn follow_control(&self) -> Result<ControlLog, BrokerError>;

    /// The longest a delivery may stay unsettled before the broker takes it back, if it has one.
    fn ack_timeout(&self) -> Option<Duration>;

    /// How long to wait for a broker that is away; then it is an error, so that whoever runs the
    /// process hears of it.
    fn outage(&self) -> Duration;

    /// Ends all sessions. Consumers must have been closed.
    async fn close(&self);
}

/// How to consume.
#[derive(Clone, Copy, Debug)]
pub struct ConsumeOptions {
    /// Most deliveries that are unsettled at any time, 1..=2000.
    pub prefetch: u16,
    /// Refuse a second consumer of the queue.
    pub exclusive: bool,
}

impl ConsumeOptions {
    /// A shared consumer.
    #[must_use]
    pub fn shared(prefetch: u16) -> Self {
        Self {
            prefetch,
            exclusive: false,
        }
    }
}

/// A queue's depth, for people and for autoscaling.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    /// Messages that can be delivered now.
    pub ready: u64,
    /// Live consumers.
    pub consumers: u64,
}

/// A stream of deliveries. The implementation reconnects behind it.
///
/// Dropping it hands back what was not received; [`Consumer::close`] also waits for that.
pub struct Consumer {
    deliveries: mpsc::Receiver<Result<Delivery, BrokerError>>,
    stop: Option<Stopper>,
}

/// Ends a consumer: asks its task to cancel, and waits until it has.
#[derive(Debug)]
pub struct Stopper {
    /// Dropped or sent to: the task cancels at the broker and hands back what is buffered.
    pub cancel: tokio::sync::oneshot::Sender<()>,
    /// Ends when it has.
    pub task: tokio::task::JoinHandle<()>,
}

impl Consumer {
    /// For implementations: deliveries come through `deliveries` until `stop` is asked for.
    #[must_use]
    pub fn new(deliveries: mpsc::Receiver<Result<Delivery, BrokerError>>, stop: Stopper) -> Self {
        Self {
            deliveries,
            stop: Some(stop),
        }
    }

    /// The next delivery. Cancel-safe: dropping the future loses nothing.
    ///
    /// # Errors
    /// The consumer is over: its queue was deleted, the broker refused it for good, or was away
    /// for longer than [`Broker::outage`]. Lost connections are not errors before that; the
    /// implementation reconnects.
    pub async fn recv(&mut self) -> Result<Delivery, BrokerError> {
        self.deliveries
            .recv()
            .await
            .unwrap_or(Err(BrokerError::Closed))
    }

    /// Cancels at the broker and hands back what was not received.
    ///
    /// Deliveries already received stay valid and must still be settled.
    pub async fn close(mut self) {
        self.deliveries.close();
        // Undelivered ones are released by being dropped.
        while let Some(unreceived) = self.deliveries.recv().await {
            drop(unreceived);
        }
        if let Some(Stopper { cancel, task }) = self.stop.take() {
            drop(cancel);
            if let Err(error) = task.await {
                tracing::error!(%error, "consumer task ended badly");
            }
        }
    }
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer").finish_non_exhaustive()
    }
}

/// The control log: what it held when it was opened, then what is appended to it.
#[derive(Debug)]
pub struct ControlLog {
    /// Every record that was in the log, in order.
    pub history: Vec<ControlRecord>,
    /// Records appended since, in order; ends when the broker is closed.
    pub updates: mpsc::Receiver<ControlRecord>,
}

/// What went wrong at the broker, named by what the caller can do.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// Not reachable within the deadline: try again later, under the same ids.
    #[error("broker unavailable: {0}")]
    Unavailable(String),
    /// Waited for as long as [`Broker::outage`] says: leave, and be started again.
    #[error("broker away for longer than {}: {why}", humantime::format_duration(*.outage))]
    Away {
        /// How long it was waited for.
        outage: Duration,
        /// What the last attempt said.
        why: String,
    },
    /// No such queue: declare it, or the name is wrong.
    #[error("no such queue: {0}")]
    Unroutable(String),
    /// The body is over the limit: send a reference.
    #[error("message {id} is {bytes} bytes, the limit is {limit}")]
    TooLarge {
        /// The message.
        id: String,
        /// Size of its body.
        bytes: usize,
        /// Largest body taken.
        limit: usize,
    },
    /// Another exclusive consumer has the queue.
    #[error("queue {0} already has its one consumer")]
    Busy(String),
    /// The broker said no for good: credentials, permissions or arguments.
    #[error("broker refused: {0}")]
    Refused(String),
    /// A record of the control log that this version cannot read.
    #[error("control log: {0}")]
    Control(#[from] DecodeError),
    /// The broker or the consumer was closed.
    #[error("closed")]
    Closed,
}

impl BrokerError {
    /// The same call can succeed later without anybody changing anything.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }

    /// What it is once it was waited for in vain.
    #[must_use]
    pub fn after(self, outage: Duration) -> Self {
        match self {
            Self::Unavailable(why) => Self::Away { outage, why },
            other => other,
        }
    }
}

/// Checks a batch before any of it is sent.
pub(crate) fn check_sizes(messages: &[Message]) -> Result<(), BrokerError> {
    messages.iter().try_for_each(|message| {
        let bytes = message.body.len();
        if bytes > MAX_BODY_BYTES {
            return Err(BrokerError::TooLarge {
                id: message.id.clone(),
                bytes,
                limit: MAX_BODY_BYTES,
            });
        }
        Ok(())
    })
}
