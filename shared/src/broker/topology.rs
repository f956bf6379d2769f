//! Every exchange, queue, key, argument and header on RabbitMQ, once.
//!
//! Exchanges and queues are durable; queues are quorum queues, because those confirm after the
//! message is on disk at a majority. All names start with the namespace:
//!
//! | exchange | kind | leads to |
//! |---|---|---|
//! | `NS.work` | direct, key = service | `NS.work.SERVICE` |
//! | the same, key = `SERVICE.polls` | | `NS.work.SERVICE.polls`, for accepted operations |
//! | `NS.quarantine` | direct, key = service | `NS.quarantine.SERVICE` |
//! | `NS.results` | topic, key = `RUN.STATUS` | `NS.results.RUN` |
//! | `NS.dead` | fanout | `NS.dead` |
//! | `NS.wait.DELAY` | fanout | `NS.wait.DELAY`, and after the delay `NS.again` |
//! | `NS.again` | direct, key = name of a queue | that queue |
//! | `NS.unroutable` | fanout | `NS.unroutable`; the alternate of all others |
//!
//! `NS.control` is a stream, published to by its name. `NS.lock.QUEUE` is held, as a queue of
//! its connection, by a queue's exclusive consumer.

pub mod header;
mod rung;

use std::{collections::BTreeMap, time::Duration};

use lapin::{
    ExchangeKind,
    types::{AMQPValue, FieldTable, LongString, ShortString},
};

use self::rung::RUNGS;
pub(crate) use self::rung::Rung;
use super::{BrokerError, Message, Queue, Route};
use crate::time;

/// The namespace, unless another is configured.
pub const DEFAULT_NAMESPACE: &str = "filefleet";

/// The longest a delivery may stay unsettled: written on every queue, because a broker's own
/// default differs by version. RabbitMQ before 3.12 ignores it and uses its own 30 minutes.
pub const CONSUMER_TIMEOUT: Duration = Duration::from_secs(30 * 60);

/// Where a publish goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    /// Empty for the default exchange.
    pub(crate) exchange: ShortString,
    /// Routing key.
    pub(crate) key: ShortString,
    /// The queue that it must end in.
    pub(crate) queue: ShortString,
}

/// An exchange to declare.
#[derive(Debug)]
pub(crate) struct ExchangeSpec {
    pub(crate) name: ShortString,
    pub(crate) kind: ExchangeKind,
    pub(crate) arguments: FieldTable,
}

/// A queue to declare, with what it is bound to.
#[derive(Debug)]
pub(crate) struct QueueSpec {
    pub(crate) name: ShortString,
    pub(crate) arguments: FieldTable,
    /// Exchange and key.
    pub(crate) bindings: Vec<(ShortString, ShortString)>,
}

/// The names of one namespace.
#[derive(Clone, Debug)]
pub struct Topology {
    namespace: String,
}

impl Topology {
    /// Names that start with `namespace`.
    #[must_use]
    pub fn new(namespace: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
        }
    }

    /// A queue's name at the broker.
    ///
    /// # Errors
    /// [`BrokerError::Refused`] if it is longer than AMQP allows, 255 bytes.
    pub fn queue_name(&self, queue: &Queue) -> Result<String, BrokerError> {
        self.queue(queue).map(String::from)
    }

    pub(crate) fn queue(&self, queue: &Queue) -> Result<ShortString, BrokerError> {
        self.named(&queue.to_string())
    }

    /// Held by the exclusive consumer of `queue`.
    pub(crate) fn lock(&self, queue: &Queue) -> Result<ShortString, BrokerError> {
        self.named(&format!("lock.{queue}"))
    }

    /// The stream of control records.
    pub(crate) fn control(&self) -> Result<Address, BrokerError> {
        let queue = self.named("control")?;
        Ok(Address {
            exchange: ShortString::default(),
            key: queue.clone(),
            queue,
        })
    }

    pub(crate) fn address(&self, message: &Message) -> Result<Address, BrokerError> {
        let queue = self.queue(&message.route.queue())?;
        let (exchange, key) = match &message.route {
            Route::Work { service } => ("work", short(service)?),
            Route::Quarantine { service } => ("quarantine", short(service)?),
            Route::Result { run, key } => ("results", short(&format!("{run}.{}", key.as_str()))?),
        };
        Ok(Address {
            exchange: self.named(exchange)?,
            key,
            queue,
        })
    }

    /// Where a message waits before it comes back to `queue`.
    pub(crate) fn wait(&self, rung: Rung, queue: &Queue) -> Result<Address, BrokerError> {
        let wait = self.wait_queue(rung)?;
        Ok(Address {
            exchange: wait.clone(),
            key: self.queue(queue)?,
            queue: wait,
        })
    }

    /// Where dead letters go; `key` is the queue they come from.
    pub(crate) fn dead(&self, from: &Queue) -> Result<Address, BrokerError> {
        let dead = self.queue(&Queue::Dead)?;
        Ok(Address {
            exchange: dead.clone(),
            key: self.queue(from)?,
            queue: dead,
        })
    }

    /// Every exchange, in an order in which each one's alternate exists before it.
    pub(crate) fn exchanges(&self) -> Result<Vec<ExchangeSpec>, BrokerError> {
        use ExchangeKind::{Direct, Fanout, Topic};
        // Nothing that cannot be routed is lost, not even from producers that do not ask.
        let alternate = table([("alternate-exchange", self.text("unroutable"))]);
        let mut exchanges = vec![ExchangeSpec {
            name: self.named("unroutable")?,
            kind: Fanout,
            arguments: FieldTable::default(),
        }];
        let fixed = [
            ("work", Direct),
            ("quarantine", Direct),
            ("results", Topic),
            ("dead", Fanout),
            ("again", Direct),
        ];
        let waits = RUNGS.map(|rung| (format!("wait.{}", rung.name), Fanout));
        let fixed = fixed.map(|(name, kind)| (name.to_owned(), kind));
        for (name, kind) in fixed.into_iter().chain(waits) {
            exchanges.push(ExchangeSpec {
                name: self.named(&name)?,
                kind,
                arguments: alternate.clone(),
            });
        }
        Ok(exchanges)
    }

    /// The queues of every namespace, the control stream included.
    pub(crate) fn fixed_queues(&self) -> Result<Vec<QueueSpec>, BrokerError> {
        let mut queues = vec![
            self.queue_spec(&Queue::Unroutable)?,
            self.queue_spec(&Queue::Dead)?,
        ];
        for rung in RUNGS {
            queues.push(self.wait_spec(rung)?);
        }
        queues.push(self.control_spec()?);
        Ok(queues)
    }

    pub(crate) fn queue_spec(&self, queue: &Queue) -> Result<QueueSpec, BrokerError> {
        let name = self.queue(queue)?;
        let (exchange, key) = match queue {
            Queue::Work(service) => ("work", short(service)?),
            Queue::Quarantine(service) => ("quarantine", short(service)?),
            Queue::Results(run) => ("results", short(&format!("{run}.*"))?),
            Queue::Dead => ("dead", ShortString::default()),
            Queue::Unroutable => ("unroutable", ShortString::default()),
        };
        let arguments = match queue {
            Queue::Work(_) | Queue::Quarantine(_) | Queue::Results(_) => self.living(),
            Queue::Dead | Queue::Unroutable => last_resort(),
        };
        Ok(QueueSpec {
            bindings: vec![
                (self.named(exchange)?, key),
                // How it gets back what waited.
                (self.named("again")?, name.clone()),
            ],
            name,
            arguments,
        })
    }

    fn living(&self) -> FieldTable {
        table([
            ("x-queue-type", word("quorum")),
            // Our own counter decides long before; RabbitMQ 4 would otherwise drop after 20.
            ("x-delivery-limit", number(200)),
            ("x-dead-letter-exchange", self.text("dead")),
            // The default may lose the dead letter; this needs reject-publish.
            ("x-dead-letter-strategy", word("at-least-once")),
            ("x-overflow", word("reject-publish")),
            ("x-consumer-timeout", millis(CONSUMER_TIMEOUT)),
        ])
    }

    /// Every queue in which messages wait.
    pub(crate) fn wait_queues(&self) -> Result<Vec<ShortString>, BrokerError> {
        RUNGS.iter().map(|rung| self.wait_queue(*rung)).collect()
    }

    fn wait_queue(&self, rung: Rung) -> Result<ShortString, BrokerError> {
        self.named(&format!("wait.{}", rung.name))
    }

    fn wait_spec(&self, rung: Rung) -> Result<QueueSpec, BrokerError> {
        let name = self.wait_queue(rung)?;
        Ok(QueueSpec {
            bindings: vec![(name.clone(), ShortString::default())],
            name,
            arguments: table([
                ("x-queue-type", word("quorum")),
                ("x-message-ttl", millis(rung.delay)),
                // With the key that was published: the name of the queue to come back to.
                ("x-dead-letter-exchange", self.text("again")),
                ("x-dead-letter-strategy", word("at-least-once")),
                ("x-overflow", word("reject-publish")),
            ]),
        })
    }

    fn control_spec(&self) -> Result<QueueSpec, BrokerError> {
        Ok(QueueSpec {
            name: self.control()?.queue,
            arguments: table([
                ("x-queue-type", word("stream")),
                ("x-max-age", word("24h")),
                // Retention drops whole segments; at the default of 500 MB it never would.
                ("x-stream-max-segment-size-bytes", number(1_000_000)),
            ]),
            bindings: Vec::new(),
        })
    }

    fn named(&self, name: &str) -> Result<ShortString, BrokerError> {
        short(&format!("{}.{name}", self.namespace))
    }

    fn text(&self, name: &str) -> AMQPValue {
        word(&format!("{}.{name}", self.namespace))
    }
}

/// Nothing lies behind these queues, so nothing is ever dropped from them.
fn last_resort() -> FieldTable {
    table([
        ("x-queue-type", word("quorum")),
        // "Never" has no value that all versions take.
        ("x-delivery-limit", number(1_000_000_000)),
        ("x-overflow", word("reject-publish")),
        ("x-consumer-timeout", millis(CONSUMER_TIMEOUT)),
    ])
}

/// A name as AMQP has them.
pub(crate) fn short(text: &str) -> Result<ShortString, BrokerError> {
    ShortString::try_new(text).map_err(|error| BrokerError::Refused(format!("{error}: {text}")))
}

fn word(text: &str) -> AMQPValue {
    AMQPValue::LongString(LongString::from(text))
}

fn number(value: i64) -> AMQPValue {
    AMQPValue::LongLongInt(value)
}

fn millis(duration: Duration) -> AMQPValue {
    number(i64::try_from(time::millis(duration)).unwrap_or(i64::MAX))
}

fn table<const N: usize>(entries: [(&'static str, AMQPValue); N]) -> FieldTable {
    let entries = entries.map(|(name, value)| (ShortString::from(name), value));
    FieldTable::from(BTreeMap::from(entries))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::RunId;

    #[test]
    fn a_name_over_the_limit_of_amqp_is_refused_before_anything_is_sent() {
        let topology = Topology::new(DEFAULT_NAMESPACE);
        let long = Queue::Work("s".repeat(241));
        assert!(matches!(
            topology.queue_spec(&long),
            Err(BrokerError::Refused(_))
        ));
        let fits = Queue::Work("s".repeat(240));
        assert_eq!(topology.queue_name(&fits).unwrap().len(), 255);
    }

    #[test]
    fn what_waited_comes_back_to_the_queue_it_was_taken_from() {
        let topology = Topology::new("ns");
        for queue in [
            Queue::Work("a".into()),
            Queue::Quarantine("a".into()),
            Queue::Results(RunId::mint()),
            Queue::Dead,
        ] {
            let key = topology.wait(RUNGS[0], &queue).unwrap().key;
            let spec = topology.queue_spec(&queue).unwrap();
            assert!(spec.bindings.contains(&("ns.again".into(), key)), "{queue}");
        }
    }
}
