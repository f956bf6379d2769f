//! The broker under test: every call has a deadline, and what it gives is checked where it is given.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::time::{Instant, sleep, timeout};

use super::{Fixture, PATIENCE, Violation, ensure};
use crate::{
    broker::{
        Broker, BrokerError, ConsumeOptions, Consumer, Delivery, Depth, Headers, Message, Queue,
        Route, SettleError, Verdict,
    },
    telemetry::TraceContext,
};

/// The service of [`step`].
pub(super) const SERVICE: &str = "alpha";

/// A step for [`SERVICE`] with a body that names its id.
pub(super) fn step(id: &str) -> Message {
    step_for(SERVICE, id)
}

/// A step for another service.
pub(super) fn step_for(service: &str, id: &str) -> Message {
    Message {
        id: id.to_owned(),
        route: Route::Work {
            service: service.to_owned(),
        },
        headers: Headers::traced(Some(TraceContext::root())),
        body: Bytes::from(format!("body of {id}")),
    }
}

/// The queue of [`step`].
pub(super) fn work() -> Queue {
    Queue::Work(SERVICE.to_owned())
}

/// Looks again and again until what is seen `holds`, for up to [`PATIENCE`].
async fn settles<T: fmt::Debug, F: Future<Output = Result<T, Violation>>>(
    must: &str,
    look: impl Fn() -> F,
    holds: impl Fn(&T) -> bool,
) -> Result<(), Violation> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let seen = look().await?;
        if holds(&seen) {
            return Ok(());
        }
        ensure(Instant::now() < deadline, || {
            format!("{must}, it stays at {seen:?}")
        })?;
        sleep(Duration::from_millis(50)).await;
    }
}

/// Waits for `call`, and takes longer than [`PATIENCE`] for a violation.
pub(super) async fn within<T>(what: &str, call: impl Future<Output = T>) -> Result<T, Violation> {
    timeout(PATIENCE, call)
        .await
        .map_err(|_| Violation(format!("{what} did not end within {PATIENCE:?}")))
}

/// The next delivery.
pub(super) async fn take(consumer: &mut Consumer) -> Result<Delivery, Violation> {
    Ok(within("receiving", consumer.recv()).await??)
}

/// The next delivery, which must be the message `id`.
pub(super) async fn take_id(consumer: &mut Consumer, id: &str) -> Result<Delivery, Violation> {
    let delivery = take(consumer).await?;
    let found = &delivery.envelope().id;
    ensure(found == id, || {
        format!("expected message {id:?} next, got {found:?}")
    })?;
    Ok(delivery)
}

/// Settles without looking at the result.
pub(super) async fn try_settle(
    delivery: Delivery,
    verdict: Verdict,
) -> Result<Result<(), SettleError>, Violation> {
    within("settling", delivery.settle(verdict)).await
}

/// Settles.
pub(super) async fn settle(delivery: Delivery, verdict: Verdict) -> Result<(), Violation> {
    Ok(try_settle(delivery, verdict).await??)
}

/// Settles as done with nothing to follow.
pub(super) async fn done(delivery: Delivery) -> Result<(), Violation> {
    settle(delivery, Verdict::Done(Vec::new())).await
}

/// A broker under test.
pub(super) struct Subject<'a> {
    fixture: &'a dyn Fixture,
    pub(super) broker: Arc<dyn Broker>,
}

impl<'a> Subject<'a> {
    /// A broker with the queue of [`step`] and the dead letters declared.
    pub(super) async fn start(fixture: &'a dyn Fixture) -> Result<Self, Violation> {
        let broker = within("connecting", fixture.broker()).await??;
        let subject = Self { fixture, broker };
        subject.declare(&[work(), Queue::Dead]).await?;
        Ok(subject)
    }

    /// The same after a crash.
    pub(super) async fn crash(self) -> Result<Self, Violation> {
        let Self { fixture, broker } = self;
        let broker = within("coming back from a crash", fixture.crash(broker)).await??;
        Ok(Self { fixture, broker })
    }

    /// The same after a crash that comes when the broker has taken all that `consumer` settled.
    ///
    /// A settlement is sent, not answered: one that is on its way is lost with its connection. The
    /// broker answers the end of a consumer after the settlements before it.
    pub(super) async fn crash_after(self, consumer: Consumer) -> Result<Self, Violation> {
        within("closing a consumer", consumer.close()).await?;
        self.crash().await
    }

    pub(super) async fn declare(&self, queues: &[Queue]) -> Result<(), Violation> {
        Ok(within("declaring", self.broker.declare(queues)).await??)
    }

    pub(super) async fn try_publish(
        &self,
        messages: Vec<Message>,
    ) -> Result<Result<(), BrokerError>, Violation> {
        within("publishing", self.broker.publish(messages)).await
    }

    pub(super) async fn publish(&self, messages: Vec<Message>) -> Result<(), Violation> {
        Ok(self.try_publish(messages).await??)
    }

    /// Publishes steps with these ids in one batch.
    pub(super) async fn publish_steps(&self, ids: &[&str]) -> Result<(), Violation> {
        self.publish(ids.iter().map(|id| step(id)).collect()).await
    }

    pub(super) async fn try_consume(
        &self,
        queue: &Queue,
        options: ConsumeOptions,
    ) -> Result<Result<Consumer, BrokerError>, Violation> {
        within("consuming", self.broker.consume(queue, options)).await
    }

    /// A shared consumer of any queue.
    pub(super) async fn consume(
        &self,
        queue: &Queue,
        prefetch: u16,
    ) -> Result<Consumer, Violation> {
        let options = ConsumeOptions::shared(prefetch);
        Ok(self.try_consume(queue, options).await??)
    }

    /// A shared consumer of the queue of [`step`].
    pub(super) async fn worker(&self, prefetch: u16) -> Result<Consumer, Violation> {
        self.consume(&work(), prefetch).await
    }

    pub(super) async fn inspect(&self, queue: &Queue) -> Result<Option<Depth>, Violation> {
        Ok(within("inspecting", self.broker.inspect(queue)).await??)
    }

    /// Waits until a queue's depth is `wanted`: brokers may count with a lag.
    pub(super) async fn depth_becomes(
        &self,
        queue: &Queue,
        wanted: Option<Depth>,
    ) -> Result<(), Violation> {
        self.depth_settles(queue, &format!("{wanted:?}"), |depth| depth == wanted)
            .await
    }

    /// Waits until this many are ready.
    pub(super) async fn ready_becomes(&self, queue: &Queue, ready: u64) -> Result<(), Violation> {
        self.depth_settles(queue, &format!("{ready} ready"), |depth| {
            depth.is_some_and(|depth| depth.ready == ready)
        })
        .await
    }

    async fn waiting(&self) -> Result<u64, Violation> {
        Ok(within("counting what waits", self.broker.waiting()).await??)
    }

    /// Waits until this many wait for their time.
    pub(super) async fn waiting_becomes(&self, wanted: u64) -> Result<(), Violation> {
        let must = format!("{wanted} must wait");
        settles(&must, || self.waiting(), |waiting| *waiting == wanted).await
    }

    async fn depth_settles(
        &self,
        queue: &Queue,
        wanted: &str,
        holds: impl Fn(Option<Depth>) -> bool,
    ) -> Result<(), Violation> {
        settles(
            &format!("queue {queue} must come to {wanted}"),
            || self.inspect(queue),
            |depth| holds(*depth),
        )
        .await
    }

    /// Nothing is left in the queue of [`step`]: a step published now is the next delivered.
    pub(super) async fn nothing_is_left(&self) -> Result<(), Violation> {
        self.publish_steps(&["the last"]).await?;
        let mut consumer = self.worker(1).await?;
        done(take_id(&mut consumer, "the last").await?).await?;
        self.ready_becomes(&work(), 0).await?;
        within("closing a consumer", consumer.close()).await
    }
}
