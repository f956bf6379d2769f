//! The journal: answers that were paid, found again by what was asked.
//!
//! An entry is written before the verdict about its step, so that a step whose worker died in
//! between finds its answer. It is trusted only as far as its own digest goes: what is damaged,
//! or stands under another key, is no answer, and the call is made.

mod entry;
mod flight;

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use bytes::Bytes;
use filefleet_shared::{
    store::{Read, Store, StoreError},
    wire::Asked,
};
use tokio::time::{Instant, sleep};

use self::flight::Flights;
pub(crate) use self::{
    entry::Entry,
    flight::{Ahead, Begun, Flight},
};
use crate::service::{BoundStep, Identity, StepInput};

/// Raised when entries, or what they are found by, are no longer what they were.
const VERSION: &[u8] = b"filefleet journal 1";
/// Largest entry that is read or written.
const MAX_BYTES: u64 = 128 << 20;
/// How long a paid answer waits for a store that is away. The outcome matters more.
const TRYING: Duration = Duration::from_secs(10);
/// Between two tries.
const AGAIN: Duration = Duration::from_millis(500);

/// Answers that were paid.
#[derive(Debug)]
pub(crate) struct Journal {
    store: Store,
    flights: Flights,
    away: AtomicBool,
}

/// What a step asks for a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    step: Identity,
    input: Identity,
}

impl Request {
    /// None if the step's answers are not kept, or there is nothing to ask.
    pub(crate) fn of(step: &BoundStep, input: &StepInput<'_>) -> Option<Self> {
        Some(Self {
            step: step.identity?,
            input: step.call.identity(input)?,
        })
    }

    /// The request of an accepted call; none if the step asks something else by now, or its
    /// answers are not kept.
    pub(crate) fn known(step: &BoundStep, asked: &Asked) -> Option<Self> {
        let input = Identity::parse(&asked.input)?;
        let step = step.identity.filter(|now| now.to_string() == asked.step)?;
        Some(Self { step, input })
    }

    /// As it travels with an accepted call.
    pub(crate) fn asked(&self, joined: bool) -> Asked {
        Asked {
            step: self.step.to_string(),
            input: self.input.to_string(),
            joined,
        }
    }

    /// What its entry is found by.
    pub(crate) fn key(&self) -> Identity {
        Identity::of([VERSION, self.step.bytes(), self.input.bytes()])
    }
}

impl Journal {
    pub(crate) fn new(store: Store) -> Self {
        Self {
            store,
            flights: Flights::default(),
            away: AtomicBool::new(false),
        }
    }

    /// Makes the caller the one who asks, or names the one who does.
    pub(crate) fn begin(&self, key: Identity) -> Begun {
        self.flights.begin(key)
    }

    /// What the journal has; a damaged entry is none.
    ///
    /// # Errors
    /// The store is away.
    pub(crate) async fn find(&self, key: Identity) -> Result<Option<Entry>, StoreError> {
        let content = match self.read(&place(key)).await {
            Ok(Read::Whole { content, .. }) => content,
            Ok(Read::Larger(bytes)) => {
                tracing::warn!(%key, bytes, "an entry of the journal is too large to be one");
                return Ok(None);
            }
            Err(StoreError::Missing) => {
                self.is_there();
                return Ok(None);
            }
            Err(error) => {
                self.is_away(&error);
                return Err(error);
            }
        };
        self.is_there();
        let entry = Entry::decode(key, &content);
        if let Err(why) = &entry {
            tracing::warn!(%key, why, "an entry of the journal is damaged: the call is made again");
        }
        Ok(entry.ok())
    }

    /// Keeps an entry, as well as can be: a store that is away is tried again for a while.
    pub(crate) async fn keep(&self, key: Identity, entry: &Entry) {
        let content = match entry.encode(key) {
            Ok(content) => content,
            Err(error) => {
                tracing::warn!(%key, %error, "an answer cannot be written to the journal");
                return;
            }
        };
        let bytes = content.len() as u64;
        if bytes > MAX_BYTES {
            tracing::warn!(%key, bytes, "an answer is too large for the journal");
            return;
        }
        let (place, until) = (place(key), Instant::now() + TRYING);
        loop {
            let writing = self.write(&place, content.clone());
            let error = match tokio::time::timeout_at(until, writing).await {
                Ok(Ok(())) => return self.is_there(),
                Ok(Err(error)) => error,
                Err(_) => StoreError::Timeout(TRYING),
            };
            // Of the many in hand when a store goes, one waits for it; it is told of once.
            let known = self.away.load(Ordering::Relaxed);
            if known || Instant::now() + AGAIN >= until || !error.may_pass() {
                self.is_away(&error);
                return;
            }
            sleep(AGAIN).await;
        }
    }

    async fn read(&self, place: &str) -> Result<Read, StoreError> {
        let read = self.store.read(place, MAX_BYTES).await;
        if matches!(read, Err(StoreError::Missing)) {
            self.store.check_directory().await?;
        }
        read
    }

    /// Never makes the directory anew where it is not mounted.
    async fn write(&self, place: &str, content: Bytes) -> Result<(), StoreError> {
        self.store.check_directory().await?;
        self.store.write(place, content).await
    }

    fn is_there(&self) {
        if self.away.swap(false, Ordering::Relaxed) {
            tracing::info!("the journal is there again");
        }
    }

    fn is_away(&self, error: &StoreError) {
        if !self.away.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                error = error.explain(),
                "the journal is away: steps are put off until it is there, answers that are on \
                 their way are not kept in it",
            );
        }
    }
}

/// In as many folders as one listing shows.
fn place(key: Identity) -> String {
    let hex = key.to_string();
    let (folder, rest) = hex.split_at(2);
    format!("{folder}/{rest}.json")
}

#[cfg(test)]
mod tests;
