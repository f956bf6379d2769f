//! Whether somebody is there to do what is queued: without a worker, a run waits for ever.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use filefleet_shared::{
    broker::{Broker, BrokerError, Queue},
    wire::FleetState,
};
use serde::Serialize;
use tokio::task::JoinHandle;

use crate::progress::{print_json, tell};

/// How often to look.
const LOOK: Duration = Duration::from_secs(1);
/// How long nobody may be there: a worker that is started again takes a moment.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often to say it again.
const AGAIN: Duration = Duration::from_secs(60);

/// A service that has work and no worker.
#[derive(Debug, Serialize)]
pub(crate) struct Unattended {
    /// The service.
    service: String,
    /// Its steps that could be done now.
    queued: u64,
    /// Workers that start leave at once: the fleet was stopped.
    stopped: bool,
}

impl Unattended {
    /// Says it, as text or as a line of JSON.
    pub(crate) fn say(&self, json: bool) {
        if json {
            print_json("no_worker", self);
            return;
        }
        let fix = if self.stopped {
            "the fleet was stopped: `filefleet stop --undo`, then start `filefleet worker`"
        } else {
            "start `filefleet worker`"
        };
        tell(&format!(
            "no worker is connected for service {}, which has {} steps queued: {fix}",
            self.service, self.queued
        ));
    }
}

/// Looks for workers of some services until it is dropped.
#[derive(Debug)]
pub(crate) struct Attendance(JoinHandle<()>);

impl Drop for Attendance {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Attendance {
    /// Starts to look, and says what it finds.
    pub(crate) fn watch(broker: Arc<dyn Broker>, services: Vec<String>, json: bool) -> Self {
        Self(tokio::spawn(async move {
            let mut alone: Option<Instant> = None;
            let mut said: Option<Instant> = None;
            loop {
                tokio::time::sleep(LOOK).await;
                // A broker that is away is told of by whoever works with it.
                let found = unattended(&*broker, &services).await.unwrap_or_default();
                if found.is_empty() {
                    alone = None;
                    continue;
                }
                let since = alone.get_or_insert_with(Instant::now);
                if since.elapsed() >= PATIENCE && said.is_none_or(|at| at.elapsed() >= AGAIN) {
                    said = Some(Instant::now());
                    found.iter().for_each(|service| service.say(json));
                }
            }
        }))
    }
}

/// The services that have work and no worker now.
pub(crate) async fn unattended(
    broker: &dyn Broker,
    services: &[String],
) -> Result<Vec<Unattended>, BrokerError> {
    let mut found = Vec::new();
    for service in services {
        let work = broker.inspect(&Queue::Work(service.clone())).await?;
        let work = work.unwrap_or_default();
        if work.ready > 0 && work.consumers == 0 {
            found.push(Unattended {
                service: service.clone(),
                queued: work.ready,
                stopped: false,
            });
        }
    }
    if !found.is_empty() {
        let state: FleetState = broker.follow_control().await?.history.iter().collect();
        for service in &mut found {
            service.stopped = state.pill.is_some();
        }
    }
    Ok(found)
}
