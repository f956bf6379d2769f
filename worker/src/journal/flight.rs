//! Requests that are on their way in this worker, so that the same one is not made twice at once.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

use crate::service::Identity;

/// The requests on their way; as many at most as deliveries are in hand.
#[derive(Clone, Debug, Default)]
pub(crate) struct Flights(Arc<Mutex<HashMap<Identity, watch::Receiver<()>>>>);

/// Who makes a request.
#[derive(Debug)]
pub(crate) enum Begun {
    /// The caller.
    First(Flight),
    /// Another one: wait for its end, then look again.
    After(Ahead),
}

/// A request that its holder makes, until it is dropped.
#[derive(Debug)]
pub(crate) struct Flight {
    key: Identity,
    flights: Flights,
    /// Dropped, it tells those who wait.
    _end: watch::Sender<()>,
}

/// A request that somebody else makes.
#[derive(Debug)]
pub(crate) struct Ahead(watch::Receiver<()>);

impl Flights {
    fn lock(&self) -> MutexGuard<'_, HashMap<Identity, watch::Receiver<()>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the caller the one who asks, or names the one who does.
    pub(crate) fn begin(&self, key: Identity) -> Begun {
        let mut flights = self.lock();
        if let Some(end) = flights.get(&key) {
            return Begun::After(Ahead(end.clone()));
        }
        let (end, waiting) = watch::channel(());
        flights.insert(key, waiting);
        Begun::First(Flight {
            key,
            flights: self.clone(),
            _end: end,
        })
    }
}

impl Ahead {
    /// Returns when the request has ended, well or not.
    pub(crate) async fn ended(mut self) {
        // Nothing is ever sent.
        while self.0.changed().await.is_ok() {}
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.flights.lock().remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Identity {
        Identity::of([name.as_bytes()])
    }

    #[tokio::test]
    async fn one_asks_the_others_wait_and_then_one_of_them_may() {
        let flights = Flights::default();
        let Begun::First(first) = flights.begin(key("a")) else {
            panic!("nobody asks");
        };
        assert!(matches!(flights.begin(key("b")), Begun::First(_)));
        let (Begun::After(one), Begun::After(two)) =
            (flights.begin(key("a")), flights.begin(key("a")))
        else {
            panic!("somebody asks");
        };
        let (mut one, mut two) = (spawned(one.ended()), spawned(two.ended()));
        assert!(!one.is_woken().await && !two.is_woken().await);
        drop(first);
        assert!(one.is_woken().await && two.is_woken().await);
        let Begun::First(second) = flights.begin(key("a")) else {
            panic!("nobody asks any more");
        };
        assert!(matches!(flights.begin(key("a")), Begun::After(_)));
        drop(second);
        assert!(flights.lock().is_empty());
    }

    /// A wait that is looked at.
    struct Waiting(tokio::task::JoinHandle<()>);

    fn spawned(wait: impl Future<Output = ()> + Send + 'static) -> Waiting {
        Waiting(tokio::spawn(wait))
    }

    impl Waiting {
        async fn is_woken(&mut self) -> bool {
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            self.0.is_finished()
        }
    }
}
