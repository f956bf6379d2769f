//! The broker on RabbitMQ.
//!
//! Publishing and consuming have connections of their own: the broker blocks a connection that
//! publishes when it is short of memory or disk, and acks must still get through. Nothing
//! recovers by itself; whatever ends is dropped and built again, with a jittered wait.

mod admin;
mod backoff;
mod config;
mod connect;
mod consume;
mod control;
mod headers;
mod pool;
mod publish;
mod publisher;
mod settle;
mod subscribe;
mod window;

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot, watch};

pub use self::config::{Identity, RabbitConfig, Tls};
use self::{
    admin::{Admin, Look},
    connect::Link,
    consume::Supervisor,
    publish::Publishing,
};
use super::{
    Broker, BrokerError, ConsumeOptions, Consumer, ControlLog, Depth, Message, Queue, Stopper,
    topology::Topology,
};
use crate::wire::ControlRecord;

/// A [`Broker`] on RabbitMQ.
pub struct RabbitBroker {
    inner: Arc<Inner>,
}

/// What all sessions share.
struct Inner {
    config: Arc<RabbitConfig>,
    topology: Topology,
    /// To consume and to ask, never to publish.
    link: Arc<Link>,
    admin: Admin,
    publishing: Publishing,
    /// True once the broker is being closed.
    closing: watch::Sender<bool>,
}

impl RabbitBroker {
    /// Connects, and declares the exchanges and the queues that every namespace has.
    ///
    /// # Errors
    /// [`BrokerError::Refused`] for wrong credentials, certificates, permissions, or a queue that
    /// exists with other arguments; otherwise [`BrokerError::Unavailable`].
    pub async fn connect(config: RabbitConfig) -> Result<Self, BrokerError> {
        let config = Arc::new(config);
        let link = Arc::new(Link::new(Arc::clone(&config), "filefleet consume"));
        let inner = Inner {
            topology: Topology::new(&config.namespace),
            admin: Admin {
                link: Arc::clone(&link),
                deadline: config.ack_timeout_on_socket,
            },
            link,
            publishing: Publishing::new(&config)?,
            closing: watch::Sender::new(false),
            config,
        };
        let exchanges = inner.topology.exchanges()?;
        inner.admin.declare_exchanges(exchanges).await?;
        let queues = inner.topology.fixed_queues()?;
        inner.admin.declare_queues(queues).await?;
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// The names of its exchanges and queues.
    #[must_use]
    pub fn topology(&self) -> &Topology {
        &self.inner.topology
    }
}

impl fmt::Debug for RabbitBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RabbitBroker")
            .field("namespace", &self.inner.config.namespace)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Broker for RabbitBroker {
    async fn declare(&self, queues: &[Queue]) -> Result<(), BrokerError> {
        let specs = queues
            .iter()
            .map(|queue| self.inner.topology.queue_spec(queue))
            .collect::<Result<_, _>>()?;
        self.inner.admin.declare_queues(specs).await
    }

    async fn publish(&self, messages: Vec<Message>) -> Result<(), BrokerError> {
        self.inner.publish(messages).await
    }

    async fn consume(
        &self,
        queue: &Queue,
        options: ConsumeOptions,
    ) -> Result<Consumer, BrokerError> {
        let first = self.inner.subscribe(queue, options).await?;
        // One at most is stale when a session is lost; the rest stays with the client, and goes
        // back with the channel.
        let (output, deliveries) = mpsc::channel(1);
        let (cancel, cancelled) = oneshot::channel();
        let inner = Arc::clone(&self.inner);
        let supervisor = Supervisor::new(inner, queue.clone(), options, output, cancelled);
        let task = tokio::spawn(supervisor.run(first));
        Ok(Consumer::new(deliveries, Stopper { cancel, task }))
    }

    async fn inspect(&self, queue: &Queue) -> Result<Option<Depth>, BrokerError> {
        let name = self.inner.topology.queue(queue)?;
        match self.inner.admin.look(&name).await? {
            Look::Found(depth) => Ok(Some(depth)),
            Look::Missing => Ok(None),
            Look::Locked => Err(BrokerError::Busy(name.to_string())),
        }
    }

    async fn waiting(&self) -> Result<u64, BrokerError> {
        let mut waiting = 0;
        for name in self.inner.topology.wait_queues()? {
            // Before anything was declared, nothing waits.
            if let Look::Found(depth) = self.inner.admin.look(&name).await? {
                waiting += depth.ready;
            }
        }
        Ok(waiting)
    }

    async fn delete(&self, queue: &Queue) -> Result<(), BrokerError> {
        let name = self.inner.topology.queue(queue)?;
        self.inner.publishing.forget(name.as_str());
        self.inner.admin.delete(&name).await
    }

    async fn append_control(&self, record: ControlRecord) -> Result<(), BrokerError> {
        self.inner.append_control(&record).await
    }

    async fn follow_control(&self) -> Result<ControlLog, BrokerError> {
        Arc::clone(&self.inner).follow_control().await
    }

    fn ack_timeout(&self) -> Option<Duration> {
        self.inner.config.ack_timeout
    }

    fn outage(&self) -> Duration {
        self.inner.config.outage
    }

    async fn close(&self) {
        self.inner.closing.send_replace(true);
        self.inner.publishing.close();
        self.inner.link.close().await;
    }
}
