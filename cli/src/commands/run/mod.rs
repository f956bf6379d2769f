//! `filefleet run`: publish, work and collect in one process.

mod drive;
mod ending;
mod prepare;

use filefleet_shared::files::canonical_directory;

use crate::{
    args::RunArgs,
    exit::{CommandError, CommandResult},
    signals::Signals,
};

/// Runs a directory through a pipeline, or goes on where an interrupted run was.
pub(crate) async fn run(args: RunArgs, json: bool, signals: Signals) -> CommandResult {
    let directory = canonical_directory(&args.dir).map_err(CommandError::usage)?;
    let prepared = prepare::prepare(&args, directory).await?;
    let simulator = prepared.simulator;
    let broker = prepared.parts.broker.clone();
    let result = Box::pin(drive::drive(prepared.parts, &args, json, signals)).await;
    broker.close().await;
    if let Some(simulator) = simulator {
        simulator.shutdown().await;
        if !json {
            crate::progress::print_line(
                "this was a REHEARSAL: the answers are made up by a simulator, nothing was paid",
            );
        }
    }
    result
}
