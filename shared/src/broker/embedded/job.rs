//! What callers ask of the writer: closures that run within its transactions.

use std::sync::{Arc, Weak, mpsc};

use tokio::sync::oneshot;

use super::{
    super::BrokerError,
    schema::broker_error,
    session::{Hand, Session},
    turn::Turn,
};

/// Work for the writer. It may run more than once: in a transaction with others that fails,
/// then in one of its own.
pub(super) trait Job: Send {
    /// Does it within a transaction.
    fn run(&mut self, turn: &mut Turn<'_>) -> rusqlite::Result<()>;

    /// Its transaction was committed.
    fn commit(self: Box<Self>);

    /// No transaction with it could be committed.
    fn fail(self: Box<Self>, error: &rusqlite::Error, session: &mut Session);
}

/// An order to the writer.
pub(super) enum Order {
    /// Do this, with whatever else is waiting.
    Do(Box<dyn Job>),
    /// Finish what was asked before, close the file, give up the lock, and say so.
    Halt(oneshot::Sender<()>),
}

/// Sends orders to the writer, which lives as long as there is a handle.
///
/// The channel is unbounded, what it holds is not: each caller waits for its answer, and
/// deliveries given back are bounded by what consumers may have in hand.
#[derive(Clone, Debug)]
pub(super) struct Handle(Arc<mpsc::Sender<Order>>);

/// The writer's own handle, which does not keep it alive.
#[derive(Clone, Debug)]
pub(super) struct WeakHandle(Weak<mpsc::Sender<Order>>);

impl WeakHandle {
    pub(super) fn upgrade(&self) -> Option<Handle> {
        self.0.upgrade().map(Handle)
    }
}

impl Handle {
    pub(super) fn new(orders: mpsc::Sender<Order>) -> Self {
        Self(Arc::new(orders))
    }

    pub(super) fn downgrade(&self) -> WeakHandle {
        WeakHandle(Arc::downgrade(&self.0))
    }

    /// Runs `work` in a transaction, and answers when it is on disk.
    pub(super) async fn call<T, E, F>(&self, work: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<BrokerError> + Send + 'static,
        F: FnMut(&mut Turn<'_>) -> rusqlite::Result<Result<T, E>> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        self.send(Order::Do(Box::new(Call {
            work,
            answer: None,
            reply,
        })))?;
        answer
            .await
            .unwrap_or_else(|_| Err(BrokerError::Closed.into()))
    }

    /// Gives a delivery back, without waiting for it.
    pub(super) fn give_back(&self, hand: Hand) {
        // A closed broker has given back everything already.
        if self.send(Order::Do(Box::new(GiveBack(hand)))).is_err() {
            tracing::debug!("delivery dropped after its broker was closed");
        }
    }

    /// Ends the writer after what was asked before.
    pub(super) async fn halt(&self) {
        let (reply, halted) = oneshot::channel();
        let sent = self.send(Order::Halt(reply));
        // Either way it is over: halted now, or gone before.
        if sent.is_err() || halted.await.is_err() {
            tracing::debug!("the broker was closed already");
        }
    }

    fn send(&self, order: Order) -> Result<(), BrokerError> {
        self.0.send(order).map_err(|_| BrokerError::Closed)
    }
}

struct Call<T, E, F> {
    work: F,
    answer: Option<Result<T, E>>,
    reply: oneshot::Sender<Result<T, E>>,
}

impl<T, E, F> Job for Call<T, E, F>
where
    T: Send,
    E: From<BrokerError> + Send,
    F: FnMut(&mut Turn<'_>) -> rusqlite::Result<Result<T, E>> + Send,
{
    fn run(&mut self, turn: &mut Turn<'_>) -> rusqlite::Result<()> {
        // First, so that what an earlier run has handed out is seen to be closed.
        self.answer = None;
        self.answer = Some((self.work)(turn)?);
        Ok(())
    }

    fn commit(self: Box<Self>) {
        let answer = self.answer.unwrap_or(Err(BrokerError::Closed.into()));
        answer_to(self.reply, answer);
    }

    fn fail(self: Box<Self>, error: &rusqlite::Error, _: &mut Session) {
        answer_to(self.reply, Err(broker_error(error).into()));
    }
}

fn answer_to<T>(reply: oneshot::Sender<T>, answer: T) {
    if reply.send(answer).is_err() {
        tracing::trace!("caller left before its answer");
    }
}

struct GiveBack(Hand);

impl Job for GiveBack {
    fn run(&mut self, turn: &mut Turn<'_>) -> rusqlite::Result<()> {
        // A settlement whose caller left may have come first: then there is nothing to do.
        turn.release(self.0).map(|_| ())
    }

    fn commit(self: Box<Self>) {}

    fn fail(self: Box<Self>, _: &rusqlite::Error, session: &mut Session) {
        session.orphan(self.0);
    }
}
