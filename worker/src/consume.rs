//! The loop of one queue: room first, then a delivery, then a task for it.
//!
//! The loop does not know the work. It cancels receiving, never the work; a panic is one
//! outcome of a task; a drain has a deadline and says which of the two ended it.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use filefleet_shared::{
    broker::{
        Broker, BrokerError, ConsumeOptions, Consumer, Delivery, Envelope, Queue, SettleError,
        Verdict,
    },
    wire::{self, StepMessage},
};
use futures_util::FutureExt;
use tokio::{sync::watch, task::JoinSet, time::Instant};
use tracing::Instrument;

use crate::{
    breaker::Pause,
    context::{Context, Lane},
    handle,
    inflight::{InFlight, Slot, Taken},
};

/// How long to wait before asking a broker again that said no for now.
const AGAIN: Duration = Duration::from_secs(2);

/// One queue that a worker consumes.
pub(crate) struct QueueLoop {
    pub(crate) broker: Arc<dyn Broker>,
    pub(crate) queue: Queue,
    pub(crate) context: Arc<Context>,
    pub(crate) lane: Arc<Lane>,
    pub(crate) in_flight: InFlight,
}

/// How a step's task ended. An error means that a paid answer could not be kept: whoever goes on
/// taking steps then would only pay more of them.
type Settled = Result<(), BrokerError>;

/// What happened in the loop.
#[expect(
    clippy::large_enum_variant,
    reason = "one at a time, on the stack, never stored"
)]
enum Event {
    Draining,
    Changed,
    Joined(Result<Settled, tokio::task::JoinError>),
    Received(Result<Delivery, BrokerError>),
}

/// Why taking deliveries stopped.
enum Stopped {
    /// The worker drains.
    Draining,
    /// The service was paused, or a probe brought it back: consume anew with other room.
    Changed,
    /// The consumer is over.
    Ended(BrokerError),
}

/// What ended a drain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DrainEnd {
    /// Every delivery in hand was settled.
    Finished,
    /// The grace was over; this many deliveries were cut off and handed back.
    GraceOver {
        /// Steps that were cut off.
        cut: usize,
    },
}

impl QueueLoop {
    /// Consumes until a drain; then finishes what is in hand within `grace`.
    ///
    /// # Errors
    /// The queue is gone or the broker refuses for good; deliveries in hand were finished.
    pub(crate) async fn run(
        self,
        mut draining: watch::Receiver<bool>,
        grace: Duration,
    ) -> Result<DrainEnd, BrokerError> {
        let mut tasks = JoinSet::new();
        let ended = self.consume(&mut tasks, &mut draining).await;
        // After a fatal error, what is in hand still gets the grace.
        let end = finish(&mut tasks, grace).await;
        ended.and(end)
    }

    /// Most deliveries in hand, where so many calls may be in flight.
    fn room(&self, calls: usize) -> usize {
        match &self.queue {
            // A little more: the next file is read before a slot is free.
            Queue::Work(_) => calls + calls / 4,
            // In slow lanes a step would wait behind another.
            _ => 1,
        }
    }

    /// Tells whether the fleet's other members count this worker.
    fn consuming(&self, consuming: bool) {
        if matches!(self.queue, Queue::Work(_)) {
            self.lane.consuming.send_replace(consuming);
        }
    }

    async fn consume(
        &self,
        tasks: &mut JoinSet<Settled>,
        draining: &mut watch::Receiver<bool>,
    ) -> Result<(), BrokerError> {
        let mut away: Option<Instant> = None;
        loop {
            if !self.wait_for_service(draining).await {
                return Ok(());
            }
            let probing = self.lane.breaker.is_open();
            let tier = *self.lane.calls.tier().borrow();
            let room = if probing { 1 } else { self.room(tier) };
            let prefetch = u16::try_from(room).unwrap_or(u16::MAX).min(2000);
            let options = ConsumeOptions::shared(prefetch);
            let mut consumer = match self.broker.consume(&self.queue, options).await {
                Ok(consumer) => consumer,
                Err(error) if error.is_transient() => {
                    let outage = self.broker.outage();
                    if away.get_or_insert_with(Instant::now).elapsed() >= outage {
                        return Err(error.after(outage));
                    }
                    tracing::warn!(queue = %self.queue, %error, "cannot consume yet");
                    if !sleep_unless(draining, AGAIN).await {
                        return Ok(());
                    }
                    continue;
                }
                Err(error) => return Err(error),
            };
            away = None;
            self.consuming(true);
            let stopped = self
                .take(&mut consumer, tasks, draining, room, probing)
                .await;
            consumer.close().await;
            match stopped {
                Stopped::Draining => {
                    self.consuming(false);
                    return Ok(());
                }
                Stopped::Changed => {}
                Stopped::Ended(error) => return Err(error),
            }
        }
    }

    /// Waits while the service is paused and not yet to be probed; false if a drain came.
    async fn wait_for_service(&self, draining: &mut watch::Receiver<bool>) -> bool {
        let mut paused = self.lane.breaker.watch();
        loop {
            let until = paused.borrow_and_update().as_ref().map(|pause| pause.until);
            let Some(until) = until.filter(|until| *until > Instant::now()) else {
                return !*draining.borrow();
            };
            tokio::select! {
                _ = draining.wait_for(|draining| *draining) => return false,
                _ = paused.changed() => {}
                () = tokio::time::sleep_until(until) => {}
            }
        }
    }

    /// Takes deliveries while there is room.
    async fn take(
        &self,
        consumer: &mut Consumer,
        tasks: &mut JoinSet<Settled>,
        draining: &mut watch::Receiver<bool>,
        room: usize,
        probing: bool,
    ) -> Stopped {
        let mut paused = self.lane.breaker.watch();
        let mut tier = self.lane.calls.tier();
        loop {
            let event = tokio::select! {
                biased;
                _ = draining.wait_for(|draining| *draining) => Event::Draining,
                _ = paused.wait_for(|pause| changed(pause.as_ref(), probing)) => Event::Changed,
                _ = tier.wait_for(|tier| !probing && self.room(*tier) > room) => Event::Changed,
                Some(joined) = tasks.join_next() => Event::Joined(joined),
                received = consumer.recv(), if tasks.len() < room => Event::Received(received),
            };
            match event {
                Event::Draining => return Stopped::Draining,
                Event::Changed => return Stopped::Changed,
                Event::Joined(joined) => {
                    if let Err(error) = settled(joined) {
                        return Stopped::Ended(error);
                    }
                }
                Event::Received(Ok(delivery)) => self.start(delivery, tasks, draining.clone()),
                Event::Received(Err(error)) => return Stopped::Ended(error),
            }
        }
    }

    fn start(
        &self,
        delivery: Delivery,
        tasks: &mut JoinSet<Settled>,
        draining: watch::Receiver<bool>,
    ) {
        match self.in_flight.take(delivery) {
            Taken::Start(delivery, slot) => {
                let step = Step {
                    context: self.context.clone(),
                    lane: self.lane.clone(),
                    draining,
                };
                self.lane.stats.taken.add(1);
                tasks.spawn(step.work(delivery, slot));
            }
            Taken::Joined => self.lane.stats.joined.add(1),
            Taken::Finished(delivery) => {
                self.lane.stats.joined.add(1);
                let lane = self.lane.clone();
                tasks.spawn(async move {
                    acknowledge(delivery, &lane).await;
                    Ok(())
                });
            }
        }
    }
}

/// One delivery in hand.
struct Step {
    context: Arc<Context>,
    lane: Arc<Lane>,
    draining: watch::Receiver<bool>,
}

impl Step {
    /// Works on a delivery and settles it. Cut off, it hands the delivery back.
    async fn work(self, delivery: Delivery, slot: Slot) -> Settled {
        let envelope = delivery.envelope().clone();
        let span = tracing::info_span!(
            "step",
            message_id = %envelope.id,
            service = %self.lane.name,
            attempt = envelope.headers.attempt,
            trace_id = envelope.headers.trace.map(|trace| tracing::field::display(trace.trace_id())),
        );
        let Self {
            context,
            lane,
            draining,
        } = self;
        async move {
            let work = handle::handle(&context, &lane, &envelope, draining);
            let verdict = match AssertUnwindSafe(work).catch_unwind().await {
                Ok(verdict) => verdict,
                Err(panic) => handle::panicked(&context, &envelope, panic_text(&*panic)),
            };
            let settled = settle(delivery, verdict, slot, &lane).await;
            match settled {
                Err(BrokerError::Unroutable(_)) if is_over(&context, &envelope).await => Ok(()),
                settled => settled,
            }
        }
        .instrument(span)
        .await
    }
}

/// The pause is not what taking was started under: it began, ended, or a probe prolonged it.
fn changed(pause: Option<&Pause>, probing: bool) -> bool {
    match pause {
        Some(pause) => !probing || pause.until > Instant::now(),
        None => probing,
    }
}

/// The run of a step is complete, so that nobody waits for its outcome.
async fn is_over(context: &Context, envelope: &Envelope) -> bool {
    match wire::decode::<StepMessage>(&envelope.body) {
        Ok(message) => context.turns_complete(message.run).await,
        Err(_) => false,
    }
}

async fn settle(delivery: Delivery, verdict: Verdict, slot: Slot, lane: &Lane) -> Settled {
    match &verdict {
        Verdict::Release => lane.stats.released.add(1),
        Verdict::Dead(_) => lane.stats.dead.add(1),
        Verdict::Done(_) | Verdict::Later(_) => {}
    }
    let released = matches!(verdict, Verdict::Release);
    let settled = delivery.settle(verdict).await;
    lane.stats.settled.add(1);
    let published = match &settled {
        Ok(()) => !released,
        Err(SettleError::Lost) => {
            lane.stats.lost.add(1);
            tracing::warn!("settled, but the delivery was lost with its session");
            !released
        }
        Err(SettleError::Publish(error)) => {
            lane.stats.lost.add(1);
            // The loop ends with it; of all the steps in hand, one is told.
            tracing::debug!(%error, "could not publish what follows; the step will come again");
            false
        }
    };
    let lost = matches!(settled, Err(SettleError::Lost)) && published;
    // A redelivery that came meanwhile needs no call if the results are out; else it is handed
    // back by being dropped.
    if let Some(again) = slot.end(lost)
        && published
    {
        acknowledge(again, lane).await;
    }
    match settled {
        Err(SettleError::Publish(error)) => Err(error),
        Ok(()) | Err(SettleError::Lost) => Ok(()),
    }
}

/// Settles a redelivery whose results are published already.
async fn acknowledge(delivery: Delivery, lane: &Lane) {
    if let Err(error) = delivery.settle(Verdict::Done(Vec::new())).await {
        lane.stats.lost.add(1);
        tracing::warn!(%error, "could not acknowledge a step that is finished");
    }
}

/// Waits for the tasks, at most for the grace; what is left then is cut off and handed back.
async fn finish(tasks: &mut JoinSet<Settled>, grace: Duration) -> Result<DrainEnd, BrokerError> {
    let mut ended = Ok(DrainEnd::Finished);
    let all = async {
        while let Some(joined) = tasks.join_next().await {
            if let Err(error) = settled(joined) {
                ended = Err(error);
            }
        }
    };
    if tokio::time::timeout(grace, all).await.is_err() {
        let cut = tasks.len();
        tasks.shutdown().await;
        return ended.map(|_| DrainEnd::GraceOver { cut });
    }
    ended
}

fn settled(joined: Result<Settled, tokio::task::JoinError>) -> Settled {
    joined.unwrap_or_else(|error| {
        // The work catches its own panics, so this is one in settling.
        tracing::error!(%error, "a step's task ended badly; its delivery was handed back");
        Ok(())
    })
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a panic without a message")
}

/// Sleeps; false if a drain came first.
async fn sleep_unless(draining: &mut watch::Receiver<bool>, time: Duration) -> bool {
    tokio::select! {
        _ = draining.wait_for(|draining| *draining) => false,
        () = tokio::time::sleep(time) => true,
    }
}
