//! Settling: what follows is published and confirmed, and only then the delivery is acked.
//!
//! The client writes acks before publishes of the same connection, so an ack that does not wait
//! for the confirms could lose what follows.

use std::{pin::pin, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures_util::FutureExt;
use lapin::{
    Acker, Channel,
    options::{BasicAckOptions, BasicNackOptions},
};
use tokio::time::{Instant, timeout};

use super::{Inner, publish::outgoing};
use crate::{
    broker::{
        BrokerError, Dead, Death, Delivery, Envelope, Headers, Later, Settle, SettleError, Verdict,
        topology::Rung,
    },
    time::UnixMillis,
};

/// Hand back, for anybody.
const REQUEUE: BasicNackOptions = BasicNackOptions {
    multiple: false,
    requeue: true,
};

/// How often a settlement that is not written yet looks for its connection.
const LOOK: Duration = Duration::from_millis(250);

/// The way back of one delivery.
pub(super) struct Settlement {
    /// Taken when it is used; dropped unused, the delivery is handed back.
    acker: Option<Acker>,
    /// Deliveries die with the last handle of their channel.
    channel: Arc<Channel>,
    inner: Arc<Inner>,
}

impl Settlement {
    pub(super) fn new(acker: Acker, channel: Arc<Channel>, inner: Arc<Inner>) -> Self {
        Self {
            acker: Some(acker),
            channel,
            inner,
        }
    }

    /// Puts the message into a wait queue for what is left until `due`, unchanged.
    pub(super) async fn forward(self, envelope: Envelope, due: UnixMillis) {
        let rest = due.since(UnixMillis::now());
        let headers = envelope.headers.clone();
        let id = envelope.id.clone();
        let forwarded = async {
            self.wait(envelope, rest, &headers).await?;
            self.ack().await
        };
        if let Err(error) = forwarded.await {
            tracing::warn!(message.id = id, %error, "a waiting message will be delivered again");
        }
    }

    async fn wait(
        &self,
        envelope: Envelope,
        rest: Duration,
        headers: &Headers,
    ) -> Result<(), BrokerError> {
        let inner = &self.inner;
        let address = inner.topology.wait(Rung::towards(rest), &envelope.queue)?;
        let message = outgoing(address, &envelope.id, headers, envelope.body)?;
        inner.send(vec![message]).await
    }

    async fn later(&self, mut envelope: Envelope, later: Later) -> Result<(), BrokerError> {
        let headers = envelope.headers.put_off(&later, UnixMillis::now());
        if let Some(body) = later.body {
            envelope.body = body;
        }
        self.wait(envelope, later.delay, &headers).await
    }

    async fn dead(&self, envelope: Envelope, dead: Dead) -> Result<(), BrokerError> {
        let mut messages = self.inner.addressed(dead.publish)?;
        let headers = envelope.headers.dead(Death {
            reason: dead.reason,
            detail: dead.detail,
            from: envelope.queue.to_string(),
            by: dead.by,
            at: UnixMillis::now(),
        });
        let address = self.inner.topology.dead(&envelope.queue)?;
        messages.push(outgoing(address, &envelope.id, &headers, envelope.body)?);
        self.inner.send(messages).await
    }

    async fn ack(mut self) -> Result<(), SettleError> {
        let Some(acker) = self.acker.take() else {
            return Err(SettleError::Lost);
        };
        self.answered(acker.ack(BasicAckOptions::default())).await
    }

    async fn release(mut self) -> Result<(), SettleError> {
        let Some(acker) = self.acker.take() else {
            return Err(SettleError::Lost);
        };
        self.answered(acker.nack(REQUEUE)).await
    }

    /// `Ok(true)` is the most there is: written to the socket.
    async fn answered(
        &self,
        settling: impl Future<Output = lapin::Result<bool>>,
    ) -> Result<(), SettleError> {
        let deadline = Instant::now() + self.inner.config.ack_timeout_on_socket;
        let mut settling = pin!(settling);
        loop {
            match timeout(LOOK, &mut settling).await {
                Ok(Ok(true)) => return Ok(()),
                // Stale, or gone with its channel.
                Ok(Ok(false) | Err(_)) => return Err(SettleError::Lost),
                // Of a connection that died an answer may never come.
                Err(_) if self.channel.status().connected() && Instant::now() < deadline => {}
                Err(_) => return Err(SettleError::Lost),
            }
        }
    }
}

#[async_trait]
impl Settle for Settlement {
    async fn settle(
        self: Box<Self>,
        envelope: Envelope,
        verdict: Verdict,
    ) -> Result<(), SettleError> {
        match verdict {
            Verdict::Done(messages) => self.inner.publish(messages).await?,
            Verdict::Later(later) => self.later(envelope, later).await?,
            Verdict::Dead(dead) => self.dead(envelope, dead).await?,
            Verdict::Release => return self.release().await,
        }
        self.ack().await
    }
}

impl Drop for Settlement {
    fn drop(&mut self) {
        let Some(acker) = self.acker.take() else {
            return;
        };
        // The first poll queues the nack at the client; only its answer would need a runtime.
        if let Some(Err(error)) = acker.nack(REQUEUE).now_or_never() {
            let channel = self.channel.id();
            tracing::debug!(channel, %error, "handed back with its channel");
        }
    }
}

/// A delivery of the contract from one of the client.
pub(super) fn delivery(envelope: Envelope, settlement: Settlement) -> Delivery {
    Delivery::new(envelope, Box::new(settlement))
}
