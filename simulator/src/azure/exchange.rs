//! The life of a request: judged, delayed, done, answered.

use std::{sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode},
    response::Response,
};
use tokio::time::sleep;

use super::{Answer, Ask, Door, Problem, Scene};
use crate::{
    Down, Quirk, SimulatorConfig,
    body::{broken, damaged, respond},
    chance::{self, Fault},
    effects::Effects,
    entra,
    exchange::id,
    headers::{retry_after, uuid_like},
    state::App,
    stats::{Ledger, Paid},
    visit::Visit,
};

/// Answers one request: `work` is done after the latency, if the request is let in.
pub(crate) async fn exchange(
    app: Arc<App>,
    door: Door,
    ask: Ask,
    work: impl FnOnce(&Ask, &Scene<'_>) -> Result<Answer, Problem>,
) -> Response {
    let visit = Visit::arrive(app, door.kind);
    let config = visit.app.config();
    if config.down == Down::Close {
        visit.settle(Ledger::closed);
        return Response::new(broken(Bytes::new()));
    }
    let effects = match enter(&visit, &config, &door, &ask) {
        Ok(effects) => effects,
        Err(problem) => return refuse(visit, &config, &door, &ask, &problem),
    };
    let latency = latency(&visit, &config, &door, &ask, effects);
    if !latency.is_zero() {
        sleep(latency).await;
    }
    let request = id(&config, &visit);
    let scene = Scene {
        app: &visit.app,
        config: &config,
        number: visit.number,
        uuid: uuid_like(chance::mix(request ^ 1), request),
        origin: origin(&ask),
        now_ms: visit.now_ms(),
    };
    match work(&ask, &scene) {
        Ok(answer) => finish(visit, &config, &door, &ask, effects.fault, answer),
        Err(problem) => refuse(visit, &config, &door, &ask, &problem),
    }
}

/// Checks in the order of a real service: there at all, key, quota, chance.
fn enter(
    visit: &Visit,
    config: &SimulatorConfig,
    door: &Door,
    ask: &Ask,
) -> Result<Effects, Problem> {
    if config.down == Down::Unavailable {
        return Err(unavailable());
    }
    if !entra::admits(&visit.app, config, door.kind, ask.key(door.key_header)) {
        return Err((door.locked)());
    }
    known_version(door, ask.query.get("api-version"))?;
    let most = config.quotas.max_concurrent;
    if most.is_some_and(|most| visit.in_flight > most) {
        return Err(unavailable());
    }
    if let Some((bucket, quotas)) = &door.quota {
        let (judged, _) = visit.app.admit(*bucket, quotas, 0);
        judged.map_err(|exceeded| (door.crowded)(exceeded.wait))?;
    }
    let text = if config.has(Quirk::Markers) {
        String::from_utf8_lossy(ask.bytes())
    } else {
        "".into()
    };
    let effects = Effects::of(config, visit.number, &text);
    match effects.fault {
        Some(Fault::Throttled) => Err(throttled()),
        Some(Fault::Internal) => Err(Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "InternalServerError",
            "An unexpected error occurred.",
        )),
        Some(Fault::Overloaded) => Err(unavailable()),
        Some(Fault::Reset | Fault::Malformed) | None => Ok(effects),
    }
}

fn known_version(door: &Door, given: Option<&str>) -> Result<(), Problem> {
    let known = door.api_versions;
    match given.filter(|given| !given.is_empty()) {
        Some(given) if known.contains(&given) => Ok(()),
        Some(given) => Err(Problem::new(
            StatusCode::BAD_REQUEST,
            "UnsupportedApiVersionValue",
            format!(
                "Unsupported api-version '{given}'. The supported api-versions are '{}'.",
                known.join(", ")
            ),
        )),
        None => Err(Problem::new(
            StatusCode::BAD_REQUEST,
            "MissingApiVersionParameter",
            "The api-version query parameter (?api-version=) is required for all requests.",
        )),
    }
}

/// A 429 that no quota explains.
fn throttled() -> Problem {
    Problem::new(
        StatusCode::TOO_MANY_REQUESTS,
        "429",
        "Too many requests. Please retry after 1 second.",
    )
    .wait(Duration::from_secs(1))
}

fn unavailable() -> Problem {
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "ServiceUnavailable",
        "The service is temporarily unavailable. Please try again later.",
    )
}

fn latency(
    visit: &Visit,
    config: &SimulatorConfig,
    door: &Door,
    ask: &Ask,
    effects: Effects,
) -> Duration {
    let slow = if effects.slow {
        config.slow
    } else {
        Duration::ZERO
    };
    if !door.takes_time {
        return slow;
    }
    let latency = chance::latency(config.seed, chance::hash(ask.bytes()), config.latency);
    chance::under_load(latency, config.knee, visit.in_flight) + slow
}

fn origin(ask: &Ask) -> String {
    format!("http://{}", ask.header("host").unwrap_or("localhost"))
}

fn refuse(
    visit: Visit,
    config: &SimulatorConfig,
    door: &Door,
    ask: &Ask,
    problem: &Problem,
) -> Response {
    let mut headers = headers(&visit, config, door, ask);
    if let Some(wait) = problem.wait {
        retry_after(config, wait, &mut |name, value| {
            put(&mut headers, HeaderName::from_static(name), &value);
        });
    }
    let at = visit.now_ms();
    visit.settle(|ledger| ledger.answered(problem.status.as_u16(), at));
    respond(
        problem.status,
        headers,
        Body::from(problem.body().to_string()),
    )
}

/// Writes the answer, or what a fault makes of it, and counts it.
fn finish(
    visit: Visit,
    config: &SimulatorConfig,
    door: &Door,
    ask: &Ask,
    fault: Option<Fault>,
    answer: Answer,
) -> Response {
    let mut headers = headers(&visit, config, door, ask);
    for (name, value) in &answer.headers {
        put(&mut headers, name.clone(), value);
    }
    let task = ask.headers.get("x-filefleet-task");
    let paid = answer.paid.map(|pages| Paid {
        kind: door.kind,
        task: task.map(|task| chance::hash(task.as_bytes())),
        input_tokens: 0,
        output_tokens: 0,
        pages,
    });
    let at = visit.now_ms();
    visit.settle(|ledger| {
        ledger.answered(answer.status.as_u16(), at);
        if let Some(paid) = paid {
            ledger.paid(paid);
            match fault {
                Some(Fault::Reset) => ledger.reset(),
                Some(Fault::Malformed) => ledger.malformed(),
                _ => {}
            }
        }
    });
    let body = damaged(answer.body, fault, &mut headers);
    respond(answer.status, headers, body)
}

fn headers(visit: &Visit, config: &SimulatorConfig, door: &Door, ask: &Ask) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(8);
    let high = id(config, visit);
    let request = uuid_like(high, chance::mix(high));
    put(
        &mut headers,
        HeaderName::from_static(door.id_header),
        &request,
    );
    let took = visit.elapsed().as_millis().to_string();
    let upstream = HeaderName::from_static("x-envoy-upstream-service-time");
    put(&mut headers, upstream, &took);
    if let Some(given) = ask.headers.get("x-ms-client-request-id") {
        let name = HeaderName::from_static("x-ms-client-request-id");
        headers.insert(name, given.clone());
    }
    headers
}

fn put(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    // Every value here is printable ASCII.
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}
