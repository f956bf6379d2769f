//! Objects under keys, in S3, Azure Blob Storage or a directory: read, written, listed, removed.
//!
//! Every call has a deadline and is made once; whoever calls decides about trying again.

mod error;
mod open;
mod place;

use std::{future::Future, io, path::PathBuf, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use object_store::{
    GetResult, ObjectMeta, ObjectStore, ObjectStoreExt, PutPayload, path::Path as ObjectPath,
};
use tokio::time::Instant;

pub use error::StoreError;
pub use place::StorePlace;

use crate::{config::StoreConfig, time::UnixMillis};

/// A place in a store: keys are relative to it.
#[derive(Clone, Debug)]
pub struct Store {
    client: Arc<dyn ObjectStore>,
    place: StorePlace,
    prefix: ObjectPath,
    timeout: Duration,
}

/// An object without its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Key relative to the place.
    pub key: String,
    /// Size in bytes.
    pub size: u64,
    /// When it was written last; some answers round it to seconds.
    pub modified: UnixMillis,
    /// What the store calls this version of it, without quotes.
    pub etag: Option<String>,
}

/// What reading an object gave.
#[derive(Clone, Debug)]
pub enum Read {
    /// All of it.
    Whole {
        /// Its bytes.
        content: Bytes,
        /// What the store said about it.
        entry: Entry,
    },
    /// It is larger than was allowed: its size.
    Larger(u64),
}

impl Store {
    /// Makes a client; nothing is connected yet.
    ///
    /// # Errors
    /// [`StoreError::Secret`], [`StoreError::Settings`], [`StoreError::Directory`].
    pub fn open(config: &StoreConfig) -> Result<Self, StoreError> {
        let prefix = match &config.place {
            StorePlace::S3 { prefix, .. } | StorePlace::Azure { prefix, .. } => {
                ObjectPath::parse(prefix).map_err(|_| StoreError::BadKey("its prefix"))?
            }
            StorePlace::Directory(_) => ObjectPath::ROOT,
        };
        Ok(Self {
            client: open::client(config)?,
            place: config.place.clone(),
            prefix,
            timeout: config.timeout,
        })
    }

    /// Where it is.
    #[must_use]
    pub fn place(&self) -> &StorePlace {
        &self.place
    }

    /// Longest wait for one call.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Reads an object of at most `limit` bytes.
    ///
    /// # Errors
    /// [`StoreError::Missing`], [`StoreError::BadKey`], and those that may pass.
    pub async fn read(&self, key: &str, limit: u64) -> Result<Read, StoreError> {
        let path = self.path(key)?;
        let until = Instant::now() + self.timeout;
        let found = self.within(until, self.client.get(&path)).await?;
        if found.meta.size > limit {
            return Ok(Read::Larger(found.meta.size));
        }
        let entry = self.entry(&found.meta).ok_or(StoreError::Missing)?;
        let content = self.within(until, gather(found, limit)).await?;
        Ok(match content {
            Some(content) => Read::Whole { content, entry },
            None => Read::Larger(limit.saturating_add(1)),
        })
    }

    /// Writes an object, in place of what is there.
    ///
    /// # Errors
    /// [`StoreError::BadKey`], and those that may pass.
    pub async fn write(&self, key: &str, content: Bytes) -> Result<(), StoreError> {
        let path = self.path(key)?;
        let until = Instant::now() + self.timeout;
        let payload = PutPayload::from_bytes(content);
        self.within(until, self.client.put(&path, payload)).await?;
        Ok(())
    }

    /// Tells a directory that is gone, as when it is no longer mounted, from one without the object
    /// that was asked for. Amazon and Azure do so themselves.
    ///
    /// # Errors
    /// [`StoreError::NoDirectory`].
    pub async fn check_directory(&self) -> Result<(), StoreError> {
        match &self.place {
            StorePlace::Directory(path)
                if !matches!(tokio::fs::try_exists(path).await, Ok(true)) =>
            {
                Err(StoreError::NoDirectory)
            }
            _ => Ok(()),
        }
    }

    /// There is an object of exactly this key.
    ///
    /// # Errors
    /// [`StoreError::BadKey`], and those that may pass.
    pub async fn has(&self, key: &str) -> Result<bool, StoreError> {
        let path = self.path(key)?;
        let until = Instant::now() + self.timeout;
        match self.within(until, self.client.head(&path)).await {
            Ok(_) => Ok(true),
            Err(StoreError::Missing) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The objects behind `after`, as the store lists them; holds one page of them.
    ///
    /// Each has to come within the store's deadline.
    pub fn list(
        &self,
        after: Option<&str>,
    ) -> Result<impl Stream<Item = Result<Entry, StoreError>> + Send + use<>, StoreError> {
        let prefix = Some(&self.prefix);
        let listed = match after {
            Some(after) => self.client.list_with_offset(prefix, &self.path(after)?),
            None => self.client.list(prefix),
        };
        let store = self.clone();
        Ok(stream::unfold(Some(listed), move |listed| {
            let store = store.clone();
            async move { store.next(listed?).await }
        }))
    }

    /// Removes all objects below a key, if there are any.
    ///
    /// # Errors
    /// [`StoreError::BadKey`], and those that may pass; some objects may be gone then.
    pub async fn remove_below(&self, key: &str) -> Result<(), StoreError> {
        let below = self.path(key)?;
        if let StorePlace::Directory(path) = &self.place {
            return remove_directory(path.join(below.as_ref())).await;
        }
        let listed = self.client.list(Some(&below));
        let locations = listed.map_ok(|meta| meta.location).boxed();
        let mut removed = self.client.delete_stream(locations);
        loop {
            let until = Instant::now() + self.timeout;
            let next = async { removed.next().await.transpose() };
            match self.within(until, next).await {
                Ok(None) => return Ok(()),
                Ok(Some(_)) | Err(StoreError::Missing) => {}
                Err(error) => return Err(error),
            }
        }
    }

    async fn next<S>(&self, mut listed: S) -> Option<(Result<Entry, StoreError>, Option<S>)>
    where
        S: Stream<Item = object_store::Result<ObjectMeta>> + Unpin,
    {
        loop {
            let next = tokio::time::timeout(self.timeout, listed.next()).await;
            return match next {
                Err(_) => Some((Err(StoreError::Timeout(self.timeout)), None)),
                Ok(None) => None,
                Ok(Some(Err(error))) => Some((Err(error.into()), None)),
                Ok(Some(Ok(meta))) => match self.entry(&meta) {
                    Some(entry) => Some((Ok(entry), Some(listed))),
                    // The marker of the prefix itself is no file below it.
                    None => continue,
                },
            };
        }
    }

    /// The object as it is named here; `None` if it is not below the place.
    fn entry(&self, meta: &ObjectMeta) -> Option<Entry> {
        let key = meta.location.as_ref().strip_prefix(self.prefix.as_ref())?;
        let key = if self.prefix.as_ref().is_empty() {
            key
        } else {
            key.strip_prefix('/')?
        };
        let etag = meta.e_tag.as_deref().map(bare);
        let millis = u64::try_from(meta.last_modified.timestamp_millis());
        (!key.is_empty()).then(|| Entry {
            key: key.to_owned(),
            size: meta.size,
            modified: UnixMillis(millis.unwrap_or_default()),
            etag: etag.map(str::to_owned),
        })
    }

    /// The key as it is: an object's name is not escaped.
    fn path(&self, key: &str) -> Result<ObjectPath, StoreError> {
        if key.is_empty() || key.starts_with('/') || key.ends_with('/') {
            return Err(StoreError::BadKey("empty, or a / at an end"));
        }
        let whole = if self.prefix.as_ref().is_empty() {
            key.to_owned()
        } else {
            format!("{}/{key}", self.prefix)
        };
        ObjectPath::parse(&whole)
            .map_err(|_| StoreError::BadKey("an empty, . or .. part, or control characters"))
    }

    async fn within<T>(
        &self,
        until: Instant,
        call: impl Future<Output = object_store::Result<T>>,
    ) -> Result<T, StoreError> {
        match tokio::time::timeout_at(until, call).await {
            Ok(ended) => ended.map_err(StoreError::from),
            Err(_) => Err(StoreError::Timeout(self.timeout)),
        }
    }
}

/// The content, if it is not larger than was said.
async fn gather(found: GetResult, limit: u64) -> object_store::Result<Option<Bytes>> {
    let size = found.meta.size;
    let mut content = BytesMut::with_capacity(usize::try_from(size).unwrap_or_default());
    let mut parts = found.into_stream();
    while let Some(part) = parts.try_next().await? {
        if (content.len() + part.len()) as u64 > limit {
            return Ok(None);
        }
        content.extend_from_slice(&part);
    }
    Ok(Some(content.freeze()))
}

/// With the directories in it, which a listing of objects does not show.
async fn remove_directory(path: PathBuf) -> Result<(), StoreError> {
    let removing = tokio::task::spawn_blocking(move || std::fs::remove_dir_all(path));
    match removing.await {
        Ok(Err(error)) if error.kind() != io::ErrorKind::NotFound => {
            Err(StoreError::Directory(error))
        }
        Ok(_) => Ok(()),
        Err(error) => Err(StoreError::Directory(io::Error::other(error))),
    }
}

/// Some answers of one store have quotes around it, and others have none.
fn bare(etag: &str) -> &str {
    etag.strip_prefix("W/").unwrap_or(etag).trim_matches('"')
}

#[cfg(test)]
mod tests;
