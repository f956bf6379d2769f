//! `filefleet status`: runs, queues, consumers.

use std::collections::BTreeMap;

use filefleet_shared::{
    broker::Queue,
    time::UnixMillis,
    wire::{ControlRecord, FleetState, RunId, RunOpened, RunOutput, throttled},
};
use serde::Serialize;

use crate::{
    args::StatusArgs,
    exit::{CommandResult, Exit},
    fleet::{Fleet, QueueStatus},
    progress::{print_json, print_line, utc},
};

/// What `status` shows.
#[derive(Debug, Serialize)]
struct Status {
    epoch: u64,
    run: Option<String>,
    pipeline: Option<String>,
    /// Workers leave until a run is published or the stop is taken back.
    stopped: bool,
    /// Runs that have outcomes to collect, and the latest one.
    runs: Vec<RunStatus>,
    /// Services that want to be left alone, each until when.
    throttled: BTreeMap<String, UnixMillis>,
    /// Steps that were put off and wait to be tried again, of all services together.
    waiting: u64,
    queues: Vec<QueueStatus>,
}

/// One run.
#[derive(Debug, Serialize)]
struct RunStatus {
    run: RunId,
    pipeline: String,
    published: UnixMillis,
    /// Outcomes that nobody has collected, while the run is not complete.
    uncollected: Option<u64>,
    /// Where its outcomes go.
    into: Option<String>,
    complete: bool,
    /// Known once it is complete.
    succeeded: Option<u64>,
    failed: Option<u64>,
}

/// Shows the state of a fleet, or of a `run` on this machine.
pub(crate) async fn status(args: StatusArgs, json: bool) -> CommandResult {
    let fleet = Fleet::find(args.out.as_deref(), &args.config, &args.broker).await?;
    let history = fleet.history().await?;
    let state: FleetState = history.iter().collect();
    let opened = opened(&history);
    let outputs: Vec<(RunOpened, RunOutput)> = opened
        .into_values()
        .map(|opened| {
            let output = RunOutput::of(opened.run, &history);
            (opened, output)
        })
        .collect();
    let open = outputs
        .iter()
        .filter(|(_, output)| output.collected.is_none());
    let open: Vec<RunId> = open.map(|(opened, _)| opened.run).collect();
    let throttled = throttled(&history, UnixMillis::now())
        .into_iter()
        .map(|(service, until)| (service.to_owned(), until))
        .collect();
    let queues = fleet.queues(&state, &open).await?;
    let waiting = fleet.waiting().await?;
    let status = status_of(&state, outputs, throttled, waiting, queues);
    if json {
        print_json("status", &status);
    } else {
        show(&status);
    }
    fleet.close().await;
    Ok(Exit::Success)
}

/// Every run as it was opened first, in the order of publishing.
fn opened(history: &[ControlRecord]) -> BTreeMap<RunId, RunOpened> {
    let mut runs = BTreeMap::new();
    for record in history {
        if let ControlRecord::RunOpened(opened) = record {
            runs.entry(opened.run).or_insert_with(|| opened.clone());
        }
    }
    runs
}

fn status_of(
    state: &FleetState,
    outputs: Vec<(RunOpened, RunOutput)>,
    throttled: BTreeMap<String, UnixMillis>,
    waiting: u64,
    queues: Vec<QueueStatus>,
) -> Status {
    let latest = state.latest_run.as_ref();
    let runs = outputs.into_iter().filter_map(|(opened, output)| {
        let name = Queue::Results(opened.run).to_string();
        let queue = queues.iter().find(|queue| queue.queue == name);
        let is_latest = latest.is_some_and(|latest| latest.run == opened.run);
        (queue.is_some() || is_latest).then(|| RunStatus {
            run: opened.run,
            pipeline: opened.pipeline,
            published: opened.at,
            uncollected: queue.map(|queue| queue.ready),
            into: output.into.map(|into| into.to_string()),
            complete: output.collected.is_some(),
            succeeded: output.collected.as_ref().map(|done| done.succeeded),
            failed: output.collected.as_ref().map(|done| done.failed),
        })
    });
    Status {
        epoch: state.epoch,
        run: latest.map(|opened| opened.run.to_string()),
        pipeline: latest.map(|opened| opened.pipeline.clone()),
        stopped: state.pill.is_some(),
        runs: runs.collect(),
        throttled,
        waiting,
        queues,
    }
}

fn show(status: &Status) {
    if status.runs.is_empty() {
        print_line("no run was published here yet");
    }
    for run in &status.runs {
        show_run(run);
    }
    if status.stopped {
        print_line("stopped     workers leave, until a new run is published or `stop --undo`");
    }
    for (service, until) in &status.throttled {
        print_line(&format!("throttled   {service} until {}", utc(*until)));
    }
    if status.waiting > 0 {
        let steps = status.waiting;
        print_line(&format!("waiting     {steps} steps to be tried again"));
    }
    let row = |name: &str, cells: [String; 4]| {
        let [ready, delivered, waiting, consumers] = cells;
        print_line(&format!(
            "{name:<48} {ready:>9} {delivered:>9} {waiting:>9} {consumers:>9}"
        ));
    };
    row(
        "queue",
        ["ready", "in hand", "waiting", "consumers"].map(str::to_owned),
    );
    for queue in &status.queues {
        let cell = |count: Option<u64>| count.map_or_else(|| "-".to_owned(), |n| n.to_string());
        let cells = [
            Some(queue.ready),
            queue.delivered,
            queue.waiting,
            queue.consumers,
        ];
        row(&queue.queue, cells.map(cell));
    }
}

fn show_run(run: &RunStatus) {
    let published = utc(run.published);
    print_line(&format!(
        "run {} (pipeline {}, published {published})",
        run.run, run.pipeline
    ));
    let state = match (run.succeeded, run.failed) {
        (Some(succeeded), Some(failed)) => {
            format!("complete: {succeeded} succeeded, {failed} failed")
        }
        _ => format!(
            "{} outcomes to collect",
            run.uncollected.unwrap_or_default()
        ),
    };
    let place = match &run.into {
        Some(into) => format!("collected into {into}"),
        None => "nobody has collected yet".to_owned(),
    };
    print_line(&format!("  {state}; {place}"));
}
