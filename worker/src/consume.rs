//! The loop of one queue: room first, then a delivery, then a task for it.
//!
//! The loop does not know the work. It cancels receiving, never the work; a panic is one
//! outcome of a task; a drain has a deadline and says which of the two ended it.

mod orphans;
mod step;

use std::{sync::Arc, time::Duration};

use filefleet_shared::broker::{Broker, BrokerError, ConsumeOptions, Consumer, Delivery, Queue};
use tokio::{sync::watch, task::JoinSet, time::Instant};

pub(crate) use self::orphans::Orphans;
use self::step::{Settled, Step, acknowledge};
use crate::{
    breaker::Pause,
    context::{Context, Lane},
    inflight::{InFlight, Taken},
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
    pub(crate) orphans: Arc<Orphans>,
}

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
        self.consuming(false);
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
                Stopped::Draining => return Ok(()),
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
                    broker: self.broker.clone(),
                    context: self.context.clone(),
                    lane: self.lane.clone(),
                    orphans: self.orphans.clone(),
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

/// The pause is not what taking was started under: it began, ended, or a probe prolonged it.
fn changed(pause: Option<&Pause>, probing: bool) -> bool {
    match pause {
        Some(pause) => !probing || pause.until > Instant::now(),
        None => probing,
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

/// Sleeps; false if a drain came first.
async fn sleep_unless(draining: &mut watch::Receiver<bool>, time: Duration) -> bool {
    tokio::select! {
        _ = draining.wait_for(|draining| *draining) => false,
        () = tokio::time::sleep(time) => true,
    }
}
