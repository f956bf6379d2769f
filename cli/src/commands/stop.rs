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

/// Makes the workers of all runs so far leave, or takes that back with `--undo`.
pub(crate) async fn stop(args: StopArgs, json: bool) -> CommandResult {
    let fleet = Fleet::find(args.out.as_deref(), &args.config, &args.broker).await?;
    let done = stop_or_undo(&fleet, &args, json).await;
    fleet.close().await;
    done.map(|()| Exit::Success)
}

async fn stop_or_undo(fleet: &Fleet, args: &StopArgs, json: bool) -> Result<(), CommandError> {
    let state = fleet.state().await?;
    if args.undo {
        return undo(fleet, &state, json).await;
    }
    // Without a run a pill would be for none, and could not be taken back.
    if state.latest_run.is_none() {
        return Err(CommandError::usage(
            "no run was published here yet: there is nothing to stop (a worker that waits for one \
             leaves on SIGTERM)",
        ));
    }
    if matches!(fleet, Fleet::Local(_)) && fleet.working(&state).await? == 0 {
        let left = fleet.left(&state).await?;
        let text =
            format!("nothing to stop: no `filefleet run` is at work here; {left} steps are left");
        say(json, "nothing_to_stop", &text, left);
        return Ok(());
    }
    fleet
        .append(FleetState::pill(state.epoch, PillMode::Drain))
        .await?;
    let left = fleet.left(&state).await?;
    let text = format!("stopping: workers finish what they have; {left} more steps are queued");
    say(json, "stopping", &text, left);
    if args.wait {
        wait(fleet, &state, args.timeout, json).await?;
    }
    Ok(())
}

/// Opens the latest run again, so that workers stay.
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
    let text = format!("workers may work again on run {}", opened.run);
    say(json, "undone", &text, left);
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
