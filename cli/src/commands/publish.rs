//! `filefleet publish`: one task per file, on RabbitMQ.

mod journal;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use filefleet_producer::{
    manifest::Header,
    publish::{PublishError, PublishOptions, PublishProgress, Published, Windows, publish as send},
    scan::{ScanError, ScanOptions},
    sink::{FinishedFiles, RESULTS},
};
use filefleet_shared::{broker::Broker, wire::RunId};
use filefleet_worker::config::Config;
use tokio::sync::watch;

use self::journal::{JournalName, earlier};
use super::collect::collect_failed;
use crate::{
    args::{PublishArgs, ScanArgs},
    attendance::{Attendance, unattended},
    connect,
    exit::{CommandError, CommandResult, Exit},
    pipeline,
    place::of_run,
    progress::{
        Moment, Progress, entries, links, print_json, print_line, tell, utc, warn_of_links,
    },
    signals::Signals,
    stores::Place,
};

const TICK: Duration = Duration::from_millis(200);

/// Publishes a directory, or goes on where an interrupted publish was.
pub(crate) async fn publish(args: PublishArgs, json: bool, mut signals: Signals) -> CommandResult {
    let config = connect::needed_config(&args.config)?;
    let settings = connect::settings(&args.broker, config.broker.as_ref())?;
    let options = options(&args, &config, &settings.place()?)?;
    let broker = connect::open(settings).await?;
    let (run, manifest) = (options.run, options.manifest.clone());
    let services = options.services.clone();
    let attendance = Attendance::watch(broker.clone(), services.clone(), json);
    let result = shown(broker.clone(), options, json, &mut signals).await;
    drop(attendance);
    let alone = unattended(&*broker, &services).await;
    broker.close().await;
    let published = result?;
    if published.total == 0 {
        return nothing(&args.dir, &published, json);
    }
    // The run is the broker's now: the next publish of this directory is a new one.
    let done = of_run(&manifest, run);
    std::fs::rename(&manifest, &done).map_err(CommandError::local)?;
    say(json, &published, &done);
    // What was asked for is done, whether the broker still answers or not.
    let alone = alone.unwrap_or_default();
    alone.iter().for_each(|service| service.say(json));
    Ok(Exit::Success)
}

/// What to publish to the broker at `place`, and whether it goes on with something.
fn options(
    args: &PublishArgs,
    config: &Config,
    place: &str,
) -> Result<PublishOptions, CommandError> {
    let entry = pipeline::find(config, args.pipeline.as_deref())?;
    let source = Place::of(&args.dir)?.open(Some(config))?;
    let directory = source.name().map_err(CommandError::usage)?;
    let scan = scan_options(&args.scan, vec![args.state.clone()]);
    scan.check().map_err(CommandError::usage)?;
    let skip = finished(&args.skip_finished)?;
    let journal = JournalName {
        directory: &directory,
        pipeline: &entry.pipeline,
        root: &args.root,
        broker: place,
    };
    let manifest = args.state.join(journal.to_string());
    let header = |path: &Path| Header::read(path).map_err(|error| publish_failed(error.into()));
    let begun = header(&manifest)?;
    let run = begun.as_ref().map_or_else(RunId::mint, |header| header.run);
    if begun.is_some() {
        let manifest = manifest.display();
        tell(&format!("going on with run {run}, as {manifest} says"));
    } else if skip.is_none()
        && let Some(path) = earlier(&manifest).map_err(CommandError::local)?
        && let Some(before) = header(&path)?
    {
        tell(&format!(
            "this directory was published before, as run {} on {}: all its files are published \
             again (--skip-finished OUT leaves out what is finished)",
            before.run,
            utc(before.opened),
        ));
    }
    Ok(PublishOptions {
        run,
        root: args.root.clone(),
        source,
        pipeline: entry.pipeline,
        step: entry.step,
        service: entry.service,
        services: entry.services,
        scan,
        manifest,
        skip,
        windows: Windows::default(),
    })
}

/// The files that are finished in any of the directories.
fn finished(outs: &[PathBuf]) -> Result<Option<Arc<FinishedFiles>>, CommandError> {
    let mut finished = FinishedFiles::default();
    for out in outs {
        // A wrong name would have everything paid again.
        if !out.join(RESULTS).exists() {
            let message = format!("--skip-finished: no {RESULTS} in {}", out.display());
            return Err(CommandError::usage(message));
        }
        finished
            .add(out)
            .map_err(|error| collect_failed(error.into()))?;
    }
    Ok((!outs.is_empty()).then(|| Arc::new(finished)))
}

/// No file was left to publish.
fn nothing(dir: &Path, published: &Published, json: bool) -> CommandResult {
    if published.skipped == 0 {
        return Err(no_files(dir, published.unreadable, published.links));
    }
    warn_of_links(json, published.links);
    if json {
        let line = serde_json::json!({
            "total": 0,
            "unreadable": published.unreadable,
            "skipped": published.skipped,
        });
        print_json("published", &line);
    } else {
        print_line(&format!(
            "nothing to publish: all {} files are finished",
            published.skipped
        ));
    }
    Ok(Exit::Success)
}

/// Publishes with progress, until done or the first signal.
async fn shown(
    broker: Arc<dyn Broker>,
    options: PublishOptions,
    json: bool,
    signals: &mut Signals,
) -> Result<Published, CommandError> {
    let (report, watched) = watch::channel(PublishProgress::default());
    let (stop, stopped) = watch::channel(false);
    let mut progress = Progress::new(json, "published");
    let sending = send(broker, options, report, stopped);
    tokio::pin!(sending);
    let mut tick = tokio::time::interval(TICK);
    let result = loop {
        tokio::select! {
            result = &mut sending => break result,
            () = signals.stop() => {
                stop.send_replace(true);
                break sending.await;
            }
            _ = tick.tick() => progress.show(&moment(&watched.borrow())),
        }
    };
    progress.finish();
    result.map_err(publish_failed)
}

/// What a progress bar shows of a publish.
pub(crate) fn moment(shown: &PublishProgress) -> Moment {
    Moment {
        total: shown.scanned.then_some(shown.planned),
        published: shown.confirmed,
        paused: shown
            .waiting
            .iter()
            .map(|why| format!("broker: {why}"))
            .collect(),
        ..Moment::default()
    }
}

fn say(json: bool, published: &Published, journal: &Path) {
    warn_of_links(json, published.links);
    if json {
        let line = serde_json::json!({
            "run": published.run,
            "epoch": published.epoch,
            "total": published.total,
            "unreadable": published.unreadable,
            "skipped": published.skipped,
            "digest": published.digest,
            "journal": journal,
        });
        print_json("published", &line);
    } else {
        print_line(&format!(
            "published {} files as run {}",
            published.total, published.run
        ));
        if published.skipped > 0 {
            print_line(&format!("left out {} that are finished", published.skipped));
        }
        if published.unreadable > 0 {
            tell(&format!(
                "{} could not be read",
                entries(published.unreadable)
            ));
        }
        print_line(&format!(
            "collect with: filefleet collect --run {} -o out",
            published.run
        ));
    }
}

/// From flags to what the scan takes.
pub(crate) fn scan_options(args: &ScanArgs, except: Vec<PathBuf>) -> ScanOptions {
    ScanOptions {
        include: args.include.clone(),
        exclude: args.exclude.clone(),
        hidden: args.hidden,
        follow_links: args.follow,
        except,
    }
}

/// A directory without any file to publish.
pub(crate) fn no_files(dir: &Path, unreadable: u64, passed_over: u64) -> CommandError {
    let unreadable = (unreadable > 0).then(|| format!("{} could not be read", entries(unreadable)));
    let passed_over = (passed_over > 0).then(|| links(passed_over));
    let mut why = Vec::from_iter(unreadable.into_iter().chain(passed_over)).join("; ");
    if why.is_empty() {
        why = "it is empty, or --include, --exclude or hidden names leave nothing".to_owned();
    }
    CommandError::usage(format!("no file to work on in {}: {why}", dir.display()))
}

/// The exit code and words of a publish that did not end.
pub(crate) fn publish_failed(error: PublishError) -> CommandError {
    let exit = match &error {
        PublishError::Interrupted { .. } | PublishError::Scan(ScanError::Stopped) => {
            Exit::Interrupted
        }
        PublishError::Broker(_) => {
            let PublishError::Broker(error) = error else {
                return CommandError::local(error);
            };
            return error.into();
        }
        PublishError::Manifest(manifest) if manifest.is_busy() => Exit::Busy,
        PublishError::Manifest(manifest) if manifest.is_disk() => Exit::Local,
        PublishError::Scan(scan) if scan.is_away() => Exit::Local,
        PublishError::Encode(_) => Exit::Local,
        PublishError::Scan(_) | PublishError::Manifest(_) | PublishError::File(_) => Exit::Usage,
    };
    CommandError {
        exit,
        message: error.to_string(),
    }
}
