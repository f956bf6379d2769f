//! How many workers share the quotas of a service: the consumers that the broker counts.
//!
//! Who comes waits until all others must have counted it, and says so: they keep its share until
//! shortly before it calls. Who leaves says so too, when it calls no more. One that is missing
//! without a word may only have subscribed anew, so it is looked for twice; while the service is
//! paused nobody consumes, and nobody is missed. So the sum of the shares is over the quota at no
//! time, and hardly below it.

mod census;

use std::{sync::Arc, time::Duration};

use filefleet_shared::{
    broker::{Broker, Queue},
    time::{UnixMillis, millis},
    wire::{Change, ControlRecord, Members, VERSION},
};
use tokio::{
    sync::{
        broadcast::{
            self,
            error::{RecvError, TryRecvError},
        },
        watch,
    },
    time::{Instant, sleep, sleep_until, timeout},
};

pub(crate) use self::census::News;
use self::census::{Census, GONE};
use crate::{breaker::Pause, context::Lane};

/// Between two looks at the count of consumers, for each of them: all look, so more of them look
/// less often.
const EACH: Duration = Duration::from_millis(20);
const SHORTEST: Duration = Duration::from_secs(1);
/// From the time by which every other has looked to the first call of one that comes: the look
/// takes a while.
const SLACK: Duration = Duration::from_millis(200);
/// News that a lane may be behind with.
pub(crate) const NEWS: usize = 256;

/// Keeps the share of one lane.
pub(crate) struct Membership {
    pub(crate) broker: Arc<dyn Broker>,
    pub(crate) lane: Arc<Lane>,
    /// Of members that came or left.
    pub(crate) news: broadcast::Receiver<News>,
}

impl Membership {
    /// Runs until the lane's consumer has ended for good.
    pub(crate) async fn keep(mut self) {
        let mut consuming = self.lane.consuming.subscribe();
        let mut paused = self.lane.breaker.watch();
        // Whoever could change it is gone with the lane, and this with it.
        if consuming.wait_for(|consuming| *consuming).await.is_err() {
            return;
        }
        let members = tokio::select! {
            // It never had a share; the others look for it when it was to call.
            _ = consuming.wait_for(|consuming| !*consuming) => return,
            members = self.come() => members,
        };
        let (mut census, mut known) = (Census::new(members, Instant::now()), 0);
        loop {
            self.look(&mut census).await;
            let members = census.members();
            if std::mem::replace(&mut known, members) != members {
                tracing::debug!(service = %self.lane.name, members, "members of the fleet");
            }
            self.lane.calls.share(members);
            tokio::select! {
                _ = consuming.wait_for(|consuming| !*consuming) => break,
                () = self.next_look(&mut census, &mut paused) => {}
            }
        }
        if self.lane.calls.is_shared() {
            let service = self.lane.name.clone();
            // Its last call was its share of the time after it.
            sleep(SLACK / 2).await;
            self.announce(Change::Left { service }).await;
        }
    }

    /// Tells the others, and waits until they have made room; how many there are.
    async fn come(&self) -> u64 {
        if !self.lane.calls.is_shared() {
            return self.count().await.unwrap_or(1);
        }
        let members = loop {
            match self.count().await {
                Some(members) => break members,
                // Who does not know whether it is alone must not take all.
                None => sleep(SHORTEST).await,
            }
        };
        if members <= 1 {
            return members;
        }
        let idle = interval(members) + SLACK;
        let service = self.lane.name.clone();
        let idle_ms = millis(idle);
        let told = self.announce(Change::Coming { service, idle_ms }).await;
        // From when they can know it; or until it is no more taken for one that has left.
        sleep(if told { idle } else { idle + GONE }).await;
        members
    }

    /// Listens until it is time to look.
    async fn next_look(
        &mut self,
        census: &mut Census,
        paused: &mut watch::Receiver<Option<Pause>>,
    ) {
        loop {
            let at = census.next_look();
            tokio::select! {
                biased;
                // However short it was; the sender is the lane's.
                Ok(()) = paused.changed() => census.pause(Instant::now()),
                () = sleep_until(at) => return,
                news = self.news.recv() => match news {
                    Ok(news) => self.hear(census, &news),
                    Err(RecvError::Lagged(_)) => census.miss(),
                    // Nobody tells any more: the time must be enough.
                    Err(RecvError::Closed) => return sleep_until(at).await,
                },
            }
        }
    }

    fn hear(&self, census: &mut Census, news: &News) {
        if news.is_of(&self.lane.name) {
            census.hear(news);
        }
    }

    async fn look(&mut self, census: &mut Census) {
        loop {
            match self.news.try_recv() {
                Ok(news) => self.hear(census, &news),
                Err(TryRecvError::Lagged(_)) => census.miss(),
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
        let now = Instant::now();
        if self.lane.breaker.is_open() {
            census.pause(now);
        }
        let look = census.look(now);
        let counted = match (self.lane.calls.is_shared(), look.is_due()) {
            (false, _) => None,
            (true, false) => self.count().await,
            (true, true) => timeout(SLACK / 2, self.count()).await.ok().flatten(),
        };
        census.counted(look, counted, Instant::now());
    }

    /// Consumers of the lane's queue; none if the broker does not say.
    async fn count(&self) -> Option<u64> {
        let queue = Queue::Work(self.lane.name.clone());
        match self.broker.inspect(&queue).await {
            Ok(depth) => Some(depth.map_or(1, |depth| depth.consumers).max(1)),
            Err(error) => {
                tracing::debug!(%error, "the members of the fleet are not known now");
                None
            }
        }
    }

    /// Tells every worker; one that does not hear it counts by itself a little later. False if
    /// nobody was told.
    async fn announce(&self, change: Change) -> bool {
        let record = ControlRecord::Members(Members {
            v: VERSION,
            change: Some(change),
            at: UnixMillis::now(),
        });
        let told = self.broker.append_control(record).await;
        if let Err(error) = &told {
            tracing::debug!(%error, "the fleet was not told who its members are");
        }
        told.is_ok()
    }
}

fn interval(members: u64) -> Duration {
    EACH.saturating_mul(u32::try_from(members).unwrap_or(u32::MAX))
        .max(SHORTEST)
}

#[cfg(test)]
mod tests;
