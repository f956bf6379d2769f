//! Which files are done already, so that a later run leaves them out.

use std::{
    fs::File,
    io::{self, BufReader},
    path::Path,
};

use filefleet_shared::{files, time::UnixMillis, wire::FileRef};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::{RESULTS, SinkError};
use crate::durable::{DiskError, LineFault, each_line};

/// Files with a succeeded outcome, by root, name, size, modification time and version.
///
/// Takes 16 bytes a file: a hash of these, not the names.
#[derive(Clone, Debug, Default)]
pub struct FinishedFiles {
    sorted: Vec<u128>,
}

/// What a line of `results.jsonl` says about its file.
#[derive(Deserialize)]
struct FileLine {
    file: String,
    #[serde(default)]
    key_bytes: Option<String>,
    root: String,
    size: u64,
    #[serde(default)]
    modified: Option<UnixMillis>,
    #[serde(default)]
    etag: Option<String>,
    #[serde(default)]
    input_changed: bool,
}

impl FinishedFiles {
    /// Adds the files that succeeded in an output directory; nothing if it has no results yet.
    ///
    /// A file that had changed when it was read is not done: its outcome is of another content
    /// than the one its size and time stand for.
    ///
    /// # Errors
    /// [`SinkError::Corrupt`], [`SinkError::Disk`].
    pub fn add(&mut self, out_dir: &Path) -> Result<(), SinkError> {
        each_finished(out_dir, |file| self.sorted.push(hash(file)))?;
        self.sorted.sort_unstable();
        self.sorted.dedup();
        self.sorted.shrink_to_fit();
        Ok(())
    }

    /// The file is done, and has not changed since.
    #[must_use]
    pub fn has(&self, file: &FileRef) -> bool {
        self.sorted.binary_search(&hash(file)).is_ok()
    }

    /// How many files are done.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sorted.len()
    }

    /// No file is done.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }
}

/// Gives every file that succeeded, and did not change while it was worked on, to `each`.
///
/// Reads line by line, whatever the size of the results.
///
/// # Errors
/// [`SinkError::Corrupt`], [`SinkError::Disk`].
pub fn each_finished(out_dir: &Path, mut each: impl FnMut(&FileRef)) -> Result<(), SinkError> {
    let path = out_dir.join(RESULTS);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(DiskError::at(&path)(error).into()),
    };
    let reader = BufReader::with_capacity(1 << 16, file);
    let read = each_line(reader, &path, |line| {
        let line: FileLine = serde_json::from_slice(line)?;
        if !line.input_changed {
            each(&FileRef {
                root: line.root,
                key: line.file,
                key_bytes: line.key_bytes,
                size: line.size,
                modified: line.modified,
                etag: line.etag,
                media_type: String::new(),
            });
        }
        Ok::<(), serde_json::Error>(())
    });
    match read {
        Ok(_) => Ok(()),
        Err(LineFault::Disk(error)) => Err(error.into()),
        Err(LineFault::Line { number, error }) => Err(SinkError::Corrupt {
            path,
            line: number,
            why: error.to_string(),
        }),
    }
}

fn hash(file: &FileRef) -> u128 {
    let mut hash = Sha256::new();
    hash.update(file.root.as_bytes());
    hash.update([0]);
    // A key that cannot be decoded is no file's: it only must not meet another one.
    hash.update(files::key_bytes(file).unwrap_or_default());
    hash.update([0]);
    hash.update(file.size.to_be_bytes());
    hash.update(file.modified.map_or([0xff; 8], |at| at.0.to_be_bytes()));
    // Of a local file there is none, and its hash is the same with or without this.
    if let Some(etag) = &file.etag {
        hash.update(etag.as_bytes());
    }
    let mut first = [0; 16];
    first.copy_from_slice(&hash.finalize()[..16]);
    u128::from_be_bytes(first)
}
