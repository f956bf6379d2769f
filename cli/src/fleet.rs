//! A fleet seen from outside: on RabbitMQ, or a `run` on this machine.

use std::{collections::BTreeSet, path::Path, sync::Arc, time::Duration};

use filefleet_shared::{
    broker::{Broker, Queue, embedded::EmbeddedControl, polls_of},
    wire::{ControlRecord, FleetState, RunId},
};
use serde::Serialize;

use crate::{
    args::{BrokerArgs, ConfigArgs},
    connect,
    exit::CommandError,
    place::OutDir,
};

/// Longest wait for a broker that goes away while it is asked.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where the fleet is.
#[derive(Debug)]
pub(crate) enum Fleet {
    /// On RabbitMQ, with the services that the configuration names.
    Rabbit(Arc<dyn Broker>, Vec<String>),
    /// In the state of an output directory.
    Local(EmbeddedControl),
}

/// A queue's depth.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct QueueStatus {
    /// Name without the namespace.
    pub(crate) queue: String,
    /// Messages that can be delivered now.
    pub(crate) ready: u64,
    /// Messages in a worker's hands, where the broker says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) delivered: Option<u64>,
    /// Messages whose time has not come, where the broker says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) waiting: Option<u64>,
    /// Live consumers, where the broker says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) consumers: Option<u64>,
}

impl Fleet {
    /// Connects to RabbitMQ, or opens the state of an output directory.
    ///
    /// # Errors
    /// No broker, no such state.
    pub(crate) async fn find(
        out: Option<&Path>,
        config: &ConfigArgs,
        broker: &BrokerArgs,
    ) -> Result<Self, CommandError> {
        if let Some(out) = out {
            let queue = OutDir::new(out).queue();
            if !queue.exists() {
                let message = format!("no run was started in {}", out.display());
                return Err(CommandError::usage(message));
            }
            return Ok(Self::Local(EmbeddedControl::open(&queue)?));
        }
        let config = connect::config(config)?;
        let settings = config.as_ref().and_then(|config| config.broker.as_ref());
        let mut settings = connect::settings(broker, settings)?;
        // A person waits for the answer.
        settings.outage = settings.outage.min(PATIENCE);
        let broker = connect::open(settings).await?;
        Ok(Self::Rabbit(broker, connect::services(config.as_ref())))
    }

    /// The control log.
    ///
    /// # Errors
    /// The broker's.
    pub(crate) async fn history(&self) -> Result<Vec<ControlRecord>, CommandError> {
        Ok(match self {
            Self::Rabbit(broker, _) => broker.follow_control().await?.history,
            Self::Local(control) => control.records()?,
        })
    }

    /// What the control log says of the fleet.
    ///
    /// # Errors
    /// The broker's.
    pub(crate) async fn state(&self) -> Result<FleetState, CommandError> {
        Ok(self.history().await?.iter().collect())
    }

    /// Appends to the control log.
    ///
    /// # Errors
    /// The broker's.
    pub(crate) async fn append(&self, record: ControlRecord) -> Result<(), CommandError> {
        match self {
            Self::Rabbit(broker, _) => broker.append_control(record).await?,
            Self::Local(control) => control.append(&record)?,
        }
        Ok(())
    }

    /// The queues that exist of those a person wants to see, with the results of some runs.
    ///
    /// # Errors
    /// The broker's.
    pub(crate) async fn queues(
        &self,
        state: &FleetState,
        runs: &[RunId],
    ) -> Result<Vec<QueueStatus>, CommandError> {
        match self {
            Self::Rabbit(broker, services) => {
                let mut shown = Vec::new();
                for queue in watched(state, services, runs) {
                    shown.extend(broker.inspect(&queue).await?.map(|depth| QueueStatus {
                        queue: queue.to_string(),
                        ready: depth.ready,
                        delivered: None,
                        waiting: None,
                        consumers: Some(depth.consumers),
                    }));
                }
                Ok(shown)
            }
            Self::Local(control) => Ok(control
                .depths()?
                .into_iter()
                .map(|depth| QueueStatus {
                    queue: depth.queue,
                    ready: depth.ready,
                    delivered: Some(depth.delivered),
                    waiting: Some(depth.waiting),
                    consumers: None,
                })
                .collect()),
        }
    }

    /// How many steps wait to be tried again, of all services together.
    ///
    /// # Errors
    /// The broker's.
    pub(crate) async fn waiting(&self) -> Result<u64, CommandError> {
        match self {
            Self::Rabbit(broker, _) => Ok(broker.waiting().await?),
            Self::Local(control) => Ok(control.waiting()?),
        }
    }

    /// How many are still working: consumers of services, or the one process.
    ///
    /// # Errors
    /// The broker's.
    pub(crate) async fn working(&self, state: &FleetState) -> Result<u64, CommandError> {
        if let Self::Local(control) = self {
            return Ok(u64::from(control.is_running()?));
        }
        let queues = self.queues(state, &[]).await?;
        let steps = queues.iter().filter(|queue| is_steps(&queue.queue));
        Ok(steps.filter_map(|queue| queue.consumers).sum())
    }

    /// Steps that nobody has in hand.
    ///
    /// # Errors
    /// The broker's.
    pub(crate) async fn left(&self, state: &FleetState) -> Result<u64, CommandError> {
        let queues = self.queues(state, &[]).await?;
        let steps = queues.iter().filter(|queue| is_steps(&queue.queue));
        Ok(steps
            .map(|queue| queue.ready + queue.waiting.unwrap_or(0))
            .sum())
    }

    /// Ends the connection.
    pub(crate) async fn close(self) {
        if let Self::Rabbit(broker, _) = self {
            broker.close().await;
        }
    }
}

fn is_steps(queue: &str) -> bool {
    queue.starts_with("work.") || queue.starts_with("quarantine.")
}

fn watched(state: &FleetState, services: &[String], runs: &[RunId]) -> Vec<Queue> {
    let opened = state.latest_run.as_ref();
    let services: BTreeSet<&String> = services
        .iter()
        .chain(opened.iter().flat_map(|opened| &opened.services))
        .collect();
    let mut queues: Vec<Queue> = services
        .into_iter()
        .flat_map(|service| [service.clone(), polls_of(service)])
        .flat_map(|name| [Queue::Work(name.clone()), Queue::Quarantine(name)])
        .collect();
    queues.extend(runs.iter().copied().map(Queue::Results));
    queues.extend([Queue::Dead, Queue::Unroutable]);
    queues
}
