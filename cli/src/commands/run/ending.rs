//! How a run ends: in words for a person, as a line of JSON, and as an exit code.

use filefleet_producer::{
    publish::{PublishError, Published},
    sink::{RunStatus, Summary},
};
use filefleet_worker::breaker::{Pause, PauseKind};

use crate::{
    args::RunArgs,
    commands::{
        collect::{complete_exit, exit_of, is_complete, say},
        publish::{no_files, publish_failed},
    },
    exit::{CommandError, CommandResult, Exit},
    progress::{entries, print_json, print_line, warn_of_links},
};

/// A run whose scan found no file that is left to do.
pub(super) fn nothing_published(
    ended: Result<Published, PublishError>,
    args: &RunArgs,
    json: bool,
) -> CommandResult {
    let published = ended.map_err(publish_failed)?;
    if published.skipped == 0 {
        return Err(no_files(&args.dir, published.unreadable, published.links));
    }
    warn_of_links(json, published.links);
    if json {
        let summary = serde_json::json!({
            "status": RunStatus::Complete,
            "total": 0,
            "succeeded": 0,
            "failed": 0,
            "cancelled": 0,
            "unreadable": published.unreadable,
            "skipped": published.skipped,
        });
        print_json("summary", &summary);
    } else {
        print_line(&format!(
            "nothing to do: all {} files are finished, see {}/results.jsonl",
            published.skipped,
            args.out.display()
        ));
        if published.unreadable > 0 {
            let entries = entries(published.unreadable);
            print_line(&format!("{entries} of the directory could not be read"));
        }
    }
    Ok(complete_exit(0, published.unreadable))
}

/// A service that fails every file.
pub(super) fn paused(service: &str, pause: &Pause) -> CommandError {
    let fix = match pause.kind {
        PauseKind::Unauthorized => "check its key, or its identity in Microsoft Entra ID",
        PauseKind::Misconfigured => "check its endpoint, model and api version",
        PauseKind::QuotaExhausted => "the account has no money or quota left",
        PauseKind::Unreachable => "check its endpoint and the network",
        PauseKind::Failing | PauseKind::Throttled => "it answers no call; try again later",
    };
    CommandError {
        exit: Exit::Paused,
        message: format!(
            "paused, because service {service:?} fails every file ({}): {}\n  {fix}; nothing is \
             lost, and the same command goes on",
            pause.kind.as_str(),
            pause.detail
        ),
    }
}

/// Says the end that is the most important, and what it means for the exit code.
pub(super) fn conclude(
    ended: Option<Summary>,
    problem: Option<CommandError>,
    json: bool,
    args: &RunArgs,
) -> CommandResult {
    if let Some(summary) = &ended {
        say(json, summary, &args.out.display().to_string());
        if is_complete(summary) {
            return Ok(exit_of(summary));
        }
    }
    match (problem, ended) {
        (Some(problem), _) => Err(problem),
        (None, Some(summary)) => {
            if !json {
                print_line("the same command goes on with the rest");
            }
            Ok(exit_of(&summary))
        }
        (None, None) => Ok(Exit::Interrupted),
    }
}
