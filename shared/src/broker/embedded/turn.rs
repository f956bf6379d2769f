//! One turn of the writer: the operations of the broker within a transaction.

use std::collections::HashMap;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::{
    super::{
        BrokerError, ConsumeOptions, ControlLog, Death, Depth, Envelope, Headers, Queue,
        SettleError,
    },
    session::{Claimed, Deliveries, Follower, Gains, Hand, Session},
    store::{Ready, Record, Store, encode_headers},
};
use crate::{
    time::UnixMillis,
    wire::{self, ControlRecord},
};

/// Most waiting messages woken in one transaction, so that it stays short.
const WAKE: i64 = 1000;

/// What a settlement writes.
#[derive(Debug)]
pub(super) enum Settlement {
    /// Publish these; the delivery is gone.
    Done(Vec<Record>),
    /// Wait until `due`, with another body if there is one.
    Later {
        headers: String,
        due: i64,
        body: Option<Bytes>,
    },
    /// Publish these; the delivery moves to the dead letters.
    Dead {
        headers: String,
        publish: Vec<Record>,
    },
    /// Ready again.
    Release,
}

/// A transaction with the state it works on.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    pub(super) store: Store<'a>,
    pub(super) session: &'a mut Session,
    now: i64,
    woke: bool,
    gains: Gains,
}

impl<'a> Turn<'a> {
    pub(super) fn new(store: Store<'a>, session: &'a mut Session, now: i64) -> Self {
        Self {
            store,
            session,
            now,
            woke: false,
            gains: Gains::default(),
        }
    }

    pub(super) fn declare(&mut self, queues: &[Queue]) -> rusqlite::Result<()> {
        queues
            .iter()
            .try_for_each(|queue| self.store.declare(&queue.to_string()))
    }

    /// Publishes all of them, or none and says which queue is missing.
    pub(super) fn publish(
        &mut self,
        records: &[Record],
    ) -> rusqlite::Result<Result<(), BrokerError>> {
        // Batches go to few queues: looked up once each, and all before the first write.
        let mut queues: HashMap<&str, i64> = HashMap::new();
        for record in records {
            if !queues.contains_key(&*record.queue) {
                let Some(queue) = self.store.queue(&record.queue)? else {
                    return Ok(Err(BrokerError::Unroutable(record.queue.to_string())));
                };
                queues.insert(&record.queue, queue);
            }
        }
        for record in records {
            let seq = self.session.next_seq();
            let queue = queues[&*record.queue];
            self.store.insert(seq, queue, record, self.now)?;
            if record.due > self.now {
                self.wait_until(record.due);
            }
        }
        for queue in queues.into_values() {
            self.session.stir(Some(queue));
        }
        Ok(Ok(()))
    }

    /// Settles a delivery together with what follows from it.
    pub(super) fn settle(
        &mut self,
        hand: Hand,
        settlement: &Settlement,
    ) -> rusqlite::Result<Result<(), SettleError>> {
        match settlement {
            Settlement::Done(publish) => {
                if let Err(error) = self.publish(publish)? {
                    return Ok(Err(error.into()));
                }
                self.let_go(hand, |turn| turn.store.remove(hand.seq))
            }
            Settlement::Later { headers, due, body } => {
                self.wait_until(*due);
                self.let_go(hand, |turn| {
                    let new_seq = turn.session.next_seq();
                    turn.store
                        .put_off(hand.seq, new_seq, headers, *due, body.as_deref())
                })
            }
            Settlement::Dead { headers, publish } => {
                let name = Queue::Dead.to_string();
                let Some(dead) = self.store.queue(&name)? else {
                    return Ok(Err(BrokerError::Unroutable(name).into()));
                };
                if let Err(error) = self.publish(publish)? {
                    return Ok(Err(error.into()));
                }
                self.session.stir(Some(dead));
                self.let_go(hand, |turn| {
                    let new_seq = turn.session.next_seq();
                    turn.store.redirect(hand.seq, new_seq, dead, headers)
                })
            }
            Settlement::Release => self.release(hand),
        }
    }

    /// Gives a delivery back at its old place; one that is settled already stays settled.
    pub(super) fn release(&mut self, hand: Hand) -> rusqlite::Result<Result<(), SettleError>> {
        self.session.stir(None);
        self.let_go(hand, |turn| turn.store.release(hand.seq))
    }

    /// Ends a delivery by a write that says whether the message was still there.
    fn let_go(
        &mut self,
        hand: Hand,
        write: impl FnOnce(&mut Self) -> rusqlite::Result<bool>,
    ) -> rusqlite::Result<Result<(), SettleError>> {
        if !self.session.holds(hand) {
            return Ok(Err(SettleError::Lost));
        }
        let found = write(self)?;
        self.gains.settled.push(hand.seq);
        Ok(if found {
            Ok(())
        } else {
            Err(SettleError::Lost)
        })
    }

    fn wait_until(&mut self, due: i64) {
        let next = self.session.next_due.get_or_insert(due);
        *next = due.min(*next);
    }

    /// Gives back what nobody holds and could not be given back before.
    pub(super) fn adopt_orphans(&mut self) -> rusqlite::Result<()> {
        for seq in &self.session.orphans {
            self.store.release(*seq)?;
            self.gains.adopted = true;
        }
        if self.gains.adopted {
            self.session.stir(None);
        }
        Ok(())
    }

    /// Makes waiting messages ready whose time has come.
    pub(super) fn wake(&mut self) -> rusqlite::Result<()> {
        if self.session.next_due.is_some_and(|due| due <= self.now) {
            self.store.wake(self.now, WAKE)?;
            self.session.stir(None);
            self.woke = true;
        }
        Ok(())
    }

    /// Adds a consumer and gives its id and its deliveries.
    pub(super) fn subscribe(
        &mut self,
        source: &Queue,
        options: ConsumeOptions,
    ) -> rusqlite::Result<Result<(u64, Deliveries), BrokerError>> {
        let name = source.to_string();
        let Some(queue) = self.store.queue(&name)? else {
            return Ok(Err(BrokerError::Unroutable(name)));
        };
        let taken = self
            .session
            .live_consumers(queue)
            .any(|other| other.exclusive || options.exclusive);
        if taken {
            return Ok(Err(BrokerError::Busy(name)));
        }
        Ok(Ok(self.session.subscribe(queue, source.clone(), options)))
    }

    pub(super) fn inspect(&mut self, name: &str) -> rusqlite::Result<Option<Depth>> {
        let Some(queue) = self.store.queue(name)? else {
            return Ok(None);
        };
        Ok(Some(Depth {
            ready: self.store.count_ready(queue)?,
            consumers: self.session.live_consumers(queue).count() as u64,
        }))
    }

    pub(super) fn waiting(&self) -> rusqlite::Result<u64> {
        self.store.count_all_waiting()
    }

    pub(super) fn delete(&mut self, name: &str) -> rusqlite::Result<()> {
        if let Some(queue) = self.store.queue(name)? {
            self.store.delete(queue)?;
            self.gains.deleted.push(queue);
        }
        Ok(())
    }

    pub(super) fn append_control(&mut self, record: &[u8]) -> rusqlite::Result<()> {
        self.store.append_control(record)?;
        self.session.control_grew = true;
        Ok(())
    }

    /// Reads the control log and adds a follower that goes on where it ends; it may lag behind
    /// by `updates` before it waits for the next look at the log.
    pub(super) fn follow(
        &mut self,
        updates: usize,
    ) -> rusqlite::Result<Result<ControlLog, BrokerError>> {
        let log = self.store.control_after(0, i64::MAX)?;
        let history = log
            .iter()
            .map(|(_, record)| wire::decode(record))
            .collect::<Result<Vec<ControlRecord>, _>>();
        let history = match history {
            Ok(history) => history,
            Err(error) => return Ok(Err(error.into())),
        };
        let (sender, updates) = mpsc::channel(updates);
        self.session.followers.push(Follower {
            cursor: log.last().map_or(0, |(seq, _)| *seq),
            updates: sender,
        });
        Ok(Ok(ControlLog { history, updates }))
    }

    /// Gives ready messages to consumers with room, and ends the turn.
    pub(super) fn finish(mut self) -> rusqlite::Result<Gains> {
        for (subscriber, queue, source, room) in self.session.with_room(&self.gains.settled) {
            let ready = self.store.ready(queue, room)?;
            if ready.len() < room {
                self.gains.dry.push(subscriber);
            }
            for message in ready {
                self.claim(subscriber, &source, message)?;
            }
        }
        if self.woke {
            self.gains.next_due = Some(self.store.next_due()?);
        }
        Ok(self.gains)
    }

    fn claim(&mut self, subscriber: u64, source: &Queue, ready: Ready) -> rusqlite::Result<()> {
        let seq = ready.seq;
        let headers: Headers = match serde_json::from_str(&ready.headers) {
            Ok(headers) => headers,
            Err(error) => return self.bury(seq, source, &error),
        };
        self.store.deliver(seq)?;
        self.gains.claimed.push(Claimed {
            subscriber,
            seq,
            envelope: Envelope {
                id: ready.id,
                queue: source.clone(),
                headers,
                body: ready.body,
                deliveries: ready.deliveries.saturating_add(1),
            },
        });
        Ok(())
    }

    /// Moves a message whose headers cannot be read to the dead letters, with its body.
    fn bury(
        &mut self,
        seq: i64,
        source: &Queue,
        error: &serde_json::Error,
    ) -> rusqlite::Result<()> {
        tracing::error!(queue = %source, %error, "stored headers cannot be read: dead letter");
        let headers = Headers::default().dead(Death {
            reason: "unreadable_headers".to_owned(),
            detail: error.to_string(),
            from: source.to_string(),
            by: "embedded broker".to_owned(),
            at: UnixMillis::now(),
        });
        let dead = self.store.queue(&Queue::Dead.to_string())?;
        if let (Some(dead), Ok(headers)) = (dead, encode_headers(&headers)) {
            let new_seq = self.session.next_seq();
            self.store.redirect(seq, new_seq, dead, &headers)?;
            self.gains.stirred = true;
        }
        Ok(())
    }
}
