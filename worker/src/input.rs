//! Reads a step's file, within its size limit and the worker's budget of bytes in memory.

use std::{io::Read as _, sync::Arc};

use bytes::Bytes;
use filefleet_shared::{
    files::{self, FileError, Roots},
    store::{Read, Store},
    wire::FileRef,
};
use tokio::sync::{AcquireError, SemaphorePermit};

use crate::{context::Context, service::BoundStep};

/// Bytes per permit of the budget: 4 KiB, so that 16 TiB fit into the count.
pub(crate) const UNIT: u64 = 4096;

/// Permits that a number of bytes needs, at least 1.
pub(crate) fn units(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT))
        .unwrap_or(u32::MAX)
        .clamp(1, u32::MAX >> 4)
}

/// A file in memory; its share of the budget is given back when it is dropped.
#[derive(Debug, Default)]
pub(crate) struct Loaded<'a> {
    /// The file's bytes.
    pub(crate) content: Bytes,
    /// It is not the file that was published.
    pub(crate) changed: bool,
    _budget: Option<SemaphorePermit<'a>>,
}

/// Why a file could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InputError {
    /// The root, the key or the file.
    #[error(transparent)]
    File(#[from] FileError),
    /// Over the service's limit.
    #[error("{bytes} bytes, service {service:?} takes {limit} (service.{service}.max_file_bytes)")]
    TooLarge {
        cause: &'static str,
        bytes: u64,
        limit: u64,
        service: String,
    },
    /// The worker is being torn down.
    #[error("the worker is closing")]
    Closing,
}

impl From<AcquireError> for InputError {
    fn from(_: AcquireError) -> Self {
        Self::Closing
    }
}

impl InputError {
    /// A stable word to count by.
    pub(crate) fn cause(&self) -> &'static str {
        match self {
            Self::File(FileError::Missing { .. }) => "input_missing",
            Self::File(FileError::UnknownRoot(_)) => "unknown_root",
            Self::File(FileError::BadKey { .. } | FileError::Outside { .. }) => "input_forbidden",
            Self::File(_) => "input_unreadable",
            Self::TooLarge { cause, .. } => cause,
            Self::Closing => "closing",
        }
    }

    /// The root's store does not answer: no file of it can be read.
    pub(crate) fn is_away(&self) -> bool {
        matches!(self, Self::File(FileError::Store { source, .. }) if source.is_transient())
    }

    /// Another worker, or the same one later, may read it: a lost mount, an unknown root.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::File(FileError::Io { source, .. }) => {
                source.kind() != std::io::ErrorKind::PermissionDenied
            }
            Self::File(FileError::Store { source, .. }) => source.may_pass(),
            Self::File(FileError::UnknownRoot(_)) | Self::Closing => true,
            Self::File(_) | Self::TooLarge { .. } => false,
        }
    }
}

/// Reads the file of a step.
pub(crate) async fn load<'a>(
    context: &'a Context,
    step: &BoundStep,
    file: &FileRef,
) -> Result<Loaded<'a>, InputError> {
    // The published size is a guess: the file may have grown since.
    let mut expected = file.size;
    loop {
        if expected > step.max_file_bytes {
            return Err(InputError::TooLarge {
                cause: step.too_large,
                bytes: expected,
                limit: step.max_file_bytes,
                service: step.service.clone(),
            });
        }
        // One file larger than the whole budget takes all of it.
        let share = units(expected).min(context.bytes_total);
        let budget = context.bytes.acquire_many(share).await?;
        match read(context.roots.clone(), file.clone(), expected).await? {
            Content::Whole { content, changed } => {
                return Ok(Loaded {
                    content,
                    changed,
                    _budget: Some(budget),
                });
            }
            Content::Larger(bytes) => expected = bytes,
        }
    }
}

enum Content {
    Whole {
        content: Bytes,
        changed: bool,
    },
    /// It is larger than expected: its size.
    Larger(u64),
}

async fn read(roots: Arc<Roots>, file: FileRef, expected: u64) -> Result<Content, InputError> {
    if let Some(store) = roots.store(&file.root)? {
        return read_object(store, &file, expected).await;
    }
    let path = file.key.clone();
    let read = tokio::task::spawn_blocking(move || {
        let (opened, metadata) = roots.open(&file)?;
        if metadata.len() > expected {
            return Ok(Content::Larger(metadata.len()));
        }
        let mut content = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0));
        let read = opened
            .take(expected.saturating_add(1))
            .read_to_end(&mut content)
            .map_err(|source| FileError::Io {
                path: file.key.clone(),
                source,
            })?;
        let bytes = read as u64;
        if bytes > expected {
            return Ok(Content::Larger(bytes));
        }
        let changed = files::has_changed(&file, &metadata);
        Ok(Content::Whole {
            content: content.into(),
            changed,
        })
    });
    read.await.unwrap_or_else(|panic| {
        let source = std::io::Error::other(panic);
        Err(FileError::Io { path, source }.into())
    })
}

async fn read_object(store: &Store, file: &FileRef, expected: u64) -> Result<Content, InputError> {
    let key = files::object_key(file)?;
    let read = store.read(key, expected).await.map_err(|error| {
        // The outcome and the log of the step do not name the store's address.
        tracing::debug!(error = error.explain(), "cannot read an object");
        files::explain_store(file, error)
    })?;
    Ok(match read {
        Read::Whole { content, entry } => Content::Whole {
            content,
            changed: files::object_has_changed(file, &entry),
        },
        Read::Larger(bytes) => Content::Larger(bytes),
    })
}
