//! The control log: a stream that every reader reads from its start.
//!
//! A stream does not say where it ends. A reader appends a marker of its own and reads until it
//! comes to it: what lies before is the history.
//!
//! An append whose connection dies before its confirm is sent again, and may then be in the stream
//! twice, under one id: a reader passes it on once.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use futures_util::{FutureExt, StreamExt};
use lapin::{
    message::Delivery as Received,
    options::BasicAckOptions,
    types::{AMQPValue, FieldTable, ShortString},
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, sleep, timeout},
};
use uuid::Uuid;

use super::{Inner, backoff::Backoff, headers, publish::outgoing, publisher::Outgoing};
use crate::{
    broker::{
        BrokerError, ControlLog, Headers,
        topology::header::{MARKER, STREAM_OFFSET},
    },
    wire::{self, ControlRecord},
};

/// Records on the way to the reader.
const UPDATES: usize = 64;

/// From subscribing to the end of the history: the log is short.
const CATCH_UP: Duration = Duration::from_secs(60);

/// How long a stream may be missing after its broker was started again; a busy machine takes more
/// than ten seconds to bring it back.
const RECOVERY: Duration = Duration::from_secs(60);
const AGAIN: Duration = Duration::from_millis(500);

/// Records the broker sends ahead.
const PREFETCH: u16 = 200;

/// Records among which one that was appended twice is known again.
const REMEMBERED: usize = 1024;

impl Inner {
    pub(super) async fn append_control(&self, record: &ControlRecord) -> Result<(), BrokerError> {
        let body = wire::encode(record)
            .map_err(|error| BrokerError::Refused(format!("control record: {error}")))?;
        let id = Uuid::now_v7().to_string();
        let address = self.topology.control()?;
        let record = outgoing(address, &id, &Headers::default(), body)?;
        self.append(record).await
    }

    /// A broker that was just started again routes to its stream a little later.
    async fn append(&self, record: Outgoing) -> Result<(), BrokerError> {
        let until = Instant::now() + RECOVERY;
        loop {
            match self.send(vec![record.clone()]).await {
                Err(BrokerError::Unroutable(_)) if Instant::now() < until => sleep(AGAIN).await,
                sent => return sent,
            }
        }
    }

    pub(super) async fn follow_control(self: Arc<Self>) -> Result<ControlLog, BrokerError> {
        let marker = Uuid::now_v7().to_string();
        self.append(self.marker(&marker)?).await?;
        let (updates, receiver) = mpsc::channel(UPDATES);
        let (caught_up, history) = oneshot::channel();
        let reader = Reader {
            closing: self.closing.subscribe(),
            inner: self,
            marker,
            next: None,
            seen: VecDeque::new(),
            history: Some((Vec::new(), caught_up)),
            updates,
        };
        let task = tokio::spawn(reader.run());
        let Ok(Ok(history)) = timeout(CATCH_UP, history).await else {
            task.abort();
            let why = "the control log could not be read to its end";
            return Err(BrokerError::Unavailable(why.into()));
        };
        Ok(ControlLog {
            history,
            updates: receiver,
        })
    }

    fn marker(&self, id: &str) -> Result<Outgoing, BrokerError> {
        let address = self.topology.control()?;
        let mut marker = outgoing(address, id, &Headers::default(), bytes::Bytes::new())?;
        let mut table = FieldTable::default();
        table.insert(MARKER.into(), AMQPValue::Boolean(true));
        marker.properties = marker.properties.with_headers(table);
        Ok(marker)
    }
}

/// Why reading stopped.
enum Ended {
    /// The reader went away, or the broker is being closed.
    Stopped,
    Lost(BrokerError),
}

struct Reader {
    inner: Arc<Inner>,
    closing: watch::Receiver<bool>,
    marker: String,
    /// Offset of the next record.
    next: Option<u64>,
    /// Ids of the newest records.
    seen: VecDeque<ShortString>,
    /// Until the marker is reached.
    history: Option<(Vec<ControlRecord>, oneshot::Sender<Vec<ControlRecord>>)>,
    updates: mpsc::Sender<ControlRecord>,
}

impl Reader {
    async fn run(mut self) {
        let mut backoff = Backoff::new();
        let mut closing = self.closing.clone();
        loop {
            let ended = tokio::select! {
                ended = self.session(&mut backoff) => ended,
                _ = closing.wait_for(|closing| *closing) => Ended::Stopped,
            };
            match ended {
                Ended::Stopped => return,
                Ended::Lost(error) => tracing::warn!(%error, "control log lost its session"),
            }
            tokio::select! {
                () = sleep(backoff.next()) => {}
                () = self.updates.closed() => return,
                _ = closing.wait_for(|closing| *closing) => return,
            }
        }
    }

    async fn session(&mut self, backoff: &mut Backoff) -> Ended {
        match self.read(backoff).await {
            Ok(()) => Ended::Stopped,
            Err(error) => Ended::Lost(error),
        }
    }

    async fn read(&mut self, backoff: &mut Backoff) -> Result<(), BrokerError> {
        let inner = Arc::clone(&self.inner);
        let connection = inner.link.get().await?;
        let queue = inner.topology.control()?.queue;
        let from = self.start();
        let opened = inner.open(&connection, &queue, PREFETCH, from).await;
        if matches!(opened, Err(BrokerError::Unavailable(_))) {
            inner.link.discard(&connection).await;
        }
        let mut subscription = opened?;
        backoff.reset();
        loop {
            let received = tokio::select! {
                received = subscription.stream.next() => received,
                () = self.updates.closed() => return Ok(()),
            };
            let cancelled = || BrokerError::Unavailable("the broker cancelled it".into());
            let lost = |error: lapin::Error| BrokerError::Unavailable(error.to_string());
            let received = received.ok_or_else(cancelled)?.map_err(lost)?;
            if !self.take(&received).await {
                return Ok(());
            }
            // Credit for the next ones; a stream keeps what is acked. The first poll queues it; of
            // a connection that died its answer may never come, and the stream tells.
            let acking = received.acker.ack(BasicAckOptions::default());
            if let Some(Err(error)) = acking.now_or_never() {
                return Err(lost(error));
            }
        }
    }

    /// Where the subscription starts.
    fn start(&self) -> FieldTable {
        let from = match self.next.map(i64::try_from) {
            Some(Ok(next)) => AMQPValue::LongLongInt(next),
            Some(Err(_)) | None => AMQPValue::LongString("first".into()),
        };
        let mut arguments = FieldTable::default();
        arguments.insert(STREAM_OFFSET.into(), from);
        arguments
    }

    /// Takes one record; false if nobody reads any more.
    async fn take(&mut self, received: &Received) -> bool {
        let offset = headers::offset(&received.properties);
        if let (Some(offset), Some(next)) = (offset, self.next)
            && offset < next
        {
            return true;
        }
        let wanted = self.keep(received).await;
        self.next = offset.map(|offset| offset + 1).or(self.next);
        wanted
    }

    async fn keep(&mut self, received: &Received) -> bool {
        let properties = &received.properties;
        let id = properties.message_id().as_ref();
        let table = properties.headers().as_ref();
        if table.is_some_and(|table| table.contains_key(MARKER)) {
            if id.is_some_and(|id| id.as_str() == self.marker)
                && let Some((history, caught_up)) = self.history.take()
            {
                return caught_up.send(history).is_ok();
            }
            return true;
        }
        if id.is_some_and(|id| self.repeats(id)) {
            return true;
        }
        let record = match wire::decode(&received.data) {
            Ok(record) => record,
            Err(error) => {
                tracing::warn!(%error, "a control record was skipped");
                return true;
            }
        };
        match &mut self.history {
            Some((history, _)) => {
                history.push(record);
                true
            }
            None => self.updates.send(record).await.is_ok(),
        }
    }

    fn repeats(&mut self, id: &ShortString) -> bool {
        if self.seen.contains(id) {
            return true;
        }
        if self.seen.len() == REMEMBERED {
            self.seen.pop_front();
        }
        self.seen.push_back(id.clone());
        false
    }
}
