//! The manifest: a journal of one publishing, so that a crash changes no task's identity.
//!
//! JSON lines. The first names the run; then, in the order of the scan, the very bodies that are
//! published, written and synced *before* they are; between them what could not be read and how
//! far the broker has confirmed. Started again, what is planned but not confirmed is published
//! again as it is, and the scan goes on behind the last entry, whatever happened to the tree.

mod digest;
mod journal;
mod record;

use std::path::{Path, PathBuf};

use filefleet_shared::{
    time::UnixMillis,
    wire::{RunId, VERSION},
};
use serde::{Deserialize, Serialize};

pub use digest::Digest;
pub(crate) use journal::{Batch, Journal, Planned, Progress};
pub(crate) use record::Record;

use crate::{durable::DiskError, scan::ScanOptions};

/// What is published: it must be the same when a publishing is resumed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// Version of the manifest, 1.
    pub v: u16,
    /// The run.
    pub run: RunId,
    /// Name of the root that keys are relative to.
    pub root: String,
    /// The scanned directory, or the URL of the listed store.
    pub directory: PathBuf,
    /// Name of the pipeline.
    pub pipeline: String,
    /// Name of its first step.
    pub step: String,
    /// The service of that step.
    pub service: String,
    /// Which files.
    pub scan: ScanOptions,
    /// When publishing began.
    pub opened: UnixMillis,
}

/// Why a manifest cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Another producer is publishing this run.
    #[error("another producer is publishing with {0}; wait for it or stop it")]
    Busy(PathBuf),
    /// The manifest is of another publishing.
    #[error(
        "a run that is not finished was begun with {field} {found}, and now it is {asked}\n  give \
         the same again to go on with it; or begin a new run, with another -o (`run`) or --state \
         (`publish`): this one is in {path}"
    )]
    Mismatch {
        /// The manifest.
        path: PathBuf,
        /// What differs.
        field: &'static str,
        /// As it is in the manifest.
        found: String,
        /// As it was asked for.
        asked: String,
    },
    /// Something else wrote into it, or the disk lost part of it.
    #[error("{path}, line {line}: {why}; the manifest is damaged, start a new run")]
    Corrupt {
        /// The manifest.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// What is wrong with it.
        why: String,
    },
    /// It cannot be read or written.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A line cannot be encoded.
    #[error("cannot encode a line of the manifest: {0}")]
    Encode(#[from] serde_json::Error),
}

impl ManifestError {
    /// Another producer has it.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        matches!(self, Self::Busy(_))
    }

    /// A local file or disk failed.
    #[must_use]
    pub fn is_disk(&self) -> bool {
        matches!(self, Self::Disk(_) | Self::Encode(_))
    }
}

impl Header {
    /// The header of the manifest at `path`, to resume its run; `None` if nothing was begun.
    ///
    /// # Errors
    /// [`ManifestError::Corrupt`], [`ManifestError::Disk`].
    pub fn read(path: &Path) -> Result<Option<Self>, ManifestError> {
        journal::read_header(path)
    }

    /// Checks that `asked` is the same publishing as this one.
    fn check(&self, path: &Path, asked: &Self) -> Result<(), ManifestError> {
        let differs = |field, found: String, asked: String| {
            if found == asked {
                return Ok(());
            }
            Err(ManifestError::Mismatch {
                path: path.to_owned(),
                field,
                found,
                asked,
            })
        };
        let directory = |header: &Self| header.directory.display().to_string();
        let scan = |header: &Self| {
            let flags = header.scan.flags();
            if flags.is_empty() {
                "(none)".to_owned()
            } else {
                flags
            }
        };
        differs("version", self.v.to_string(), VERSION.to_string())?;
        differs("run", self.run.to_string(), asked.run.to_string())?;
        differs("root", self.root.clone(), asked.root.clone())?;
        differs("directory", directory(self), directory(asked))?;
        differs("pipeline", self.pipeline.clone(), asked.pipeline.clone())?;
        differs("step", self.step.clone(), asked.step.clone())?;
        differs("service", self.service.clone(), asked.service.clone())?;
        differs("flags", scan(self), scan(asked))
    }
}
