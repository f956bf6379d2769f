//! Declarations and questions, each on a channel of its own: an answer of "no" closes it.

use std::{sync::Arc, time::Duration};

use lapin::{
    Channel,
    options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions},
    types::{FieldTable, ShortString},
};
use tokio::time::timeout;

use super::connect::{Link, classify, code, late, reply_code};
use crate::broker::{
    BrokerError, Depth,
    topology::{ExchangeSpec, QueueSpec},
};

/// What a passive look at a queue found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    Found(Depth),
    Missing,
    /// It belongs to another connection.
    Locked,
}

/// Asks over the shared connection that never publishes: one that does can be blocked.
#[derive(Debug)]
pub(super) struct Admin {
    pub(super) link: Arc<Link>,
    pub(super) deadline: Duration,
}

impl Admin {
    pub(super) async fn declare_exchanges(
        &self,
        exchanges: Vec<ExchangeSpec>,
    ) -> Result<(), BrokerError> {
        self.ask(async |channel: &Channel| {
            for exchange in &exchanges {
                self.limited(channel.exchange_declare(
                    exchange.name.clone(),
                    exchange.kind.clone(),
                    ExchangeDeclareOptions {
                        durable: true,
                        ..ExchangeDeclareOptions::default()
                    },
                    exchange.arguments.clone(),
                ))
                .await?;
            }
            Ok(())
        })
        .await
        .map_err(Answer::into_error)
    }

    pub(super) async fn declare_queues(&self, queues: Vec<QueueSpec>) -> Result<(), BrokerError> {
        self.ask(async |channel: &Channel| {
            for queue in &queues {
                self.declare_queue(channel, queue).await?;
            }
            Ok(())
        })
        .await
        .map_err(Answer::into_error)
    }

    async fn declare_queue(&self, channel: &Channel, queue: &QueueSpec) -> Result<(), Answer> {
        let name = &queue.name;
        self.limited(channel.queue_declare(
            name.clone(),
            QueueDeclareOptions::durable(),
            queue.arguments.clone(),
        ))
        .await?;
        for (exchange, key) in &queue.bindings {
            self.limited(channel.queue_bind(
                name.clone(),
                exchange.clone(),
                key.clone(),
                QueueBindOptions::default(),
                FieldTable::default(),
            ))
            .await?;
        }
        Ok(())
    }

    pub(super) async fn look(&self, queue: &ShortString) -> Result<Look, BrokerError> {
        let looked = self
            .ask(async |channel: &Channel| {
                self.limited(channel.queue_declare(
                    queue.clone(),
                    QueueDeclareOptions::durable().passive(),
                    FieldTable::default(),
                ))
                .await
            })
            .await;
        match looked {
            Ok(found) => Ok(Look::Found(Depth {
                ready: u64::from(found.message_count()),
                consumers: u64::from(found.consumer_count()),
            })),
            Err(Answer::No(error)) => match reply_code(&error) {
                Some(code::NOT_FOUND) => Ok(Look::Missing),
                Some(code::RESOURCE_LOCKED) => Ok(Look::Locked),
                _ => Err(classify(&error)),
            },
            Err(answer) => Err(answer.into_error()),
        }
    }

    pub(super) async fn delete(&self, queue: &ShortString) -> Result<(), BrokerError> {
        self.try_delete(queue).await.map_err(Answer::into_error)
    }

    /// A queue that does not exist is deleted already.
    async fn try_delete(&self, queue: &ShortString) -> Result<(), Answer> {
        let options = QueueDeleteOptions::default();
        self.ask(async |channel: &Channel| {
            self.limited(channel.queue_delete(queue.clone(), options))
                .await
                .map(drop)
        })
        .await
    }

    /// Whether a lock belongs to another connection.
    ///
    /// Deleting what does not exist is no error; looking at it would be one, in the broker's log
    /// too, for every consumer that comes.
    pub(super) async fn is_locked(&self, lock: &ShortString) -> Result<bool, BrokerError> {
        match self.try_delete(lock).await {
            Ok(()) => Ok(false),
            Err(Answer::No(error)) if reply_code(&error) == Some(code::RESOURCE_LOCKED) => Ok(true),
            Err(answer) => Err(answer.into_error()),
        }
    }

    /// Asks on a new channel; a connection that does not answer is not used again.
    async fn ask<T>(
        &self,
        question: impl AsyncFnOnce(&Channel) -> Result<T, Answer>,
    ) -> Result<T, Answer> {
        let connection = self.link.get().await.map_err(Answer::None)?;
        let asked = async {
            let channel = self.limited(connection.create_channel()).await?;
            question(&channel).await
        };
        let answer = asked.await;
        let unanswered = match &answer {
            Ok(_) => false,
            Err(Answer::No(error)) => reply_code(error).is_none(),
            Err(Answer::None(_)) => true,
        };
        if unanswered {
            self.link.discard(&connection).await;
        }
        answer
    }

    async fn limited<T>(&self, call: impl Future<Output = lapin::Result<T>>) -> Result<T, Answer> {
        match timeout(self.deadline, call).await {
            Ok(answer) => answer.map_err(Answer::No),
            Err(_) => Err(Answer::None(late("the broker's answer", self.deadline))),
        }
    }
}

/// Why a question has no result.
enum Answer {
    /// An error of the client, which may be the broker's answer.
    No(lapin::Error),
    /// None came.
    None(BrokerError),
}

impl Answer {
    fn into_error(self) -> BrokerError {
        match self {
            Self::No(error) => classify(&error),
            Self::None(error) => error,
        }
    }
}
