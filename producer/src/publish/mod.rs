//! Publishes a run: one task per file, journalled before it is sent, resumable at any point.

mod flow;
mod open;
mod plan;
mod window;

use std::{path::PathBuf, sync::Arc};

use filefleet_shared::{
    broker::{Broker, BrokerError},
    files::FileError,
    time::UnixMillis,
    wire::{RunId, VERSION},
};
use tokio::sync::watch;

use crate::{
    durable::{DiskError, off_runtime},
    manifest::{Header, Journal, ManifestError},
    scan::{ScanError, ScanOptions, Source},
    sink::FinishedFiles,
};
use flow::Flow;

/// What to publish, and from where it is resumed.
#[derive(Clone, Debug)]
pub struct PublishOptions {
    /// The run: that of [`Header::read`] to resume, or a new one.
    pub run: RunId,
    /// Name of the root that workers map to this directory.
    pub root: String,
    /// The files.
    pub source: Source,
    /// Name of the pipeline.
    pub pipeline: String,
    /// Name of its first step.
    pub step: String,
    /// The service of that step.
    pub service: String,
    /// The services of all steps.
    pub services: Vec<String>,
    /// Which files.
    pub scan: ScanOptions,
    /// Where the manifest is, or will be.
    pub manifest: PathBuf,
    /// Files that are done already, by name, size and modification time.
    pub skip: Option<Arc<FinishedFiles>>,
    /// How many messages go out together.
    pub windows: Windows,
}

/// How many messages are sent without waiting for the broker.
#[derive(Clone, Copy, Debug)]
pub struct Windows {
    /// Messages of one window, at least 1.
    pub messages: usize,
    /// Windows that wait for the broker at a time, at least 1. A crash repeats no more than these.
    pub in_flight: usize,
}

impl Default for Windows {
    /// Three windows of 500: beyond 1,000 unconfirmed messages a broker gets no faster.
    fn default() -> Self {
        Self {
            messages: 500,
            in_flight: 3,
        }
    }
}

/// How far a publish is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PublishProgress {
    /// Tasks in the manifest.
    pub planned: u64,
    /// Tasks the broker has.
    pub confirmed: u64,
    /// Bytes of the files in the manifest.
    pub bytes: u64,
    /// Entries that could not be read.
    pub unreadable: u64,
    /// Files left out because they are done already.
    pub skipped: u64,
    /// Symbolic links that this call passed over.
    pub links: u64,
    /// The scan is over: `planned` is the total.
    pub scanned: bool,
    /// Why it waits, while the broker is away.
    pub waiting: Option<String>,
}

/// A run that is published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// The run.
    pub run: RunId,
    /// Its epoch in the control log; `None` if there was no file, so no run was opened.
    pub epoch: Option<u64>,
    /// Tasks. With 0 nothing was published, and no collector can complete the run.
    pub total: u64,
    /// See [`crate::manifest::Digest`]; hex.
    pub digest: String,
    /// Entries that could not be read and so are not tasks.
    pub unreadable: u64,
    /// Files left out because they are done already, by this call.
    pub skipped: u64,
    /// Symbolic links that this call passed over.
    pub links: u64,
}

/// Why a publish did not end. Started again with the same options, it goes on.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The directory or store cannot be scanned.
    #[error(transparent)]
    Scan(#[from] ScanError),
    /// The manifest cannot be used or written.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The broker refused for good, or was away for too long.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// A file cannot be named in a message.
    #[error(transparent)]
    File(#[from] FileError),
    /// A message cannot be encoded.
    #[error("cannot encode a message: {0}")]
    Encode(#[from] serde_json::Error),
    /// Told to stop.
    #[error("stopped after {confirmed} tasks; publish again to go on")]
    Interrupted {
        /// Tasks the broker has.
        confirmed: u64,
    },
}

impl PublishError {
    /// There is no room left: free some and publish again.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        matches!(
            self,
            Self::Manifest(ManifestError::Disk(DiskError::Full(_)))
        )
    }
}

/// Publishes every file of a directory and then the sentinel; safe to call again until it has.
///
/// Holds a few windows of messages in memory, whatever the size of the directory. With `stop`,
/// the windows in flight are still confirmed and journalled.
///
/// # Errors
/// Every [`PublishError`]. A broker that is away is waited for, up to [`Broker::outage`].
pub async fn publish(
    broker: Arc<dyn Broker>,
    options: PublishOptions,
    progress: watch::Sender<PublishProgress>,
    stop: watch::Receiver<bool>,
) -> Result<Published, PublishError> {
    let asked = header(&options)?;
    let path = options.manifest.clone();
    let (journal, so_far) = off_runtime(move || Journal::open(&path, &asked)).await?;
    progress.send_modify(|shown| {
        shown.planned = so_far.planned;
        shown.confirmed = so_far.confirmed;
        shown.bytes = so_far.bytes;
        shown.unreadable = so_far.unreadable;
        shown.scanned = so_far.scanned;
    });
    if so_far.closed.is_some() {
        return Ok(Published {
            run: so_far.header.run,
            epoch: so_far.epoch,
            total: so_far.planned,
            digest: so_far.digest.to_string(),
            unreadable: so_far.unreadable,
            skipped: 0,
            links: 0,
        });
    }
    Flow::start(broker, options, journal, so_far, progress, stop)
        .run()
        .await
}

fn header(options: &PublishOptions) -> Result<Header, PublishError> {
    Ok(Header {
        v: VERSION,
        run: options.run,
        root: options.root.clone(),
        directory: options.source.name()?,
        pipeline: options.pipeline.clone(),
        step: options.step.clone(),
        service: options.service.clone(),
        scan: options.scan.clone(),
        opened: UnixMillis::now(),
    })
}

#[cfg(test)]
mod tests;
