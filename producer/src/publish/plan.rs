//! The planner: scans on a thread of its own, and journals each window before it is published.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use filefleet_shared::wire::{StepMessage, TaskId, encode};
use tokio::{
    runtime::Handle,
    sync::{mpsc, watch},
};

use super::{PublishError, PublishProgress, window::Window};
use crate::{
    manifest::{Batch, Journal, Planned, Progress},
    scan::{Listing, Pace, Scan, ScanError, ScanItem, ScanOptions, ScannedFile, Source},
    sink::FinishedFiles,
};

/// A slow file system must not keep the first files from the workers.
const LONGEST_WINDOW: Duration = Duration::from_millis(200);

pub(super) struct Planner {
    pub(super) journal: Arc<Mutex<Journal>>,
    pub(super) so_far: Progress,
    pub(super) source: Source,
    pub(super) runtime: Handle,
    pub(super) stop: watch::Receiver<bool>,
    pub(super) scan: ScanOptions,
    pub(super) skip: Option<Arc<FinishedFiles>>,
    pub(super) window: usize,
    pub(super) windows: mpsc::Sender<Window>,
    pub(super) progress: watch::Sender<PublishProgress>,
    pub(super) skipped: u64,
    pub(super) links: u64,
}

/// Where the planner left off: at the end of the scan, or stopped.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) so_far: Progress,
    pub(super) skipped: u64,
    pub(super) links: u64,
}

/// The planner's thread and the confirms write to one journal; neither panics while it does.
pub(super) fn lock(journal: &Mutex<Journal>) -> MutexGuard<'_, Journal> {
    journal.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Planner {
    /// Plans until the scan is over or nobody takes windows any more. Blocks.
    pub(super) fn run(mut self) -> Result<Plan, PublishError> {
        if self.so_far.scanned || !self.scan()? {
            return Ok(self.plan());
        }
        self.so_far.scanned = true;
        if self.so_far.planned > 0 {
            // From here on the sentinel may be out: no file found later may become a task.
            lock(&self.journal).append_synced(&self.so_far.scanned())?;
        }
        self.show();
        Ok(self.plan())
    }

    /// `false` if nobody takes windows any more.
    fn scan(&mut self) -> Result<bool, PublishError> {
        let after = self.so_far.last_key.clone();
        match &self.source {
            Source::Directory(directory) => {
                let scan = Scan::open(directory, &self.scan, after.as_deref())?;
                self.take_all(scan.map(Ok))
            }
            Source::Store(store) => {
                let pace = Pace {
                    runtime: self.runtime.clone(),
                    stop: self.stop.clone(),
                };
                let store = store.clone();
                self.take_all(Listing::open(store, pace, &self.scan, after.as_deref())?)
            }
        }
    }

    fn take_all(
        &mut self,
        items: impl Iterator<Item = Result<ScanItem, ScanError>>,
    ) -> Result<bool, PublishError> {
        let mut batch = Batch::default();
        let mut begun = Instant::now();
        for item in items {
            match item? {
                ScanItem::File(file) => self.file(file, &mut batch)?,
                ScanItem::Link => self.links += 1,
                ScanItem::Unreadable(entry) => {
                    let key = String::from_utf8_lossy(&entry.key);
                    tracing::warn!(file.key = %key, reason = entry.reason, "cannot be read");
                    self.so_far.unreadable += 1;
                    self.so_far.last_key = Some(entry.key.clone());
                    batch.unreadable(entry)?;
                }
            }
            if batch.tasks.len() >= self.window || begun.elapsed() >= LONGEST_WINDOW {
                if !self.flush(std::mem::take(&mut batch))? {
                    return Ok(false);
                }
                begun = Instant::now();
            }
        }
        self.flush(batch)
    }

    fn file(&mut self, file: ScannedFile, batch: &mut Batch) -> Result<(), PublishError> {
        let header = &self.so_far.header;
        let reference = file.file_ref(&header.root)?;
        if self.skip.as_ref().is_some_and(|done| done.has(&reference)) {
            self.skipped += 1;
            return Ok(());
        }
        let task = TaskId {
            run: header.run,
            seq: self.so_far.planned,
        };
        let step = StepMessage::first(task, &header.pipeline, &header.step, reference);
        batch.task(Planned {
            seq: task.seq,
            id: step.message_id(),
            body: encode(&step)?,
        });
        self.so_far.plan(file.key, file.size);
        Ok(())
    }

    /// Journals, and only then hands over; `false` if nobody takes it.
    fn flush(&mut self, batch: Batch) -> Result<bool, PublishError> {
        self.show();
        if !batch.lines.is_empty() {
            let syncer = {
                let mut journal = lock(&self.journal);
                journal.append_lines(&batch.lines)?;
                journal.syncer()
            };
            // Not under the lock: confirms of earlier windows are journalled meanwhile.
            syncer
                .sync()
                .map_err(crate::manifest::ManifestError::from)?;
        }
        if batch.tasks.is_empty() {
            return Ok(!self.windows.is_closed());
        }
        Ok(self.windows.blocking_send(Window::new(batch.tasks)).is_ok())
    }

    fn show(&self) {
        self.progress.send_modify(|shown| {
            shown.planned = self.so_far.planned;
            shown.bytes = self.so_far.bytes;
            shown.unreadable = self.so_far.unreadable;
            shown.skipped = self.skipped;
            shown.links = self.links;
            shown.scanned = self.so_far.scanned;
        });
    }

    fn plan(self) -> Plan {
        Plan {
            so_far: self.so_far,
            skipped: self.skipped,
            links: self.links,
        }
    }
}
