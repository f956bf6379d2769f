//! Lists an object store in the order of its keys: the same file has the same number for ever.

use std::{
    pin::Pin,
    time::{Duration, Instant},
};

use filefleet_shared::store::{Entry, Store, StoreError};
use futures_util::{Stream, StreamExt};
use tokio::{runtime::Handle, sync::watch};

use super::{Globs, ScanError, ScanItem, ScanOptions, ScannedFile};
use crate::patience::stopped;

/// How long a listing does not get on before it is given up.
const PATIENCE: Duration = Duration::from_secs(90);
/// The wait after the first of them; it doubles.
const FIRST_WAIT: Duration = Duration::from_millis(500);

type Entries = Pin<Box<dyn Stream<Item = Result<Entry, StoreError>> + Send>>;

/// How a thread that may block waits for a store.
#[derive(Clone, Debug)]
pub struct Pace {
    /// Where the calls run.
    pub runtime: Handle,
    /// Ends the waiting.
    pub stop: watch::Receiver<bool>,
}

impl Pace {
    /// The end of a call; `None` if told to stop before it.
    fn wait<F: Future>(&mut self, call: F) -> Option<F::Output> {
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                () = stopped(&mut self.stop) => None,
                ended = call => Some(ended),
            }
        })
    }
}

/// Why a listing ends before its end.
enum Broken {
    Stopped,
    Store(StoreError),
}

impl From<StoreError> for Broken {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// A running listing. Blocks: iterate it on a thread of its own, inside a runtime.
///
/// Holds one page of keys, whatever the size of the store.
pub struct Listing {
    store: Store,
    pace: Pace,
    globs: Globs,
    hidden: bool,
    /// The last key that came, wanted or not.
    last: Option<String>,
    entries: Option<Entries>,
    /// Nothing behind the last key came yet: some stores list from the start again.
    skipping: bool,
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
        pace: Pace,
        options: &ScanOptions,
        after: Option<&[u8]>,
    ) -> Result<Self, ScanError> {
        Ok(Self {
            store,
            pace,
            globs: Globs::new(&options.include, &options.exclude)?,
            hidden: options.hidden,
            last: after.map(|key| String::from_utf8_lossy(key).into_owned()),
            entries: None,
            skipping: true,
            failures: 0,
            ended: false,
        })
    }

    /// The next object behind the last one; calls that fail are made again a few times.
    fn next_entry(&mut self) -> Result<Option<Entry>, Broken> {
        let began = Instant::now();
        loop {
            let entries = match self.entries.take() {
                Some(entries) => entries,
                None => {
                    self.skipping = true;
                    Box::pin(self.store.list(self.last.as_deref())?)
                }
            };
            let entries = self.entries.insert(entries);
            let next = self.pace.wait(entries.next());
            match next.ok_or(Broken::Stopped)? {
                Some(Ok(entry)) => {
                    self.failures = 0;
                    return Ok(Some(entry));
                }
                None => return Ok(None),
                Some(Err(error)) => self.wait_after(error, began)?,
            }
        }
    }

    fn wait_after(&mut self, error: StoreError, began: Instant) -> Result<(), Broken> {
        self.entries = None;
        self.failures += 1;
        let wait = FIRST_WAIT.saturating_mul(1 << self.failures.min(5));
        if !error.is_transient() || began.elapsed() + wait > PATIENCE {
            return Err(error.into());
        }
        tracing::warn!(error = error.explain(), "cannot list; trying again");
        let waited = self.pace.wait(tokio::time::sleep(wait));
        waited.ok_or(Broken::Stopped)
    }

    /// What an object is to the scan: a file, nothing, or the end of it.
    fn item(&mut self, entry: Entry) -> Result<Option<ScanItem>, Broken> {
        let last = self.last.as_deref();
        if last.is_some_and(|last| !is_behind(last, &entry.key)) {
            // `a/`, which some tools write for a directory, comes after `a-b`, and is read as `a`.
            if self.skipping || entry.size == 0 {
                return Ok(None);
            }
            return Err(StoreError::Unordered.into());
        }
        self.skipping = false;
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
    fn is_object(&mut self, key: &str) -> Result<bool, Broken> {
        let found = self.pace.wait(self.store.has(key));
        Ok(found.ok_or(Broken::Stopped)??)
    }

    fn failed(&mut self, broken: &Broken) -> ScanError {
        self.ended = true;
        let Broken::Store(source) = broken else {
            return ScanError::Stopped;
        };
        ScanError::Store {
            place: self.store.place().to_string(),
            why: source.explain(),
            away: source.is_transient(),
        }
    }
}

/// The key comes after the last one in the order of bytes, or in that of UTF-16, which stores may
/// have: they differ for the rare names with characters above U+FFFF.
fn is_behind(last: &str, key: &str) -> bool {
    key > last || key.encode_utf16().gt(last.encode_utf16())
}

impl Iterator for Listing {
    type Item = Result<ScanItem, ScanError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.ended {
            let taken = match self.next_entry() {
                Ok(None) => break,
                Ok(Some(entry)) => self.item(entry),
                Err(error) => Err(error),
            };
            match taken {
                Ok(None) => {}
                Ok(Some(item)) => return Some(Ok(item)),
                Err(error) => return Some(Err(self.failed(&error))),
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

#[cfg(test)]
mod tests {
    use filefleet_shared::{config::StoreConfig, store::StorePlace, time::UnixMillis};

    use super::*;

    fn entry(key: &str, size: u64) -> Entry {
        Entry {
            key: key.to_owned(),
            size,
            modified: UnixMillis(1),
            etag: Some("1".to_owned()),
        }
    }

    /// What becomes of objects that a store lists in this order. `empty.txt` exists in it.
    fn taken(options: &ScanOptions, after: Option<&str>, listed: &[(&str, u64)]) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("empty.txt"), "").unwrap();
        let place = StorePlace::Directory(dir.path().to_owned());
        let store = Store::open(&StoreConfig::at(place)).unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let (_go_on, stop) = watch::channel(false);
        let pace = Pace {
            runtime: runtime.handle().clone(),
            stop,
        };
        let after = after.map(str::as_bytes);
        let mut listing = Listing::open(store, pace, options, after).unwrap();
        let mut keys = Vec::new();
        for (key, size) in listed {
            match listing.item(entry(key, *size)) {
                Ok(None) => {}
                Ok(Some(ScanItem::File(file))) => keys.push(String::from_utf8(file.key).unwrap()),
                Ok(Some(other)) => panic!("{other:?}"),
                Err(Broken::Store(error)) => keys.push(format!("error: {error}")),
                Err(Broken::Stopped) => panic!("nobody stopped it"),
            }
        }
        keys
    }

    #[test]
    fn a_mark_of_a_directory_is_no_file_and_an_empty_file_is_one() {
        // `deep/` is listed as `deep`, here after `deep-down.txt`, and `alone/` as `alone`.
        let listed = [
            ("alone", 0),
            ("deep-down.txt", 3),
            ("deep", 0),
            ("deep/a", 1),
        ];
        let options = ScanOptions::default();
        assert_eq!(taken(&options, None, &listed), ["deep-down.txt", "deep/a"]);
        assert_eq!(taken(&options, None, &[("empty.txt", 0)]), ["empty.txt"]);
    }

    #[test]
    fn a_store_that_does_not_list_in_order_is_refused() {
        let keys = taken(&ScanOptions::default(), None, &[("b", 1), ("a", 1)]);
        assert_eq!(keys[0], "b");
        assert!(
            keys[1].starts_with("error: the store does not list"),
            "{keys:?}"
        );
    }

    #[test]
    fn a_scan_that_goes_on_leaves_out_what_came_before_wherever_the_store_begins() {
        let listed = [("a", 1), ("b", 1), ("c", 1), ("d", 1)];
        let options = ScanOptions::default();
        assert_eq!(taken(&options, Some("b"), &listed), ["c", "d"]);
        assert_eq!(taken(&options, Some("b"), &listed[2..]), ["c", "d"]);
    }

    #[test]
    fn both_orders_of_names_with_rare_characters_are_orders() {
        let names = [("\u{1f600}.txt", 1), ("\u{ff01}.txt", 1)];
        for listed in [names, [names[1], names[0]]] {
            let keys = taken(&ScanOptions::default(), None, &listed);
            assert_eq!(keys, listed.map(|(key, _)| key));
        }
    }

    #[test]
    fn hidden_names_and_what_globs_leave_out_do_not_come() {
        let listed = [
            (".git/a", 1),
            ("a/.b/c", 1),
            ("in/x.pdf", 1),
            ("in/x.txt", 1),
            ("y.pdf", 1),
        ];
        let options = |include: &[&str], exclude: &[&str], hidden| ScanOptions {
            include: include.iter().map(|glob| (*glob).to_owned()).collect(),
            exclude: exclude.iter().map(|glob| (*glob).to_owned()).collect(),
            hidden,
            ..ScanOptions::default()
        };
        let all = taken(&options(&[], &[], true), None, &listed);
        assert_eq!(all.len(), 5);
        let plain = taken(&options(&[], &[], false), None, &listed);
        assert_eq!(plain, ["in/x.pdf", "in/x.txt", "y.pdf"]);
        let some = taken(&options(&["*.pdf"], &["in/"], true), None, &listed);
        assert_eq!(some, ["y.pdf"]);
    }
}
