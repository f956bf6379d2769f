//! One confirm channel and the one task that publishes on it.
//!
//! Several tasks publishing on a channel mix up its delivery tags, so that refused messages are
//! reported as confirmed. Callers therefore queue batches; the task sends them in order, with at
//! most [`WINDOW`] unconfirmed, and answers each batch once.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use lapin::{
    BasicProperties, Channel, Confirmation, Connection,
    options::{BasicPublishOptions, ConfirmSelectOptions},
};
use tokio::{
    sync::{mpsc, oneshot},
    time::{MissedTickBehavior, interval, timeout},
};

use super::{
    RabbitConfig,
    connect::{classify, connect, late},
    window::{Answer, Fate, Window},
};
use crate::broker::{BrokerError, topology::Address};

/// Most unconfirmed messages of a channel: nothing is gained beyond, and the client's cost of a
/// confirm grows with it.
const WINDOW: usize = 1000;

/// Batches that wait for the task.
const INBOX: usize = 256;

/// A message as it is sent, as often as it takes.
#[derive(Clone, Debug)]
pub(super) struct Outgoing {
    pub(super) address: Address,
    pub(super) properties: BasicProperties,
    pub(super) body: Bytes,
}

impl Outgoing {
    fn id(&self) -> String {
        let id = self.properties.message_id().as_ref();
        id.map(|id| id.as_str().to_owned()).unwrap_or_default()
    }
}

/// Some of `messages`, by their places.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) messages: Arc<[Outgoing]>,
    pub(super) places: Vec<usize>,
    /// Dropped without an answer when the session ends: each message may or may not be sent.
    pub(super) reply: oneshot::Sender<Report>,
}

/// What became of a batch: places of the messages that are not safe.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) returned: Vec<usize>,
    pub(super) nacked: Vec<usize>,
}

/// A connection, a confirm channel and the task that owns it. The task ends with the session.
#[derive(Debug)]
pub(super) struct Publisher {
    inbox: mpsc::Sender<Batch>,
    connection: Arc<Connection>,
}

impl Publisher {
    pub(super) async fn open(config: &RabbitConfig) -> Result<Self, BrokerError> {
        let connection = Arc::new(connect(config, "filefleet publish").await?);
        let deadline = config.ack_timeout_on_socket;
        let opening = async {
            let channel = connection.create_channel().await?;
            channel
                .confirm_select(ConfirmSelectOptions::default())
                .await?;
            Ok(channel)
        };
        let channel = timeout(deadline, opening)
            .await
            .map_err(|_| late("opening a channel", deadline))?
            .map_err(|error| classify(&error))?;
        let (inbox, batches) = mpsc::channel(INBOX);
        let actor = Actor {
            channel: Arc::new(channel),
            confirm_timeout: config.confirm_timeout,
            open: HashMap::new(),
            unsent: VecDeque::new(),
            window: Window::new(),
            sent: FuturesUnordered::new(),
            next: 0,
        };
        let held = Arc::clone(&connection);
        tokio::spawn(async move {
            if let Err(error) = actor.run(batches).await {
                tracing::warn!(%error, "publisher session ended");
            }
            drop(held);
        });
        Ok(Self { inbox, connection })
    }

    pub(super) fn is_alive(&self) -> bool {
        !self.inbox.is_closed() && self.connection.status().connected()
    }

    pub(super) fn inbox(&self) -> mpsc::Sender<Batch> {
        self.inbox.clone()
    }
}

/// A message of an open batch.
#[derive(Clone, Copy, Debug)]
struct Which {
    batch: u64,
    place: usize,
}

struct Open {
    messages: Arc<[Outgoing]>,
    left: usize,
    report: Report,
    reply: oneshot::Sender<Report>,
}

type Sent = BoxFuture<'static, (u64, lapin::Result<Confirmation>)>;

struct Actor {
    channel: Arc<Channel>,
    confirm_timeout: Duration,
    open: HashMap<u64, Open>,
    unsent: VecDeque<Which>,
    window: Window<Which>,
    sent: FuturesUnordered<Sent>,
    next: u64,
}

impl Actor {
    async fn run(mut self, mut inbox: mpsc::Receiver<Batch>) -> Result<(), BrokerError> {
        let mut watch = interval(Duration::from_secs(1));
        watch.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut more = true;
        while more || !self.open.is_empty() {
            self.send();
            let hungry = more && self.unsent.is_empty() && self.window.unanswered() < WINDOW;
            tokio::select! {
                batch = inbox.recv(), if hungry => match batch {
                    Some(batch) => self.accept(batch),
                    None => more = false,
                },
                Some((number, answer)) = self.sent.next() => {
                    self.note(number, answer)?;
                    // All that are there, before anything is decided.
                    while let Some(Some((number, answer))) = self.sent.next().now_or_never() {
                        self.note(number, answer)?;
                    }
                    self.decide();
                }
                _ = watch.tick() => self.check_age()?,
            }
        }
        Ok(())
    }

    fn accept(&mut self, batch: Batch) {
        let number = self.next;
        self.next += 1;
        let places = batch.places.iter();
        self.unsent.extend(places.map(|place| Which {
            batch: number,
            place: *place,
        }));
        let open = Open {
            messages: batch.messages,
            left: batch.places.len(),
            report: Report::default(),
            reply: batch.reply,
        };
        if open.left > 0 {
            self.open.insert(number, open);
        } else {
            finish(open);
        }
    }

    /// Sends what the window takes. A publish is on its way once it was polled, and new futures
    /// are polled in the order in which they came.
    fn send(&mut self) {
        if self.window.is_tainted() {
            return;
        }
        let now = Instant::now();
        while self.window.unanswered() < WINDOW {
            let Some(which) = self.unsent.pop_front() else {
                return;
            };
            let Some(open) = self.open.get(&which.batch) else {
                continue;
            };
            let number = self.window.send(which, now);
            let channel = Arc::clone(&self.channel);
            let messages = Arc::clone(&open.messages);
            self.sent.push(Box::pin(async move {
                (number, publish(&channel, &messages[which.place]).await)
            }));
        }
    }

    fn note(
        &mut self,
        number: u64,
        answer: lapin::Result<Confirmation>,
    ) -> Result<(), BrokerError> {
        let answer = answer.map_err(|error| classify(&error))?;
        let ack = match &answer {
            Confirmation::Ack(_) => true,
            Confirmation::Nack(_) => false,
            Confirmation::NotRequested => {
                return Err(BrokerError::Unavailable("confirms are off".into()));
            }
        };
        let returned = answer.take_message().map(|message| {
            let id = message.delivery.properties.message_id().as_ref();
            id.map(|id| id.as_str().to_owned()).unwrap_or_default()
        });
        self.window.answer(number, Answer { ack, returned });
        Ok(())
    }

    fn decide(&mut self) {
        let open = &self.open;
        let decided = self.window.decide(|which| {
            let batch = open.get(&which.batch);
            batch
                .map(|open| open.messages[which.place].id())
                .unwrap_or_default()
        });
        for (which, fate) in decided {
            let Some(batch) = self.open.get_mut(&which.batch) else {
                continue;
            };
            match fate {
                Fate::Safe => {}
                Fate::Returned => batch.report.returned.push(which.place),
                Fate::Nacked => batch.report.nacked.push(which.place),
            }
            batch.left -= 1;
            if batch.left == 0
                && let Some(done) = self.open.remove(&which.batch)
            {
                finish(done);
            }
        }
    }

    fn check_age(&self) -> Result<(), BrokerError> {
        match self.window.oldest() {
            Some(sent) if sent.elapsed() > self.confirm_timeout => {
                Err(late("a confirm", self.confirm_timeout))
            }
            _ => Ok(()),
        }
    }
}

fn finish(open: Open) {
    // A caller that went away does not want to know.
    if let Err(report) = open.reply.send(open.report) {
        tracing::debug!(?report, "nobody waits for this publish");
    }
}

async fn publish(channel: &Channel, message: &Outgoing) -> lapin::Result<Confirmation> {
    channel
        .basic_publish(
            message.address.exchange.clone(),
            message.address.key.clone(),
            BasicPublishOptions {
                mandatory: true,
                immediate: false,
            },
            &message.body,
            message.properties.clone(),
        )
        .await?
        .await
}
