//! The life of a worker: read the control log, consume every service, drain, leave.

use std::{sync::Arc, time::Duration};

use filefleet_shared::{
    broker::{Broker, BrokerError, Queue, polls_of},
    files::Roots,
    scratch::Scratch,
    store::Store,
    wire::{ControlRecord, FleetState, Pill},
};
use tokio::{
    sync::{Semaphore, mpsc, watch},
    task::JoinSet,
};

use crate::{
    breaker::{Breaker, Pause},
    budget::Budget,
    call::Call,
    consume::{DrainEnd, Orphans, QueueLoop},
    context::{Context, Lane, Lanes, Stats, Throttles},
    fleet::Fleet,
    inflight::InFlight,
    input,
    journal::Journal,
    pool::Pool,
    retry::{RetryBudget, RetryPolicy},
    service::{Bounds, Catalog, ServiceLimits},
    spill::Spill,
};

/// What all workers should know, on its way to the control log.
const ANNOUNCEMENTS: usize = 64;

/// How a worker behaves.
#[derive(Clone, Debug)]
pub struct WorkerSettings {
    /// Its name in outcomes and dead letters.
    pub name: String,
    /// How long a drain may finish what is in hand.
    pub grace: Duration,
    /// File bytes in memory at any time.
    pub bytes_in_flight: u64,
    /// Deaths of workers after which a step goes to the quarantine.
    pub quarantine_after: u32,
    /// Deaths in the quarantine after which it is given up.
    pub dead_after: u32,
    /// When to try again.
    pub retry: RetryPolicy,
    /// Who is told of every call, if anybody.
    pub calls: Option<mpsc::Sender<Call>>,
    /// Where outputs go that do not fit into a message.
    pub scratch: Option<Scratch>,
    /// Where answers are kept, so that the same request is not paid again.
    pub journal: Option<Store>,
}

/// Why a worker left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Left {
    /// The caller asked.
    Asked,
    /// A pill of the current epoch.
    Pill(Pill),
}

/// Where a worker is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// It reads the control log.
    #[default]
    Starting,
    /// It takes steps.
    Ready,
    /// It takes no more, and finishes what it has.
    Draining,
}

/// How a worker's life ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Why it left.
    pub left: Left,
    /// Steps that were cut off when the grace was over; their calls may have been paid.
    pub cut: usize,
}

/// Why a worker could not work.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The broker.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// A step could outlive its delivery.
    #[error(
        "step {step:?} of pipeline {pipeline:?} may take {timeout:?}, but the broker takes a \
         delivery back after {limit:?}: lower the service's timeout, or raise the broker's \
         consumer timeout and broker.ack_timeout"
    )]
    Timeout {
        /// The pipeline.
        pipeline: String,
        /// The step.
        step: String,
        /// Its deadline for one attempt.
        timeout: Duration,
        /// The longest a delivery is held.
        limit: Duration,
    },
}

/// A worker, ready to run.
#[derive(Debug)]
pub struct Worker {
    broker: Arc<dyn Broker>,
    context: Arc<Context>,
    lanes: Lanes,
    grace: Duration,
    stats: Arc<Stats>,
    phase: watch::Sender<Phase>,
    announcements: mpsc::Receiver<ControlRecord>,
}

impl Worker {
    /// Checks that every step fits into the broker's ack timeout.
    ///
    /// # Errors
    /// [`WorkerError::Timeout`] names the step that does not.
    pub fn new(
        broker: Arc<dyn Broker>,
        catalog: Catalog,
        roots: Roots,
        settings: WorkerSettings,
    ) -> Result<Self, WorkerError> {
        let hold_budget = hold_budget(&*broker, &catalog)?;
        let stats = Arc::new(Stats::default());
        let lanes = catalog
            .services()
            .flat_map(|service| lanes_of(service, &settings.retry, &stats))
            .map(|lane| (lane.name.clone(), Arc::new(lane)))
            .collect();
        let (announce, announcements) = mpsc::channel(ANNOUNCEMENTS);
        let bytes_total = input::units(settings.bytes_in_flight);
        let context = Context {
            worker: settings.name,
            catalog,
            roots: Arc::new(roots),
            scratch: settings.scratch.map(Spill::new),
            journal: settings.journal.map(Journal::new),
            retry: settings.retry,
            bytes: Semaphore::new(bytes_total as usize),
            bytes_total,
            output_bytes: Semaphore::new(bytes_total as usize),
            hold_budget,
            quarantine_after: settings.quarantine_after,
            dead_after: settings.dead_after,
            budget: Arc::default(),
            calls: settings.calls,
            announce,
            complete: watch::Sender::default(),
        };
        Ok(Self {
            broker,
            context: Arc::new(context),
            lanes,
            grace: settings.grace,
            stats,
            phase: watch::Sender::default(),
            announcements,
        })
    }

    /// Counters, live.
    #[must_use]
    pub fn stats(&self) -> Arc<Stats> {
        self.stats.clone()
    }

    /// What it spends, live; without a bound until it is given one.
    #[must_use]
    pub fn budget(&self) -> Arc<Budget> {
        self.context.budget.clone()
    }

    /// Where it is in its life, live.
    #[must_use]
    pub fn phase(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    /// The services with their pauses, live.
    #[must_use]
    pub fn pauses(&self) -> Vec<(String, watch::Receiver<Option<Pause>>)> {
        let services = self.context.catalog.services();
        services
            .filter_map(|service| self.lanes.get(&service.name))
            .map(|lane| (lane.name.clone(), lane.breaker.watch()))
            .collect()
    }

    /// Which services throttle, live.
    #[must_use]
    pub fn throttles(&self) -> Throttles {
        Throttles {
            lanes: self.lanes.values().cloned().collect(),
        }
    }

    /// Works until `stop` turns true or a pill of the current epoch comes, then drains.
    ///
    /// # Errors
    /// The broker refuses for good, or a queue is gone. What was in hand was finished.
    pub async fn run(self, mut stop: watch::Receiver<bool>) -> Result<Report, WorkerError> {
        let queues: Vec<Queue> = self.lanes.keys().flat_map(|name| queues(name)).collect();
        self.broker.declare(&queues).await?;
        let log = self.broker.follow_control().await?;
        let fleet: FleetState = log.history.iter().collect();
        if let Some(pill) = fleet.pill {
            tracing::warn!(
                "the fleet was stopped, so there is no work: publish a run and start again, or \
                 take the stop back with `filefleet stop --undo`"
            );
            return Ok(Report {
                left: Left::Pill(pill),
                cut: 0,
            });
        }
        let fleet = Fleet::new(fleet, &log.history, &self.context, &self.lanes);
        let helpers = fleet.start(&self.broker, self.announcements);
        let (drain, draining) = watch::channel(false);
        let mut loops = JoinSet::new();
        for queue_loop in queue_loops(&self.broker, &self.context, &self.lanes) {
            loops.spawn(queue_loop.run(draining.clone(), self.grace));
        }
        let services = self.context.catalog.services().count();
        self.phase.send_replace(Phase::Ready);
        tracing::info!(worker = %self.context.worker, services, "worker ready");
        let (left, mut ended) = tokio::select! {
            left = fleet.follow(&mut stop, log) => (left, Ok(0)),
            // A loop ends by itself only with an error; the others drain then.
            Some(first) = loops.join_next() => (Left::Asked, cut_off(first)),
        };
        drain.send_replace(true);
        self.phase.send_replace(Phase::Draining);
        tracing::info!(in_hand = self.stats.in_hand(), "draining");
        while let Some(next) = loops.join_next().await {
            ended = match (ended, cut_off(next)) {
                (Ok(cut), Ok(more)) => Ok(cut + more),
                (Err(error), _) | (Ok(_), Err(error)) => Err(error),
            };
        }
        helpers.end().await;
        Ok(Report { left, cut: ended? })
    }
}

fn queue_loops(broker: &Arc<dyn Broker>, context: &Arc<Context>, lanes: &Lanes) -> Vec<QueueLoop> {
    let in_flight = InFlight::default();
    let orphans = Arc::<Orphans>::default();
    let of_lane = |lane: &Arc<Lane>| {
        queues(&lane.name).map(|queue| QueueLoop {
            broker: broker.clone(),
            queue,
            context: context.clone(),
            lane: lane.clone(),
            in_flight: in_flight.clone(),
            orphans: orphans.clone(),
        })
    };
    lanes.values().flat_map(of_lane).collect()
}

/// The longest a delivery is held.
fn hold_budget(broker: &dyn Broker, catalog: &Catalog) -> Result<Duration, WorkerError> {
    // A tenth is left for waiting in the prefetch buffer and for settling.
    let limit = broker
        .ack_timeout()
        .map_or(Duration::MAX, |limit| limit / 10 * 9);
    let mut steps = catalog
        .pipelines()
        .filter_map(|name| catalog.steps(name))
        .flatten();
    match steps.find(|step| step.timeout >= limit) {
        None => Ok(limit),
        Some(step) => Err(WorkerError::Timeout {
            pipeline: step.pipeline.clone(),
            step: step.name.clone(),
            timeout: step.timeout,
            limit,
        }),
    }
}

/// The lane of a service's steps, and one for its accepted operations if it has such.
fn lanes_of(service: &ServiceLimits, retry: &RetryPolicy, stats: &Arc<Stats>) -> Vec<Lane> {
    let deployments = &service.deployments;
    let names = deployments
        .iter()
        .map(|limits| limits.name_in(&service.name));
    let breaker = Arc::new(Breaker::new(names.collect()));
    let lane = |name: String, bounds: Vec<Bounds>| Lane {
        calls: Pool::new(&name, deployments.iter().zip(bounds), breaker.clone()),
        name,
        retries: RetryBudget::new(retry.budget),
        consuming: watch::Sender::new(false),
        breaker: breaker.clone(),
        stats: stats.clone(),
    };
    let calls = deployments.iter().map(|limits| limits.calls).collect();
    let polls = service
        .polls()
        .map(|polls| lane(polls_of(&service.name), polls));
    [lane(service.name.clone(), calls)]
        .into_iter()
        .chain(polls)
        .collect()
}

/// The queues of a lane.
fn queues(lane: &str) -> [Queue; 2] {
    [
        Queue::Work(lane.to_owned()),
        Queue::Quarantine(lane.to_owned()),
    ]
}

/// Steps cut off by the end of one loop.
fn cut_off(
    joined: Result<Result<DrainEnd, BrokerError>, tokio::task::JoinError>,
) -> Result<usize, BrokerError> {
    match joined {
        Ok(Ok(DrainEnd::Finished)) => Ok(0),
        Ok(Ok(DrainEnd::GraceOver { cut })) => Ok(cut),
        Ok(Err(error)) => Err(error),
        Err(panic) => Err(BrokerError::Unavailable(format!(
            "a queue's loop ended badly: {panic}"
        ))),
    }
}
