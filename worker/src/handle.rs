//! One delivery, from its bytes to a verdict. Knows no broker and no loop.

mod call;
mod file;
mod journal;
mod refused;
mod scratch;
mod told;
mod way;

use std::{borrow::Cow, sync::Arc, time::Duration};

use filefleet_shared::{
    broker::{Dead, Envelope, Later, Message, Queue, Route, Verdict},
    time::UnixMillis,
    wire::{self, StepMessage, Usage},
};
use tokio::{sync::watch, time::Instant};

use self::{
    call::{Called, Rerouted},
    file::waited,
    journal::Asking,
};
use crate::{
    breaker::PauseKind,
    context::{Context, Lane},
    outcome::{self, Ended},
    pool::Deployment,
    retry::RetryPolicy,
    service::{BoundStep, CallError, Reply},
    verdict::{Decision, Situation, Wait, decide},
};

/// How soon a step comes back that a paused service or a drain sent away: the lane holds it.
const SOON: Duration = Duration::from_secs(1);
/// How soon a step comes back that may not be repeated yet, or that others were before for long.
const CROWDED: Duration = Duration::from_secs(5);
/// How soon a step comes back that this worker's configuration does not know.
const UNKNOWN: Duration = Duration::from_secs(15);

/// Works on one delivery.
pub(crate) async fn handle(
    context: &Context,
    lane: &Lane,
    envelope: &Envelope,
    draining: watch::Receiver<bool>,
) -> Verdict {
    let message = match wire::decode::<StepMessage>(&envelope.body) {
        Ok(message) => message,
        Err(error) => return undecodable(context, &error),
    };
    if context.is_complete(message.run) {
        tracing::info!(
            run = %message.run, seq = message.seq,
            "a duplicate of a run that is complete: nothing is called",
        );
        return Verdict::Done(Vec::new());
    }
    if let Some(verdict) = suspicious(context, lane, envelope, &message) {
        return verdict;
    }
    let Some(step) = context.catalog.step(&message.pipeline, &message.step) else {
        return unknown(context, envelope, &message);
    };
    if let Some(verdict) = way::passed_over(context, envelope, &message, step) {
        return verdict;
    }
    let mut attempts = Attempts {
        context,
        lane,
        step,
        envelope,
        taken: Instant::now(),
        started: envelope
            .headers
            .first_attempt
            .unwrap_or_else(UnixMillis::now),
        waited: waited(&envelope.headers),
        counted: 0,
        deferred: 0,
        usage: message.usage,
        used: Usage::default(),
        call_ms: 0,
        input_changed: false,
        forgives: false,
        asking: None,
        draining,
        message: &message,
        input: Cow::Borrowed(&message),
        place: None,
        called: None,
        rerouted: 0,
        uncounted: false,
        began: UnixMillis::now(),
        refused: refused::before(&envelope.headers),
    };
    attempts.run().await
}

fn undecodable(context: &Context, error: &wire::DecodeError) -> Verdict {
    tracing::error!(cause = error.reason(), %error, "dead letter: cannot read the message");
    Verdict::Dead(Dead {
        reason: error.reason().to_owned(),
        detail: error.to_string(),
        by: context.worker.clone(),
        publish: Vec::new(),
    })
}

/// A step that was in flight when workers died is tried apart from the others, then given up.
fn suspicious(
    context: &Context,
    lane: &Lane,
    envelope: &Envelope,
    message: &StepMessage,
) -> Option<Verdict> {
    let deaths = envelope.deliveries.saturating_sub(1);
    match &envelope.queue {
        Queue::Quarantine(_) if deaths >= context.dead_after => {
            let detail = format!("{deaths} workers died or left while they had it alone");
            let ended = Ended::failure(envelope.headers.attempt, "worker_died", detail);
            Some(outcome::failed(context, message, &envelope.headers, ended))
        }
        Queue::Work(service) if deaths >= context.quarantine_after => {
            tracing::warn!(
                run = %message.run, seq = message.seq, file = %message.file.key, deaths,
                "moved to the quarantine: workers died while they had it",
            );
            let route = Route::Quarantine {
                service: service.clone(),
            };
            lane.stats.quarantined.add(1);
            Some(Verdict::Done(vec![Message {
                id: envelope.id.clone(),
                route,
                headers: envelope.headers.clone(),
                body: envelope.body.clone(),
            }]))
        }
        _ => None,
    }
}

/// Another worker may know the pipeline (a rolling change of configuration), so it is put off a
/// few times before it fails.
fn unknown(context: &Context, envelope: &Envelope, message: &StepMessage) -> Verdict {
    let detail = format!(
        "this worker's configuration has no step {:?} in a pipeline {:?}",
        message.step, message.pipeline
    );
    let attempt = envelope.headers.attempt;
    if attempt >= context.retry.attempts {
        let ended = Ended::failure(attempt, "unknown_pipeline", detail);
        return outcome::failed(context, message, &envelope.headers, ended);
    }
    tracing::warn!(run = %message.run, seq = message.seq, detail, "put off");
    Verdict::Later(Later {
        delay: UNKNOWN,
        attempts: 1,
        cause: "unknown_pipeline".to_owned(),
        first_attempt: None,
        body: None,
    })
}

/// The attempts of one step in one delivery.
struct Attempts<'a> {
    context: &'a Context,
    lane: &'a Lane,
    step: &'a BoundStep,
    envelope: &'a Envelope,
    message: &'a StepMessage,
    /// The message with the outputs that it only refers to.
    input: Cow<'a, StepMessage>,
    taken: Instant,
    started: UnixMillis,
    /// How long it lay in its queue, as while its service was paused.
    waited: Duration,
    /// Failed attempts of this delivery that cost one.
    counted: u32,
    /// Times this delivery was throttled.
    deferred: u32,
    usage: Usage,
    /// Of `usage`, by this delivery.
    used: Usage,
    call_ms: u64,
    input_changed: bool,
    /// The call was made to see whether its service is back.
    forgives: bool,
    /// What may be kept in the journal.
    asking: Option<Asking>,
    draining: watch::Receiver<bool>,
    /// The one deployment that has accepted the step.
    place: Option<usize>,
    /// Where the last call went.
    called: Option<Deployment<'a>>,
    /// Times another deployment was asked at once.
    rerouted: usize,
    /// The last call cost no attempt, so to make it again is no repeat.
    uncounted: bool,
    /// When the last call began.
    began: UnixMillis,
    /// It was refused as if every file were, first when it `started`.
    refused: Option<PauseKind>,
}

impl<'a> Attempts<'a> {
    async fn run(&mut self) -> Verdict {
        if let Err(verdict) = self.find_place() {
            return *verdict;
        }
        let _budget = match self.fetch_outputs().await {
            Ok(budget) => budget,
            Err(verdict) => return *verdict,
        };
        let loaded = match self.recall().await {
            Ok(loaded) => loaded,
            Err(verdict) => return *verdict,
        };
        loop {
            let error = match self.call(loaded.content.clone()).await {
                Called::Answered(Ok(mut reply)) => {
                    self.keep(&mut reply).await;
                    return match reply {
                        Reply::Answered(answer) => self.succeeded(answer).await,
                        Reply::Accepted(accepted) => {
                            let deployment = self.called.and_then(Deployment::own_name);
                            self.continued(&accepted, deployment)
                        }
                    };
                }
                Called::Answered(Err(error)) => error,
                // Handing back is free where nothing was tried; else the attempts must travel.
                Called::NotStarted if self.counted + self.deferred == 0 => {
                    return Verdict::Release;
                }
                Called::NotStarted => return self.later(SOON, "draining"),
                Called::Paused(wait) => return self.later(wait, "paused"),
                Called::Crowded(cause) => return self.later(CROWDED, cause),
            };
            let error = match self.reroute(error) {
                Rerouted::AtOnce => continue,
                Rerouted::No(error) => error,
            };
            match decide(&error, self.situation(&error), self.retry()) {
                Decision::Hold(wait) => {
                    if let Some(verdict) = self.hold(wait).await {
                        return verdict;
                    }
                }
                Decision::PutOff(wait) => {
                    self.count(&wait);
                    return self.later(wait.delay, wait.cause);
                }
                Decision::Pause(kind) => {
                    if let Some(called) = self.called {
                        called.circuit().trip(kind, &error.to_string());
                    }
                    return self.later(SOON, kind.as_str());
                }
                Decision::Fail { cause, detail } => {
                    let anew = self.lost().await;
                    return anew.unwrap_or_else(|| self.failed(&cause, detail));
                }
            }
        }
    }

    fn retry(&self) -> &RetryPolicy {
        self.step.retry.as_ref().unwrap_or(&self.context.retry)
    }

    /// When a call has to begin to end while the delivery may be held; none if that is for ever.
    fn latest(&self) -> Option<Instant> {
        let waiting = self.context.hold_budget.saturating_sub(self.step.timeout);
        self.taken.checked_add(waiting)
    }

    /// A call that has failed before. One that was throttled, or that goes on, is none.
    fn is_repeated(&self) -> bool {
        self.message.continuation.is_none() && self.attempt() > 1
    }

    /// The number of the current attempt, from 1.
    fn attempt(&self) -> u32 {
        self.envelope.headers.attempt.saturating_add(self.counted)
    }

    fn situation(&mut self, error: &CallError) -> Situation {
        tracing::debug!(
            run = %self.message.run, seq = self.message.seq, attempt = self.attempt(), %error,
            "call failed",
        );
        Situation {
            attempt: self.attempt(),
            deferred: self
                .envelope
                .headers
                .deferred
                .saturating_add(self.deferred + 1),
            age: self.age(),
            held: self.taken.elapsed(),
            hold_budget: self.context.hold_budget,
            timeout: self.step.timeout,
            accepted: self.message.continuation.is_some(),
            forgiven: self.forgives,
            blame: self.blame(error),
        }
    }

    fn count(&mut self, wait: &Wait) {
        if wait.counted {
            self.counted += 1;
        } else {
            self.defer();
        }
    }

    /// The last call costs no attempt.
    fn defer(&mut self) {
        self.deferred += 1;
        self.uncounted = true;
    }

    /// Waits in the worker. A drain or a pause ends the wait: the rest of it is the broker's.
    async fn hold(&mut self, wait: Wait) -> Option<Verdict> {
        self.count(&wait);
        self.lane.stats.retries.add(1);
        let until = Instant::now() + wait.delay;
        let mut paused = self.lane.breaker.watch();
        tokio::select! {
            biased;
            _ = self.draining.wait_for(|draining| *draining) => {}
            _ = paused.wait_for(Option::is_some) => {}
            () = tokio::time::sleep_until(until) => return None,
        }
        let rest = until.saturating_duration_since(Instant::now()).max(SOON);
        Some(self.later(rest, wait.cause))
    }

    fn later(&self, delay: Duration, cause: &str) -> Verdict {
        self.lane.stats.put_off.add(1);
        // What it was refused with stays known, whatever puts it off next.
        let cause = self.refused.map_or(cause, |kind| kind.as_str());
        Verdict::Later(Later {
            delay,
            attempts: self.counted,
            cause: cause.to_owned(),
            first_attempt: Some(self.started),
            body: outcome::carried(self.message, &self.ended()),
        })
    }

    fn ended(&self) -> Ended {
        Ended {
            attempts: self.attempt(),
            started: self.started,
            call_ms: self.call_ms,
            usage: self.usage,
            used: self.used,
            input_changed: self.input_changed,
            failure: None,
            service: Some(self.step.service.clone()),
            unmatched: false,
        }
    }

    fn failed(&self, cause: &str, detail: String) -> Verdict {
        let ended = Ended {
            failure: Some((cause.to_owned(), detail)),
            ..self.ended()
        };
        outcome::failed(self.context, self.message, &self.envelope.headers, ended)
    }
}

/// What comes in time; none if it does not.
async fn in_time<T>(latest: Option<Instant>, coming: impl Future<Output = T>) -> Option<T> {
    match latest {
        Some(latest) => tokio::time::timeout_at(latest, coming).await.ok(),
        None => Some(coming.await),
    }
}

/// What a panic of [`handle`] becomes: one failed file, never an unsettled delivery.
pub(crate) fn panicked(context: &Arc<Context>, envelope: &Envelope, what: &str) -> Verdict {
    tracing::error!(message_id = %envelope.id, panic = what, "panic while working on a step");
    let detail = format!("internal error: {what}");
    match wire::decode::<StepMessage>(&envelope.body) {
        Ok(message) => {
            let ended = Ended::failure(envelope.headers.attempt, "panic", detail);
            outcome::failed(context, &message, &envelope.headers, ended)
        }
        Err(error) => undecodable(context, &error),
    }
}

#[cfg(test)]
pub(crate) mod tests;
