//! The lines of a manifest.

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use filefleet_shared::{
    time::UnixMillis,
    wire::{self, StepMessage},
};
use serde::{Deserialize, Serialize};

use super::Header;
use crate::scan::UnreadableEntry;

/// One line that is not the body of a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Record {
    /// The first line.
    Manifest(Header),
    /// The run is open in the control log.
    Opened { epoch: u64 },
    /// An entry that is not a task.
    Unreadable(UnreadableLine),
    /// The broker has all tasks before this one.
    Confirmed { upto: u64 },
    /// The scan is over: from here on the sentinel may be out, so no task can be added.
    Scanned {
        total: u64,
        digest: String,
        unreadable: u64,
    },
    /// The broker has the sentinel.
    Closed { at: UnixMillis },
}

/// An unreadable entry, with the exact bytes of its key where it is not UTF-8.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UnreadableLine {
    key: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key_bytes: Option<String>,
    reason: String,
}

impl UnreadableLine {
    pub(crate) fn new(entry: UnreadableEntry) -> Self {
        match String::from_utf8(entry.key) {
            Ok(key) => Self {
                key,
                key_bytes: None,
                reason: entry.reason,
            },
            Err(error) => Self {
                key: String::from_utf8_lossy(error.as_bytes()).into_owned(),
                key_bytes: Some(BASE64.encode(error.as_bytes())),
                reason: entry.reason,
            },
        }
    }

    pub(crate) fn key(&self) -> Result<Vec<u8>, base64::DecodeError> {
        match &self.key_bytes {
            Some(exact) => BASE64.decode(exact),
            None => Ok(self.key.clone().into_bytes()),
        }
    }
}

impl Record {
    /// The line, with its end.
    pub(crate) fn line(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut line = serde_json::to_vec(self)?;
        line.push(b'\n');
        Ok(line)
    }
}

/// A line as it was read.
pub(super) enum Line {
    Task(Box<StepMessage>),
    Record(Box<Record>),
}

impl Line {
    pub(super) fn parse(line: &[u8]) -> Result<Self, String> {
        // Bodies begin with their version, records with their type.
        if line.starts_with(b"{\"v\":") {
            let body = wire::decode(line).map_err(|error| error.to_string())?;
            return Ok(Self::Task(Box::new(body)));
        }
        serde_json::from_slice(line)
            .map(|record| Self::Record(Box::new(record)))
            .map_err(|error| error.to_string())
    }

    /// The header, if it is that.
    pub(super) fn header(self) -> Result<Header, String> {
        match self {
            Self::Record(record) => match *record {
                Record::Manifest(header) => Ok(header),
                _ => Err("no header".to_owned()),
            },
            Self::Task(_) => Err("no header".to_owned()),
        }
    }
}
