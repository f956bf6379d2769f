//! The one thread that writes: takes all that is waiting, commits it at once, then answers.

use std::{
    sync::mpsc::{Receiver, RecvTimeoutError},
    time::{Duration, Instant},
};

use rusqlite::{Connection, ErrorCode, TransactionBehavior};
use tokio::sync::{mpsc::error::TrySendError, oneshot};

use super::{
    UPDATES,
    job::{Job, Order},
    schema::Lock,
    session::Session,
    store::{Store, stored},
    turn::Turn,
};
use crate::{time::UnixMillis, wire};

/// Most jobs in one transaction.
const GROUP: usize = 4096;

/// How often to look for control records of other processes, and to try again what failed.
const POLL: Duration = Duration::from_millis(250);

/// The longest sleep; nothing depends on it.
const IDLE: Duration = Duration::from_secs(60);

/// Why a transaction was not committed.
enum Failure {
    /// Not begun: another process writes, or the file cannot be read. Nothing else would work.
    Begin(rusqlite::Error),
    /// One of its jobs or the commit failed.
    Work(rusqlite::Error),
}

/// The thread's state.
pub(super) struct Writer {
    connection: Connection,
    orders: Receiver<Order>,
    session: Session,
    /// Given up last, when the file is closed.
    lock: Lock,
    foreign_writes: i64,
    looked: Instant,
    /// The last transaction failed: do not spin on what made it fail.
    failed: bool,
}

impl Writer {
    pub(super) fn new(
        connection: Connection,
        lock: Lock,
        orders: Receiver<Order>,
        session: Session,
    ) -> Self {
        Self {
            connection,
            orders,
            session,
            lock,
            foreign_writes: 0,
            looked: Instant::now(),
            failed: false,
        }
    }

    /// Works until it is halted or nobody has a handle any more.
    pub(super) fn run(mut self) {
        let halted = loop {
            match self.orders.recv_timeout(self.patience()) {
                Ok(first) => {
                    let (jobs, halt) = self.gather(first);
                    self.turn(jobs);
                    if halt.is_some() {
                        break halt;
                    }
                }
                Err(RecvTimeoutError::Timeout) => self.turn(Vec::new()),
                Err(RecvTimeoutError::Disconnected) => break None,
            }
        };
        // In this order: whoever is told finds the file closed and the lock free.
        drop(self.session);
        if let Err((_, error)) = self.connection.close() {
            tracing::warn!(%error, "queue file did not close cleanly; it recovers when opened");
        }
        drop(self.lock);
        if let Some(reply) = halted
            && reply.send(()).is_err()
        {
            tracing::debug!("caller left before the broker was closed");
        }
    }

    /// How long nothing needs to be done.
    fn patience(&self) -> Duration {
        let session = &self.session;
        if self.failed || !session.orphans.is_empty() {
            return POLL;
        }
        if session.restless {
            return Duration::ZERO;
        }
        let due = session.next_due.map_or(IDLE, |due| {
            Duration::from_millis(due.saturating_sub(now()).max(0).unsigned_abs())
        });
        due.min(if session.followers.is_empty() {
            IDLE
        } else {
            POLL
        })
    }

    /// Everything that is waiting, up to a halt.
    fn gather(&self, first: Order) -> (Vec<Box<dyn Job>>, Option<oneshot::Sender<()>>) {
        let mut jobs = Vec::new();
        let mut next = Some(first);
        while let Some(order) = next {
            match order {
                Order::Do(job) => jobs.push(job),
                Order::Halt(reply) => return (jobs, Some(reply)),
            }
            next = (jobs.len() < GROUP)
                .then(|| self.orders.try_recv().ok())
                .flatten();
        }
        (jobs, None)
    }

    /// Does the jobs, in one transaction if that works, else in one each.
    fn turn(&mut self, mut jobs: Vec<Box<dyn Job>>) {
        match self.transact(&mut jobs) {
            Ok(()) => {
                self.failed = false;
                for job in jobs {
                    job.commit();
                }
            }
            Err(failure) => {
                self.failed = true;
                self.salvage(jobs, failure);
            }
        }
        self.serve_followers();
    }

    /// One job must not fail its neighbours: each gets a transaction of its own.
    fn salvage(&mut self, jobs: Vec<Box<dyn Job>>, failure: Failure) {
        let mut hopeless = match failure {
            Failure::Begin(error) => Some(error),
            // Each job is told, and tells it.
            Failure::Work(error) if error.sqlite_error_code() == Some(ErrorCode::DiskFull) => None,
            Failure::Work(error) => {
                tracing::warn!(%error, jobs = jobs.len(), "transaction failed, trying one by one");
                None
            }
        };
        for job in jobs {
            if let Some(error) = &hopeless {
                job.fail(error, &mut self.session);
                continue;
            }
            let mut alone = [job];
            let done = self.transact(&mut alone);
            let [job] = alone;
            match done {
                Ok(()) => job.commit(),
                Err(Failure::Work(error)) => job.fail(&error, &mut self.session),
                Err(Failure::Begin(error)) => {
                    job.fail(&error, &mut self.session);
                    hopeless = Some(error);
                }
            }
        }
    }

    /// Runs jobs and gives consumers what they have room for, in one transaction.
    fn transact(&mut self, jobs: &mut [Box<dyn Job>]) -> Result<(), Failure> {
        let now = now();
        let due = self.session.next_due.is_some_and(|due| due <= now);
        let orphans = !self.session.orphans.is_empty();
        if jobs.is_empty() && !due && !orphans && !self.session.restless {
            return Ok(());
        }
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(Failure::Begin)?;
        let mut turn = Turn::new(Store(&transaction), &mut self.session, now);
        let gains = jobs
            .iter_mut()
            .try_for_each(|job| job.run(&mut turn))
            .and_then(|()| turn.adopt_orphans())
            .and_then(|()| turn.wake())
            .and_then(|()| turn.finish())
            .map_err(Failure::Work)?;
        transaction.commit().map_err(Failure::Work)?;
        self.session.commit(gains);
        Ok(())
    }

    /// Sends followers what the control log holds for them, from whichever process.
    fn serve_followers(&mut self) {
        self.session
            .followers
            .retain(|follower| !follower.updates.is_closed());
        if self.session.followers.is_empty() {
            return;
        }
        let served = self.look_for_foreign_writes().and_then(|()| {
            if self.session.control_grew {
                self.session.control_grew = false;
                self.send_updates()?;
            }
            Ok(())
        });
        if let Err(error) = served {
            tracing::warn!(%error, "control log cannot be read, trying again");
            self.session.control_grew = true;
        }
    }

    fn look_for_foreign_writes(&mut self) -> rusqlite::Result<()> {
        if self.looked.elapsed() >= POLL {
            self.looked = Instant::now();
            let writes = Store(&self.connection).foreign_writes()?;
            self.session.control_grew |= writes != self.foreign_writes;
            self.foreign_writes = writes;
        }
        Ok(())
    }

    fn send_updates(&mut self) -> rusqlite::Result<()> {
        let store = Store(&self.connection);
        for follower in &mut self.session.followers {
            let records = store.control_after(follower.cursor, UPDATES as i64)?;
            // There may be more: it goes on at the next look.
            self.session.control_grew |= records.len() == UPDATES;
            for (seq, record) in records {
                match wire::decode(&record) {
                    Ok(record) => match follower.updates.try_send(record) {
                        Ok(()) => {}
                        Err(TrySendError::Closed(_)) => break,
                        Err(TrySendError::Full(_)) => {
                            self.session.control_grew = true;
                            break;
                        }
                    },
                    Err(error) => {
                        tracing::error!(%error, seq, "control record cannot be read, passed over");
                    }
                }
                follower.cursor = seq;
            }
        }
        Ok(())
    }
}

fn now() -> i64 {
    stored(UnixMillis::now().0)
}
