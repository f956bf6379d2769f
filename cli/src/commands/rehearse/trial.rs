//! Runs a sample through its pipeline, against a simulator in this process and without an output
//! directory.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use filefleet_producer::scan::Source;
use filefleet_shared::{
    broker::{
        Broker, ConsumeOptions, Consumer, Headers, Message, Queue, Route, Verdict,
        embedded::EmbeddedBroker,
    },
    files::{Links, Roots},
    telemetry::TraceContext,
    wire::{self, Outcome, RunId, StepMessage, TaskId, Usage},
};
use filefleet_simulator::{OcrConfig, Simulator, SimulatorConfig};
use filefleet_worker::{
    Call, Worker, WorkerError,
    breaker::Pause,
    config::{Config, ServiceKind},
    service::{Catalog, CatalogOptions},
};
use tokio::{
    sync::{mpsc, watch},
    time::interval,
};

use super::sample::Sampled;
use crate::{
    commands::worker::{failed, process_name, settings},
    exit::{CommandError, Exit},
    pipeline::Entry,
    place::OutDir,
    progress::{Moment, Progress},
    signals::Signals,
    stores,
};

/// Root under which the files are; nobody else sees it.
const ROOT: &str = "run";
/// Calls at once, whatever a real service would allow: the simulator answers at once.
const IN_FLIGHT: usize = 32;
/// So high a quota never makes a call wait, and yet its tokens are counted.
const COUNTED: u64 = 1_000_000_000_000;
const TICK: Duration = Duration::from_millis(100);
const PREFETCH: u16 = 200;
/// Calls that nobody has looked at yet.
const UNREAD: usize = 1024;

/// How a file of the sample ended.
#[derive(Clone, Debug, Default)]
pub(super) struct Tried {
    /// Why it failed, if it did.
    pub(super) failure: Option<String>,
    pub(super) by_service: BTreeMap<String, Usage>,
    pub(super) calls: Vec<Call>,
    ended: bool,
}

impl Tried {
    /// Seconds from a service's first answer to the result of what it accepted.
    pub(super) fn processing(&self, service: &str) -> f64 {
        let of_service = || self.calls.iter().filter(|call| call.service == service);
        let ended = |call: &Call| call.began + call.took;
        let accepted = of_service().filter(|call| !call.continues).map(ended).min();
        let result = of_service().filter(|call| call.continues).map(ended).max();
        accepted
            .zip(result)
            .map_or(0.0, |(accepted, result)| (result - accepted).as_secs_f64())
    }
}

/// What is tried.
pub(super) struct Trial<'a> {
    pub(super) source: &'a Source,
    pub(super) links: Links,
    pub(super) config: Config,
    pub(super) entry: &'a Entry,
    pub(super) ocr_time: Duration,
    pub(super) json: bool,
}

impl Trial<'_> {
    /// Tries every file of the sample; how each ended, in their order. `None` if a signal came.
    ///
    /// # Errors
    /// A service cannot be stood in for or called, or a local file or disk failed.
    pub(super) async fn run(
        mut self,
        sample: &[Sampled],
        signals: &mut Signals,
    ) -> Result<Option<Vec<Tried>>, CommandError> {
        unbind(&mut self.config);
        let simulator = simulator(self.ocr_time).await?;
        let options = CatalogOptions {
            rehearse: Some(simulator.base_url()),
        };
        let catalog = Catalog::build(&self.config, &options).map_err(CommandError::usage)?;
        let place = tempfile::tempdir().map_err(CommandError::local)?;
        let out = OutDir::new(place.path());
        std::fs::create_dir(out.state()).map_err(CommandError::local)?;
        let broker: Arc<dyn Broker> =
            Arc::new(EmbeddedBroker::open(&out.queue()).map_err(CommandError::local)?);
        let ended = self
            .work(broker.clone(), catalog, &out, sample, signals)
            .await;
        broker.close().await;
        simulator.shutdown().await;
        ended
    }

    async fn work(
        &self,
        broker: Arc<dyn Broker>,
        catalog: Catalog,
        place: &OutDir,
        sample: &[Sampled],
        signals: &mut Signals,
    ) -> Result<Option<Vec<Tried>>, CommandError> {
        let run = RunId::mint();
        let (tell, calls) = mpsc::channel(UNREAD);
        let mut settings = settings(&self.config, process_name());
        settings.calls = Some(tell);
        settings.scratch = Some(stores::own_scratch(place, run)?);
        let worker =
            Worker::new(broker.clone(), catalog, self.roots()?, settings).map_err(failed)?;
        let queues = [Queue::Work(self.entry.service.clone()), Queue::Results(run)];
        broker.declare(&queues).await?;
        broker.publish(self.messages(run, sample)?).await?;
        let results = broker
            .consume(&Queue::Results(run), ConsumeOptions::shared(PREFETCH))
            .await?;
        let mut watched = Watched {
            files: vec![Tried::default(); sample.len()],
            left: sample.len(),
            results,
            calls,
            pauses: worker.pauses(),
            progress: Progress::new(self.json, "rehearsed"),
        };
        let (stop, stopped) = watch::channel(false);
        let mut working = tokio::spawn(worker.run(stopped));
        let ended = tokio::select! {
            ended = watched.until_ended(signals) => ended,
            left = &mut working => Err(left_early(left)),
        };
        stop.send_replace(true);
        watched.progress.finish();
        let files = watched.close(working).await;
        Ok(ended?.then_some(files))
    }

    fn roots(&self) -> Result<Roots, CommandError> {
        let mut roots = Roots::new();
        match self.source {
            Source::Directory(directory) => drop(
                roots
                    .insert(ROOT, directory, self.links)
                    .map_err(CommandError::usage)?,
            ),
            Source::Store(store) => roots.insert_store(ROOT, store.clone()),
        }
        Ok(roots)
    }

    fn messages(&self, run: RunId, sample: &[Sampled]) -> Result<Vec<Message>, CommandError> {
        let entry = self.entry;
        let message = |(seq, sampled): (u64, &Sampled)| {
            let file = sampled.file.file_ref(ROOT).map_err(CommandError::local)?;
            let step = StepMessage::first(TaskId { run, seq }, &entry.pipeline, &entry.step, file);
            Ok(Message {
                id: step.message_id(),
                route: Route::Work {
                    service: entry.service.clone(),
                },
                headers: Headers::traced(Some(TraceContext::root())),
                body: wire::encode(&step).map_err(CommandError::local)?,
            })
        };
        (0..).zip(sample).map(message).collect()
    }
}

/// No quota and no limit holds a call back: what they do to all files is calculated.
fn unbind(config: &mut Config) {
    for service in config.services.values_mut() {
        service.merge_deployments();
        service.quotas.requests_per_minute = None;
        service.quotas.polls_per_minute = None;
        service.quotas.tokens_per_minute = service.quotas.tokens_per_minute.map(|_| COUNTED);
        // Programs run for real, and share the processors.
        if !matches!(service.kind, ServiceKind::Command(_)) {
            service.fix_in_flight(IN_FLIGHT);
        }
    }
}

async fn simulator(processing: Duration) -> Result<Simulator, CommandError> {
    let config = SimulatorConfig {
        ocr: OcrConfig {
            processing,
            quotas: None,
        },
        ..SimulatorConfig::default()
    };
    let anywhere = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    filefleet_simulator::start(config, anywhere)
        .await
        .map_err(CommandError::local)
}

type Working = tokio::task::JoinHandle<Result<filefleet_worker::Report, WorkerError>>;

fn left_early(
    left: Result<Result<filefleet_worker::Report, WorkerError>, tokio::task::JoinError>,
) -> CommandError {
    match left {
        Ok(Ok(_)) => CommandError::local("the worker of the rehearsal has left"),
        Ok(Err(error)) => failed(error),
        Err(panic) => CommandError::local(format!("the worker of the rehearsal: {panic}")),
    }
}

/// A sample on its way.
struct Watched {
    files: Vec<Tried>,
    left: usize,
    results: Consumer,
    calls: mpsc::Receiver<Call>,
    pauses: Vec<(String, watch::Receiver<Option<Pause>>)>,
    progress: Progress,
}

impl Watched {
    /// Until every file has its outcome; false if a signal came first.
    async fn until_ended(&mut self, signals: &mut Signals) -> Result<bool, CommandError> {
        let mut tick = interval(TICK);
        while self.left > 0 {
            tokio::select! {
                biased;
                () = signals.stop() => return Ok(false),
                Some(call) = self.calls.recv() => self.called(call),
                delivery = self.results.recv() => {
                    let delivery = delivery?;
                    self.ended(&delivery.envelope().body)?;
                    if let Err(error) = delivery.settle(Verdict::Done(Vec::new())).await {
                        tracing::debug!(%error, "the outcome comes again");
                    }
                }
                _ = tick.tick() => self.look()?,
            }
        }
        Ok(true)
    }

    fn called(&mut self, call: Call) {
        if let Some(file) = self.file(call.seq) {
            file.calls.push(call);
        }
    }

    fn ended(&mut self, body: &[u8]) -> Result<(), CommandError> {
        let outcome: Outcome = wire::decode(body).map_err(CommandError::local)?;
        if let Some(file) = self.file(outcome.seq).filter(|file| !file.ended) {
            file.ended = true;
            file.by_service = outcome.by_service;
            file.failure = outcome.failure.map(|failure| failure.cause);
            self.left = self.left.saturating_sub(1);
        }
        Ok(())
    }

    fn file(&mut self, seq: u64) -> Option<&mut Tried> {
        self.files.get_mut(usize::try_from(seq).ok()?)
    }

    /// A service that is paused would be so for every file.
    fn look(&mut self) -> Result<(), CommandError> {
        for (service, pause) in &self.pauses {
            if let Some(pause) = pause.borrow().as_ref() {
                return Err(CommandError {
                    exit: Exit::Paused,
                    message: format!(
                        "service {service:?} fails every file, also in a rehearsal ({}): {}",
                        pause.kind.as_str(),
                        pause.detail
                    ),
                });
            }
        }
        let failed = self
            .files
            .iter()
            .filter(|file| file.failure.is_some())
            .count();
        let done = self.files.len() - self.left;
        self.progress.show(&Moment {
            total: Some(self.files.len() as u64),
            published: self.files.len() as u64,
            succeeded: (done - failed) as u64,
            failed: failed as u64,
            ..Moment::default()
        });
        Ok(())
    }

    /// Waits for the worker; calls that end meanwhile are counted too.
    async fn close(mut self, working: Working) -> Vec<Tried> {
        // Full, it would hold the worker up.
        while let Some(call) = self.calls.recv().await {
            self.called(call);
        }
        if !working.is_finished()
            && let Err(error) = working.await
        {
            tracing::debug!(%error, "the worker of the rehearsal");
        }
        self.results.close().await;
        self.files
    }
}
