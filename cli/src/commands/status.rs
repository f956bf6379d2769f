//! `filefleet status`: queues, consumers, the latest run.

use filefleet_shared::wire::FleetState;
use serde::Serialize;

use crate::{
    args::StatusArgs,
    exit::{CommandResult, Exit},
    fleet::{Fleet, QueueStatus},
    progress::{print_json, print_line},
};

/// What `status` shows.
#[derive(Debug, Serialize)]
struct Status {
    epoch: u64,
    run: Option<String>,
    pipeline: Option<String>,
    /// Workers leave until a new epoch is opened.
    stopped: bool,
    queues: Vec<QueueStatus>,
}

/// Shows the state of a fleet, or of a `run` on this machine.
pub(crate) async fn status(args: StatusArgs, json: bool) -> CommandResult {
    let fleet = Fleet::find(args.out.as_deref(), &args.config, &args.broker).await?;
    let state = fleet.state().await?;
    let status = status_of(&state, fleet.queues(&state).await?);
    if json {
        print_json("status", &status);
    } else {
        show(&status);
    }
    fleet.close().await;
    Ok(Exit::Success)
}

fn status_of(state: &FleetState, queues: Vec<QueueStatus>) -> Status {
    let opened = state.latest_run.as_ref();
    Status {
        epoch: state.epoch,
        run: opened.map(|opened| opened.run.to_string()),
        pipeline: opened.map(|opened| opened.pipeline.clone()),
        stopped: state.pill.is_some(),
        queues,
    }
}

fn show(status: &Status) {
    match (&status.run, &status.pipeline) {
        (Some(run), Some(pipeline)) => {
            print_line(&format!(
                "latest run  {run} (pipeline {pipeline}, epoch {})",
                status.epoch
            ));
        }
        _ => print_line("no run was published here yet"),
    }
    if status.stopped {
        print_line("stopped     workers leave, until a new run is published or `stop --undo`");
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
