//! What lives in memory only, and dies with the process: consumers, followers, what is in hand.

use std::collections::HashMap;

use tokio::sync::mpsc;

use super::{
    super::{BrokerError, ConsumeOptions, Delivery, Envelope, Queue},
    job::WeakHandle,
    ticket::Ticket,
};
use crate::wire::ControlRecord;

/// The receiving end of a consumer.
pub(super) type Deliveries = mpsc::Receiver<Result<Delivery, BrokerError>>;

/// A live consumer.
#[derive(Debug)]
pub(super) struct Subscriber {
    id: u64,
    queue: i64,
    source: Queue,
    prefetch: usize,
    pub(super) exclusive: bool,
    /// Deliveries that are not settled, received or not.
    unsettled: usize,
    /// Nothing was left when it last looked.
    dry: bool,
    /// Has room for `prefetch` deliveries and the error that ends it, so sending never waits.
    deliveries: mpsc::Sender<Result<Delivery, BrokerError>>,
}

/// A live follower of the control log.
#[derive(Debug)]
pub(super) struct Follower {
    /// Place of the last record it was sent.
    pub(super) cursor: i64,
    pub(super) updates: mpsc::Sender<ControlRecord>,
}

/// A delivery that was handed out: its place, and a number that no other delivery has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hand {
    pub(super) seq: i64,
    pub(super) claim: u64,
}

/// A message that became a delivery in a transaction, to be handed over when it is committed.
#[derive(Debug)]
pub(super) struct Claimed {
    pub(super) subscriber: u64,
    pub(super) seq: i64,
    pub(super) envelope: Envelope,
}

/// What a transaction changes in memory once it is committed.
#[derive(Debug, Default)]
pub(super) struct Gains {
    /// Deliveries that were settled, by place.
    pub(super) settled: Vec<i64>,
    pub(super) claimed: Vec<Claimed>,
    /// Queues that were deleted.
    pub(super) deleted: Vec<i64>,
    /// Consumers that found their queue empty.
    pub(super) dry: Vec<u64>,
    /// Something became ready after consumers had looked.
    pub(super) stirred: bool,
    /// The orphans are ready again.
    pub(super) adopted: bool,
    /// When the next waiting message is due, if that was looked up.
    pub(super) next_due: Option<Option<i64>>,
}

#[derive(Debug)]
struct Holder {
    claim: u64,
    subscriber: u64,
}

/// The state in memory.
#[derive(Debug)]
pub(super) struct Session {
    handle: WeakHandle,
    subscribers: Vec<Subscriber>,
    pub(super) followers: Vec<Follower>,
    /// The control log may hold more than followers were sent.
    pub(super) control_grew: bool,
    in_hand: HashMap<i64, Holder>,
    /// Something became ready that no consumer has looked at yet.
    pub(super) restless: bool,
    /// Delivered messages that are in nobody's hand because giving them back failed.
    pub(super) orphans: Vec<i64>,
    last_subscriber: u64,
    last_claim: u64,
    last_seq: i64,
    /// When the next waiting message is due; may be early, never late.
    pub(super) next_due: Option<i64>,
}

impl Session {
    pub(super) fn new(handle: WeakHandle, last_seq: i64, next_due: Option<i64>) -> Self {
        Self {
            handle,
            subscribers: Vec::new(),
            followers: Vec::new(),
            control_grew: false,
            in_hand: HashMap::new(),
            restless: false,
            orphans: Vec::new(),
            last_subscriber: 0,
            last_claim: 0,
            last_seq,
            next_due,
        }
    }

    /// A new place at the end of the order of delivery. Never used twice in a session, so a
    /// stale delivery cannot be taken for another.
    pub(super) fn next_seq(&mut self) -> i64 {
        self.last_seq += 1;
        self.last_seq
    }

    /// Consumers of a queue that still receive.
    pub(super) fn live_consumers(&self, queue: i64) -> impl Iterator<Item = &Subscriber> {
        self.subscribers
            .iter()
            .filter(move |other| other.queue == queue && !other.deliveries.is_closed())
    }

    /// Adds a consumer.
    pub(super) fn subscribe(
        &mut self,
        queue: i64,
        source: Queue,
        options: ConsumeOptions,
    ) -> (u64, Deliveries) {
        let prefetch = usize::from(options.prefetch.max(1));
        let (deliveries, receiver) = mpsc::channel(prefetch + 1);
        self.last_subscriber += 1;
        self.subscribers.push(Subscriber {
            id: self.last_subscriber,
            queue,
            source,
            prefetch,
            exclusive: options.exclusive,
            unsettled: 0,
            dry: false,
            deliveries,
        });
        (self.last_subscriber, receiver)
    }

    /// Removes a consumer; what it has received stays in hand.
    pub(super) fn cancel(&mut self, subscriber: u64) {
        self.subscribers.retain(|other| other.id != subscriber);
    }

    /// Whether the delivery is still the one that was handed out.
    pub(super) fn holds(&self, hand: Hand) -> bool {
        self.in_hand
            .get(&hand.seq)
            .is_some_and(|holder| holder.claim == hand.claim)
    }

    /// Something became ready: its consumers look again. `None` is every queue.
    pub(super) fn stir(&mut self, queue: Option<i64>) {
        for subscriber in &mut self.subscribers {
            if queue.is_none_or(|queue| queue == subscriber.queue) {
                subscriber.dry = false;
            }
        }
    }

    /// Consumers that can take more, with their queue and room, once `settled` are gone.
    pub(super) fn with_room(&mut self, settled: &[i64]) -> Vec<(u64, i64, Queue, usize)> {
        self.subscribers
            .retain(|subscriber| !subscriber.deliveries.is_closed());
        let mut freed: HashMap<u64, usize> = HashMap::new();
        for seq in settled {
            if let Some(holder) = self.in_hand.get(seq) {
                *freed.entry(holder.subscriber).or_default() += 1;
            }
        }
        let room = |subscriber: &Subscriber| {
            let freed = freed.get(&subscriber.id).copied().unwrap_or_default();
            (subscriber.prefetch + freed).saturating_sub(subscriber.unsettled)
        };
        self.subscribers
            .iter()
            .map(|one| (one, room(one)))
            .filter(|(one, room)| *room > 0 && !one.dry)
            .map(|(one, room)| (one.id, one.queue, one.source.clone(), room))
            .collect()
    }

    /// Keeps a delivery that nobody holds and that could not be given back, for the next try.
    pub(super) fn orphan(&mut self, hand: Hand) {
        if self.holds(hand) {
            self.forget(hand.seq);
            self.orphans.push(hand.seq);
        }
    }

    fn forget(&mut self, seq: i64) {
        let Some(holder) = self.in_hand.remove(&seq) else {
            return;
        };
        if let Some(subscriber) = self.subscriber(holder.subscriber) {
            subscriber.unsettled = subscriber.unsettled.saturating_sub(1);
        }
    }

    fn subscriber(&mut self, id: u64) -> Option<&mut Subscriber> {
        self.subscribers.iter_mut().find(|other| other.id == id)
    }

    /// Carries out what a transaction that is now committed has changed.
    pub(super) fn commit(&mut self, gains: Gains) {
        if gains.adopted {
            self.orphans.clear();
        }
        if let Some(next_due) = gains.next_due {
            self.next_due = next_due;
        }
        for seq in gains.settled {
            self.forget(seq);
        }
        for id in gains.dry {
            if let Some(subscriber) = self.subscriber(id) {
                subscriber.dry = true;
            }
        }
        self.restless = gains.stirred;
        if gains.stirred {
            self.stir(None);
        }
        for queue in gains.deleted {
            self.end_consumers(queue);
        }
        for claimed in gains.claimed {
            self.hand_over(claimed);
        }
        // Who has taken first goes last next time.
        if !self.subscribers.is_empty() {
            self.subscribers.rotate_left(1);
        }
    }

    fn end_consumers(&mut self, queue: i64) {
        self.subscribers.retain(|subscriber| {
            if subscriber.queue != queue {
                return true;
            }
            let gone = BrokerError::Unroutable(subscriber.source.to_string());
            if subscriber.deliveries.try_send(Err(gone)).is_err() {
                tracing::debug!(queue = %subscriber.source, "consumer ended before its queue");
            }
            false
        });
    }

    fn hand_over(&mut self, claimed: Claimed) {
        self.last_claim += 1;
        let hand = Hand {
            seq: claimed.seq,
            claim: self.last_claim,
        };
        let holder = Holder {
            claim: hand.claim,
            subscriber: claimed.subscriber,
        };
        self.in_hand.insert(hand.seq, holder);
        let handle = self.handle.upgrade();
        let (Some(subscriber), Some(handle)) = (self.subscriber(claimed.subscriber), handle) else {
            // Its queue was deleted in the same transaction, or nobody has the broker any more.
            return self.orphan(hand);
        };
        subscriber.unsettled += 1;
        let delivery = Delivery::new(claimed.envelope, Box::new(Ticket::new(handle, hand)));
        if let Err(refused) = subscriber.deliveries.try_send(Ok(delivery)) {
            // The consumer was dropped just now: so is the delivery, which gives it back.
            drop(refused);
        }
    }
}
