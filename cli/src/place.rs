//! Where things are in an output directory.

use std::path::{Path, PathBuf};

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

    /// The journal of the publishing.
    pub(crate) fn manifest(&self) -> PathBuf {
        self.state().join("manifest.jsonl")
    }
}
