//! A consumer's task: subscribes, passes deliveries on, and subscribes again when that ends.

use std::{
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::StreamExt;
use lapin::message::Delivery as Received;
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::{JoinError, JoinSet},
    time::{sleep, timeout},
};

use super::{
    Inner,
    admin::Look,
    backoff::Backoff,
    headers,
    settle::{self, Settlement},
    subscribe::Subscription,
};
use crate::{
    broker::{BrokerError, ConsumeOptions, Delivery, Envelope, Queue},
    time::UnixMillis,
};

/// Up to this early a message is held here; earlier, it waits again at the broker.
const HELD: Duration = Duration::from_millis(50);

type Output = mpsc::Sender<Result<Delivery, BrokerError>>;

/// How a session ended.
enum Ended {
    /// It was asked to.
    Stopped,
    /// Try again.
    Lost(BrokerError),
    /// For good.
    Over(BrokerError),
}

/// The task behind one consumer of the contract.
pub(super) struct Supervisor {
    inner: Arc<Inner>,
    queue: Queue,
    options: ConsumeOptions,
    output: Output,
    cancel: oneshot::Receiver<()>,
    closing: watch::Receiver<bool>,
    /// Messages that came a moment too early, held until it is over.
    held: JoinSet<()>,
    /// Messages that came too early, on their way to a wait queue.
    forwards: JoinSet<()>,
}

impl Supervisor {
    pub(super) fn new(
        inner: Arc<Inner>,
        queue: Queue,
        options: ConsumeOptions,
        output: Output,
        cancel: oneshot::Receiver<()>,
    ) -> Self {
        Self {
            closing: inner.closing.subscribe(),
            inner,
            queue,
            options,
            output,
            cancel,
            held: JoinSet::new(),
            forwards: JoinSet::new(),
        }
    }

    pub(super) async fn run(mut self, first: Subscription) {
        let mut backoff = Backoff::new();
        let mut next = Some(first);
        let mut lost: Option<Instant> = None;
        let outage = self.inner.config.outage;
        loop {
            let ended = match next.take() {
                Some(subscription) => {
                    backoff.reset();
                    lost = None;
                    self.pass_on(subscription).await
                }
                None => match self.subscribe_again(&mut backoff).await {
                    Ok(subscription) => {
                        next = Some(subscription);
                        continue;
                    }
                    Err(ended) => ended,
                },
            };
            match ended {
                Ended::Stopped => return,
                Ended::Lost(error) if lost.get_or_insert_with(Instant::now).elapsed() < outage => {
                    tracing::warn!(queue = %self.queue, %error, "consumer lost its session");
                }
                Ended::Lost(error) | Ended::Over(error) => {
                    // A receiver that is gone does not want to know.
                    drop(self.output.send(Err(error.after(outage))).await);
                    return;
                }
            }
        }
    }

    async fn subscribe_again(&mut self, backoff: &mut Backoff) -> Result<Subscription, Ended> {
        let attempt = async {
            sleep(backoff.next()).await;
            self.inner.subscribe(&self.queue, self.options).await
        };
        let subscribed = tokio::select! {
            _ = &mut self.cancel => return Err(Ended::Stopped),
            _ = self.closing.wait_for(|closing| *closing) => return Err(Ended::Stopped),
            subscribed = attempt => subscribed,
        };
        subscribed.map_err(|error| {
            if error.is_transient() {
                Ended::Lost(error)
            } else {
                Ended::Over(error)
            }
        })
    }

    async fn pass_on(&mut self, mut subscription: Subscription) -> Ended {
        let ended = loop {
            let received = tokio::select! {
                _ = &mut self.cancel => break Ended::Stopped,
                _ = self.closing.wait_for(|closing| *closing) => break Ended::Stopped,
                Some(done) = self.held.join_next() => {
                    look(done);
                    continue;
                }
                Some(done) = self.forwards.join_next() => {
                    look(done);
                    continue;
                }
                received = subscription.stream.next() => received,
            };
            match received {
                Some(Ok(received)) => {
                    if !self.accept(received, &subscription).await {
                        break Ended::Stopped;
                    }
                }
                Some(Err(error)) => {
                    break Ended::Lost(BrokerError::Unavailable(error.to_string()));
                }
                None => break self.why_cancelled().await,
            }
        };
        if matches!(ended, Ended::Stopped) {
            self.held.shutdown().await;
            let deadline = self.inner.config.ack_timeout_on_socket;
            self.finish_forwards(deadline).await;
            subscription.cancel(deadline).await;
        }
        ended
    }

    /// A message whose way is cut off may be in its wait queue and be handed back as well.
    async fn finish_forwards(&mut self, deadline: Duration) {
        let all = async { while self.forwards.join_next().await.map(look).is_some() {} };
        if timeout(deadline, all).await.is_err() {
            tracing::warn!(queue = %self.queue, "messages that came too early may come twice");
            self.forwards.shutdown().await;
        }
    }

    /// The broker cancels without a reason: the queue was deleted, or it moved.
    async fn why_cancelled(&self) -> Ended {
        let look = match self.inner.topology.queue(&self.queue) {
            Ok(name) => self.inner.admin.look(&name).await,
            Err(error) => return Ended::Over(error),
        };
        match look {
            Ok(Look::Missing) => Ended::Over(BrokerError::Unroutable(self.queue.to_string())),
            Ok(_) => Ended::Lost(BrokerError::Unavailable("the broker cancelled it".into())),
            Err(error) => Ended::Lost(error),
        }
    }

    /// Passes a delivery on; false if nobody wants it.
    async fn accept(&mut self, received: Received, subscription: &Subscription) -> bool {
        let envelope = envelope(
            &self.queue,
            &received.properties,
            received.redelivered,
            received.data,
        );
        let settlement = Settlement::new(
            received.acker,
            Arc::clone(&subscription.channel),
            Arc::clone(&self.inner),
        );
        let due = envelope.headers.not_before;
        let rest = due.map_or(Duration::ZERO, |due| due.since(UnixMillis::now()));
        match due {
            Some(due) if rest > HELD => {
                self.forwards.spawn(settlement.forward(envelope, due));
                true
            }
            Some(_) if !rest.is_zero() => {
                let output = self.output.clone();
                let delivery = settle::delivery(envelope, settlement);
                self.held.spawn(async move {
                    sleep(rest).await;
                    // Unwanted, it hands itself back.
                    drop(output.send(Ok(delivery)).await);
                });
                true
            }
            _ => self.pass(settle::delivery(envelope, settlement)).await,
        }
    }

    async fn pass(&mut self, delivery: Delivery) -> bool {
        let sending = pin!(self.output.send(Ok(delivery)));
        tokio::select! {
            sent = sending => sent.is_ok(),
            _ = &mut self.cancel => false,
            _ = self.closing.wait_for(|closing| *closing) => false,
        }
    }
}

/// Tells of a task that ended badly.
fn look(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "passing on an early message ended badly");
    }
}

fn envelope(
    queue: &Queue,
    properties: &lapin::BasicProperties,
    redelivered: bool,
    body: Vec<u8>,
) -> Envelope {
    Envelope {
        id: headers::id(properties, &body),
        queue: queue.clone(),
        headers: headers::headers(properties, queue),
        deliveries: headers::deliveries(properties, redelivered),
        body: body.into(),
    }
}
