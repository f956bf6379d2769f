//! Collects the outcomes of a run: each is in a durable file before its message is gone.

mod claim;
mod stored;

use std::{path::PathBuf, sync::Arc, time::Duration};

use filefleet_shared::{
    broker::{Broker, BrokerError, Consumer, Dead, Delivery, SettleError, Verdict},
    scratch::Scratch,
    wire::{
        self, Collected, DecodeError, Outcome, OutputPlace, RunClosed, RunId, RunOutput, Usage,
    },
};
use futures_util::future::join_all;
use tokio::{runtime::Handle, sync::watch, time::Instant};

use stored::Stored;

use crate::{
    durable::{DiskError, off_runtime},
    patience::{persist, stopped},
    sink::{self, Sink, SinkError, Summary, Taken},
};

const PREFETCH: u16 = 1000;
const BATCH_MESSAGES: usize = 500;
const BATCH_BYTES: usize = 16 * 1024 * 1024;
const BATCH_WAIT: Duration = Duration::from_millis(50);

/// What to collect, and where to.
#[derive(Clone, Debug)]
pub struct CollectOptions {
    /// The run.
    pub run: RunId,
    /// Name of its pipeline, for the summary.
    pub pipeline: String,
    /// Directory of the results; holds one run.
    pub out_dir: PathBuf,
    /// Name of this process, for dead letters.
    pub collector: String,
    /// Name of this host, for others to find the directory.
    pub host: String,
    /// Where the workers put outputs that do not fit into a message.
    pub scratch: Option<Scratch>,
}

/// How far collecting is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CollectProgress {
    /// Tasks that succeeded.
    pub succeeded: u64,
    /// Tasks given up.
    pub failed: u64,
    /// Tasks cancelled.
    pub cancelled: u64,
    /// Further outcomes of tasks that had one.
    pub duplicates: u64,
    /// Tasks of the run, once publishing has ended.
    pub total: Option<u64>,
    /// What was used of the services.
    pub usage: Usage,
    /// The broker is away.
    pub waiting: bool,
}

/// Why collecting did not end. Started again with the same options, it goes on.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// The output directory cannot be used or written; nothing is acked that was not written.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// Another collector has the run's results queue.
    #[error("another collector is collecting run {0}; wait for it or stop it")]
    AnotherCollector(RunId),
    /// What was collected so far is in another directory, and gone from the queue.
    #[error(
        "run {run} is collected into {into}: what is there is not in its queue any more, so it \
         can only be completed there\n  collect into that directory, which may have been moved; \
         if it is lost, publish again"
    )]
    Elsewhere {
        /// The run.
        run: RunId,
        /// Where its outcomes are.
        into: OutputPlace,
    },
    /// The run was collected into another directory, to its end.
    #[error(
        "run {} is already complete: {} succeeded, {} failed; collected into {}",
        .0.run, .0.succeeded, .0.failed, .0.into
    )]
    Complete(Box<Collected>),
    /// The run was collected to its end, but the directory has no longer all of it.
    #[error("run {run} was collected to its end into {dir}, where a part is missing now")]
    Missing {
        /// The run.
        run: RunId,
        /// The directory.
        dir: PathBuf,
    },
    /// An output is in a scratch store, and this collector knows none.
    #[error(
        "an output of run {0} is in the workers' scratch store: give the collector the same \
         [scratch] url"
    )]
    NoScratch(RunId),
    /// The scratch store is not there; what it has stays in the queue.
    #[error("cannot read an output from the scratch store: {0}")]
    Scratch(String),
    /// The broker refused for good, or was away for too long.
    #[error(transparent)]
    Broker(#[from] BrokerError),
}

impl CollectError {
    /// There is no room left: free some and start again.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        matches!(self, Self::Sink(SinkError::Disk(DiskError::Full(_))))
    }
}

/// Collects until every task has its outcome, or told to stop.
///
/// Writes `results.jsonl`, `failures.jsonl` and, at the end, `run.json`; then, if the run is
/// complete, deletes its results queue. Told to stop, the summary says `incomplete`. A run
/// without any file is never closed, so it is not to be collected.
///
/// # Errors
/// Every [`CollectError`]. A broker that is away is waited for, up to [`Broker::outage`].
pub async fn collect(
    broker: Arc<dyn Broker>,
    options: CollectOptions,
    progress: watch::Sender<CollectProgress>,
    mut stop: watch::Receiver<bool>,
) -> Result<Summary, CollectError> {
    let outage = broker.outage();
    let waiting = |why: Option<String>| {
        progress.send_modify(|shown| shown.waiting = why.is_some());
    };
    let look = || claim::look(&*broker, &options);
    let output = persist(outage, &mut stop, waiting, look).await?;
    let mut sink = open(&options, output).await?;
    show(&progress, &sink);
    let into = claim::place(&options, &sink);
    if !sink.is_complete() {
        let take = || claim::take(&*broker, &options, &into);
        let taken =
            persist(outage, &mut stop, waiting, take)
                .await
                .map_err(|error| match error {
                    BrokerError::Busy(_) => CollectError::AnotherCollector(options.run),
                    error => error.into(),
                })?;
        if let Some(consumer) = taken {
            let mut consumer = consumer?;
            let ended = until_complete(&mut consumer, sink, &options, &progress, &mut stop).await;
            // Also after an error: what is buffered goes back before anybody collects again.
            consumer.close().await;
            sink = ended?;
        }
    }
    let (complete, pipeline) = (sink.is_complete(), options.pipeline.clone());
    let summary = off_runtime(move || sink.finish(&pipeline)).await?;
    if complete {
        // Before the end is written down: a collector that is started again comes here again.
        stored::remove(&options).await;
        // Told to stop meanwhile, the next collector does it.
        let end = || claim::end(&*broker, &options, &into, &summary);
        persist(outage, &mut stop, waiting, end).await?;
    }
    Ok(summary)
}

/// Opens the output directory, if the run is not in another one.
///
/// Without `output` nobody could be asked; then nothing is taken either.
async fn open(options: &CollectOptions, output: Option<RunOutput>) -> Result<Sink, CollectError> {
    let (dir, run) = (options.out_dir.clone(), options.run);
    let collected = if let Some(output) = &output {
        let dir = dir.clone();
        let ours = off_runtime(move || sink::collection_of(&dir, run)).await?;
        claim::check(output, ours, options)?;
        output.collected.is_some()
    } else {
        false
    };
    let sink = off_runtime(move || Sink::open(&dir, run)).await?;
    if collected && !sink.is_complete() {
        let dir = options.out_dir.clone();
        return Err(CollectError::Missing { run, dir });
    }
    Ok(sink)
}

/// Takes batch after batch until the run is complete or told to stop.
async fn until_complete(
    consumer: &mut Consumer,
    mut sink: Sink,
    options: &CollectOptions,
    progress: &watch::Sender<CollectProgress>,
    stop: &mut watch::Receiver<bool>,
) -> Result<Sink, CollectError> {
    while !sink.is_complete() {
        let Some(batch) = next_batch(consumer, stop).await? else {
            break;
        };
        let (options, stop) = (options.clone(), stop.clone());
        let runtime = Handle::current();
        let write = move || write(sink, &Stored::new(&options, &runtime, &stop), batch);
        let (written, settlements) = off_runtime(write).await?;
        sink = written;
        join_all(settlements.into_iter().map(settle)).await;
        show(progress, &sink);
    }
    Ok(sink)
}

/// What came within a moment of the first delivery; `None` if told to stop before it.
async fn next_batch(
    consumer: &mut Consumer,
    stop: &mut watch::Receiver<bool>,
) -> Result<Option<Vec<Delivery>>, BrokerError> {
    let first = tokio::select! {
        biased;
        () = stopped(stop) => return Ok(None),
        first = consumer.recv() => first?,
    };
    let until = Instant::now() + BATCH_WAIT;
    let mut bytes = first.envelope().body.len();
    let mut batch = vec![first];
    while batch.len() < BATCH_MESSAGES && bytes < BATCH_BYTES {
        let Ok(next) = tokio::time::timeout_at(until, consumer.recv()).await else {
            break;
        };
        let next = next?;
        bytes += next.envelope().body.len();
        batch.push(next);
    }
    Ok(Some(batch))
}

/// Decides each delivery, and makes durable what is kept. Blocks.
fn write(
    mut sink: Sink,
    stored: &Stored<'_>,
    batch: Vec<Delivery>,
) -> Result<(Sink, Vec<(Delivery, Verdict)>), CollectError> {
    let by = &stored.options.collector;
    let mut settlements = Vec::with_capacity(batch.len());
    for delivery in batch {
        let verdict = match take(&mut sink, stored, &delivery.envelope().body)? {
            Ok(Taken::New | Taken::Duplicate) => Verdict::Done(Vec::new()),
            Ok(Taken::UnknownTask) => dead(by, "unknown_task", "no task of the run has its seq"),
            Ok(Taken::Conflict) => dead(by, "conflict", "another sentinel came before"),
            Err((reason, detail)) => dead(by, reason, &detail),
        };
        settlements.push((delivery, verdict));
        // What was stored is larger than the messages that were counted.
        if sink.uncommitted() >= BATCH_BYTES {
            sink.commit()?;
        }
    }
    sink.commit()?;
    Ok((sink, settlements))
}

/// A stable word, and a detail for a person.
type Unusable = (&'static str, String);

fn take(
    sink: &mut Sink,
    stored: &Stored<'_>,
    body: &[u8],
) -> Result<Result<Taken, Unusable>, CollectError> {
    let run = stored.options.run;
    let foreign = |found: RunId| Err(("foreign_run", format!("it is of run {found}")));
    let kind = match wire::type_of(body) {
        Ok(kind) => kind,
        Err(error) => return Ok(Err(undecodable(&error))),
    };
    if kind == "run_closed" {
        return Ok(match wire::decode::<RunClosed>(body) {
            Ok(closed) if closed.run == run => Ok(sink.sentinel(closed)),
            Ok(closed) => foreign(closed.run),
            Err(error) => Err(undecodable(&error)),
        });
    }
    match wire::decode::<Outcome>(body) {
        Ok(outcome) if outcome.run == run => {
            // A second one is dropped, whatever the store still has of it.
            let outcome = if sink.has(outcome.seq) {
                outcome
            } else {
                stored.whole(outcome)?
            };
            Ok(Ok(sink.outcome(&outcome)?))
        }
        Ok(outcome) => Ok(foreign(outcome.run)),
        Err(error) => Ok(Err(undecodable(&error))),
    }
}

/// The detail names a place in the body and never what stands there: it can be file content.
fn undecodable(error: &DecodeError) -> Unusable {
    let detail = match error {
        DecodeError::NotAMessage(source) | DecodeError::Malformed { source, .. } => format!(
            "{:?} error at line {} column {}",
            source.classify(),
            source.line(),
            source.column()
        ),
        DecodeError::UnknownVersion { .. } | DecodeError::UnexpectedType { .. } => {
            error.to_string()
        }
    };
    (error.reason(), detail)
}

fn dead(by: &str, reason: &str, detail: &str) -> Verdict {
    Verdict::Dead(Dead {
        reason: reason.to_owned(),
        detail: detail.to_owned(),
        by: by.to_owned(),
        publish: Vec::new(),
    })
}

async fn settle((delivery, verdict): (Delivery, Verdict)) {
    let id = delivery.envelope().id.clone();
    match delivery.settle(verdict).await {
        Ok(()) => {}
        // It comes again and is dropped as a duplicate: what it says is in the files.
        Err(SettleError::Lost) => tracing::debug!(message.id = id, "settlement lost"),
        Err(error) => tracing::warn!(message.id = id, %error, "not settled; it comes again"),
    }
}

fn show(progress: &watch::Sender<CollectProgress>, sink: &Sink) {
    let tally = sink.tally();
    progress.send_modify(|shown| {
        *shown = CollectProgress {
            succeeded: tally.succeeded,
            failed: tally.failed,
            cancelled: tally.cancelled,
            duplicates: tally.duplicates,
            total: sink.total(),
            usage: tally.usage,
            waiting: false,
        };
    });
}

#[cfg(test)]
mod tests;
