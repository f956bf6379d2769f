//! A window: messages that are published together and confirmed together.

use std::sync::Arc;

use filefleet_shared::{
    broker::{Broker, BrokerError, Headers, Message, Route},
    telemetry::TraceContext,
};
use tokio::sync::watch;

use super::PublishProgress;
use crate::{manifest::Planned, patience::persist};

/// Consecutive tasks, journalled.
#[derive(Debug)]
pub(super) struct Window {
    tasks: Vec<(Planned, TraceContext)>,
}

/// How publishing a window ended.
#[derive(Debug)]
pub(super) enum Sent {
    /// The broker has all tasks before this one.
    Upto(u64),
    /// Told to stop while the broker was away.
    Stopped,
}

impl Window {
    /// Each file begins a trace of its own.
    pub(super) fn new(tasks: impl IntoIterator<Item = Planned>) -> Self {
        let traced = |task| (task, TraceContext::root());
        Self {
            tasks: tasks.into_iter().map(traced).collect(),
        }
    }

    fn upto(&self) -> u64 {
        self.tasks.last().map_or(0, |(task, _)| task.seq + 1)
    }

    fn messages(&self, service: &str) -> Vec<Message> {
        let message = |(task, trace): &(Planned, TraceContext)| Message {
            id: task.id.clone(),
            route: Route::Work {
                service: service.to_owned(),
            },
            headers: Headers::traced(Some(*trace)),
            body: task.body.clone(),
        };
        self.tasks.iter().map(message).collect()
    }

    /// Publishes until the broker has it.
    pub(super) async fn send(
        self,
        broker: Arc<dyn Broker>,
        service: Arc<str>,
        progress: watch::Sender<PublishProgress>,
        mut stop: watch::Receiver<bool>,
    ) -> Result<Sent, BrokerError> {
        let waiting = |why| progress.send_modify(|shown| shown.waiting = why);
        let sent = persist(broker.outage(), &mut stop, waiting, || {
            broker.publish(self.messages(&service))
        })
        .await?;
        Ok(match sent {
            Some(()) => Sent::Upto(self.upto()),
            None => Sent::Stopped,
        })
    }
}
