//! What is published, and where to.

use std::fmt;

use bytes::Bytes;

use super::Headers;
use crate::wire::{RunId, Status};

/// A message to publish.
#[derive(Clone, Debug)]
pub struct Message {
    /// Stable id: publishing the same id again is the same message.
    pub id: String,
    /// Where to.
    pub route: Route,
    /// Attempt, trace context, cause of the last retry.
    pub headers: Headers,
    /// JSON of [`crate::wire`].
    pub body: Bytes,
}

/// Where a message goes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Route {
    /// Steps for a service.
    Work {
        /// Name of the service.
        service: String,
    },
    /// Steps that were in flight when workers died.
    Quarantine {
        /// Name of the service.
        service: String,
    },
    /// Outcomes and the sentinel of a run.
    Result {
        /// The run.
        run: RunId,
        /// Which kind of result.
        key: ResultKey,
    },
}

/// The last part of a result's routing key `<run>.<key>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ResultKey {
    /// An outcome of this status.
    Outcome(Status),
    /// The sentinel.
    Closed,
}

impl ResultKey {
    /// The word in the routing key.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Outcome(status) => status.as_str(),
            Self::Closed => "closed",
        }
    }
}

/// Where the results of operations that a service has accepted are asked for.
///
/// A name beside the service's own, and never one of a service, since those have no dot. In one
/// queue the questions would stand behind every step not begun yet, and results expire.
#[must_use]
pub fn polls_of(service: &str) -> String {
    format!("{service}.polls")
}

impl Route {
    /// The queue that this route ends in.
    #[must_use]
    pub fn queue(&self) -> Queue {
        match self {
            Self::Work { service } => Queue::Work(service.clone()),
            Self::Quarantine { service } => Queue::Quarantine(service.clone()),
            Self::Result { run, .. } => Queue::Results(*run),
        }
    }
}

/// A queue to declare, consume or inspect.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Queue {
    /// Steps for a service.
    Work(String),
    /// Steps of a service that were in flight when workers died, taken one at a time.
    Quarantine(String),
    /// Outcomes of a run.
    Results(RunId),
    /// Dead letters.
    Dead,
    /// What could not be routed.
    Unroutable,
}

impl fmt::Display for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Work(service) => write!(f, "work.{service}"),
            Self::Quarantine(service) => write!(f, "quarantine.{service}"),
            Self::Results(run) => write!(f, "results.{run}"),
            Self::Dead => f.write_str("dead"),
            Self::Unroutable => f.write_str("unroutable"),
        }
    }
}
