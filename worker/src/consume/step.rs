//! One delivery in hand: worked on, and settled.

use std::{panic::AssertUnwindSafe, sync::Arc};

use filefleet_shared::{
    broker::{Broker, BrokerError, Delivery, Envelope, SettleError, Verdict},
    wire::{self, RunId, StepMessage},
};
use futures_util::FutureExt;
use tokio::sync::watch;
use tracing::Instrument;

use super::Orphans;
use crate::{
    context::{Context, Lane},
    handle,
    inflight::Slot,
};

/// How a step's task ended. An error means that a paid answer could not be kept: whoever goes on
/// taking steps then would only pay more of them.
pub(super) type Settled = Result<(), BrokerError>;

/// One delivery in hand.
pub(super) struct Step {
    pub(super) broker: Arc<dyn Broker>,
    pub(super) context: Arc<Context>,
    pub(super) lane: Arc<Lane>,
    pub(super) orphans: Arc<Orphans>,
    pub(super) draining: watch::Receiver<bool>,
}

impl Step {
    /// Works on a delivery and settles it. Cut off, it hands the delivery back.
    pub(super) async fn work(self, delivery: Delivery, slot: Slot) -> Settled {
        let envelope = delivery.envelope().clone();
        let span = tracing::info_span!(
            "step",
            message_id = %envelope.id,
            service = %self.lane.name,
            attempt = envelope.headers.attempt,
            trace_id = envelope.headers.trace.map(|trace| tracing::field::display(trace.trace_id())),
        );
        async move {
            let verdict = self.verdict(&envelope).await;
            let settled = settle(delivery, verdict, slot, &self.lane).await;
            match settled {
                Err(BrokerError::Unroutable(_)) if self.is_unwanted(&envelope).await => Ok(()),
                settled => settled,
            }
        }
        .instrument(span)
        .await
    }

    async fn verdict(&self, envelope: &Envelope) -> Verdict {
        if let Some(verdict) = self.orphaned(envelope).await {
            return verdict;
        }
        let work = handle::handle(&self.context, &self.lane, envelope, self.draining.clone());
        match AssertUnwindSafe(work).catch_unwind().await {
            Ok(verdict) => verdict,
            Err(panic) => handle::panicked(&self.context, envelope, panic_text(&*panic)),
        }
    }

    /// The verdict of a step whose outcome nobody could be told, without a call.
    async fn orphaned(&self, envelope: &Envelope) -> Option<Verdict> {
        if self.orphans.is_empty() {
            return None;
        }
        let run = run_of(envelope)?;
        if self.context.is_complete(run) {
            self.orphans.forget(run);
            return None;
        }
        let verdict = self
            .orphans
            .verdict(&*self.broker, run, &self.context.worker);
        verdict.await
    }

    /// Nobody waits for the step's outcome: its run has no queue of results. That of a run that is
    /// complete was deleted.
    async fn is_unwanted(&self, envelope: &Envelope) -> bool {
        match run_of(envelope) {
            Some(run) => matches!(self.orphans.finds(&*self.broker, run).await, Ok(true)),
            None => false,
        }
    }
}

fn run_of(envelope: &Envelope) -> Option<RunId> {
    // What cannot be read is a dead letter elsewhere.
    let message = wire::decode::<StepMessage>(&envelope.body).ok()?;
    Some(message.run)
}

async fn settle(delivery: Delivery, verdict: Verdict, slot: Slot, lane: &Lane) -> Settled {
    match &verdict {
        Verdict::Release => lane.stats.released.add(1),
        Verdict::Dead(_) => lane.stats.dead.add(1),
        Verdict::Done(_) | Verdict::Later(_) => {}
    }
    let released = matches!(verdict, Verdict::Release);
    let settled = delivery.settle(verdict).await;
    lane.stats.settled.add(1);
    let published = match &settled {
        Ok(()) => !released,
        Err(SettleError::Lost) => {
            lane.stats.lost.add(1);
            tracing::warn!("settled, but the delivery was lost with its session");
            !released
        }
        Err(SettleError::Publish(error)) => {
            lane.stats.lost.add(1);
            // The loop ends with it; of all the steps in hand, one is told.
            tracing::debug!(%error, "could not publish what follows; the step will come again");
            false
        }
    };
    let lost = matches!(settled, Err(SettleError::Lost)) && published;
    // A redelivery that came meanwhile needs no call if the results are out; else it is handed
    // back by being dropped.
    if let Some(again) = slot.end(lost)
        && published
    {
        acknowledge(again, lane).await;
    }
    match settled {
        Err(SettleError::Publish(error)) => Err(error),
        Ok(()) | Err(SettleError::Lost) => Ok(()),
    }
}

/// Settles a redelivery whose results are published already.
pub(super) async fn acknowledge(delivery: Delivery, lane: &Lane) {
    if let Err(error) = delivery.settle(Verdict::Done(Vec::new())).await {
        lane.stats.lost.add(1);
        tracing::warn!(%error, "could not acknowledge a step that is finished");
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a panic without a message")
}
