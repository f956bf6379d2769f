//! `filefleet run`: publish, work and collect in one process.

mod drive;
mod ending;
mod origin;
mod prepare;
mod spending;
mod troubles;

use self::prepare::Prepared;
pub(crate) use self::{prepare::config, spending::over};
use crate::{args::RunArgs, exit::CommandResult, signals::Signals};

/// Runs the files of a directory or store through a pipeline, or goes on where an interrupted run was.
pub(crate) async fn run(args: RunArgs, json: bool, signals: Signals) -> CommandResult {
    let Prepared {
        simulator,
        claim,
        parts,
    } = prepare::prepare(&args).await?;
    let (broker, embedded) = (parts.broker.clone(), parts.embedded);
    let stats = parts.worker.stats();
    let result = Box::pin(drive::drive(parts, &args, json, signals)).await;
    broker.close().await;
    // Other workers of a RabbitMQ may have answered; here nobody else could.
    if embedded
        && stats.answered.get() + stats.from_journal.get() == 0
        && claim.is_fresh()
        && let Err(error) = claim.withdraw()
    {
        tracing::warn!(%error, "the next run must have the same pipeline, or --redo");
    }
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
