//! The queue file seen from beside: control and depths for other processes, without the lock.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use rusqlite::Connection;

use super::{
    super::BrokerError,
    schema::{self, broker_error},
    store::Store,
};
use crate::wire::{self, ControlRecord};

/// A queue file that another process may be running: what `stop` and `status` need of it.
///
/// Its calls block for as long as a transaction of that process takes, at most 5 s.
pub struct EmbeddedControl {
    path: PathBuf,
    connection: Mutex<Connection>,
}

/// What one queue holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueDepth {
    /// Name of the queue, like `work.ocr`.
    pub queue: String,
    /// Messages that can be delivered now.
    pub ready: u64,
    /// Messages in a consumer's hands.
    pub delivered: u64,
    /// Messages whose time has not come.
    pub waiting: u64,
}

impl EmbeddedControl {
    /// Opens the existing queue file at `path`.
    ///
    /// # Errors
    /// [`BrokerError::Unavailable`] if there is none, [`BrokerError::Refused`] if it is not a
    /// queue file of this version.
    pub fn open(path: &Path) -> Result<Self, BrokerError> {
        Ok(Self {
            path: path.to_owned(),
            connection: Mutex::new(schema::open_beside(path)?),
        })
    }

    /// Whether some process runs the queue now.
    ///
    /// # Errors
    /// [`BrokerError::Unavailable`] if that cannot be found out.
    pub fn is_running(&self) -> Result<bool, BrokerError> {
        schema::is_locked(&self.path)
    }

    /// Appends to the control log; durable when it returns, seen by followers within 250 ms.
    ///
    /// # Errors
    /// [`BrokerError::Unavailable`].
    pub fn append(&self, record: &ControlRecord) -> Result<(), BrokerError> {
        let record = encode_control(record)?;
        self.with(|store| store.append_control(&record))
    }

    /// The control log, in order.
    ///
    /// # Errors
    /// [`BrokerError::Unavailable`], or [`BrokerError::Control`] for a record that this version
    /// cannot read.
    pub fn records(&self) -> Result<Vec<ControlRecord>, BrokerError> {
        self.with(|store| store.control_after(0, i64::MAX))?
            .iter()
            .map(|(_, record)| wire::decode(record).map_err(BrokerError::from))
            .collect()
    }

    /// What every queue holds, by name.
    ///
    /// # Errors
    /// [`BrokerError::Unavailable`].
    pub fn depths(&self) -> Result<Vec<QueueDepth>, BrokerError> {
        self.with(|store| {
            store
                .queues()?
                .into_iter()
                .map(|(id, queue)| {
                    Ok(QueueDepth {
                        queue,
                        ready: store.count_ready(id)?,
                        delivered: store.count_delivered(id)?,
                        waiting: store.count_waiting(id)?,
                    })
                })
                .collect()
        })
    }

    /// How many messages wait for their time, of all queues together.
    ///
    /// # Errors
    /// [`BrokerError::Unavailable`].
    #[expect(
        clippy::redundant_closure_for_method_calls,
        reason = "the method alone is of one lifetime, and any is asked for"
    )]
    pub fn waiting(&self) -> Result<u64, BrokerError> {
        self.with(|store| store.count_all_waiting())
    }

    /// Shows every message that is not settled, whoever has it and whether or not its time has
    /// come: the name of its queue, and its body.
    ///
    /// # Errors
    /// [`BrokerError::Unavailable`].
    pub fn each_body(&self, show: impl FnMut(&str, &[u8])) -> Result<(), BrokerError> {
        self.with(|store| store.each_body(show))
    }

    fn with<T>(
        &self,
        work: impl FnOnce(Store<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, BrokerError> {
        // Poisoned by a panic between statements: each statement is complete in itself.
        let connection = self
            .connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        work(Store(&connection)).map_err(|error| broker_error(&error))
    }
}

impl fmt::Debug for EmbeddedControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedControl")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// A control record as it is stored.
pub(super) fn encode_control(record: &ControlRecord) -> Result<bytes::Bytes, BrokerError> {
    wire::encode(record)
        .map_err(|error| BrokerError::Refused(format!("control record cannot be stored: {error}")))
}
