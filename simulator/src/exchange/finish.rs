//! The end of a request that is answered: its headers, its bill, and what a fault makes of it.

use axum::{
    http::{HeaderMap, StatusCode},
    response::Response,
};

use super::{Answer, Call, Plan, Service, Setting, id, refuse};
use crate::{
    Kind, Quirk, SimulatorConfig,
    body::{damaged, respond},
    chance::Fault,
    headers::{About, headers},
    refusal::{Dialect, Refusal},
    stats::Paid,
    visit::Visit,
};

/// Writes the answer, or what a fault makes of it, and counts it as paid.
pub(super) fn finish<S: Service>(
    visit: Visit,
    config: &SimulatorConfig,
    call: &Call,
    plan: &Plan<S>,
) -> Response {
    let (visit, answer, mut headers) = match begin(visit, config, call, plan) {
        Ok(begun) => begun,
        Err(refused) => return *refused,
    };
    let fault = plan.effects.fault;
    bill(visit, S::KIND, call.task, fault, &answer);
    let body = damaged(answer.body, fault, &mut headers);
    respond(StatusCode::OK, headers, body)
}

/// The answer with its headers, not yet paid; or the refusal that it became.
pub(super) fn begin<S: Service>(
    visit: Visit,
    config: &SimulatorConfig,
    call: &Call,
    plan: &Plan<S>,
) -> Result<(Visit, Answer, HeaderMap), Box<Response>> {
    let answer = match complete(&visit, config, &call.dialect, plan) {
        Ok(answer) => answer,
        Err(refusal) => {
            let refused = refuse(visit, config, &call.dialect, &refusal, plan.levels);
            return Err(Box::new(refused));
        }
    };
    let about = About {
        dialect: &call.dialect,
        id: id(config, &visit),
        processing: visit.elapsed(),
        levels: plan.levels,
    };
    let headers = headers(&about, config, None);
    Ok((visit, answer, headers))
}

fn complete<S: Service>(
    visit: &Visit,
    config: &SimulatorConfig,
    dialect: &Dialect,
    plan: &Plan<S>,
) -> Result<Answer, Refusal> {
    let setting = Setting {
        dialect,
        content: plan.effects.content,
        without_refusal: config.has(Quirk::IntegerCode),
        seed: config.seed,
        id: id(config, visit),
        created: visit.now_ms() / 1000,
    };
    plan.request.answer(setting).map_err(|error| {
        tracing::error!(%error, "an answer could not be written");
        Refusal::Internal
    })
}

pub(super) fn bill(
    visit: Visit,
    kind: Kind,
    task: Option<u64>,
    fault: Option<Fault>,
    answer: &Answer,
) {
    let at = visit.now_ms();
    let paid = Paid {
        kind,
        task,
        input_tokens: answer.input_tokens,
        output_tokens: answer.output_tokens,
        pages: 0,
    };
    visit.settle(|ledger| {
        ledger.answered(StatusCode::OK.as_u16(), at);
        ledger.paid(paid);
        match fault {
            Some(Fault::Reset) => ledger.reset(),
            Some(Fault::Malformed) => ledger.malformed(),
            _ => {}
        }
    });
}
