//! Lists an object store in the order of its keys: the same file has the same number for ever.

use std::{pin::Pin, time::Duration};

use filefleet_shared::store::{Entry, Store, StoreError};
use futures_util::{Stream, StreamExt};
use tokio::runtime::Handle;

use super::{Globs, ScanError, ScanItem, ScanOptions, ScannedFile};

/// Failed calls in a row after which a listing is given up.
const PATIENCE: u32 = 6;
/// The wait after the first of them; it doubles.
const FIRST_WAIT: Duration = Duration::from_millis(500);

type Entries = Pin<Box<dyn Stream<Item = Result<Entry, StoreError>> + Send>>;

/// A running listing. Blocks: iterate it on a thread of its own, inside a runtime.
///
/// Holds one page of keys, whatever the size of the store.
pub struct Listing {
    store: Store,
    runtime: Handle,
    globs: Globs,
    hidden: bool,
    /// The last key that came, wanted or not.
    last: Option<String>,
    entries: Option<Entries>,
    failures: u32,
    ended: bool,
}

impl Listing {
    /// Starts behind `after`: neither that key nor any before it comes.
    ///
    /// # Errors
    /// [`ScanError::BadGlob`].
    pub fn open(
        store: Store,
        runtime: Handle,
        options: &ScanOptions,
        after: Option<&[u8]>,
    ) -> Result<Self, ScanError> {
        Ok(Self {
            store,
            runtime,
            globs: Globs::new(&options.include, &options.exclude)?,
            hidden: options.hidden,
            last: after.map(|key| String::from_utf8_lossy(key).into_owned()),
            entries: None,
            failures: 0,
            ended: false,
        })
    }

    /// The next object behind the last one; calls that fail are made again a few times.
    fn next_entry(&mut self) -> Result<Option<Entry>, StoreError> {
        loop {
            let entries = match self.entries.take() {
                Some(entries) => entries,
                None => Box::pin(self.store.list(self.last.as_deref())?),
            };
            let entries = self.entries.insert(entries);
            match self.runtime.block_on(entries.next()) {
                Some(Ok(entry)) => {
                    self.failures = 0;
                    return Ok(Some(entry));
                }
                None => return Ok(None),
                Some(Err(error)) => self.wait_after(error)?,
            }
        }
    }

    fn wait_after(&mut self, error: StoreError) -> Result<(), StoreError> {
        self.entries = None;
        self.failures += 1;
        if !error.is_transient() || self.failures >= PATIENCE {
            return Err(error);
        }
        tracing::warn!(error = error.explain(), "cannot list; trying again");
        let wait = FIRST_WAIT.saturating_mul(1 << (self.failures - 1));
        self.runtime.block_on(tokio::time::sleep(wait));
        Ok(())
    }

    /// What an object is to the scan: a file, nothing, or the end of it.
    fn take(&mut self, entry: Entry) -> Result<Option<ScanItem>, StoreError> {
        let last = self.last.as_deref();
        if last.is_some_and(|last| entry.key.as_str() <= last) {
            // `a/`, which some tools write for a directory, comes after `a-b`, and is read as `a`.
            if entry.size == 0 {
                return Ok(None);
            }
            return Err(StoreError::Unordered);
        }
        self.last = Some(entry.key.clone());
        if !self.wanted(&entry.key) || (entry.size == 0 && !self.is_object(&entry.key)?) {
            return Ok(None);
        }
        Ok(Some(ScanItem::File(ScannedFile {
            key: entry.key.into_bytes(),
            size: entry.size,
            modified: Some(entry.modified),
            etag: entry.etag,
        })))
    }

    fn wanted(&self, key: &str) -> bool {
        let hidden = key.split('/').any(|part| part.starts_with('.'));
        let directories = key.match_indices('/').map(|(at, _)| &key.as_bytes()[..at]);
        (self.hidden || !hidden)
            && directories
                .into_iter()
                .all(|at| self.globs.enter_directory(at))
            && self.globs.take_file(key.as_bytes())
    }

    /// An empty object may be the mark of a directory, `KEY/`: then there is none of this key.
    fn is_object(&self, key: &str) -> Result<bool, StoreError> {
        self.runtime.block_on(self.store.has(key))
    }

    fn failed(&mut self, source: StoreError) -> ScanError {
        self.ended = true;
        ScanError::Store {
            place: self.store.place().to_string(),
            why: source.explain(),
        }
    }
}

impl Iterator for Listing {
    type Item = Result<ScanItem, ScanError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.ended {
            let taken = match self.next_entry() {
                Ok(None) => break,
                Ok(Some(entry)) => self.take(entry),
                Err(error) => Err(error),
            };
            match taken {
                Ok(None) => {}
                Ok(Some(item)) => return Some(Ok(item)),
                Err(error) => return Some(Err(self.failed(error))),
            }
        }
        self.ended = true;
        None
    }
}

impl std::fmt::Debug for Listing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listing")
            .field("store", self.store.place())
            .finish_non_exhaustive()
    }
}
