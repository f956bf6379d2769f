//! Where things are in an output directory.

use std::path::{Path, PathBuf};

use filefleet_shared::wire::RunId;

/// An output directory: results for people, state to resume from.
#[derive(Clone, Debug)]
pub(crate) struct OutDir {
    path: PathBuf,
}

impl OutDir {
    /// At a path that need not exist yet.
    pub(crate) fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
        }
    }

    /// The directory itself.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// State that a `run` resumes from.
    pub(crate) fn state(&self) -> PathBuf {
        self.path.join("state")
    }

    /// The embedded broker's file.
    pub(crate) fn queue(&self) -> PathBuf {
        self.state().join("queue.db")
    }

    /// That file, and what SQLite keeps beside it.
    pub(crate) fn queue_files(&self) -> [PathBuf; 3] {
        ["queue.db", "queue.db-wal", "queue.db-shm"].map(|name| self.state().join(name))
    }

    /// Outputs too large for the embedded queue, until their run is complete.
    pub(crate) fn scratch(&self) -> PathBuf {
        self.state().join("scratch")
    }

    /// What the answers come from.
    pub(crate) fn origin(&self) -> PathBuf {
        self.state().join("origin.json")
    }

    /// Held by the one `run` that uses the directory.
    pub(crate) fn lock(&self) -> PathBuf {
        self.state().join("run.lock")
    }

    /// The journal of the publishing.
    pub(crate) fn manifest(&self) -> PathBuf {
        self.state().join("manifest.jsonl")
    }
}

/// The name of a file of a run that makes room for the next one's: `NAME.RUN.EXTENSION`.
pub(crate) fn of_run(file: &Path, run: RunId) -> PathBuf {
    let extension = file.extension().unwrap_or_default().to_string_lossy();
    file.with_extension(format!("{run}.{extension}"))
}
