//! One request in flight: counted when it arrives, and whatever way it leaves.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::{Kind, state::App, stats::Ledger};

/// A request in flight. Dropped without being settled, its client has left.
#[derive(Debug)]
pub(crate) struct Visit {
    pub(crate) app: Arc<App>,
    /// Of this request, from 0.
    pub(crate) number: u64,
    /// Requests in flight when it arrived, itself included.
    pub(crate) in_flight: usize,
    arrived: Instant,
    settled: bool,
}

impl Visit {
    pub(crate) fn arrive(app: Arc<App>, kind: Kind) -> Self {
        let arrived = Instant::now();
        let at = app.unix_ms(arrived);
        let in_flight = app.books().ledger.arrived(kind, at);
        Self {
            number: app.next_number(),
            app,
            in_flight,
            arrived,
            settled: false,
        }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.arrived.elapsed()
    }

    /// Milliseconds since 1970.
    pub(crate) fn now_ms(&self) -> u64 {
        self.app.unix_ms(Instant::now())
    }

    /// Writes down how the request ends.
    pub(crate) fn settle(mut self, write: impl FnOnce(&mut Ledger)) {
        self.settled = true;
        let mut books = self.app.books();
        write(&mut books.ledger);
        books.ledger.left();
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        if !self.settled {
            let mut books = self.app.books();
            books.ledger.abandoned();
            books.ledger.left();
        }
    }
}
