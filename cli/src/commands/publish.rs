//! `filefleet publish`: one task per file, on RabbitMQ.

use std::{
    fmt,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use filefleet_producer::{
    manifest::Header,
    publish::{PublishError, PublishOptions, PublishProgress, Windows, publish as send},
    scan::ScanOptions,
};
use filefleet_shared::{broker::Broker, files::canonical_directory, wire::RunId};
use sha2::{Digest, Sha256};
use tokio::sync::watch;

use crate::{
    args::{PublishArgs, ScanArgs},
    attendance::{Attendance, unattended},
    connect,
    exit::{CommandError, CommandResult, Exit},
    pipeline,
    place::of_run,
    progress::{Moment, Progress, entries, print_json, print_line, tell},
    signals::Signals,
};

const TICK: Duration = Duration::from_millis(200);

/// Publishes a directory, or goes on where an interrupted publish was.
pub(crate) async fn publish(args: PublishArgs, json: bool, mut signals: Signals) -> CommandResult {
    let config = connect::needed_config(&args.config)?;
    let entry = pipeline::find(&config, args.pipeline.as_deref())?;
    let directory = canonical_directory(&args.dir).map_err(CommandError::usage)?;
    let scan = scan_options(&args.scan, vec![args.state.clone()]);
    scan.check().map_err(CommandError::usage)?;
    let settings = connect::settings(&args.broker, config.broker.as_ref())?;
    let journal = JournalName {
        directory: &directory,
        pipeline: &entry.pipeline,
        root: &args.root,
        broker: &settings.place()?,
    };
    let manifest = args.state.join(journal.to_string());
    let begun = Header::read(&manifest).map_err(|error| publish_failed(error.into()))?;
    let run = begun.as_ref().map_or_else(RunId::mint, |header| header.run);
    if begun.is_some() {
        tell(&format!(
            "going on with run {run}, as {} says",
            manifest.display()
        ));
    }
    let broker = connect::open(settings).await?;
    let options = PublishOptions {
        run,
        root: args.root.clone(),
        directory,
        pipeline: entry.pipeline,
        step: entry.step,
        service: entry.service,
        services: entry.services,
        scan,
        manifest: manifest.clone(),
        skip: None,
        windows: Windows::default(),
    };
    let services = options.services.clone();
    let attendance = Attendance::watch(broker.clone(), services.clone(), json);
    let result = shown(broker.clone(), options, json, &mut signals).await;
    drop(attendance);
    let alone = unattended(&*broker, &services).await;
    broker.close().await;
    let published = result?;
    if published.total == 0 {
        return Err(no_files(&args.dir, published.unreadable));
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

/// Publishes with progress, until done or the first signal.
async fn shown(
    broker: Arc<dyn Broker>,
    options: PublishOptions,
    json: bool,
    signals: &mut Signals,
) -> Result<filefleet_producer::publish::Published, CommandError> {
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

fn say(json: bool, published: &filefleet_producer::publish::Published, journal: &Path) {
    if json {
        let line = serde_json::json!({
            "run": published.run,
            "epoch": published.epoch,
            "total": published.total,
            "unreadable": published.unreadable,
            "digest": published.digest,
            "journal": journal,
        });
        print_json("published", &line);
    } else {
        print_line(&format!(
            "published {} files as run {}",
            published.total, published.run
        ));
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
pub(crate) fn no_files(dir: &Path, unreadable: u64) -> CommandError {
    let why = if unreadable > 0 {
        format!("{} could not be read", entries(unreadable))
    } else {
        "it is empty, or --include, --exclude or hidden names leave nothing".to_owned()
    };
    CommandError::usage(format!("no file to work on in {}: {why}", dir.display()))
}

/// The exit code and words of a publish that did not end.
pub(crate) fn publish_failed(error: PublishError) -> CommandError {
    let exit = match &error {
        PublishError::Interrupted { .. } => Exit::Interrupted,
        PublishError::Broker(_) => {
            let PublishError::Broker(error) = error else {
                return CommandError::local(error);
            };
            return error.into();
        }
        PublishError::Manifest(manifest) if manifest.is_busy() => Exit::Busy,
        PublishError::Manifest(manifest) if manifest.is_disk() => Exit::Local,
        PublishError::Encode(_) => Exit::Local,
        PublishError::Scan(_) | PublishError::Manifest(_) | PublishError::File(_) => Exit::Usage,
    };
    CommandError {
        exit,
        message: error.to_string(),
    }
}

/// What a publish is told by: started again with the same, it goes on in the same journal.
///
/// With another broker or root it is another publish, which must not take over the run of the
/// first. The name is the same in every build, or an update would forget what was begun.
struct JournalName<'a> {
    directory: &'a Path,
    pipeline: &'a str,
    root: &'a str,
    broker: &'a str,
}

/// Letters of a directory's name that its journal shows; names may be longer than fits.
const SHOWN: usize = 20;

impl fmt::Display for JournalName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut hash = Sha256::new();
        let parts = [
            self.directory.as_os_str().as_bytes(),
            self.pipeline.as_bytes(),
            self.root.as_bytes(),
            self.broker.as_bytes(),
        ];
        for part in parts {
            // With its length, so that no part can pass for the end of the one before.
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let name = self.directory.file_name().unwrap_or_default();
        let shown: String = name.to_string_lossy().chars().take(SHOWN).collect();
        write!(f, "publish-{shown}-{}-", self.pipeline)?;
        let digest = hash.finalize();
        digest
            .iter()
            .take(8)
            .try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str(".jsonl")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letters() -> JournalName<'static> {
        JournalName {
            directory: Path::new("/data/letters"),
            pipeline: "describe",
            root: "default",
            broker: "rabbit:5672//#filefleet",
        }
    }

    #[test]
    fn a_journal_has_the_same_name_in_every_build() {
        assert_eq!(
            letters().to_string(),
            "publish-letters-describe-a60ef3ff8c434dc5.jsonl"
        );
    }

    #[test]
    fn a_publish_to_another_broker_or_root_does_not_go_on_with_the_first() {
        let others = [
            JournalName {
                directory: Path::new("/other/letters"),
                ..letters()
            },
            JournalName {
                pipeline: "sum",
                ..letters()
            },
            JournalName {
                root: "inbox",
                ..letters()
            },
            JournalName {
                broker: "rabbit:5672//#test",
                ..letters()
            },
        ];
        for other in others {
            assert_ne!(other.to_string(), letters().to_string());
        }
    }

    #[test]
    fn a_directory_with_a_long_name_has_a_journal_too() {
        let directory = PathBuf::from(format!("/{}", "\u{20ac}".repeat(85)));
        let name = JournalName {
            directory: &directory,
            pipeline: &"p".repeat(63),
            ..letters()
        };
        // Finished, it has the run's id in it too.
        assert!(name.to_string().len() + RunId::mint().to_string().len() < 255);
    }
}
