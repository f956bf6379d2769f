//! How many workers share the quotas of a service: the consumers that the broker counts.
//!
//! Who comes waits until all others must have counted it; who grows its share, because another
//! seems to have left, looks twice. So the sum of the shares is over the quota at no time.

use std::{sync::Arc, time::Duration};

use filefleet_shared::{
    broker::{Broker, BrokerError, Queue},
    time::UnixMillis,
    wire::{ControlRecord, Members, VERSION},
};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};

use crate::context::Lane;

/// Between two looks at the count of consumers, for each of them: all look, so more of them look
/// less often.
const EACH: Duration = Duration::from_millis(20);
const SHORTEST: Duration = Duration::from_secs(1);
/// From coming to the first call, beyond the time in which every other has looked.
const SLACK: Duration = Duration::from_millis(200);
/// Between the two looks that must agree before a share grows.
const TWICE: Duration = Duration::from_millis(300);

/// Keeps the share of one lane.
pub(crate) struct Membership {
    pub(crate) broker: Arc<dyn Broker>,
    pub(crate) lane: Arc<Lane>,
    /// Changes whenever members came or left.
    pub(crate) changes: watch::Receiver<u64>,
}

impl Membership {
    /// Runs until the lane's consumer has ended for good.
    pub(crate) async fn keep(mut self) {
        let mut consuming = self.lane.consuming.subscribe();
        // Whoever could change it is gone with the lane, and this with it.
        if consuming.wait_for(|consuming| *consuming).await.is_err() {
            return;
        }
        let mut known = self.come().await;
        loop {
            self.lane.calls.share(known);
            tokio::select! {
                _ = consuming.wait_for(|consuming| !*consuming) => break,
                () = self.next_look(known) => {}
            }
            if self.lane.calls.is_shared() {
                known = self.look(known).await;
            }
        }
        if self.lane.calls.is_shared() {
            announce(&*self.broker).await;
        }
    }

    /// Waits for news of members, at most so long that a lost one does no harm.
    async fn next_look(&mut self, known: u64) {
        let every = interval(known);
        let told = timeout(every, self.changes.changed()).await;
        // Nobody tells any more: the time must be enough.
        if matches!(told, Ok(Err(_))) {
            sleep(every).await;
        }
    }

    async fn look(&self, known: u64) -> u64 {
        let counted = self.count(known).await;
        if counted >= known {
            return counted;
        }
        sleep(TWICE).await;
        self.count(known).await.clamp(counted, known)
    }

    /// Tells the others, and waits until they have made room.
    async fn come(&mut self) -> u64 {
        if !self.lane.calls.is_shared() {
            return self.count(1).await;
        }
        let begun = Instant::now();
        let members = self.count(1).await;
        if members <= 1 {
            return members;
        }
        announce(&*self.broker).await;
        sleep((interval(members) + SLACK).saturating_sub(begun.elapsed())).await;
        self.count(members).await
    }

    /// Consumers of the lane's queue; what was known if the broker does not say.
    async fn count(&self, known: u64) -> u64 {
        let queue = Queue::Work(self.lane.name.clone());
        match self.broker.inspect(&queue).await {
            Ok(depth) => depth.map_or(1, |depth| depth.consumers).max(1),
            Err(error) => {
                report(&error);
                known
            }
        }
    }
}

/// Tells every worker to count anew; one that does not hear it counts by itself a little later.
async fn announce(broker: &dyn Broker) {
    let record = ControlRecord::Members(Members {
        v: VERSION,
        at: UnixMillis::now(),
    });
    if let Err(error) = broker.append_control(record).await {
        report(&error);
    }
}

fn report(error: &BrokerError) {
    tracing::debug!(%error, "the members of the fleet are not known now");
}

fn interval(members: u64) -> Duration {
    EACH.saturating_mul(u32::try_from(members).unwrap_or(u32::MAX))
        .max(SHORTEST)
}
