//! Which output directory a run is collected into: one, from the first outcome to the last.
//!
//! What is written there is gone from the queue, so a second directory could never be complete.

use std::{path::Path, time::Duration};

use filefleet_shared::{
    broker::{Broker, BrokerError, ConsumeOptions, Consumer, Queue},
    time::UnixMillis,
    wire::{Collected, Collecting, CollectionId, ControlRecord, OutputPlace, RunOutput, VERSION},
};
use tokio::time::sleep;

use super::{CollectError, CollectOptions, PREFETCH};
use crate::sink::{Sink, Summary};

/// A queue is had at once, unless another collector has it.
const SOON: Duration = Duration::from_secs(1);

/// What the control log says about the run.
pub(super) async fn look(
    broker: &dyn Broker,
    options: &CollectOptions,
) -> Result<RunOutput, BrokerError> {
    let log = broker.follow_control().await?;
    Ok(RunOutput::of(options.run, &log.history))
}

/// Refuses a run whose outcomes are in another directory than that of `ours`.
pub(super) fn check(
    output: &RunOutput,
    ours: Option<CollectionId>,
    options: &CollectOptions,
) -> Result<(), CollectError> {
    let foreign = output.into.as_ref().filter(|into| Some(into.id) != ours);
    match (foreign, &output.collected) {
        (None, _) => Ok(()),
        (Some(_), Some(collected)) => Err(CollectError::Complete(Box::new(collected.clone()))),
        (Some(into), None) => Err(CollectError::Elsewhere {
            run: options.run,
            into: into.clone(),
        }),
    }
}

/// The place of a directory that exists, for records.
pub(super) fn place(options: &CollectOptions, sink: &Sink) -> OutputPlace {
    let dir: &Path = &options.out_dir;
    let dir = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
    OutputPlace {
        id: sink.collection(),
        host: options.host.clone(),
        directory: dir.to_string_lossy().into_owned(),
    }
}

/// Takes the results queue and, before any outcome, writes down where they go.
///
/// The outer error is the broker's; it can be tried again.
pub(super) async fn take(
    broker: &dyn Broker,
    options: &CollectOptions,
    into: &OutputPlace,
) -> Result<Result<Consumer, CollectError>, BrokerError> {
    let queue = Queue::Results(options.run);
    let before = look(broker, options).await?;
    if let Err(refused) = check(&before, Some(into.id), options) {
        return Ok(Err(refused));
    }
    // A collector may be there before the producer.
    broker.declare(std::slice::from_ref(&queue)).await?;
    let consumer = match consume(broker, &queue).await {
        Ok(consumer) => consumer,
        // Deleted while another collector had it: that one is done.
        Err(BrokerError::Unroutable(queue)) => {
            let after = look(broker, options).await?;
            return match check(&after, Some(into.id), options) {
                Err(refused) => Ok(Err(refused)),
                Ok(()) => Err(BrokerError::Unroutable(queue)),
            };
        }
        Err(error) => return Err(error),
    };
    // Only now nobody else can begin; but somebody may have, and ended, since the look before.
    match begin(broker, options, into).await {
        Ok(Ok(())) => Ok(Ok(consumer)),
        Ok(Err(refused)) => {
            consumer.close().await;
            if matches!(refused, CollectError::Complete(_)) {
                // Declared again above, after it was deleted.
                broker.delete(&queue).await?;
            }
            Ok(Err(refused))
        }
        Err(error) => {
            consumer.close().await;
            Err(error)
        }
    }
}

/// Writes down that the run is complete, and deletes its queue: what is left are duplicates.
pub(super) async fn end(
    broker: &dyn Broker,
    options: &CollectOptions,
    into: &OutputPlace,
    summary: &Summary,
) -> Result<(), BrokerError> {
    if look(broker, options).await?.collected.is_none() {
        let record = ControlRecord::Collected(Collected {
            v: VERSION,
            run: options.run,
            into: into.clone(),
            succeeded: summary.succeeded,
            failed: summary.failed + summary.cancelled,
            unreadable: summary.unreadable.unwrap_or_default(),
            at: UnixMillis::now(),
        });
        broker.append_control(record).await?;
    }
    broker.delete(&Queue::Results(options.run)).await
}

/// Writes down where the outcomes go, unless that is written already.
async fn begin(
    broker: &dyn Broker,
    options: &CollectOptions,
    into: &OutputPlace,
) -> Result<Result<(), CollectError>, BrokerError> {
    let output = look(broker, options).await?;
    if let Err(refused) = check(&output, Some(into.id), options) {
        return Ok(Err(refused));
    }
    if output.into.is_none() {
        let record = ControlRecord::Collecting(Collecting {
            v: VERSION,
            run: options.run,
            into: into.clone(),
            at: UnixMillis::now(),
        });
        broker.append_control(record).await?;
    }
    Ok(Ok(()))
}

async fn consume(broker: &dyn Broker, queue: &Queue) -> Result<Consumer, BrokerError> {
    let options = ConsumeOptions {
        prefetch: PREFETCH,
        exclusive: true,
    };
    let consuming = broker.consume(queue, options);
    tokio::pin!(consuming);
    tokio::select! {
        biased;
        consumer = &mut consuming => return consumer,
        () = sleep(SOON) => {}
    }
    let held = broker.inspect(queue).await?;
    if held.is_some_and(|depth| depth.consumers > 0) {
        tracing::warn!(
            %queue,
            "another collector has the queue, or had it until it died a moment ago; waiting for it"
        );
    }
    consuming.await
}
