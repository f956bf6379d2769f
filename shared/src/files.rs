//! Files as keys under named roots: a key resolves to a path inside its root and nowhere else.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    ffi::OsStr,
    fs::{self, File, Metadata},
    io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};

use crate::{
    store::{Entry, Store, StoreError},
    time::UnixMillis,
    wire::FileRef,
};

/// Why a file or a root cannot be used, named by what has to change.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The configuration has no root of this name.
    #[error("no root named {0:?} is configured")]
    UnknownRoot(String),
    /// The directory does not exist.
    #[error("no such directory: {0}")]
    NoSuchDirectory(PathBuf),
    /// There is something else under this name.
    #[error("not a directory: {0}")]
    NotADirectory(PathBuf),
    /// The key is not a relative path of plain components.
    #[error("bad file key {key:?}: {why}")]
    BadKey {
        /// The key as it came.
        key: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A symbolic link leads out of the root.
    #[error("{key:?} leads out of root {root:?}")]
    Outside {
        /// Name of the root.
        root: String,
        /// The key.
        key: String,
    },
    /// The file is gone.
    #[error("no such file in root {root:?}: {key:?}")]
    Missing {
        /// Name of the root.
        root: String,
        /// The key.
        key: String,
    },
    /// A directory, device, pipe or socket.
    #[error("not a regular file: {0:?}")]
    NotAFile(String),
    /// The root is an object store, whose objects have no path.
    #[error("root {0:?} is an object store")]
    NotLocal(String),
    /// The object store of a root.
    #[error("{key:?} in root {root:?}: {source}")]
    Store {
        /// Name of the root.
        root: String,
        /// The key.
        key: String,
        /// Why; shows no address.
        source: Box<StoreError>,
    },
    /// The file system failed.
    #[error("{path}: {source}")]
    Io {
        /// What was touched.
        path: String,
        /// Why it failed.
        source: io::Error,
    },
}

/// Where symbolic links of a root may lead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Links {
    /// To places inside the root only.
    #[default]
    Inside,
    /// Anywhere: for roots whose owner put links to other places into them.
    Anywhere,
}

/// Named roots, and the directories and object stores they stand for.
#[derive(Clone, Debug, Default)]
pub struct Roots {
    roots: BTreeMap<String, Root>,
}

#[derive(Clone, Debug)]
enum Root {
    Directory { path: PathBuf, links: Links },
    Store(Store),
}

impl Roots {
    /// No roots.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds or replaces a root, and returns its canonical directory.
    ///
    /// # Errors
    /// [`FileError::NoSuchDirectory`], [`FileError::NotADirectory`], [`FileError::Io`].
    pub fn insert(
        &mut self,
        name: impl Into<String>,
        directory: &Path,
        links: Links,
    ) -> Result<&Path, FileError> {
        let name = name.into();
        let path = canonical_directory(directory)?;
        self.roots
            .insert(name.clone(), Root::Directory { path, links });
        self.directory(&name)
    }

    /// Adds or replaces a root whose files are objects.
    pub fn insert_store(&mut self, name: impl Into<String>, store: Store) {
        self.roots.insert(name.into(), Root::Store(store));
    }

    /// The canonical directory of a root.
    ///
    /// # Errors
    /// [`FileError::UnknownRoot`], [`FileError::NotLocal`].
    pub fn directory(&self, name: &str) -> Result<&Path, FileError> {
        self.local(name).map(|(directory, _)| directory)
    }

    /// The object store of a root; `None` if it is a directory.
    ///
    /// # Errors
    /// [`FileError::UnknownRoot`].
    pub fn store(&self, name: &str) -> Result<Option<&Store>, FileError> {
        Ok(match self.root(name)? {
            Root::Store(store) => Some(store),
            Root::Directory { .. } => None,
        })
    }

    /// The path a reference names, from its words alone: the disk is not touched.
    ///
    /// # Errors
    /// [`FileError::UnknownRoot`], [`FileError::NotLocal`], [`FileError::BadKey`].
    pub fn resolve(&self, file: &FileRef) -> Result<PathBuf, FileError> {
        let (directory, _) = self.local(&file.root)?;
        let key = key_bytes(file)?;
        check_key(&key)?;
        Ok(directory.join(OsStr::from_bytes(&key)))
    }

    /// The canonical path of an existing regular file, links followed and checked.
    ///
    /// # Errors
    /// Every [`FileError`] but those about directories.
    pub fn locate(&self, file: &FileRef) -> Result<(PathBuf, Metadata), FileError> {
        let path = self.resolve(file)?;
        let (directory, links) = self.local(&file.root)?;
        let failed = |source| explain(file, source);
        let path = path.canonicalize().map_err(failed)?;
        if links == Links::Inside && !path.starts_with(directory) {
            return Err(FileError::Outside {
                root: file.root.clone(),
                key: file.key.clone(),
            });
        }
        let metadata = fs::metadata(&path).map_err(failed)?;
        if !metadata.is_file() {
            // Opening a pipe would wait for its writer for ever.
            return Err(FileError::NotAFile(file.key.clone()));
        }
        Ok((path, metadata))
    }

    /// Opens a file for reading. Blocks: call it off the runtime.
    ///
    /// # Errors
    /// As [`Roots::locate`].
    pub fn open(&self, file: &FileRef) -> Result<(File, Metadata), FileError> {
        let (path, _) = self.locate(file)?;
        let opened = File::open(&path).map_err(|source| explain(file, source))?;
        let metadata = opened.metadata().map_err(|source| explain(file, source))?;
        Ok((opened, metadata))
    }

    fn local(&self, name: &str) -> Result<(&Path, Links), FileError> {
        match self.root(name)? {
            Root::Directory { path, links } => Ok((path, *links)),
            Root::Store(_) => Err(FileError::NotLocal(name.to_owned())),
        }
    }

    fn root(&self, name: &str) -> Result<&Root, FileError> {
        self.roots
            .get(name)
            .ok_or_else(|| FileError::UnknownRoot(name.to_owned()))
    }
}

/// The canonical form of a directory that must exist.
///
/// # Errors
/// [`FileError::NoSuchDirectory`], [`FileError::NotADirectory`], [`FileError::Io`].
pub fn canonical_directory(directory: &Path) -> Result<PathBuf, FileError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => FileError::NoSuchDirectory(directory.to_owned()),
        io::ErrorKind::NotADirectory => FileError::NotADirectory(directory.to_owned()),
        _ => FileError::Io {
            path: directory.display().to_string(),
            source,
        },
    };
    let canonical = directory.canonicalize().map_err(failed)?;
    if fs::metadata(&canonical).map_err(failed)?.is_dir() {
        Ok(canonical)
    } else {
        Err(FileError::NotADirectory(directory.to_owned()))
    }
}

/// A reference to a file under a root; `key` is its relative path, as the file system has it.
///
/// # Errors
/// [`FileError::BadKey`].
pub fn file_ref(
    root: &str,
    key: &[u8],
    size: u64,
    modified: Option<UnixMillis>,
    media_type: &str,
) -> Result<FileRef, FileError> {
    check_key(key)?;
    let text = String::from_utf8_lossy(key);
    let exact = matches!(text, Cow::Owned(_)).then(|| BASE64.encode(key));
    Ok(FileRef {
        root: root.to_owned(),
        key: text.into_owned(),
        key_bytes: exact,
        size,
        modified,
        etag: None,
        media_type: media_type.to_owned(),
    })
}

/// The key of a reference into an object store.
///
/// # Errors
/// [`FileError::BadKey`]; keys of objects are always UTF-8.
pub fn object_key(file: &FileRef) -> Result<&str, FileError> {
    if file.key_bytes.is_some() {
        return Err(FileError::BadKey {
            key: file.key.clone(),
            why: "not UTF-8",
        });
    }
    check_key(file.key.as_bytes())?;
    Ok(&file.key)
}

/// The exact bytes of a reference's key.
///
/// # Errors
/// [`FileError::BadKey`] if `key_bytes` is not base64, or of another name than `key` shows.
pub fn key_bytes(file: &FileRef) -> Result<Cow<'_, [u8]>, FileError> {
    let Some(exact) = &file.key_bytes else {
        return Ok(Cow::Borrowed(file.key.as_bytes()));
    };
    let bad = |why| FileError::BadKey {
        key: file.key.clone(),
        why,
    };
    let bytes = BASE64
        .decode(exact)
        .map_err(|_| bad("key_bytes is not base64"))?;
    // A person reading the key must see the file that is meant.
    if String::from_utf8_lossy(&bytes) != file.key {
        return Err(bad("key and key_bytes are different names"));
    }
    Ok(Cow::Owned(bytes))
}

/// The file is not the one that was published: another size or modification time.
#[must_use]
pub fn has_changed(file: &FileRef, metadata: &Metadata) -> bool {
    metadata.len() != file.size
        || file
            .modified
            .is_some_and(|published| modified(metadata) != Some(published))
}

/// The object is not the one that was published: another size, time or version.
#[must_use]
pub fn object_has_changed(file: &FileRef, found: &Entry) -> bool {
    // A listing may say milliseconds where the answer with the content says seconds.
    let seconds = |at: UnixMillis| at.0 / 1000;
    let modified = file
        .modified
        .is_some_and(|published| seconds(published) != seconds(found.modified));
    let other = match (&file.etag, &found.etag) {
        (Some(published), Some(found)) => published != found,
        _ => false,
    };
    found.size != file.size || modified || other
}

/// When a file was last modified, where the file system knows.
#[must_use]
pub fn modified(metadata: &Metadata) -> Option<UnixMillis> {
    metadata.modified().ok().map(UnixMillis::from)
}

fn check_key(key: &[u8]) -> Result<(), FileError> {
    let why = if key.is_empty() {
        "empty"
    } else if key.starts_with(b"/") {
        "absolute"
    } else if key.contains(&0) {
        "a zero byte"
    } else {
        let bad = key.split(|byte| *byte == b'/').find_map(|part| match part {
            b"" => Some("an empty component"),
            b"." | b".." => Some("a component . or .."),
            _ => None,
        });
        match bad {
            Some(why) => why,
            None => return Ok(()),
        }
    };
    Err(FileError::BadKey {
        key: String::from_utf8_lossy(key).into_owned(),
        why,
    })
}

fn explain(file: &FileRef, source: io::Error) -> FileError {
    match source.kind() {
        io::ErrorKind::NotFound => missing(file),
        _ => FileError::Io {
            path: format!("{}:{}", file.root, file.key),
            source,
        },
    }
}

fn missing(file: &FileRef) -> FileError {
    FileError::Missing {
        root: file.root.clone(),
        key: file.key.clone(),
    }
}

/// Why an object could not be read.
#[must_use]
pub fn explain_store(file: &FileRef, source: StoreError) -> FileError {
    match source {
        StoreError::Missing => missing(file),
        StoreError::BadKey(why) => FileError::BadKey {
            key: file.key.clone(),
            why,
        },
        source => FileError::Store {
            root: file.root.clone(),
            key: file.key.clone(),
            source: Box::new(source),
        },
    }
}

#[cfg(test)]
mod tests;
