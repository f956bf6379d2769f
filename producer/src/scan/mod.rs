//! Walks a directory in one total order, so that a sequence number means the same file for ever.

mod globs;
mod listing;
mod media;
mod walk;

use std::{
    cmp::Ordering,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use filefleet_shared::{
    files::{self, FileError},
    store::Store,
    time::UnixMillis,
    wire::FileRef,
};
use ignore::DirEntry;
use serde::{Deserialize, Serialize};

use globs::Globs;
pub use listing::{Listing, Pace};

/// File in any directory whose lines, in the form of `.gitignore`, name what is not a task.
pub const IGNORE_FILE: &str = ".filefleetignore";

/// Where the files to scan are.
#[derive(Clone, Debug)]
pub enum Source {
    /// In a directory, walked by a [`Scan`].
    Directory(PathBuf),
    /// In an object store, listed by a [`Listing`].
    Store(Store),
}

impl Source {
    /// The directory's canonical path, or the store's URL.
    ///
    /// # Errors
    /// The directory is none, or cannot be reached.
    pub fn name(&self) -> Result<PathBuf, ScanError> {
        match self {
            Self::Directory(path) => {
                files::canonical_directory(path).map_err(|error| ScanError::of(path, error))
            }
            Self::Store(store) => Ok(store.place().to_string().into()),
        }
    }
}

/// What of a directory or store is scanned.
///
/// A store has neither links nor [`IGNORE_FILE`]s.
///
/// Symbolic links are passed over, and counted, unless followed; a link that is followed into a loop or to
/// nowhere is an unreadable entry. `.gitignore` has no say: these are a user's documents.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScanOptions {
    /// Only files matching one of these globs; all if empty. `*.pdf` matches at any depth,
    /// `in/*.pdf` from the scanned directory, `in/` all that is in it.
    #[serde(default)]
    pub include: Vec<String>,
    /// No files matching one of these globs; wins over `include`.
    #[serde(default)]
    pub exclude: Vec<String>,
    /// Names that begin with a dot, too.
    #[serde(default)]
    pub hidden: bool,
    /// Follow symbolic links. Workers must allow links out of the root where there are any.
    #[serde(default)]
    pub follow_links: bool,
    /// Absolute paths that are never entered, like the output directory inside the scanned one.
    #[serde(skip)]
    pub except: Vec<PathBuf>,
}

impl ScanOptions {
    /// Checks the globs, before anything is begun with them.
    ///
    /// # Errors
    /// [`ScanError::BadGlob`].
    pub fn check(&self) -> Result<(), ScanError> {
        Globs::new(&self.include, &self.exclude).map(drop)
    }

    /// As they are given on a command line; empty for the default.
    pub(crate) fn flags(&self) -> String {
        let globs = |flag, globs: &[String]| -> Vec<String> {
            globs
                .iter()
                .map(|glob| format!("{flag} '{glob}'"))
                .collect()
        };
        let mut flags = globs("--include", &self.include);
        flags.extend(globs("--exclude", &self.exclude));
        flags.extend(self.hidden.then(|| "--hidden".to_owned()));
        flags.extend(self.follow_links.then(|| "--follow".to_owned()));
        flags.join(" ")
    }
}

/// Why a directory cannot be scanned at all.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// The directory does not exist.
    #[error("no such directory: {0}")]
    NoSuchDirectory(PathBuf),
    /// There is something else under this name.
    #[error("not a directory: {0}")]
    NotADirectory(PathBuf),
    /// The directory cannot be reached.
    #[error("cannot read {path}: {source}")]
    Unreadable {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// An object store cannot be listed, or not to its end.
    #[error("cannot list {place}: {why}")]
    Store {
        /// Its URL.
        place: String,
        /// Why.
        why: String,
        /// It was away, and can be listed another time.
        away: bool,
    },
    /// Told to stop while it waited for a store.
    #[error("stopped")]
    Stopped,
    /// A glob that does not compile.
    #[error("bad glob {glob:?}: {why}")]
    BadGlob {
        /// As it was written.
        glob: String,
        /// What is wrong with it.
        why: String,
    },
}

impl ScanError {
    /// A store was away for too long: the same command goes on another time.
    #[must_use]
    pub fn is_away(&self) -> bool {
        matches!(self, Self::Store { away: true, .. })
    }

    pub(crate) fn of(directory: &Path, error: FileError) -> Self {
        match error {
            FileError::NoSuchDirectory(path) => Self::NoSuchDirectory(path),
            FileError::NotADirectory(path) => Self::NotADirectory(path),
            FileError::Io { source, .. } => unreadable(directory, source),
            other => unreadable(directory, io::Error::other(other)),
        }
    }
}

/// One thing the scan came upon, in [`scan_order`] of its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScanItem {
    /// A regular file.
    File(ScannedFile),
    /// Not a task, because it could not be read; counted, never fatal.
    Unreadable(UnreadableEntry),
    /// Not a task: a symbolic link to what would be looked at, if links were followed.
    Link,
}

/// A regular file as the scan found it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScannedFile {
    /// Path relative to the scanned directory, as the file system has it.
    pub key: Vec<u8>,
    /// Size in bytes.
    pub size: u64,
    /// Modification time, if the file system has one.
    pub modified: Option<UnixMillis>,
    /// What an object store calls this version of it.
    pub etag: Option<String>,
}

/// An entry that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadableEntry {
    /// Path relative to the scanned directory; the directory's where the entry has no name.
    pub key: Vec<u8>,
    /// Why, for a person.
    pub reason: String,
}

impl ScannedFile {
    /// The file as messages name it.
    ///
    /// # Errors
    /// None for a file that a scan found.
    pub fn file_ref(&self, root: &str) -> Result<FileRef, FileError> {
        let media_type = media::of_name(&self.key);
        let file = files::file_ref(root, &self.key, self.size, self.modified, media_type)?;
        let etag = self.etag.clone();
        Ok(FileRef { etag, ..file })
    }
}

/// The order of the scan: depth first, each directory by the bytes of its entries' names.
#[must_use]
pub fn scan_order(a: &[u8], b: &[u8]) -> Ordering {
    let slash = |byte: &u8| *byte == b'/';
    a.split(slash).cmp(b.split(slash))
}

/// A running scan. Blocks: iterate it on a thread of its own.
///
/// Holds the names of one directory and of those above it, never of the whole tree.
pub struct Scan {
    walk: ignore::Walk,
    directory: Arc<Path>,
    globs: Arc<Globs>,
    after: Option<Arc<[u8]>>,
    /// The directory entered last: where an error without a path happened.
    entered: Vec<u8>,
}

impl Scan {
    /// Starts behind `after`: neither that key nor any before it comes, and none is looked up.
    ///
    /// # Errors
    /// Every [`ScanError`].
    pub fn open(
        directory: &Path,
        options: &ScanOptions,
        after: Option<&[u8]>,
    ) -> Result<Self, ScanError> {
        let canonical = files::canonical_directory(directory)
            .map_err(|error| ScanError::of(directory, error))?;
        // A directory that exists but cannot be listed is no empty directory.
        drop(std::fs::read_dir(&canonical).map_err(|source| unreadable(directory, source))?);
        let globs = Arc::new(Globs::new(&options.include, &options.exclude)?);
        let directory: Arc<Path> = canonical.into();
        let after: Option<Arc<[u8]>> = after.map(Into::into);
        let walk = walk::walk(&directory, options, &globs, after.clone());
        Ok(Self {
            walk,
            directory,
            globs,
            after,
            entered: Vec::new(),
        })
    }

    fn found(&mut self, entry: &DirEntry) -> Option<ScanItem> {
        let key = walk::key_below(&self.directory, entry.path())?.to_vec();
        if entry.file_type().is_some_and(|kind| kind.is_dir()) {
            self.entered = key;
            return entry.error().and_then(|error| self.unreadable(error));
        }
        if !walk::is_after(self.after.as_deref(), &key) {
            return None;
        }
        // Of one that is followed it is its target's type.
        if entry.file_type().is_some_and(|kind| kind.is_symlink()) {
            let wanted = self.globs.take_file(&key)
                || (entry.path().is_dir() && self.globs.enter_directory(&key));
            return wanted.then_some(ScanItem::Link);
        }
        if !entry.file_type().is_some_and(|kind| kind.is_file()) || !self.globs.take_file(&key) {
            return None;
        }
        match entry.metadata() {
            Ok(metadata) => Some(ScanItem::File(ScannedFile {
                key,
                size: metadata.len(),
                modified: files::modified(&metadata),
                etag: None,
            })),
            Err(error) => self.unreadable(&error),
        }
    }

    /// The error as an item, unless it belongs to the part that is skipped.
    fn unreadable(&self, error: &ignore::Error) -> Option<ScanItem> {
        let named = walk::path_of(error)
            // The ignore file's own name would be out of order among its neighbours.
            .filter(|path| !path.ends_with(IGNORE_FILE))
            .and_then(|path| walk::key_below(&self.directory, path));
        let key = named.unwrap_or(&self.entered);
        walk::is_after(self.after.as_deref(), key).then(|| {
            ScanItem::Unreadable(UnreadableEntry {
                key: key.to_vec(),
                reason: walk::reason(error),
            })
        })
    }
}

impl Iterator for Scan {
    type Item = ScanItem;

    fn next(&mut self) -> Option<ScanItem> {
        loop {
            let item = match self.walk.next()? {
                Ok(entry) => self.found(&entry),
                Err(error) => self.unreadable(&error),
            };
            if item.is_some() {
                return item;
            }
        }
    }
}

fn unreadable(path: &Path, source: io::Error) -> ScanError {
    ScanError::Unreadable {
        path: path.to_owned(),
        source,
    }
}

impl std::fmt::Debug for Scan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scan")
            .field("directory", &self.directory)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
