//! The life of one request: judged, delayed, answered.

use std::{borrow::Cow, sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes},
    extract::rejection::BytesRejection,
    http::HeaderValue,
    response::Response,
};
use tokio::time::sleep;

use crate::{
    Down, Kind, Quirk, Quotas, SimulatorConfig,
    body::{broken, respond},
    chance::{self, Fault},
    effects::{Content, Effects},
    entra,
    headers::{About, headers},
    quota::{Bucket, Exceeded, Levels, Limited},
    refusal::{Dialect, Invalid, Refusal},
    state::App,
    stats::Ledger,
    visit::Visit,
};

mod finish;
mod keep_open;

use finish::finish;
use keep_open::keep_open;

/// What a client sent.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) dialect: Dialect,
    /// The model, where the path names it.
    pub(crate) deployment: Option<String>,
    pub(crate) key: Option<String>,
    /// Hash of the task that the client works on, from `x-filefleet-task`.
    pub(crate) task: Option<u64>,
    /// What follows `?` in the address.
    pub(crate) query: String,
    pub(crate) content_type: String,
    pub(crate) body: Result<Bytes, BytesRejection>,
}

/// A request that one kind of service answers.
pub(crate) trait Service: Sized {
    const KIND: Kind;
    const BUCKET: Bucket;

    /// What counts against which limits of the configuration.
    fn quotas(config: &SimulatorConfig) -> Cow<'_, Quotas> {
        Cow::Borrowed(&config.quotas)
    }

    /// Refuses bodies of a type that is not looked into.
    fn takes(call: &Call) -> Result<(), Refusal> {
        if call.content_type.starts_with("application/json") {
            Ok(())
        } else {
            Err(Refusal::NotJsonContent)
        }
    }

    /// What is said to a body over what the server takes at all.
    fn too_large() -> Refusal {
        Refusal::TooLarge
    }

    /// Reads a request as the real service does, and refuses it in its words.
    fn read(call: &Call, body: &Bytes) -> Result<Self, Invalid>;

    /// The model that is asked, where there is a choice.
    fn model(&self) -> Option<&str>;

    /// Where markers are looked for.
    fn text(&self) -> Cow<'_, str>;

    /// What it counts against a quota of tokens at arrival.
    fn quota_tokens(&self) -> u64;

    /// Tokens that must fit in the context of the model at once.
    fn prompt_tokens(&self) -> u64;

    fn answer(&self, setting: Setting<'_>) -> Result<Answer, serde_json::Error>;
}

/// What an answer depends on beside the request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting<'a> {
    pub(crate) dialect: &'a Dialect,
    pub(crate) content: Option<Content>,
    /// llama.cpp's messages have no `refusal`.
    pub(crate) without_refusal: bool,
    pub(crate) seed: u64,
    /// Decides the answer's id.
    pub(crate) id: u64,
    /// Seconds since 1970.
    pub(crate) created: u64,
}

/// A finished answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) body: Vec<u8>,
    pub(crate) input_tokens: u64,
    pub(crate) output_tokens: u64,
}

/// A request that will be answered.
struct Plan<S> {
    request: S,
    levels: Levels,
    effects: Effects,
    latency: Duration,
}

/// Answers one request, after its latency.
pub(crate) async fn exchange<S: Service>(app: Arc<App>, call: Call) -> Response {
    let visit = Visit::arrive(app, S::KIND);
    let config = visit.app.config();
    let plan = match plan::<S>(&visit, &config, &call) {
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
fn plan<S: Service>(
    visit: &Visit,
    config: &SimulatorConfig,
    call: &Call,
) -> Result<Plan<S>, Refused> {
    let unjudged = |refusal| Box::new((refusal, Levels::default()));
    before_body(visit, config, S::KIND, call)
        .and_then(|()| S::takes(call))
        .map_err(unjudged)?;
    let Ok(body) = &call.body else {
        return Err(unjudged(S::too_large()));
    };
    let parsed = S::read(call, body);
    let tokens = parsed.as_ref().map_or(0, S::quota_tokens);
    // A request that is wrong counts against the quota as a right one does.
    let (judged, levels) = visit.app.admit(S::BUCKET, &S::quotas(config), tokens);
    let refused = |refusal| Box::new((refusal, levels));
    if let Err(exceeded) = judged {
        let model = parsed.as_ref().ok().and_then(S::model);
        return Err(refused(rate_limited(S::KIND, model, exceeded)));
    }
    let request = parsed.map_err(|invalid| refused(Refusal::Invalid(invalid)))?;
    let text = if config.has(Quirk::Markers) {
        request.text()
    } else {
        Cow::Borrowed("")
    };
    let effects = Effects::of(config, visit.number, &text);
    drop(text);
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

fn before_body(
    visit: &Visit,
    config: &SimulatorConfig,
    kind: Kind,
    call: &Call,
) -> Result<(), Refusal> {
    match config.down {
        Down::No => {}
        Down::Close => return Err(Refusal::Closed),
        Down::Unavailable => return Err(Refusal::Overloaded),
    }
    if config.has(Quirk::LlamacppLoading) && visit.app.is_loading(config.loading) {
        return Err(Refusal::Loading);
    }
    if !call.dialect.has_known_version() {
        return Err(Refusal::NoSuchPath {
            method: "POST".to_owned(),
            path: "without a known api-version".to_owned(),
        });
    }
    authorize(&visit.app, config, kind, call.key.as_deref())?;
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
    Ok(())
}

/// Refuses any key but the required one, and tokens that are not good.
pub(crate) fn authorize(
    app: &App,
    config: &SimulatorConfig,
    kind: Kind,
    key: Option<&str>,
) -> Result<(), Refusal> {
    if entra::admits(app, config, kind, key) {
        return Ok(());
    }
    Err(Refusal::Unauthorized {
        given: key.map(str::to_owned),
    })
}

fn after_body<S: Service>(
    config: &SimulatorConfig,
    request: &S,
    effects: Effects,
) -> Option<Refusal> {
    if let (Some(models), Some(model)) = (&config.models, request.model())
        && !models.iter().any(|known| known == model)
    {
        return Some(Refusal::NoSuchModel {
            model: model.to_owned(),
        });
    }
    match effects.fault {
        Some(Fault::Throttled) => {
            let exceeded = out_of_the_blue(config);
            return Some(rate_limited(S::KIND, request.model(), exceeded));
        }
        Some(Fault::Internal) => return Some(Refusal::Internal),
        Some(Fault::Overloaded) => return Some(Refusal::Overloaded),
        Some(Fault::Reset | Fault::Malformed) | None => {}
    }
    let prompt = request.prompt_tokens();
    if config.has(Quirk::ContextExceeded) && prompt > config.context_tokens {
        return Some(Refusal::ContextExceeded {
            kind: S::KIND,
            prompt,
            context: config.context_tokens,
        });
    }
    (S::KIND == Kind::Chat && effects.content == Some(Content::PromptFiltered))
        .then_some(Refusal::ContentFilter)
}

fn rate_limited(kind: Kind, model: Option<&str>, exceeded: Exceeded) -> Refusal {
    Refusal::RateLimited {
        kind,
        model: model.unwrap_or("default-model").to_owned(),
        exceeded,
    }
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
    let mut headers = headers(&about, config, refusal.wait());
    let body = refusal.body(dialect, config.has(Quirk::IntegerCode));
    if !dialect.is_openai_like()
        && let Some(code) = body["error"]["code"].as_str()
        && let Ok(code) = HeaderValue::from_str(code)
    {
        headers.insert("x-ms-error-code", code);
    }
    let status = refusal.status();
    let at = visit.now_ms();
    visit.settle(|ledger| ledger.answered(status.as_u16(), at));
    respond(status, headers, Body::from(body.to_string()))
}

pub(crate) fn id(config: &SimulatorConfig, visit: &Visit) -> u64 {
    chance::mix(chance::mix(config.seed).wrapping_add(visit.number))
}
