//! Files that survive a crash: appended in whole lines, or replaced as a whole.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::task::JoinError;

/// Why a file of ours could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// No room: disk, quota or file size limit. Free some and start again; nothing is lost.
    #[error("no room left to write {0}; free some space and start again, it goes on from there")]
    Full(PathBuf),
    /// The file system failed.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl DiskError {
    pub(crate) fn at(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        move |source| match source.kind() {
            io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge => Self::Full(path.to_owned()),
            _ => Self::Io {
                path: path.to_owned(),
                source,
            },
        }
    }
}

/// A file that grows by whole lines. What was half written is cut off again.
#[derive(Debug)]
pub(crate) struct LineFile {
    file: Arc<File>,
    path: PathBuf,
    length: u64,
}

/// The end of a read: how many bytes hold whole lines, and why the rest does not count.
#[derive(Debug)]
pub(crate) enum LineFault<E> {
    Disk(DiskError),
    /// A whole line that `each` refused; numbered from 1.
    Line {
        number: u64,
        error: E,
    },
}

impl<E> From<DiskError> for LineFault<E> {
    fn from(error: DiskError) -> Self {
        Self::Disk(error)
    }
}

impl LineFile {
    /// Opens or creates the file. Call [`LineFile::recover`] before appending.
    pub(crate) fn open(path: &Path) -> Result<Self, DiskError> {
        let at = || DiskError::at(path);
        let created = !path.exists();
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(path)
            .map_err(at())?;
        if created {
            sync_directory_of(path)?;
        }
        let length = file.metadata().map_err(at())?.len();
        Ok(Self {
            file: Arc::new(file),
            path: path.to_owned(),
            length,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Locks the file until it is dropped; `false` if another process or handle has it.
    pub(crate) fn try_lock(&self) -> Result<bool, DiskError> {
        try_lock(&self.file, &self.path)
    }

    /// Gives every whole line to `each`, then cuts off a torn last one.
    ///
    /// A last line that is whole but refused by `each` is an error, not torn.
    pub(crate) fn recover<E>(
        &mut self,
        each: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), LineFault<E>> {
        let mut reader: &File = &self.file;
        reader
            .seek(SeekFrom::Start(0))
            .map_err(DiskError::at(&self.path))?;
        // No further than it was long: a device in its place would never end.
        let reader = BufReader::with_capacity(1 << 16, reader.take(self.length));
        let whole = each_line(reader, &self.path, each)?;
        if whole < self.length {
            tracing::warn!(
                path = %self.path.display(),
                bytes = self.length - whole,
                "cut off a line that a crash left half written"
            );
            self.cut(whole)?;
        }
        Ok(())
    }

    /// Appends whole lines; after an error none of them is in the file.
    pub(crate) fn append(&mut self, lines: &[u8]) -> Result<(), DiskError> {
        let written = (&*self.file).write_all(lines);
        match written {
            Ok(()) => {
                self.length = self.length.saturating_add(lines.len() as u64);
                Ok(())
            }
            Err(error) => {
                if let Err(uncut) = self.cut(self.length) {
                    // The next start cuts it off as a torn line.
                    tracing::warn!(%uncut, "could not cut off a half written line");
                }
                Err(DiskError::at(&self.path)(error))
            }
        }
    }

    /// The file, to sync it without holding on to this.
    pub(crate) fn syncer(&self) -> Syncer {
        Syncer {
            file: Arc::clone(&self.file),
            path: self.path.clone(),
        }
    }

    pub(crate) fn sync(&self) -> Result<(), DiskError> {
        self.file.sync_data().map_err(DiskError::at(&self.path))
    }

    fn cut(&mut self, length: u64) -> Result<(), DiskError> {
        self.file
            .set_len(length)
            .map_err(DiskError::at(&self.path))?;
        self.length = length;
        Ok(())
    }
}

/// Makes durable what was appended.
#[derive(Debug)]
pub(crate) struct Syncer {
    file: Arc<File>,
    path: PathBuf,
}

impl Syncer {
    pub(crate) fn sync(&self) -> Result<(), DiskError> {
        self.file.sync_data().map_err(DiskError::at(&self.path))
    }
}

/// Gives every whole line, without its end, to `each`; returns how many bytes they are.
pub(crate) fn each_line<E>(
    mut reader: impl BufRead,
    path: &Path,
    mut each: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<u64, LineFault<E>> {
    let (mut line, mut whole, mut number) = (Vec::new(), 0_u64, 0_u64);
    loop {
        line.clear();
        let read = reader
            .read_until(b'\n', &mut line)
            .map_err(DiskError::at(path))?;
        if line.pop() != Some(b'\n') {
            return Ok(whole);
        }
        number += 1;
        each(&line).map_err(|error| LineFault::Line { number, error })?;
        whole = whole.saturating_add(read as u64);
    }
}

/// Locks a file until it is closed; `false` if another handle has it.
///
/// # Errors
/// [`DiskError`].
pub fn try_lock(file: &File, path: &Path) -> Result<bool, DiskError> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(DiskError::at(path)(error)),
    }
}

/// Replaces a file as a whole: readers see the old one or the new one.
///
/// # Errors
/// [`DiskError`].
pub fn replace(path: &Path, content: &[u8]) -> Result<(), DiskError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    let temporary = PathBuf::from(name);
    let write = || {
        let mut file = File::create(&temporary)?;
        file.write_all(content)?;
        file.sync_data()?;
        fs::rename(&temporary, path)
    };
    write().map_err(DiskError::at(path))?;
    sync_directory_of(path)
}

/// The content of a file; `None` if there is none.
///
/// # Errors
/// [`DiskError`].
pub fn read_if_exists(path: &Path) -> Result<Option<Vec<u8>>, DiskError> {
    let mut content = Vec::new();
    match File::open(path).and_then(|mut file| file.read_to_end(&mut content)) {
        Ok(_) => Ok(Some(content)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(DiskError::at(path)(error)),
    }
}

/// A file's name is durable only when its directory is.
pub(crate) fn sync_directory_of(path: &Path) -> Result<(), DiskError> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(DiskError::at(directory))
}

/// Runs blocking work off the runtime; a panic in it goes on here.
pub(crate) async fn off_runtime<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    joined(tokio::task::spawn_blocking(work)).await
}

/// Waits for blocking work; a panic in it goes on here.
pub(crate) async fn joined<T>(work: impl Future<Output = Result<T, JoinError>>) -> T {
    match work.await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Cancelled: the runtime is going away, and this task with it.
            Err(_) => std::future::pending().await,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recovered(path: &Path) -> Vec<String> {
        let mut lines = Vec::new();
        let mut file = LineFile::open(path).unwrap();
        file.recover(|line| {
            lines.push(String::from_utf8(line.to_vec()).unwrap());
            Ok::<(), ()>(())
        })
        .unwrap();
        lines
    }

    #[test]
    fn a_torn_last_line_is_cut_off_and_appending_goes_on_behind_the_whole_ones() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lines");
        let text = b"one\ntwo\nthree\n";
        for cut in 0..=text.len() {
            fs::write(&path, &text[..cut]).unwrap();
            let whole = text[..cut].iter().filter(|byte| **byte == b'\n').count();
            assert_eq!(recovered(&path).len(), whole, "cut at {cut}");
            let mut file = LineFile::open(&path).unwrap();
            file.append(b"more\n").unwrap();
            assert_eq!(recovered(&path).last().unwrap(), "more");
            assert_eq!(recovered(&path).len(), whole + 1);
        }
    }

    #[test]
    fn a_full_disk_has_an_error_of_its_own() {
        let mut file = LineFile::open(Path::new("/dev/full")).unwrap();
        let error = file.append(b"line\n").unwrap_err();
        assert!(matches!(error, DiskError::Full(_)), "{error}");
    }

    #[test]
    fn a_locked_file_is_refused_until_it_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let first = LineFile::open(&path).unwrap();
        assert!(first.try_lock().unwrap());
        assert!(!LineFile::open(&path).unwrap().try_lock().unwrap());
        drop(first);
        assert!(LineFile::open(&path).unwrap().try_lock().unwrap());
    }

    #[test]
    fn replacing_a_file_leaves_nothing_else_behind() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run.json");
        replace(&path, b"old").unwrap();
        replace(&path, b"new").unwrap();
        assert_eq!(read_if_exists(&path).unwrap().unwrap(), b"new");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        assert!(read_if_exists(&dir.path().join("none")).unwrap().is_none());
    }
}
