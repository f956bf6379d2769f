//! The life of one chat request: judged, delayed, answered.

use std::{sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes},
    extract::rejection::BytesRejection,
    http::{HeaderValue, StatusCode, header},
    response::Response,
};
use futures_util::stream;
use tokio::time::{Instant, sleep, sleep_until};

use crate::{
    Down, Kind, Quirk, SimulatorConfig,
    body::{broken, closed, respond},
    chance::{self, Fault},
    completion::{Completion, Setting, completion},
    effects::{Content, Effects},
    headers::{About, headers},
    quota::{Bucket, Exceeded, Levels, Limited},
    refusal::{Dialect, Refusal},
    request::ChatRequest,
    state::App,
    stats::{Ledger, Paid},
    visit::Visit,
};

/// What a client sent.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) dialect: Dialect,
    /// The model, where the path names it.
    pub(crate) deployment: Option<String>,
    pub(crate) key: Option<String>,
    /// Hash of the task that the client works on, from `x-filefleet-task`.
    pub(crate) task: Option<u64>,
    pub(crate) says_json: bool,
    pub(crate) body: Result<Bytes, BytesRejection>,
}

/// A request that will be answered.
struct Plan {
    request: ChatRequest,
    levels: Levels,
    effects: Effects,
    latency: Duration,
}

/// Answers one request, after its latency.
pub(crate) async fn exchange(app: Arc<App>, call: Call) -> Response {
    let visit = Visit::arrive(app, Kind::Chat);
    let config = visit.app.config();
    let plan = match plan(&visit, &config, &call) {
        Ok(plan) => plan,
        Err(refused) => {
            let (refusal, levels) = *refused;
            return refuse(visit, &config, &call.dialect, &refusal, levels);
        }
    };
    if config.has(Quirk::DeepseekKeepAlive) {
        return keep_open(visit, &config, &call, &plan);
    }
    if !plan.latency.is_zero() {
        sleep(plan.latency).await;
    }
    finish(visit, &config, &call, &plan)
}

/// A refusal, with what it tells of the quota. Boxed, as it is much larger than a pointer.
type Refused = Box<(Refusal, Levels)>;

/// Checks in the order of a real service: there at all, key, balance, quota, request, prompt.
fn plan(visit: &Visit, config: &SimulatorConfig, call: &Call) -> Result<Plan, Refused> {
    let unjudged = |refusal| Box::new((refusal, Levels::default()));
    before_body(visit, config, call).map_err(unjudged)?;
    let Ok(body) = &call.body else {
        return Err(unjudged(Refusal::TooLarge));
    };
    let parsed = ChatRequest::parse(body, call.deployment.as_deref());
    let tokens = parsed.as_ref().map_or(0, ChatRequest::quota_tokens);
    // A request that is wrong counts against the quota as a right one does.
    let (judged, levels) = visit.app.admit(Bucket::Chat, &config.quotas, tokens);
    let refused = |refusal| Box::new((refusal, levels));
    if let Err(exceeded) = judged {
        let model = match parsed {
            Ok(request) => request.model,
            Err(_) => "default-model".to_owned(),
        };
        return Err(refused(Refusal::RateLimited { model, exceeded }));
    }
    let request = parsed.map_err(|invalid| refused(Refusal::Invalid(invalid)))?;
    let effects = Effects::of(config, visit.number, &request.text);
    if let Some(refusal) = after_body(config, &request, effects) {
        return Err(refused(refusal));
    }
    let slow = if effects.slow {
        config.slow
    } else {
        Duration::ZERO
    };
    let latency = chance::latency(config.seed, chance::hash(body), config.latency);
    Ok(Plan {
        latency: chance::under_load(latency, config.knee, visit.in_flight) + slow,
        request,
        levels,
        effects,
    })
}

fn before_body(visit: &Visit, config: &SimulatorConfig, call: &Call) -> Result<(), Refusal> {
    match config.down {
        Down::No => {}
        Down::Close => return Err(Refusal::Closed),
        Down::Unavailable => return Err(Refusal::Overloaded),
    }
    if config.has(Quirk::LlamacppLoading) && visit.app.is_loading(config.loading) {
        return Err(Refusal::Loading);
    }
    if let Dialect::AzureClassic { api_version } = &call.dialect
        && api_version.is_empty()
    {
        return Err(Refusal::NoSuchPath {
            method: "POST".to_owned(),
            path: "without api-version".to_owned(),
        });
    }
    authorize(config, call.key.as_deref())?;
    if config.has(Quirk::PaymentRequired) {
        return Err(Refusal::NoBalance);
    }
    if config.has(Quirk::InsufficientQuota) {
        return Err(Refusal::InsufficientQuota);
    }
    if config
        .quotas
        .max_concurrent
        .is_some_and(|most| visit.in_flight > most)
    {
        return Err(Refusal::Busy);
    }
    if !call.says_json {
        return Err(Refusal::NotJsonContent);
    }
    Ok(())
}

/// Refuses any key but the required one.
pub(crate) fn authorize(config: &SimulatorConfig, key: Option<&str>) -> Result<(), Refusal> {
    match &config.require_key {
        Some(required) if key != Some(required) => Err(Refusal::Unauthorized {
            given: key.map(str::to_owned),
        }),
        _ => Ok(()),
    }
}

fn after_body(
    config: &SimulatorConfig,
    request: &ChatRequest,
    effects: Effects,
) -> Option<Refusal> {
    let model = || request.model.clone();
    if let Some(models) = &config.models
        && !models.contains(&request.model)
    {
        return Some(Refusal::NoSuchModel { model: model() });
    }
    match effects.fault {
        Some(Fault::Throttled) => {
            return Some(Refusal::RateLimited {
                model: model(),
                exceeded: out_of_the_blue(config),
            });
        }
        Some(Fault::Internal) => return Some(Refusal::Internal),
        Some(Fault::Overloaded) => return Some(Refusal::Overloaded),
        Some(Fault::Reset | Fault::Malformed) | None => {}
    }
    let prompt = request.prompt_tokens();
    if config.has(Quirk::ContextExceeded) && prompt > config.context_tokens {
        return Some(Refusal::ContextExceeded {
            prompt,
            context: config.context_tokens,
        });
    }
    (effects.content == Some(Content::PromptFiltered)).then_some(Refusal::ContentFilter)
}

/// A 429 that no quota explains: a second is what services then say.
fn out_of_the_blue(config: &SimulatorConfig) -> Exceeded {
    let limit = config.quotas.requests_per_minute.unwrap_or(60);
    Exceeded {
        what: Limited::Requests,
        wait: Duration::from_secs(1),
        limit,
        used: limit,
        requested: 1,
    }
}

/// Says no, and counts it.
fn refuse(
    visit: Visit,
    config: &SimulatorConfig,
    dialect: &Dialect,
    refusal: &Refusal,
    levels: Levels,
) -> Response {
    if *refusal == Refusal::Closed {
        visit.settle(Ledger::closed);
        return Response::new(broken(Bytes::new()));
    }
    let about = About {
        dialect,
        id: id(config, &visit),
        processing: visit.elapsed(),
        levels,
    };
    let headers = headers(&about, config, refusal.wait());
    let body = refusal.body(dialect, config.has(Quirk::IntegerCode));
    let status = refusal.status();
    let at = visit.now_ms();
    visit.settle(|ledger| ledger.answered(status.as_u16(), at));
    respond(status, headers, Body::from(body.to_string()))
}

/// Writes the answer, or what a fault makes of it, and counts it as paid.
fn finish(visit: Visit, config: &SimulatorConfig, call: &Call, plan: &Plan) -> Response {
    let completion = match complete(&visit, config, &call.dialect, plan) {
        Ok(completion) => completion,
        Err(refusal) => return refuse(visit, config, &call.dialect, &refusal, plan.levels),
    };
    let about = About {
        dialect: &call.dialect,
        id: id(config, &visit),
        processing: visit.elapsed(),
        levels: plan.levels,
    };
    let mut headers = headers(&about, config, None);
    let fault = plan.effects.fault;
    bill(visit, call.task, fault, &completion);
    let mut body = completion.body;
    let body = match fault {
        Some(Fault::Reset) => {
            // The length of the whole, so that the client knows that it misses something.
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
            body.truncate(body.len() / 2);
            broken(Bytes::from(body))
        }
        Some(Fault::Malformed) => {
            body.truncate(body.len() / 2);
            Body::from(body)
        }
        _ => Body::from(body),
    };
    respond(StatusCode::OK, headers, body)
}

fn complete(
    visit: &Visit,
    config: &SimulatorConfig,
    dialect: &Dialect,
    plan: &Plan,
) -> Result<Completion, Refusal> {
    let setting = Setting {
        dialect,
        content: plan.effects.content,
        without_refusal: config.has(Quirk::IntegerCode),
        id: id(config, visit),
        created: visit.now_ms() / 1000,
    };
    completion(&plan.request, setting).map_err(|error| {
        tracing::error!(%error, "an answer could not be written");
        Refusal::Internal
    })
}

fn bill(visit: Visit, task: Option<u64>, fault: Option<Fault>, completion: &Completion) {
    let at = visit.now_ms();
    let paid = Paid {
        kind: Kind::Chat,
        task,
        input_tokens: completion.input_tokens,
        output_tokens: completion.output_tokens,
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

/// Where an answer that is kept open by empty lines has got to.
enum KeptOpen {
    Waiting(
        Box<(Visit, Option<u64>, Option<Fault>, Completion)>,
        Instant,
    ),
    Breaking,
    Over,
}

/// 200 at once, an empty line now and then, and at last the body.
fn keep_open(visit: Visit, config: &SimulatorConfig, call: &Call, plan: &Plan) -> Response {
    let completion = match complete(&visit, config, &call.dialect, plan) {
        Ok(completion) => completion,
        Err(refusal) => return refuse(visit, config, &call.dialect, &refusal, plan.levels),
    };
    let about = About {
        dialect: &call.dialect,
        id: id(config, &visit),
        processing: visit.elapsed(),
        levels: plan.levels,
    };
    let headers = headers(&about, config, None);
    let (pause, ready) = (config.keep_alive, Instant::now() + plan.latency);
    let first = Box::new((visit, call.task, plan.effects.fault, completion));
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
                let (visit, task, fault, completion) = *answer;
                bill(visit, task, fault, &completion);
                let mut body = completion.body;
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

pub(crate) fn id(config: &SimulatorConfig, visit: &Visit) -> u64 {
    chance::mix(chance::mix(config.seed).wrapping_add(visit.number))
}
