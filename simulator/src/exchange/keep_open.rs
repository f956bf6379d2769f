//! The answer that is kept open by empty lines, as DeepSeek does under load.

use axum::{
    body::{Body, Bytes},
    http::StatusCode,
    response::Response,
};
use futures_util::stream;
use tokio::time::{Instant, sleep_until};

use super::{
    Answer, Call, Plan, Service,
    finish::{begin, bill},
};
use crate::{
    SimulatorConfig,
    body::{closed, respond},
    chance::Fault,
    visit::Visit,
};

/// Where an answer that is kept open by empty lines has got to.
enum KeptOpen {
    Waiting(Box<(Visit, Option<u64>, Option<Fault>, Answer)>, Instant),
    Breaking,
    Over,
}

/// 200 at once, an empty line now and then, and at last the body.
pub(super) fn keep_open<S: Service>(
    visit: Visit,
    config: &SimulatorConfig,
    call: &Call,
    plan: &Plan<S>,
) -> Response {
    let (visit, answer, headers) = match begin(visit, config, call, plan) {
        Ok(begun) => begun,
        Err(refused) => return *refused,
    };
    let (pause, ready) = (config.keep_alive, Instant::now() + plan.latency);
    let first = Box::new((visit, call.task, plan.effects.fault, answer));
    let lines = stream::unfold(KeptOpen::Waiting(first, ready), move |state| async move {
        match state {
            KeptOpen::Waiting(answer, ready) if Instant::now() < ready => {
                sleep_until(ready.min(Instant::now() + pause)).await;
                Some((
                    Ok(Bytes::from_static(b"\n")),
                    KeptOpen::Waiting(answer, ready),
                ))
            }
            KeptOpen::Waiting(answer, _) => {
                let (visit, task, fault, answer) = *answer;
                bill(visit, S::KIND, task, fault, &answer);
                let mut body = answer.body;
                if matches!(fault, Some(Fault::Reset | Fault::Malformed)) {
                    body.truncate(body.len() / 2);
                }
                let next = match fault {
                    Some(Fault::Reset) => KeptOpen::Breaking,
                    _ => KeptOpen::Over,
                };
                Some((Ok(Bytes::from(body)), next))
            }
            KeptOpen::Breaking => Some((Err(closed().await), KeptOpen::Over)),
            KeptOpen::Over => None,
        }
    });
    respond(StatusCode::OK, headers, Body::from_stream(lines))
}
