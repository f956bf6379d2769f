//! What a worker tells the fleet, and hears from it, over the control log.

use std::{sync::Arc, time::Duration};

use filefleet_shared::{
    broker::{Broker, ControlLog},
    time::UnixMillis,
    wire::{Collected, ControlRecord, FleetState, Throttled, throttled},
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
                let Throttled {
                    service, until, by, ..
                } = throttled;
                let wait = until.since(UnixMillis::now());
                self.stop(service, wait, &format!("{by} was told so"));
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
