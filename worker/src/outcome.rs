//! How a task ends: the outcome, or the next step's message.

use std::collections::BTreeMap;

use bytes::Bytes;
use filefleet_shared::{
    broker::{Dead, Headers, Message, ResultKey, Route, Verdict},
    telemetry::TraceContext,
    time::UnixMillis,
    wire::{
        self, Asked, Failure, Outcome, OutcomeTag, Status, StepMessage, Timings, Usage, VERSION,
    },
};
use serde_json::Value;

use crate::{
    context::Context,
    route::Way,
    service::{Accepted, BoundStep},
    verdict::until_asked,
};

/// What is known when a step has ended.
#[derive(Clone, Debug)]
pub(crate) struct Ended {
    /// Attempts made.
    pub(crate) attempts: u32,
    /// When the first of them began.
    pub(crate) started: UnixMillis,
    /// Time of the last call.
    pub(crate) call_ms: u64,
    /// All steps' usage so far.
    pub(crate) usage: Usage,
    /// What this step used since it was delivered.
    pub(crate) used: Usage,
    /// The file was not the published one.
    pub(crate) input_changed: bool,
    /// Cause and detail.
    pub(crate) failure: Option<(String, String)>,
    /// The service that was called.
    pub(crate) service: Option<String>,
    /// No step of the file was tried: no condition held.
    pub(crate) unmatched: bool,
}

impl Ended {
    /// A step that failed without a call.
    pub(crate) fn failure(attempts: u32, cause: &str, detail: String) -> Self {
        Self {
            attempts,
            failure: Some((cause.to_owned(), detail)),
            ..Self::untried(false)
        }
    }

    /// A first step that was not tried; `unmatched` if no other one is either.
    pub(crate) fn untried(unmatched: bool) -> Self {
        Self {
            attempts: 0,
            started: UnixMillis::now(),
            call_ms: 0,
            usage: Usage::default(),
            used: Usage::default(),
            input_changed: false,
            failure: None,
            service: None,
            unmatched,
        }
    }
}

/// The message of the next step; `output` is none if the one before it was passed over.
pub(crate) fn following(
    message: &StepMessage,
    ended: &Ended,
    output: Option<Value>,
    way: &Way<'_>,
    next: &BoundStep,
) -> StepMessage {
    let mut following = message.clone();
    if let Some(output) = output {
        following.outputs.insert(message.step.clone(), output);
    }
    way.mark(&mut following);
    following.step.clone_from(&next.name);
    following.continuation = None;
    following.usage = ended.usage;
    following.by_service = by_service(message, ended);
    following
}

/// Goes on with the step of a message that [`following`] made.
pub(crate) fn go_on(
    following: &StepMessage,
    next: &BoundStep,
    headers: &Headers,
) -> Result<Verdict, serde_json::Error> {
    Ok(Verdict::Done(vec![Message {
        id: following.message_id(),
        route: Route::Work {
            service: next.service.clone(),
        },
        headers: Headers::traced(headers.trace.map(TraceContext::child)),
        body: wire::encode(following)?,
    }]))
}

/// A call that was accepted.
#[derive(Debug)]
pub(crate) struct Operation<'a> {
    pub(crate) accepted: &'a Accepted,
    /// Of this deployment, if the service has several.
    pub(crate) deployment: Option<&'a str>,
    /// What was asked, where the answer is to be kept.
    pub(crate) asked: Option<Asked>,
}

/// The message that asks for the result of a call that was accepted.
pub(crate) fn continued(
    context: &Context,
    message: &StepMessage,
    headers: &Headers,
    ended: Ended,
    operation: Operation<'_>,
) -> Verdict {
    let Operation {
        accepted,
        deployment,
        asked,
    } = operation;
    let now = UnixMillis::now();
    let mut following = message.continued(accepted.state.clone(), now);
    if let Some(continuation) = &mut following.continuation {
        continuation.deployment = deployment.map(str::to_owned);
        continuation.asked = asked;
    }
    following.usage = ended.usage;
    following.by_service = by_service(message, &ended);
    let service = ended.service.as_deref().unwrap_or_default();
    let service = context.catalog.continues_in(service);
    match wire::encode(&following) {
        Ok(body) => Verdict::Done(vec![Message {
            id: following.message_id(),
            route: Route::Work { service },
            headers: Headers {
                attempt: ended.attempts,
                first_attempt: Some(ended.started),
                not_before: Some(now.after(until_asked(accepted.check_after))),
                ..Headers::traced(headers.trace)
            },
            body,
        }]),
        Err(error) => unwritable(context, message, headers, ended, &error),
    }
}

/// What the message of a step carries when it is put off: what was used until then is not lost.
pub(crate) fn carried(message: &StepMessage, ended: &Ended) -> Option<Bytes> {
    if ended.used.is_zero() {
        return None;
    }
    let mut again = message.clone();
    again.usage = ended.usage;
    again.by_service = by_service(message, ended);
    match wire::encode(&again) {
        Ok(body) => Some(body),
        Err(error) => {
            tracing::warn!(run = %message.run, seq = message.seq, %error, "what was used is lost");
            None
        }
    }
}

/// The message of a step whose operation was begun for another file and has come to nothing: it
/// makes its own call.
pub(crate) fn anew(
    context: &Context,
    message: &StepMessage,
    headers: &Headers,
    ended: Ended,
) -> Verdict {
    let mut again = message.clone();
    again.continuation = None;
    again.usage = ended.usage;
    again.by_service = by_service(message, &ended);
    let service = ended.service.clone().unwrap_or_default();
    match wire::encode(&again) {
        Ok(body) => Verdict::Done(vec![Message {
            id: again.message_id(),
            route: Route::Work { service },
            headers: Headers {
                attempt: ended.attempts.saturating_add(1),
                first_attempt: Some(ended.started),
                ..Headers::traced(headers.trace)
            },
            body,
        }]),
        Err(error) => unwritable(context, message, headers, ended, &error),
    }
}

/// The outcome of a file that has no steps left; no output if it went through none.
pub(crate) fn last(
    context: &Context,
    message: &StepMessage,
    ended: &Ended,
    output: Option<Value>,
) -> Outcome {
    record(context, message, Status::Succeeded, output, ended)
}

/// The failed outcome, together with a dead letter.
pub(crate) fn failed(
    context: &Context,
    message: &StepMessage,
    headers: &Headers,
    ended: Ended,
) -> Verdict {
    let outcome = record(context, message, Status::Failed, None, &ended);
    let (reason, detail) = ended.failure.unwrap_or_default();
    tracing::warn!(
        run = %message.run, seq = message.seq, file = %message.file.key, step = %message.step,
        attempts = ended.attempts, cause = %reason, detail = %detail, "file failed",
    );
    let publish = match publishable(&outcome, headers) {
        Ok(outcome) => vec![outcome],
        Err(error) => {
            // A dead letter without its outcome would leave the run open for ever.
            tracing::error!(%error, run = %message.run, seq = message.seq, "outcome lost its form");
            return Verdict::Release;
        }
    };
    Verdict::Dead(Dead {
        reason,
        detail,
        by: context.worker.clone(),
        publish,
    })
}

/// The failed outcome of what has no JSON text.
pub(crate) fn unwritable(
    context: &Context,
    message: &StepMessage,
    headers: &Headers,
    ended: Ended,
    error: &serde_json::Error,
) -> Verdict {
    let failure = Some(("unwritable_output".to_owned(), error.to_string()));
    failed(context, message, headers, Ended { failure, ..ended })
}

/// What each service was used for this file, this step included.
fn by_service(message: &StepMessage, ended: &Ended) -> BTreeMap<String, Usage> {
    let mut by_service = message.by_service.clone();
    if let Some(service) = ended.service.as_ref().filter(|_| !ended.used.is_zero()) {
        by_service
            .entry(service.clone())
            .or_default()
            .add(&ended.used);
    }
    by_service
}

/// The outcome as it is published.
pub(crate) fn publishable(
    outcome: &Outcome,
    headers: &Headers,
) -> Result<Message, serde_json::Error> {
    Ok(Message {
        id: outcome.message_id(),
        route: Route::Result {
            run: outcome.run,
            key: ResultKey::Outcome(outcome.status),
        },
        headers: Headers::traced(headers.trace.map(TraceContext::child)),
        body: wire::encode(outcome)?,
    })
}

fn record(
    context: &Context,
    message: &StepMessage,
    status: Status,
    output: Option<Value>,
    ended: &Ended,
) -> Outcome {
    let failure = ended.failure.as_ref().map(|(cause, detail)| Failure {
        cause: cause.clone(),
        detail: detail.clone(),
        service: ended.service.clone(),
    });
    Outcome {
        v: VERSION,
        kind: OutcomeTag::Outcome,
        run: message.run,
        seq: message.seq,
        status,
        file: message.file.clone(),
        pipeline: message.pipeline.clone(),
        step: message.step.clone(),
        output,
        stored: None,
        failure,
        usage: ended.usage,
        by_service: by_service(message, ended),
        attempts: ended.attempts,
        input_changed: ended.input_changed,
        unmatched: ended.unmatched,
        worker: context.worker.clone(),
        timings: Timings {
            started: ended.started,
            finished: UnixMillis::now(),
            call_ms: ended.call_ms,
        },
    }
}
