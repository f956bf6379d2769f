//! Drives the three parts of a run: starts them, watches them, and ends them in order.

use std::{path::PathBuf, sync::Arc, time::Duration};

use filefleet_producer::{
    collect::{CollectError, CollectProgress, collect},
    publish::{PublishError, PublishProgress, Published, publish},
    sink::{self, Summary},
};
use filefleet_shared::broker::{Broker, BrokerError, Queue};
use filefleet_shared::wire::{Cost, FleetState, RunId};
use filefleet_worker::{
    Budget, Report, Stats, Throttles, WorkerError,
    breaker::{Pause, PauseKind},
};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, interval},
};

use super::{
    ending::{conclude, nothing_published, paused},
    prepare::Parts,
    spending::{Before, Spending},
    troubles::troubles,
};
use crate::{
    args::RunArgs,
    commands::{
        collect::{self as collecting, collect_failed},
        publish::publish_failed,
        worker::failed,
    },
    exit::{CommandError, CommandResult, Exit},
    progress::{Moment, Progress, warn_of_links},
    signals::Signals,
};

const TICK: Duration = Duration::from_millis(100);
/// How long a service may be unreachable before the run pauses: from the start, and in between.
const NEVER_REACHED: Duration = Duration::from_secs(3);
const LOST: Duration = Duration::from_secs(300);
/// Longest wait for the last outcomes to be written after the worker has left.
const LAST_OUTCOMES: Duration = Duration::from_secs(30);

/// Drives a run to its end.
pub(crate) async fn drive(
    parts: Parts,
    args: &RunArgs,
    json: bool,
    mut signals: Signals,
) -> CommandResult {
    let (stop, stopped) = watch::channel(false);
    let (report, publishing) = watch::channel(PublishProgress::default());
    let run = parts.publish.run;
    let reopened = (
        run,
        parts.publish.pipeline.clone(),
        parts.publish.services.clone(),
    );
    let mut publisher = tokio::spawn(publish(
        parts.broker.clone(),
        parts.publish,
        report,
        stopped.clone(),
    ));
    // Until there is a file there is no run: nothing else starts, and no result is touched.
    let first = first_file(&mut publisher, publishing.clone(), &stop, &mut signals);
    if let Some(ended) = first.await {
        return nothing_published(ended, args, json);
    }
    sink::roll_over(parts.out.path(), run).map_err(|error| collect_failed(error.into()))?;
    reopen(&parts.broker, &reopened).await?;
    let stats = parts.worker.stats();
    let pauses = parts.worker.pauses();
    let throttles = parts.worker.throttles();
    let before = Before {
        out: parts.out.clone(),
        run,
        embedded: parts.embedded,
    };
    let budget = spending(args.budget, parts.worker.budget(), before).await?;
    let (report, collected) = watch::channel(CollectProgress::default());
    let (enough, enough_asked) = watch::channel(false);
    let mut drive = Drive {
        broker: parts.broker.clone(),
        embedded: parts.embedded,
        queue: parts.out.queue(),
        run,
        stop,
        enough,
        publisher: Some(publisher),
        worker: Some(tokio::spawn(parts.worker.run(stopped))),
        collector: Some(tokio::spawn(collect(
            parts.broker,
            parts.collect,
            report,
            enough_asked,
        ))),
        publishing,
        collected,
        stats,
        pauses,
        throttles,
        budget,
        progress: Progress::new(json, "finished"),
        problem: None,
    };
    let ended = drive.until_ended(&mut signals).await;
    drive.progress.finish();
    warn_of_links(json, drive.publishing.borrow().links);
    conclude(ended, drive.problem, json, args)
}

/// Going on with a run that was stopped takes the stop back, or its worker would leave at once.
async fn reopen(
    broker: &Arc<dyn Broker>,
    (run, pipeline, services): &(RunId, String, Vec<String>),
) -> Result<(), CommandError> {
    let state: FleetState = broker.follow_control().await?.history.iter().collect();
    if state.pill.is_some() {
        let record = state.open(*run, pipeline, services);
        broker.append_control(record).await?;
    }
    Ok(())
}

/// What the run may spend yet.
async fn spending(
    most: Option<Cost>,
    worker: Arc<Budget>,
    before: Before,
) -> Result<Spending, CommandError> {
    let Some(most) = most else {
        return Ok(Spending::unbounded(worker));
    };
    tokio::task::spawn_blocking(move || Spending::bounded(most, worker, &before))
        .await
        .map_err(CommandError::local)?
}

type Publisher = JoinHandle<Result<Published, PublishError>>;

/// Waits for the first file; or the publisher's end, if it ends without one or early.
async fn first_file(
    publisher: &mut Publisher,
    mut publishing: watch::Receiver<PublishProgress>,
    stop: &watch::Sender<bool>,
    signals: &mut Signals,
) -> Option<Result<Published, PublishError>> {
    tokio::select! {
        biased;
        // A store that is away can keep it waiting.
        () = signals.stop() => drop(stop.send_replace(true)),
        found = publishing.wait_for(|shown| shown.planned > 0) => {
            if found.is_ok() {
                return None;
            }
        }
        ended = &mut *publisher => return Some(joined(ended)),
    }
    Some(joined(publisher.await))
}

fn joined<T, E: From<BrokerError>>(
    ended: Result<Result<T, E>, tokio::task::JoinError>,
) -> Result<T, E> {
    ended.unwrap_or_else(|panic| {
        Err(BrokerError::Unavailable(format!("a part of the run ended badly: {panic}")).into())
    })
}

/// The parts of a run while it goes on.
struct Drive {
    broker: Arc<dyn Broker>,
    embedded: bool,
    /// The embedded queue's file.
    queue: PathBuf,
    run: RunId,
    /// Asks the publisher and the worker to stop.
    stop: watch::Sender<bool>,
    /// Asks the collector to stop.
    enough: watch::Sender<bool>,
    publisher: Option<Publisher>,
    worker: Option<JoinHandle<Result<Report, WorkerError>>>,
    collector: Option<JoinHandle<Result<Summary, CollectError>>>,
    publishing: watch::Receiver<PublishProgress>,
    collected: watch::Receiver<CollectProgress>,
    stats: Arc<Stats>,
    pauses: Vec<(String, watch::Receiver<Option<Pause>>)>,
    throttles: Throttles,
    budget: Spending,
    progress: Progress,
    problem: Option<CommandError>,
}

/// What happened.
#[expect(
    clippy::large_enum_variant,
    reason = "one at a time, on the stack, never stored"
)]
enum Event {
    Signal,
    Published(Result<Published, PublishError>),
    Worked(Result<Report, WorkerError>),
    Collected(Result<Summary, CollectError>),
    Tick,
}

impl Drive {
    /// Until the collector has ended: by itself when the run is complete, or asked to.
    async fn until_ended(&mut self, signals: &mut Signals) -> Option<Summary> {
        let mut tick = interval(TICK);
        let mut signalled = false;
        loop {
            let event = tokio::select! {
                biased;
                () = signals.stop(), if !signalled => Event::Signal,
                ended = of(&mut self.collector) => Event::Collected(ended),
                ended = of(&mut self.publisher) => Event::Published(ended),
                ended = of(&mut self.worker) => Event::Worked(ended),
                _ = tick.tick() => Event::Tick,
            };
            match event {
                Event::Signal => {
                    signalled = true;
                    self.stop.send_replace(true);
                }
                Event::Published(Ok(_) | Err(PublishError::Interrupted { .. })) => {}
                Event::Published(Err(error)) => self.give_up(publish_failed(error)),
                Event::Worked(ended) => self.worked(ended).await,
                Event::Collected(Ok(summary)) => {
                    self.stop.send_replace(true);
                    self.the_others().await;
                    return Some(summary);
                }
                Event::Collected(Err(error)) => {
                    self.give_up(collect_failed(error));
                    self.the_others().await;
                    return None;
                }
                Event::Tick => {
                    self.check_pauses();
                    if let Some(problem) = self.budget.check(&self.collected) {
                        self.give_up(problem);
                    }
                    let moment = self.moment();
                    self.progress.show(&moment);
                }
            }
        }
    }

    /// The worker has left: asked to, by a pill, or with an error.
    async fn worked(&mut self, ended: Result<Report, WorkerError>) {
        match ended {
            Ok(report) if report.cut > 0 => {
                tracing::warn!(
                    cut = report.cut,
                    "calls were cut off; they will be made again"
                );
            }
            Ok(_) => {}
            Err(error) => self.give_up(failed(error)),
        }
        self.stop.send_replace(true);
        self.last_outcomes().await;
        self.enough.send_replace(true);
    }

    /// Waits until the outcomes that are in the queue are written.
    async fn last_outcomes(&mut self) {
        let until = Instant::now() + LAST_OUTCOMES;
        let mut before = None;
        let queue = Queue::Results(self.run);
        while Instant::now() < until
            && self
                .collector
                .as_ref()
                .is_some_and(|task| !task.is_finished())
        {
            let now = *self.collected.borrow();
            let ready = match self.broker.inspect(&queue).await {
                Ok(depth) => depth.unwrap_or_default().ready,
                Err(error) => {
                    if self.problem.is_none() {
                        tracing::warn!(%error, "the last outcomes stay in the queue");
                    }
                    return;
                }
            };
            if ready == 0 && before == Some(now) {
                return;
            }
            before = Some(now);
            tokio::time::sleep(TICK * 3).await;
        }
    }

    /// The first problem is the one to tell; everything stops.
    fn give_up(&mut self, mut error: CommandError) {
        if self.embedded && error.exit == Exit::NoBroker {
            error.exit = Exit::Local;
            error.message = format!("{}: {}", self.queue.display(), error.message);
        }
        self.problem.get_or_insert(error);
        self.stop.send_replace(true);
    }

    /// Waits for the publisher and the worker after the collector's end.
    async fn the_others(&mut self) {
        if let Some(publisher) = self.publisher.take()
            && let Err(error) = joined(publisher.await)
            && !matches!(error, PublishError::Interrupted { .. })
        {
            self.give_up(publish_failed(error));
        }
        if let Some(worker) = self.worker.take()
            && let Err(error) = joined(worker.await)
        {
            self.give_up(failed(error));
        }
    }

    /// A service that refuses every call stops the run; one that is away gets some time.
    fn check_pauses(&mut self) {
        let problem = self.pauses.iter().find_map(|(service, pause)| {
            let pause = pause.borrow();
            let pause = pause.as_ref()?;
            let patience = match (pause.kind, pause.answered_before) {
                (PauseKind::Unreachable, true) | (PauseKind::Failing, _) => LOST,
                (PauseKind::Unreachable, false) => NEVER_REACHED,
                // It has said when to come again.
                (PauseKind::Throttled, _) => Duration::MAX,
                _ => Duration::ZERO,
            };
            (pause.since.elapsed() >= patience).then(|| paused(service, pause))
        });
        if let Some(problem) = problem
            && self.problem.is_none()
        {
            self.give_up(problem);
        }
    }

    fn moment(&self) -> Moment {
        let publishing = self.publishing.borrow();
        let shown = collecting::moment(&self.collected.borrow());
        Moment {
            total: publishing.scanned.then_some(publishing.planned),
            published: publishing.confirmed,
            in_flight: self.stats.in_hand(),
            paused: troubles(&self.pauses, &self.throttles.now(), Instant::now()),
            ..shown
        }
    }
}

/// The end of a part that still runs; never, if it has ended.
async fn of<T, E: From<BrokerError>>(part: &mut Option<JoinHandle<Result<T, E>>>) -> Result<T, E> {
    match part {
        Some(task) => {
            let ended = joined(task.await);
            *part = None;
            ended
        }
        None => std::future::pending().await,
    }
}
