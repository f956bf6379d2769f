//! What a whole run will take, and what keeps it from being faster. Arithmetic only.

use std::collections::BTreeMap;

use filefleet_worker::config::{Quotas, ServiceConfig, ServiceKind};
use serde::Serialize;

use super::{
    estimate::{Estimate, Load},
    room::{Latency, Room},
    sample::Census,
};

/// Part of a quota that workers use (`governor/pace.rs`).
const USED: f64 = 0.985;
/// Seconds of a run before its first call and after its last answer.
const STARTING: f64 = 0.3;
/// No fleet is larger.
const MOST_WORKERS: u64 = 10_000;

/// What a service can be held up by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Bound {
    /// Its quota of requests.
    RequestsPerMinute,
    /// Its quota of tokens.
    TokensPerMinute,
    /// Its quota of questions for results.
    PollsPerMinute,
    /// Latency, with so many calls at once from each worker.
    InFlight,
    /// The same of questions for results.
    Polls,
}

impl Bound {
    /// Its key in `limits`.
    pub(super) fn key(self) -> &'static str {
        match self {
            Self::RequestsPerMinute => "requests_per_minute",
            Self::TokensPerMinute => "tokens_per_minute",
            Self::PollsPerMinute => "polls_per_minute",
            Self::InFlight => "in_flight",
            Self::Polls => "polls",
        }
    }

    /// The whole fleet shares it.
    pub(super) fn is_quota(self) -> bool {
        matches!(
            self,
            Self::RequestsPerMinute | Self::TokensPerMinute | Self::PollsPerMinute
        )
    }
}

/// What one service will do, and how long it would take if it were the only one.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct ServiceForecast {
    pub(super) service: String,
    pub(super) calls: u64,
    pub(super) polls: u64,
    pub(super) input_tokens: u64,
    pub(super) output_tokens: u64,
    /// Of prompts, and the most that answers may have: what token quotas count.
    pub(super) reserved_tokens: u64,
    pub(super) pages: u64,
    pub(super) cost: f64,
    pub(super) seconds_alone: f64,
    /// What it is held up by.
    pub(super) bound: Bound,
    /// What that is configured or assumed to be.
    pub(super) limit: u64,
    /// Seconds in it of one file that waits for nothing.
    pub(super) seconds_per_file: f64,
}

/// What binds a whole run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Binding {
    pub(super) service: String,
    pub(super) by: Bound,
    pub(super) limit: u64,
    /// Workers beyond which more of them do not help; absent where no quota is known.
    pub(super) most_workers: Option<u64>,
    pub(super) more_workers_help: bool,
}

/// What a run of a directory will take.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Forecast {
    #[serde(flatten)]
    pub(super) census: Census,
    pub(super) workers: u64,
    pub(super) wall_seconds: f64,
    pub(super) cost: f64,
    pub(super) bound: Option<Binding>,
    pub(super) services: Vec<ServiceForecast>,
    /// Part of the files that would fail, by cause.
    pub(super) failures: BTreeMap<String, f64>,
}

/// What the simulated services are like.
pub(super) struct Setting<'a> {
    pub(super) services: &'a BTreeMap<String, ServiceConfig>,
    /// Latencies by service, and of all others.
    pub(super) latencies: &'a BTreeMap<String, Latency>,
    pub(super) latency: Latency,
}

/// A run with so many workers.
pub(super) fn forecast(
    census: Census,
    estimate: &Estimate,
    setting: &Setting<'_>,
    workers: u64,
) -> Forecast {
    let services = of_services(&estimate.loads, setting, workers);
    let bound = binding(&services).map(|(by, wall)| {
        let most = enough_workers(&estimate.loads, setting);
        let binding = Binding {
            service: by.service.clone(),
            by: by.bound,
            limit: by.limit,
            most_workers: most,
            more_workers_help: most.is_none_or(|most| workers < most),
        };
        (binding, wall)
    });
    Forecast {
        census,
        workers,
        wall_seconds: STARTING + bound.as_ref().map_or(0.0, |(_, wall)| *wall),
        cost: services.iter().map(|service| service.cost).sum(),
        bound: bound.map(|(binding, _)| binding),
        services,
        failures: estimate.failures.clone(),
    }
}

/// The service that the others wait for, and the seconds from the first call to the last answer:
/// stages overlap but for the way of one file to it and from it.
fn binding(services: &[ServiceForecast]) -> Option<(&ServiceForecast, f64)> {
    let all: f64 = services
        .iter()
        .map(|service| service.seconds_per_file)
        .sum();
    services
        .iter()
        .filter(|service| service.seconds_alone > 0.0)
        .map(|service| {
            let others = all - service.seconds_per_file;
            (service, service.seconds_alone + others)
        })
        .max_by(|(_, one), (_, other)| one.total_cmp(other))
}

/// The least number of workers with which a quota binds.
fn enough_workers(loads: &[Load], setting: &Setting<'_>) -> Option<u64> {
    let enough = |workers: u64| {
        let services = of_services(loads, setting, workers);
        binding(&services).is_some_and(|(service, _)| service.bound.is_quota())
    };
    if !enough(MOST_WORKERS) {
        return None;
    }
    let (mut few, mut many) = (0, MOST_WORKERS);
    while many - few > 1 {
        let middle = few.midpoint(many);
        if enough(middle) {
            many = middle;
        } else {
            few = middle;
        }
    }
    Some(many)
}

fn of_services(loads: &[Load], setting: &Setting<'_>, workers: u64) -> Vec<ServiceForecast> {
    loads
        .iter()
        .filter_map(|load| {
            let config = setting.services.get(&load.service)?;
            let known = setting.latencies.get(&load.service);
            let latency = *known.unwrap_or(&setting.latency);
            Some(of_service(load, config, latency, workers))
        })
        .collect()
}

fn of_service(
    load: &Load,
    config: &ServiceConfig,
    latency: Latency,
    workers: u64,
) -> ServiceForecast {
    let time = Time::of(load, config, latency, workers);
    ServiceForecast {
        service: load.service.clone(),
        calls: count(load.calls),
        polls: count(load.polls),
        input_tokens: count(load.input_tokens),
        output_tokens: count(load.output_tokens),
        reserved_tokens: count(load.reserved_tokens),
        pages: count(load.pages),
        cost: load.cost,
        seconds_alone: time.alone,
        bound: time.bound,
        limit: time.limit,
        seconds_per_file: time.per_file,
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a count that is not negative"
)]
fn count(units: f64) -> u64 {
    units.round() as u64
}

/// How long a service takes, all in seconds.
struct Time {
    alone: f64,
    per_file: f64,
    bound: Bound,
    limit: u64,
}

impl Time {
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    fn of(load: &Load, config: &ServiceConfig, latency: Latency, workers: u64) -> Self {
        let room = Room {
            most: config.in_flight as f64,
            seeking: config.seeking,
            workers: workers as f64,
        };
        if load.sent <= 0.0 {
            return Self {
                alone: 0.0,
                per_file: 0.0,
                bound: Bound::InFlight,
                limit: config.in_flight as u64,
            };
        }
        let requests = load.waits / load.sent;
        // What programs take was measured, with as many at once as the processors carry.
        let measured = matches!(config.kind, ServiceKind::Command(_));
        let each = if measured {
            load.busy / load.sent
        } else {
            latency.mean() * requests
        };
        let slowest = Slowest::of(load, config, room, each);
        let rate = load.sent / slowest.quota.max(f64::MIN_POSITIVE);
        let begun = room.time(load.sent, each, rate).max(slowest.polling);
        let at_once = room.most * room.workers;
        let last = if measured {
            each
        } else {
            latency.longest(at_once.min(rate * each)) * requests
        };
        let ended = match slowest.bound {
            // The last ones begin together.
            Bound::InFlight if !room.seeking => {
                let rounds = (load.sent / at_once - 1e-6).ceil();
                begun.max(rounds * each) + last - each
            }
            _ => begun + last,
        };
        Self {
            alone: ended + load.processing,
            per_file: each + load.processing,
            bound: slowest.bound,
            limit: slowest.limit,
        }
    }
}

/// What takes a service the longest.
struct Slowest {
    bound: Bound,
    limit: u64,
    /// Seconds by its quotas of calls.
    quota: f64,
    /// Seconds by all that holds up questions for results.
    polling: f64,
}

impl Slowest {
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    fn of(load: &Load, config: &ServiceConfig, room: Room, each: f64) -> Self {
        let Quotas {
            requests_per_minute,
            tokens_per_minute,
            polls_per_minute,
        } = config.quotas;
        let paced = |units: f64, quota: Option<u64>| {
            quota.map_or(0.0, |quota| units / (quota as f64 / 60.0 * USED))
        };
        let requests = paced(load.steps, requests_per_minute);
        let tokens = paced(load.reserved_tokens, tokens_per_minute);
        let polls = paced(load.polls, polls_per_minute);
        let at_once = config.polls.unwrap_or(usize::MAX);
        let polling = load.polling / (at_once as f64 * room.workers);
        let calls = room.time(load.sent, each, f64::INFINITY);
        let (bound, limit, _) = [
            (Bound::RequestsPerMinute, requests_per_minute, requests),
            (Bound::TokensPerMinute, tokens_per_minute, tokens),
            (Bound::PollsPerMinute, polls_per_minute, polls),
            (Bound::Polls, Some(at_once as u64), polling),
        ]
        .into_iter()
        .fold(
            (Bound::InFlight, Some(config.in_flight as u64), calls),
            |most, next| if next.2 > most.2 { next } else { most },
        );
        Self {
            bound,
            limit: limit.unwrap_or_default(),
            quota: requests.max(tokens),
            polling: polls.max(polling),
        }
    }
}

#[cfg(test)]
mod tests;
