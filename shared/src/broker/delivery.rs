//! A delivery: settled once, last, by value.

use std::{fmt, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;

use super::{BrokerError, Headers, Message, Queue};
use crate::time::UnixMillis;

/// What a delivery carries.
#[derive(Clone, Debug)]
pub struct Envelope {
    /// The message's stable id.
    pub id: String,
    /// The queue it came from.
    pub queue: Queue,
    /// Attempt, trace context, cause of the last retry.
    pub headers: Headers,
    /// The body, untouched.
    pub body: Bytes,
    /// Times this message was delivered without being settled, this time included: 1 at first.
    ///
    /// A message put off is a new one and starts at 1 again. At least a lower bound: RabbitMQ
    /// before 3.12 counts from the first redelivery.
    pub deliveries: u32,
}

/// What becomes of a delivery.
#[derive(Debug)]
pub enum Verdict {
    /// Finished: publish these, and only then the delivery is gone.
    Done(Vec<Message>),
    /// Come back after a delay, as a message in the broker.
    Later(Later),
    /// Given up: a dead letter with body and reason.
    Dead(Dead),
    /// Hand back untouched, at once, to anybody.
    Release,
}

/// Put off.
#[derive(Clone, Debug)]
pub struct Later {
    /// Comes back after this and not before.
    pub delay: Duration,
    /// Attempts that this delivery made and that count; 0 if it was only throttled or put off.
    pub attempts: u32,
    /// A stable word for the log and the next worker.
    pub cause: String,
    /// When the first attempt began, if the worker knows better than the headers.
    pub first_attempt: Option<UnixMillis>,
    /// What the message carries from now on; `None` for what it carries.
    pub body: Option<Bytes>,
}

/// Given up.
#[derive(Debug)]
pub struct Dead {
    /// A stable word, like `unknown_version`.
    pub reason: String,
    /// For a person; no file content and no secret.
    pub detail: String,
    /// The process that gives up.
    pub by: String,
    /// What to publish with the dead letter: the failed outcome, where the task is known.
    pub publish: Vec<Message>,
}

/// Why a settlement did not happen. The delivery will come again.
#[derive(Debug, thiserror::Error)]
pub enum SettleError {
    /// What follows is published, but the delivery was lost with its session.
    #[error("the delivery was lost with its session; it will be delivered again")]
    Lost,
    /// What follows could not be published; the delivery was not settled.
    #[error(transparent)]
    Publish(#[from] BrokerError),
}

/// How an implementation settles. Dropped unsettled, it hands the delivery back.
#[async_trait]
pub trait Settle: Send + Sync {
    /// Carries out a verdict.
    async fn settle(
        self: Box<Self>,
        envelope: Envelope,
        verdict: Verdict,
    ) -> Result<(), SettleError>;
}

/// A message in hand. Settle it with a [`Verdict`]; dropping it hands it back.
pub struct Delivery {
    envelope: Envelope,
    settle: Box<dyn Settle>,
}

impl Delivery {
    /// For implementations.
    #[must_use]
    pub fn new(envelope: Envelope, settle: Box<dyn Settle>) -> Self {
        Self { envelope, settle }
    }

    /// What it carries.
    #[must_use]
    pub fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    /// Settles: what the verdict publishes is durable before the delivery is gone.
    ///
    /// A broker does not answer a settlement: if its connection dies at that moment the delivery
    /// may come again, although this was `Ok`.
    ///
    /// # Errors
    /// The delivery will be delivered again; what was published stays published.
    pub async fn settle(self, verdict: Verdict) -> Result<(), SettleError> {
        self.settle.settle(self.envelope, verdict).await
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("id", &self.envelope.id)
            .field("queue", &self.envelope.queue)
            .field("deliveries", &self.envelope.deliveries)
            .finish_non_exhaustive()
    }
}
