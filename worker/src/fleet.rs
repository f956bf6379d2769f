//! What a worker tells the fleet, and hears from it, over the control log.

use std::{sync::Arc, time::Duration};

use filefleet_shared::{
    broker::{Broker, ControlLog},
    time::UnixMillis,
    wire::{Collected, ControlRecord, FleetState, throttled},
};
use tokio::{
    sync::{broadcast, mpsc, watch},
    task::JoinSet,
    time::timeout,
};

use crate::{
    context::{Context, Lane, Lanes},
    governor::{LONGEST, MEMBER_NEWS, MemberNews, Membership},
    worker::Left,
};

/// Longest wait for the last words of a worker that leaves.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// The control log, as one worker follows it.
#[derive(Debug)]
pub(crate) struct Fleet {
    state: FleetState,
    context: Arc<Context>,
    lanes: Vec<Arc<Lane>>,
    members: broadcast::Sender<MemberNews>,
}

/// Tasks that keep up with the fleet.
#[derive(Debug)]
pub(crate) struct Helpers {
    members: JoinSet<()>,
    /// Ends with the worker.
    _announcer: JoinSet<()>,
}

impl Fleet {
    /// The fleet as the history of the log says.
    pub(crate) fn new(
        state: FleetState,
        history: &[ControlRecord],
        context: &Arc<Context>,
        lanes: &Lanes,
    ) -> Self {
        let fleet = Self {
            state,
            context: context.clone(),
            lanes: lanes.values().cloned().collect(),
            members: broadcast::Sender::new(MEMBER_NEWS),
        };
        for record in history {
            if let ControlRecord::Collected(collected) = record {
                fleet.complete(collected);
            }
        }
        let now = UnixMillis::now();
        for (service, until) in throttled(history, now) {
            fleet.stop(
                service,
                until.since(now),
                "another worker was told so before",
            );
        }
        fleet
    }

    /// Starts what keeps the shares of quotas, and what tells the others.
    pub(crate) fn start(
        &self,
        broker: &Arc<dyn Broker>,
        mut announcements: mpsc::Receiver<ControlRecord>,
    ) -> Helpers {
        let mut members = JoinSet::new();
        for lane in &self.lanes {
            let membership = Membership {
                broker: broker.clone(),
                lane: lane.clone(),
                news: self.members.subscribe(),
            };
            members.spawn(membership.keep());
        }
        let broker = broker.clone();
        let mut announcer = JoinSet::new();
        announcer.spawn(async move {
            while let Some(record) = announcements.recv().await {
                // Each worker finds out for itself what it is not told.
                if let Err(error) = broker.append_control(record).await {
                    tracing::debug!(%error, "the fleet was not told of a throttling");
                }
            }
        });
        Helpers {
            members,
            _announcer: announcer,
        }
    }

    /// Follows the log until the caller stops or a pill of the current epoch comes.
    pub(crate) async fn follow(
        mut self,
        stop: &mut watch::Receiver<bool>,
        mut log: ControlLog,
    ) -> Left {
        loop {
            tokio::select! {
                // An error means that whoever could ask is gone.
                _ = stop.wait_for(|stop| *stop) => return Left::Asked,
                Some(record) = log.updates.recv() => {
                    self.hear(&record);
                    self.state.apply(&record);
                    if let Some(pill) = self.state.pill.take() {
                        return Left::Pill(pill);
                    }
                }
            }
        }
    }

    fn hear(&self, record: &ControlRecord) {
        match record {
            // An error means that no lane counts its members any more.
            ControlRecord::Members(members) => drop(self.members.send(MemberNews::of(members))),
            ControlRecord::Collected(collected) => self.complete(collected),
            ControlRecord::Throttled(throttled) if throttled.by != self.context.worker => {
                let wait = throttled.rest(UnixMillis::now());
                let detail = format!("{} was told so", throttled.by);
                self.stop(&throttled.service, wait, &detail);
            }
            _ => {}
        }
    }

    fn complete(&self, collected: &Collected) {
        let complete = &self.context.complete;
        complete.send_if_modified(|runs| runs.insert(collected.run));
    }

    fn stop(&self, service: &str, wait: Duration, detail: &str) {
        if wait.is_zero() {
            return;
        }
        let wait = wait.min(self.context.retry.cap);
        let deployments = self.lanes.iter().flat_map(|lane| lane.calls.deployments());
        for deployment in deployments.filter(|deployment| deployment.name() == service) {
            deployment.governor().stop(wait);
            if wait > LONGEST {
                deployment.circuit().throttled(wait, detail);
            }
        }
    }
}

impl Helpers {
    /// Lets the last words out.
    pub(crate) async fn end(mut self) {
        let all = async { while self.members.join_next().await.is_some() {} };
        if timeout(LAST_WORDS, all).await.is_err() {
            tracing::debug!("the fleet was not told that this worker leaves");
        }
    }
}

#[cfg(test)]
mod tests {
    use filefleet_shared::wire::{Throttled, VERSION};
    use tokio::time::Instant;

    use super::*;
    use crate::handle::tests::stand::{Stand, fine};

    /// For how long a worker pauses that reads of `asked` from one whose clock is ahead.
    fn pause_for(asked: Duration, ahead: Duration, before: bool) -> Duration {
        let Stand { context, lane, .. } = Stand::new("", |_| fine());
        let (context, lane) = (Arc::new(context), Arc::new(lane));
        let at = UnixMillis::now().after(ahead);
        let record = ControlRecord::Throttled(Throttled {
            v: VERSION,
            service: lane.name.clone(),
            until: at.after(asked),
            by: "another".to_owned(),
            at,
        });
        let lanes = Lanes::from([(lane.name.clone(), lane.clone())]);
        let history = match before {
            true => std::slice::from_ref(&record),
            false => &[],
        };
        let fleet = Fleet::new(FleetState::default(), history, &context, &lanes);
        fleet.hear(&record);
        let pause = lane.breaker.watch().borrow().clone();
        pause.expect("a pause").until - Instant::now()
    }

    #[tokio::test(start_paused = true)]
    async fn another_workers_clock_prolongs_no_pause() {
        let (minute, hour) = (Duration::from_secs(60), Duration::from_secs(3600));
        for before in [false, true] {
            let paused = pause_for(minute, hour, before);
            assert_eq!(paused, minute, "read at the start: {before}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_service_is_left_alone_no_longer_than_the_longest_wait() {
        let (day, cap) = (Duration::from_secs(86_400), Duration::from_secs(300));
        assert_eq!(pause_for(day, Duration::ZERO, false), cap);
    }
}
