//! One subscription to one queue: it lives as long as its channel.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::StreamExt;
use lapin::{
    Channel, Connection,
    options::{
        BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions,
        QueueDeclareOptions,
    },
    types::{FieldTable, ShortString},
};
use tokio::time::{sleep, timeout};

use super::{
    Inner,
    admin::Look,
    connect::{classify, code, connect, late, reply_code},
};
use crate::broker::{BrokerError, ConsumeOptions, Queue};

/// Between two questions for a queue that another consumer has.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// A consumer at the broker.
pub(super) struct Subscription {
    pub(super) channel: Arc<Channel>,
    pub(super) stream: lapin::Consumer,
}

impl Subscription {
    /// Cancels at the broker and hands back what the client has buffered.
    pub(super) async fn cancel(mut self, deadline: Duration) {
        let tag = self.stream.tag();
        let cancelling = self
            .channel
            .basic_cancel(tag, BasicCancelOptions::default());
        let handing_back = async {
            cancelling.await?;
            while let Some(delivery) = self.stream.next().await {
                let requeue = BasicNackOptions {
                    multiple: false,
                    requeue: true,
                };
                delivery?.acker.nack(requeue).await?;
            }
            lapin::Result::Ok(())
        };
        match timeout(deadline, handing_back).await {
            Ok(Ok(())) => {}
            // The broker takes back what the channel held when it ends.
            Ok(Err(error)) => tracing::debug!(%error, "the channel ended before its consumer"),
            Err(_) => tracing::debug!("no answer to the consumer's cancellation"),
        }
    }
}

impl Inner {
    /// Subscribes; asks again for a while if another exclusive consumer has the queue.
    pub(super) async fn subscribe(
        &self,
        queue: &Queue,
        options: ConsumeOptions,
    ) -> Result<Subscription, BrokerError> {
        let began = Instant::now();
        loop {
            match self.subscribe_once(queue, options).await {
                Err(BrokerError::Busy(_)) if began.elapsed() < self.config.exclusive_wait => {
                    sleep(ASK_AGAIN).await;
                }
                result => return result,
            }
        }
    }

    async fn subscribe_once(
        &self,
        queue: &Queue,
        options: ConsumeOptions,
    ) -> Result<Subscription, BrokerError> {
        let name = self.topology.queue(queue)?;
        let lock = self.topology.lock(queue)?;
        let connection = if options.exclusive {
            self.locked(queue, &name, lock).await?
        } else {
            if self.admin.is_locked(&lock).await? {
                return Err(BrokerError::Busy(name.to_string()));
            }
            self.link.get().await?
        };
        let opened = self.open(&connection, &name, options.prefetch, FieldTable::default());
        let subscription = opened.await;
        if matches!(subscription, Err(BrokerError::Unavailable(_))) {
            self.link.discard(&connection).await;
        }
        subscription
    }

    /// A connection of its own that holds the queue's lock.
    ///
    /// Quorum queues ignore an exclusive consumer's wish; a queue that belongs to a connection
    /// is refused to all others, and is gone with it.
    async fn locked(
        &self,
        queue: &Queue,
        name: &ShortString,
        lock: ShortString,
    ) -> Result<Arc<Connection>, BrokerError> {
        let connection = connect(&self.config, "filefleet consume exclusively").await?;
        let deadline = self.config.ack_timeout_on_socket;
        let locking = async {
            let options = QueueDeclareOptions::exclusive();
            let channel = connection.create_channel().await?;
            channel
                .queue_declare(lock, options, FieldTable::default())
                .await
        };
        let locked = timeout(deadline, locking)
            .await
            .map_err(|_| late("locking a queue", deadline))?;
        if let Err(error) = locked {
            return Err(match reply_code(&error) {
                Some(code::RESOURCE_LOCKED) => BrokerError::Busy(name.to_string()),
                _ => classify(&error),
            });
        }
        match self.admin.look(name).await? {
            Look::Found(depth) if depth.consumers > 0 => Err(BrokerError::Busy(name.to_string())),
            Look::Found(_) => Ok(Arc::new(connection)),
            Look::Missing | Look::Locked => Err(BrokerError::Unroutable(queue.to_string())),
        }
    }

    /// Opens a channel and consumes on it.
    pub(super) async fn open(
        &self,
        connection: &Connection,
        queue: &ShortString,
        prefetch: u16,
        arguments: FieldTable,
    ) -> Result<Subscription, BrokerError> {
        let deadline = self.config.ack_timeout_on_socket;
        let opening = async {
            let channel = connection.create_channel().await?;
            // Before the first delivery: without a limit the broker sends all it has.
            channel
                .basic_qos(prefetch.max(1), BasicQosOptions::default())
                .await?;
            let stream = channel
                .basic_consume(
                    queue.clone(),
                    ShortString::default(),
                    BasicConsumeOptions::default(),
                    arguments,
                )
                .await?;
            Ok(Subscription {
                channel: Arc::new(channel),
                stream,
            })
        };
        match timeout(deadline, opening).await {
            Ok(Ok(subscription)) => Ok(subscription),
            Ok(Err(error)) if reply_code(&error) == Some(code::NOT_FOUND) => {
                Err(BrokerError::Unroutable(queue.to_string()))
            }
            Ok(Err(error)) => Err(classify(&error)),
            Err(_) => Err(late("opening a consumer", deadline)),
        }
    }
}
