//! How fast the embedded broker is on this disk: every task is published, taken, settled with
//! an outcome, and the outcome is taken and settled.
//!
//! `cargo run --release -p filefleet-shared --example queue_throughput [TASKS] [SETTLERS] [DIR]`

use std::{error::Error, path::PathBuf, sync::Arc, time::Instant};

use bytes::Bytes;
use filefleet_shared::{
    broker::{
        Broker, ConsumeOptions, Consumer, Headers, Message, Queue, ResultKey, Route, Verdict,
        embedded::EmbeddedBroker,
    },
    telemetry::TraceContext,
    wire::{RunId, Status},
};
use tokio::task::JoinSet;

type Failure = Box<dyn Error + Send + Sync>;

const BATCH: usize = 500;

fn message(id: String, route: Route) -> Message {
    Message {
        id,
        route,
        headers: Headers::traced(Some(TraceContext::root())),
        // About the size of a step with its file reference.
        body: Bytes::from(vec![b'x'; 400]),
    }
}

async fn publish(broker: Arc<dyn Broker>, run: RunId, tasks: usize) -> Result<(), Failure> {
    for first in (0..tasks).step_by(BATCH) {
        let route = Route::Work {
            service: "ocr".to_owned(),
        };
        let batch = (first..tasks.min(first + BATCH))
            .map(|task| message(format!("{run}:{task}:read"), route.clone()));
        broker.publish(batch.collect()).await?;
    }
    Ok(())
}

/// Takes and settles `tasks` deliveries, each in a task of its own.
async fn settle(
    mut consumer: Consumer,
    tasks: usize,
    follow: impl Fn(&str) -> Vec<Message>,
) -> Result<(), Failure> {
    let mut settling = JoinSet::new();
    for _ in 0..tasks {
        let delivery = consumer.recv().await?;
        let verdict = Verdict::Done(follow(&delivery.envelope().id));
        settling.spawn(delivery.settle(verdict));
        while let Some(settled) = settling.try_join_next() {
            settled??;
        }
    }
    while let Some(settled) = settling.join_next().await {
        settled??;
    }
    consumer.close().await;
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let tasks: usize = arguments.next().map_or(Ok(10_000), |text| text.parse())?;
    let settlers: u16 = arguments.next().map_or(Ok(500), |text| text.parse())?;
    let directory = arguments
        .next()
        .map_or_else(std::env::temp_dir, PathBuf::from);
    let scratch = tempfile::tempdir_in(directory)?;
    let broker: Arc<dyn Broker> = Arc::new(EmbeddedBroker::open(&scratch.path().join("queue.db"))?);
    let run = RunId::mint();
    let (work, results) = (Queue::Work("ocr".to_owned()), Queue::Results(run));
    broker.declare(&[work.clone(), results.clone()]).await?;
    let options = ConsumeOptions::shared(settlers);
    let workers = broker.consume(&work, options).await?;
    let collector = broker.consume(&results, options).await?;

    let began = Instant::now();
    let outcome = |id: &str| {
        let key = ResultKey::Outcome(Status::Succeeded);
        vec![message(format!("{id}:outcome"), Route::Result { run, key })]
    };
    tokio::try_join!(
        publish(Arc::clone(&broker), run, tasks),
        settle(workers, tasks, outcome),
        settle(collector, tasks, |_| Vec::new()),
    )?;
    let took = began.elapsed();
    broker.close().await;
    println!(
        "{tasks} tasks, {settlers} settlers: {:.2} s, {:.0} tasks/s",
        took.as_secs_f64(),
        tasks as f64 / took.as_secs_f64()
    );
    Ok(())
}
