//! The messages that cross the broker: versioned, tagged JSON.
//!
//! Every body is one JSON object with `"v"` (the version) and `"type"`. A body that cannot be
//! decoded, or is of an unknown version, becomes a dead letter with its reason; it is never
//! dropped. Once version 1 is released, changing, adding or removing a field is a new version.
//!
//! Nothing in a message names a secret, an endpoint, a command, or a path outside a root.

mod control;
mod cost;
mod ids;
mod outcome;
mod schema;
mod step;

use bytes::Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

pub use control::{
    Change, Collected, Collecting, ControlRecord, FleetState, Members, OutputPlace, Pill, PillMode,
    PillScope, RunOpened, RunOutput, Throttled, throttled,
};
pub use cost::{Cost, NotACost};
pub use ids::{CollectionId, RunId, TaskId};
pub use outcome::{
    Failure, Outcome, OutcomeTag, RunClosed, RunClosedTag, Status, Timings, Usage, is_zero,
};
pub use schema::{schema, schema_names};
pub use step::{Asked, FileRef, StepMessage, StepTag, Stored};

/// The version of every message this build writes, and the only one it reads.
pub const VERSION: u16 = 1;

/// A message type with its tag on the wire.
pub trait WireMessage: Serialize + DeserializeOwned {
    /// The values of `"type"` that decode into this.
    const TYPES: &'static [&'static str];
}

/// Why a body could not be decoded.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Not JSON, or not an object with `v` and `type`.
    #[error("not a filefleet message: {0}")]
    NotAMessage(serde_json::Error),
    /// Written by another version of filefleet.
    #[error("message version {found}, this build reads version {VERSION}")]
    UnknownVersion {
        /// The version in the message.
        found: u64,
    },
    /// A message of another type than the queue holds.
    #[error("message of type {found:?}, expected one of {expected:?}")]
    UnexpectedType {
        /// The type in the message.
        found: String,
        /// The types this queue holds.
        expected: &'static [&'static str],
    },
    /// The right version and type, with a missing, unknown or ill-typed field.
    #[error("malformed {kind:?} message: {source}")]
    Malformed {
        /// The type in the message.
        kind: String,
        /// Names the field, line and column.
        source: serde_json::Error,
    },
}

impl DecodeError {
    /// The reason written on the dead letter.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NotAMessage(_) => "undecodable",
            Self::UnknownVersion { .. } => "unknown_version",
            Self::UnexpectedType { .. } => "unexpected_type",
            Self::Malformed { .. } => "malformed",
        }
    }
}

#[derive(Deserialize)]
struct Head {
    v: u64,
    #[serde(rename = "type")]
    kind: String,
}

/// Decodes a body, checking its version and type before its fields.
///
/// # Errors
/// Every [`DecodeError`]; the body is untouched and can be dead-lettered as it is.
pub fn decode<T: WireMessage>(body: &[u8]) -> Result<T, DecodeError> {
    let head: Head = serde_json::from_slice(body).map_err(DecodeError::NotAMessage)?;
    if head.v != u64::from(VERSION) {
        return Err(DecodeError::UnknownVersion { found: head.v });
    }
    if !T::TYPES.contains(&head.kind.as_str()) {
        return Err(DecodeError::UnexpectedType {
            found: head.kind,
            expected: T::TYPES,
        });
    }
    serde_json::from_slice(body).map_err(|source| DecodeError::Malformed {
        kind: head.kind,
        source,
    })
}

/// The `"type"` of a body of this version, to tell apart messages that share a queue.
///
/// # Errors
/// [`DecodeError::NotAMessage`] or [`DecodeError::UnknownVersion`].
pub fn type_of(body: &[u8]) -> Result<String, DecodeError> {
    let head: Head = serde_json::from_slice(body).map_err(DecodeError::NotAMessage)?;
    if head.v != u64::from(VERSION) {
        return Err(DecodeError::UnknownVersion { found: head.v });
    }
    Ok(head.kind)
}

/// Encodes a message as the JSON body that [`decode`] reads.
///
/// # Errors
/// None for the types of this module; an error would name a map with keys that are not strings.
pub fn encode<T: WireMessage>(message: &T) -> Result<Bytes, serde_json::Error> {
    serde_json::to_vec(message).map(Bytes::from)
}

#[cfg(test)]
mod tests;
