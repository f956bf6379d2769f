//! `filefleet collect`: the outcomes of a run, into files.

use std::{sync::Arc, time::Duration};

use filefleet_producer::{
    collect::{CollectError, CollectOptions, CollectProgress, collect as gather},
    sink::{RunStatus, Summary},
};
use filefleet_shared::{
    broker::Broker,
    wire::{Collected, Cost, FleetState, PillMode, RunId, RunOpened},
};
use tokio::{sync::watch, time::Instant};

use super::{
    run::over,
    worker::{host_name, process_name},
};
use crate::{
    args::CollectArgs,
    attendance::Attendance,
    connect,
    exit::{CommandError, CommandResult, Exit},
    prices,
    progress::{Moment, Progress, entries, print_json, print_line},
    signals::Signals,
    stores,
};

const TICK: Duration = Duration::from_millis(200);
/// Silence after which workers that were told to leave have sent their last outcomes.
const LAST_OUTCOMES: Duration = Duration::from_secs(30);

/// Collects until the run is complete or a signal comes.
pub(crate) async fn collect(args: CollectArgs, json: bool, mut signals: Signals) -> CommandResult {
    let config = connect::config(&args.config)?;
    let settings = config.as_ref().and_then(|config| config.broker.as_ref());
    let broker = connect::rabbit(&args.broker, settings).await?;
    let scratch = config.as_ref().and_then(|config| config.scratch.as_ref());
    let scratch = stores::scratch(scratch)?;
    let opened = find_run(&broker, args.run).await?;
    // It may be the broker's alone, without a pipeline.
    if let Some(config) = &config {
        prices::check_budget(args.budget, config, &opened.pipeline)?;
    }
    let options = CollectOptions {
        run: opened.run,
        pipeline: opened.pipeline.clone(),
        out_dir: args.out.clone(),
        collector: process_name(),
        host: host_name(),
        scratch,
    };
    let attendance = Attendance::watch(broker.clone(), opened.services.clone(), json);
    let mut purse = Purse {
        most: args.budget,
        broker: broker.clone(),
        epoch: opened.epoch,
        emptied: None,
    };
    let result = shown(broker.clone(), options, &mut signals, &mut purse, json).await;
    drop(attendance);
    let complete = match &result {
        Ok(summary) => is_complete(summary),
        Err(error) => matches!(error, CollectError::Complete(_)),
    };
    if args.then_stop && complete {
        // It may have been opened again since, after a stop.
        let opened = find_run(&broker, Some(opened.run)).await?;
        // A run opened meanwhile has a later epoch, which this pill does not end.
        broker
            .append_control(FleetState::pill(opened.epoch, PillMode::Complete))
            .await?;
    }
    broker.close().await;
    match result {
        Ok(summary) => {
            say(json, &summary, &args.out.display().to_string());
            match args.budget.filter(|_| purse.emptied.is_some()) {
                Some(most) if !is_complete(&summary) => {
                    let spent = format!("{} so far, by finished files", summary.usage.cost);
                    Err(over(most, &spent))
                }
                _ => Ok(exit_of(&summary)),
            }
        }
        Err(CollectError::Complete(collected)) => already(json, *collected),
        Err(error) => Err(collect_failed(error)),
    }
}

/// The run is complete in another directory. On this host, that is what was asked for.
fn already(json: bool, collected: Collected) -> CommandResult {
    let exit = complete_exit(collected.failed, collected.unreadable);
    if collected.into.host != host_name() {
        return Err(collect_failed(CollectError::Complete(Box::new(collected))));
    }
    if json {
        print_json("already_complete", &collected);
    } else {
        print_line(&CollectError::Complete(Box::new(collected)).to_string());
    }
    Ok(exit)
}

/// The run that was asked for, or the latest one.
async fn find_run(
    broker: &Arc<dyn Broker>,
    asked: Option<RunId>,
) -> Result<RunOpened, CommandError> {
    let log = broker.follow_control().await?;
    let opened = log.history.iter().rev().find_map(|record| match record {
        filefleet_shared::wire::ControlRecord::RunOpened(opened)
            if asked.is_none_or(|run| run == opened.run) =>
        {
            Some(opened.clone())
        }
        _ => None,
    });
    opened.ok_or_else(|| match asked {
        Some(run) => {
            CommandError::usage(format!("run {run} was not published here in the last 24 h"))
        }
        None => CommandError::usage("no run was published here yet: `filefleet publish DIR`"),
    })
}

/// What the files of a run may cost.
struct Purse {
    most: Option<Cost>,
    broker: Arc<dyn Broker>,
    epoch: u64,
    /// When workers were told to leave, or the last outcome after that.
    emptied: Option<(Instant, u64)>,
}

impl Purse {
    /// Makes the workers leave once the money is spent; true when their last outcomes are here.
    async fn is_done(&mut self, shown: &CollectProgress) -> bool {
        if self.most.is_none_or(|most| shown.usage.cost < most) {
            return false;
        }
        let outcomes = shown.succeeded + shown.failed + shown.cancelled;
        match self.emptied {
            None => {
                let pill = FleetState::pill(self.epoch, PillMode::Drain);
                match self.broker.append_control(pill).await {
                    Ok(()) => self.emptied = Some((Instant::now(), outcomes)),
                    Err(error) => tracing::warn!(%error, "cannot stop the workers yet"),
                }
            }
            Some((_, before)) if before != outcomes => {
                self.emptied = Some((Instant::now(), outcomes));
            }
            Some((since, _)) => return since.elapsed() > LAST_OUTCOMES,
        }
        false
    }
}

async fn shown(
    broker: Arc<dyn Broker>,
    options: CollectOptions,
    signals: &mut Signals,
    purse: &mut Purse,
    json: bool,
) -> Result<Summary, CollectError> {
    let (report, watched) = watch::channel(CollectProgress::default());
    let (stop, stopped) = watch::channel(false);
    let mut progress = Progress::new(json, "collected");
    let gathering = gather(broker, options, report, stopped);
    tokio::pin!(gathering);
    let mut tick = tokio::time::interval(TICK);
    let result = loop {
        tokio::select! {
            result = &mut gathering => break result,
            () = signals.stop() => {
                stop.send_replace(true);
                break gathering.await;
            }
            _ = tick.tick() => {
                let shown = *watched.borrow();
                progress.show(&moment(&shown));
                if purse.is_done(&shown).await {
                    stop.send_replace(true);
                }
            }
        }
    };
    progress.finish();
    result
}

/// What a progress bar shows of collecting.
pub(crate) fn moment(shown: &CollectProgress) -> Moment {
    Moment {
        total: shown.total,
        succeeded: shown.succeeded,
        failed: shown.failed + shown.cancelled,
        tokens: shown.usage.input_tokens + shown.usage.output_tokens,
        cost: shown.usage.cost,
        from_journal: shown.usage.from_journal,
        paused: shown
            .waiting
            .then(|| "broker is away".to_owned())
            .into_iter()
            .collect(),
        ..Moment::default()
    }
}

/// The exit code and words of a collector that did not end.
pub(crate) fn collect_failed(error: CollectError) -> CommandError {
    use filefleet_producer::sink::SinkError;
    let exit = match &error {
        CollectError::AnotherCollector(_)
        | CollectError::Elsewhere { .. }
        | CollectError::Sink(SinkError::AnotherCollector(_)) => Exit::Busy,
        CollectError::Complete(_)
        | CollectError::NoScratch(_)
        | CollectError::Missing { .. }
        | CollectError::Sink(SinkError::OtherRun { .. } | SinkError::Corrupt { .. }) => Exit::Usage,
        CollectError::Sink(SinkError::Disk(_) | SinkError::Encode(_))
        | CollectError::Scratch(_) => Exit::Local,
        CollectError::Broker(_) => {
            let CollectError::Broker(error) = error else {
                return CommandError::local(error);
            };
            return error.into();
        }
    };
    CommandError {
        exit,
        message: error.to_string(),
    }
}

/// Every task has its outcome.
pub(crate) fn is_complete(summary: &Summary) -> bool {
    summary.status == RunStatus::Complete
}

/// The exit code of a summary.
pub(crate) fn exit_of(summary: &Summary) -> Exit {
    match summary.status {
        RunStatus::Incomplete => Exit::Interrupted,
        RunStatus::Complete => complete_exit(
            summary.failed + summary.cancelled,
            summary.unreadable.unwrap_or_default(),
        ),
    }
}

/// The exit code of a complete run. What could not be read is not done either.
pub(crate) fn complete_exit(failed: u64, unreadable: u64) -> Exit {
    if failed + unreadable > 0 {
        Exit::SomeFailed
    } else {
        Exit::Success
    }
}

/// Says how a run ended and where the results are.
pub(crate) fn say(json: bool, summary: &Summary, out: &str) {
    if json {
        print_json("summary", summary);
        return;
    }
    let of = summary
        .total
        .map_or_else(|| "an unknown number of".to_owned(), |n| n.to_string());
    let word = if is_complete(summary) {
        "complete"
    } else {
        "incomplete"
    };
    print_line(&format!(
        "{word}: {} of {of} files succeeded, {} failed{}",
        summary.succeeded,
        summary.failed + summary.cancelled,
        summary
            .wall_seconds
            .map_or_else(String::new, |s| format!(", in {s:.1} s")),
    ));
    for (cause, count) in &summary.failures_by_cause {
        print_line(&format!("  {count:>8}  {cause}"));
    }
    let usage = summary.usage;
    let cost = match usage.cost {
        none if none.is_zero() => String::new(),
        cost => format!(", cost {cost}"),
    };
    let kept = match usage.from_journal {
        0 => String::new(),
        count => format!(", from journal: {count}"),
    };
    print_line(&format!(
        "{} calls{kept}, {} tokens in, {} tokens out{cost}",
        usage.calls, usage.input_tokens, usage.output_tokens
    ));
    if let Some(unreadable) = summary.unreadable.filter(|count| *count > 0) {
        print_line(&format!(
            "{} of the directory could not be read",
            entries(unreadable)
        ));
    }
    print_line(&format!("results: {out}/results.jsonl"));
    if summary.failed + summary.cancelled > 0 {
        print_line(&format!("failures: {out}/failures.jsonl"));
    }
}
