//! `filefleet stop`: the pill, and waiting for the last worker.

use std::time::{Duration, Instant};

use filefleet_shared::wire::{FleetState, PillMode};

use crate::{
    args::StopArgs,
    exit::{CommandError, CommandResult, Exit},
    fleet::Fleet,
    progress::{print_json, print_line},
};

/// How often to look for the last worker.
const LOOK: Duration = Duration::from_millis(250);

/// Writes a pill for the current epoch, or opens a new epoch with `--undo`.
pub(crate) async fn stop(args: StopArgs, json: bool) -> CommandResult {
    let fleet = Fleet::find(args.out.as_deref(), &args.config, &args.broker).await?;
    let state = fleet.state().await?;
    if args.undo {
        undo(&fleet, &state, json).await?;
    } else {
        fleet
            .append(FleetState::pill(state.epoch, PillMode::Drain))
            .await?;
        say(
            json,
            "stopping",
            &format!("stopping all workers of epoch {}", state.epoch),
            0,
        );
        if args.wait {
            wait(&fleet, &state, args.timeout, json).await?;
        }
    }
    fleet.close().await;
    Ok(Exit::Success)
}

/// Opens a new epoch for the latest run, so that workers stay again.
async fn undo(fleet: &Fleet, state: &FleetState, json: bool) -> Result<(), CommandError> {
    let Some(opened) = &state.latest_run else {
        return Err(CommandError::usage(
            "no run was published here yet: there is nothing to undo",
        ));
    };
    fleet
        .append(state.open(opened.run, &opened.pipeline, &opened.services))
        .await?;
    let left = fleet.left(state).await?;
    say(
        json,
        "undone",
        &format!("workers may work again on run {}", opened.run),
        left,
    );
    Ok(())
}

/// Waits until no worker takes steps any more, and says what is left.
async fn wait(
    fleet: &Fleet,
    state: &FleetState,
    timeout: Duration,
    json: bool,
) -> Result<(), CommandError> {
    let start = Instant::now();
    loop {
        let working = fleet.working(state).await?;
        if working == 0 {
            let left = fleet.left(state).await?;
            let text = format!("the last worker has stopped taking steps; {left} are left");
            say(json, "stopped", &text, left);
            return Ok(());
        }
        if start.elapsed() > timeout {
            return Err(CommandError {
                exit: Exit::Interrupted,
                message: format!("{working} consumers are still there; they will leave"),
            });
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn say(json: bool, event: &str, text: &str, left: u64) {
    if json {
        print_json(event, &serde_json::json!({ "steps_left": left }));
    } else {
        print_line(text);
    }
}
