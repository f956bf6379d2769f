//! Publishing until it is done: over as many sessions as it takes, up to an outage.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use lapin::types::ShortString;
use tokio::time::sleep;

use super::{
    RabbitConfig,
    admin::{Admin, Look},
    backoff::Backoff,
    headers,
    pool::Publishers,
    publisher::Outgoing,
};
use crate::broker::{BrokerError, Headers, Message, topology::Address};

/// How long a queue that was seen is believed to exist.
const BELIEVED: Duration = Duration::from_secs(10);

/// Publishes, and knows which queues exist.
pub(super) struct Publishing {
    publishers: Publishers,
    routes: Routes,
    outage: Duration,
}

impl Publishing {
    pub(super) fn new(config: &Arc<RabbitConfig>) -> Result<Self, BrokerError> {
        Ok(Self {
            publishers: Publishers::new(config)?,
            routes: Routes::default(),
            outage: config.outage,
        })
    }

    /// Returns when every message is confirmed and none was returned.
    pub(super) async fn publish(
        &self,
        admin: &Admin,
        messages: Vec<Outgoing>,
    ) -> Result<(), BrokerError> {
        let messages: Arc<[Outgoing]> = messages.into();
        let mut left: Vec<usize> = (0..messages.len()).collect();
        let began = Instant::now();
        let mut backoff = Backoff::new();
        while !left.is_empty() {
            let error = match self.try_once(admin, &messages, &left).await {
                Ok(nacked) if nacked.is_empty() => return Ok(()),
                Ok(nacked) => {
                    left = nacked;
                    BrokerError::Unavailable("the broker could not take it now".into())
                }
                Err(error) if error.is_transient() => error,
                Err(error) => return Err(error),
            };
            let rest = self.outage.saturating_sub(began.elapsed());
            if rest.is_zero() {
                return Err(error.after(self.outage));
            }
            tracing::debug!(%error, messages = left.len(), "publishing again");
            sleep(backoff.next().min(rest)).await;
        }
        Ok(())
    }

    /// Forgets a queue that was deleted.
    pub(super) fn forget(&self, queue: &str) {
        self.routes.lock().remove(queue);
    }

    pub(super) fn close(&self) {
        self.publishers.close();
    }

    async fn try_once(
        &self,
        admin: &Admin,
        messages: &Arc<[Outgoing]>,
        places: &[usize],
    ) -> Result<Vec<usize>, BrokerError> {
        for place in places {
            self.routes.check(admin, &messages[*place].address).await?;
        }
        let report = self.publishers.send(messages, places.to_vec()).await?;
        match report.returned.first() {
            None => Ok(report.nacked),
            Some(place) => {
                let queue = messages[*place].address.queue.as_str();
                self.forget(queue);
                Err(BrokerError::Unroutable(queue.to_owned()))
            }
        }
    }
}

/// Queues that were seen, and when.
///
/// An exchange with an alternate returns nothing, so a missing queue shows only in a look at it
/// before the first publish.
#[derive(Default)]
struct Routes {
    seen: Mutex<HashMap<String, Instant>>,
}

impl Routes {
    async fn check(&self, admin: &Admin, address: &Address) -> Result<(), BrokerError> {
        // A direct publish has no alternate: it is returned.
        if address.exchange.as_str().is_empty() || self.is_believed(&address.queue) {
            return Ok(());
        }
        let queue = address.queue.as_str();
        match admin.look(&address.queue).await? {
            Look::Found(_) => {
                let mut seen = self.lock();
                // Queues of results come and go with their runs.
                seen.retain(|_, at| at.elapsed() < BELIEVED);
                seen.insert(queue.to_owned(), Instant::now());
                Ok(())
            }
            Look::Missing | Look::Locked => {
                self.lock().remove(queue);
                Err(BrokerError::Unroutable(queue.to_owned()))
            }
        }
    }

    fn is_believed(&self, queue: &ShortString) -> bool {
        let seen = self.lock().get(queue.as_str()).copied();
        seen.is_some_and(|seen| seen.elapsed() < BELIEVED)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Instant>> {
        // A map of instants is whole after every operation.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A message as it is sent to its address.
pub(super) fn outgoing(
    address: Address,
    id: &str,
    headers: &Headers,
    body: bytes::Bytes,
) -> Result<Outgoing, BrokerError> {
    Ok(Outgoing {
        address,
        properties: headers::properties(id, headers)?,
        body,
    })
}

impl super::Inner {
    /// Publishes messages to their routes.
    pub(super) async fn publish(&self, messages: Vec<Message>) -> Result<(), BrokerError> {
        self.send(self.addressed(messages)?).await
    }

    pub(super) fn addressed(&self, messages: Vec<Message>) -> Result<Vec<Outgoing>, BrokerError> {
        crate::broker::check_sizes(&messages)?;
        let address = |message: Message| {
            let address = self.topology.address(&message)?;
            outgoing(address, &message.id, &message.headers, message.body)
        };
        messages.into_iter().map(address).collect()
    }

    pub(super) async fn send(&self, messages: Vec<Outgoing>) -> Result<(), BrokerError> {
        self.publishing.publish(&self.admin, messages).await
    }
}
