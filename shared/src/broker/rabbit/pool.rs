//! The pool of publisher sessions.
//!
//! A session is checked out only to queue a batch on it; its confirms are awaited outside, so
//! that hundreds of callers share one window.

use std::{sync::Arc, time::Duration};

use deadpool::{
    Runtime,
    managed::{self, Metrics, Pool, PoolError, QueueMode, RecycleError, RecycleResult},
};
use tokio::sync::{mpsc, oneshot};

use super::{
    RabbitConfig,
    publisher::{Batch, Outgoing, Publisher, Report},
};
use crate::broker::BrokerError;

/// Opens sessions, and drops those that ended.
#[derive(Debug)]
struct Manager {
    config: Arc<RabbitConfig>,
}

impl managed::Manager for Manager {
    type Type = Publisher;
    type Error = BrokerError;

    async fn create(&self) -> Result<Publisher, BrokerError> {
        Publisher::open(&self.config).await
    }

    async fn recycle(&self, session: &mut Publisher, _: &Metrics) -> RecycleResult<BrokerError> {
        if session.is_alive() {
            Ok(())
        } else {
            Err(RecycleError::message("the session ended"))
        }
    }
}

/// Sessions to publish over.
pub(super) struct Publishers {
    pool: Pool<Manager>,
}

impl Publishers {
    pub(super) fn new(config: &Arc<RabbitConfig>) -> Result<Self, BrokerError> {
        // A session is two handshakes; waiting for a turn is waiting for others' handshakes.
        let create = config.connect_timeout + config.ack_timeout_on_socket;
        let pool = Pool::builder(Manager {
            config: Arc::clone(config),
        })
        .max_size(config.publishers.max(1))
        .queue_mode(QueueMode::Fifo)
        .runtime(Runtime::Tokio1)
        .create_timeout(Some(create))
        .wait_timeout(Some(create))
        .recycle_timeout(Some(Duration::from_secs(1)))
        .build()
        .map_err(|error| BrokerError::Refused(error.to_string()))?;
        Ok(Self { pool })
    }

    /// Sends the messages at `places` once, and waits for what became of them.
    pub(super) async fn send(
        &self,
        messages: &Arc<[Outgoing]>,
        places: Vec<usize>,
    ) -> Result<Report, BrokerError> {
        let (reply, report) = oneshot::channel();
        let batch = Batch {
            messages: Arc::clone(messages),
            places,
            reply,
        };
        let lost = || BrokerError::Unavailable("the session ended before all confirms".into());
        let inbox = self.inbox().await?;
        inbox.send(batch).await.map_err(|_| lost())?;
        report.await.map_err(|_| lost())
    }

    async fn inbox(&self) -> Result<mpsc::Sender<Batch>, BrokerError> {
        match self.pool.get().await {
            Ok(session) => Ok(session.inbox()),
            Err(PoolError::Backend(error)) => Err(error),
            Err(PoolError::Closed) => Err(BrokerError::Closed),
            Err(error) => Err(BrokerError::Unavailable(error.to_string())),
        }
    }

    /// Ends the sessions, once what was sent is confirmed.
    pub(super) fn close(&self) {
        self.pool.close();
    }
}
