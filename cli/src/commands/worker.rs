//! `filefleet worker`: takes steps from RabbitMQ until stopped.

use std::path::{Path, PathBuf};

use filefleet_shared::{
    config::RootConfig,
    files::{Links, Roots},
    store::Store,
    wire::PillMode,
};
use filefleet_worker::{
    Left, Phase, Report, Stats, Worker, WorkerError, WorkerSettings,
    config::Config,
    service::{Catalog, CatalogOptions},
};
use tokio::sync::watch;

use crate::{
    args::WorkerArgs,
    connect,
    exit::{CommandError, CommandResult, Exit},
    prices,
    progress::print_json,
    signals::Signals,
    stores::{self, Place},
};

/// Name of the root that `publish` uses if none is named.
const DEFAULT_ROOT: &str = "default";

/// Works until a signal or a pill.
pub(crate) async fn worker(args: WorkerArgs, json: bool, mut signals: Signals) -> CommandResult {
    let config = connect::needed_config(&args.config)?;
    prices::warn_of_unused(&config);
    let roots = roots(&args, &config)?;
    let catalog =
        Catalog::build(&config, &CatalogOptions::default()).map_err(CommandError::usage)?;
    let mut settings = settings(&config, args.name.clone().unwrap_or_else(process_name));
    settings.scratch = stores::scratch(config.scratch.as_ref())?;
    settings.journal = stores::journal(config.journal.as_ref())?;
    settings.grace = args.grace.unwrap_or(settings.grace);
    let name = settings.name.clone();
    let broker = connect::rabbit(&args.broker, config.broker.as_ref()).await?;
    let worker = Worker::new(broker.clone(), catalog, roots, settings).map_err(failed)?;
    let (stats, mut phase) = (worker.stats(), worker.phase());
    let (stop, stopped) = watch::channel(false);
    let working = worker.run(stopped);
    tokio::pin!(working);
    let mut asked = false;
    let ended = loop {
        tokio::select! {
            biased;
            Ok(()) = phase.changed() => if json {
                say_phase(*phase.borrow_and_update(), &name, &stats);
            },
            ended = &mut working => break ended,
            () = signals.stop(), if !asked => {
                asked = true;
                stop.send_replace(true);
            }
        }
    };
    broker.close().await;
    say_left(&ended.map_err(failed)?, &stats, json);
    Ok(Exit::Success)
}

fn say_phase(phase: Phase, name: &str, stats: &Stats) {
    match phase {
        Phase::Starting => {}
        Phase::Ready => print_json("ready", &serde_json::json!({ "worker": name })),
        Phase::Draining => {
            print_json(
                "draining",
                &serde_json::json!({ "in_hand": stats.in_hand() }),
            );
        }
    }
}

fn say_left(report: &Report, stats: &Stats, json: bool) {
    let why = match &report.left {
        Left::Asked => "asked to",
        Left::Pill(pill) => match pill.mode {
            PillMode::Complete => "the run is complete, and its collector stopped the fleet",
            PillMode::Drain => "the fleet was stopped",
        },
    };
    tracing::info!(
        why,
        cut = report.cut,
        settled = stats.settled.get(),
        calls = stats.calls.get(),
        from_journal = stats.from_journal.get(),
        retries = stats.retries.get(),
        put_off = stats.put_off.get(),
        lost = stats.lost.get(),
        joined = stats.joined.get(),
        "worker left",
    );
    if json {
        let left = serde_json::json!({
            "why": why,
            "cut": report.cut,
            "settled": stats.settled.get(),
            "calls": stats.calls.get(),
            "from_journal": stats.from_journal.get(),
            "retries": stats.retries.get(),
            "put_off": stats.put_off.get(),
            "lost": stats.lost.get(),
            "joined": stats.joined.get(),
        });
        print_json("left", &left);
    }
}

/// The settings of a configuration, without its stores.
pub(crate) fn settings(config: &Config, name: String) -> WorkerSettings {
    WorkerSettings {
        name,
        grace: config.worker.grace,
        bytes_in_flight: config.worker.bytes_in_flight,
        quarantine_after: config.worker.quarantine_after,
        dead_after: config.worker.dead_after,
        retry: config.retry.clone(),
        calls: None,
        scratch: None,
        journal: None,
    }
}

/// The exit code and words of a worker that could not work.
pub(crate) fn failed(error: WorkerError) -> CommandError {
    match error {
        WorkerError::Broker(error) => error.into(),
        WorkerError::Timeout { .. } => CommandError::usage(error),
    }
}

/// Host name and process id: unique in a fleet, and easy to find in its logs.
pub(crate) fn process_name() -> String {
    format!("{}-{}", host_name(), std::process::id())
}

/// The name of this host; a container's is as good.
pub(crate) fn host_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim();
    if host.is_empty() { "worker" } else { host }.to_owned()
}

fn roots(args: &WorkerArgs, config: &Config) -> Result<Roots, CommandError> {
    let mut roots = Roots::new();
    let wrong = |name: &str, error: String| CommandError::usage(format!("root {name:?}: {error}"));
    let mut directory = |name: &str, dir: &Path, links: Links| {
        let added = roots.insert(name, dir, links).map(drop);
        added.map_err(|error| wrong(name, error.to_string()))
    };
    let mut stores = Vec::new();
    for (name, root) in &config.roots {
        match root {
            RootConfig::Directory { path, links } => directory(name, path, *links)?,
            RootConfig::Store(config) => stores.push((name.as_str(), (**config).clone())),
        }
    }
    let links = links(args.follow);
    for text in &args.root {
        let (name, dir) = named_root(text);
        match Place::url(&dir)? {
            None => directory(name, &dir, links)?,
            Some(place) => stores.push((name, stores::settings(place, Some(config)))),
        }
    }
    for (name, settings) in stores {
        let store = Store::open(&settings).map_err(|error| wrong(name, error.explain()))?;
        roots.insert_store(name, store);
    }
    if args.root.is_empty() && config.roots.is_empty() {
        return Err(CommandError::usage(
            "no root: say where the published files are, with --root DIR or [root.NAME]",
        ));
    }
    Ok(roots)
}

/// What `--follow` says about the links of a directory.
pub(crate) fn links(follow: bool) -> Links {
    if follow {
        Links::Anywhere
    } else {
        Links::Inside
    }
}

/// `NAME=DIR`, or a directory for the default root; a `/` before the `=` makes it a path.
fn named_root(text: &str) -> (&str, PathBuf) {
    match text.split_once('=') {
        Some((name, dir)) if !name.is_empty() && !name.contains('/') => (name, PathBuf::from(dir)),
        _ => (DEFAULT_ROOT, PathBuf::from(text)),
    }
}
