//! A refusal of a service, read, and the table that says what it means.

use std::{
    ops::RangeInclusive,
    time::{Duration, SystemTime},
};

use reqwest::{
    StatusCode,
    header::{HeaderMap, LOCATION},
};
use serde_json::Value;

use super::{
    CallError,
    detail::{inner_errors, message, shortened},
    transport::retry_after,
};

/// One row of a table of refusals: the first that fits decides.
pub(crate) struct Row {
    statuses: RangeInclusive<u16>,
    mark: Mark,
    meaning: Meaning,
}

/// What else must be so.
pub(crate) enum Mark {
    Any,
    /// The error's code, type or inner code is this word.
    Word(&'static str),
    /// The error's message has this in it, in lower case.
    Says(&'static str),
    /// The service says itself that another try is no use.
    NoRetry,
    /// The service asks for a positive wait.
    Wait,
}

#[derive(Clone, Copy)]
pub(crate) enum Meaning {
    RateLimited,
    Overloaded,
    Unauthorized,
    Misconfigured,
    QuotaExhausted,
    Rejected(&'static str),
    Malformed,
}

pub(crate) const fn row(statuses: RangeInclusive<u16>, mark: Mark, meaning: Meaning) -> Row {
    Row {
        statuses,
        mark,
        meaning,
    }
}

/// What statuses mean where a service's own table does not say otherwise.
const COMMON: &[Row] = &[
    row(300..=399, Mark::Any, Meaning::Misconfigured),
    row(401..=401, Mark::Any, Meaning::Unauthorized),
    row(402..=402, Mark::Any, Meaning::QuotaExhausted),
    row(403..=403, Mark::Any, Meaning::Unauthorized),
    row(404..=405, Mark::Any, Meaning::Misconfigured),
    row(408..=409, Mark::Any, Meaning::Overloaded),
    row(429..=429, Mark::Any, Meaning::RateLimited),
    // Too many or too large headers: ours are the same for every file.
    row(431..=431, Mark::Any, Meaning::Misconfigured),
    row(400..=499, Mark::Any, Meaning::Rejected("invalid_request")),
    row(503..=503, Mark::Wait, Meaning::RateLimited),
    row(500..=599, Mark::Any, Meaning::Overloaded),
    row(0..=u16::MAX, Mark::Any, Meaning::Malformed),
];

/// The rows that decide about refusals of a service: its own, then those of all.
fn rows(own: &[Row]) -> impl Iterator<Item = &Row> {
    own.iter().chain(COMMON)
}

/// A refusal as far as it is understood.
pub(crate) struct Refusal {
    status: u16,
    pub(crate) words: Vec<String>,
    message: String,
    wait: Option<Duration>,
    no_retry: bool,
    detail: String,
}

impl Refusal {
    pub(crate) fn read(
        status: StatusCode,
        headers: &HeaderMap,
        body: &[u8],
        now: SystemTime,
    ) -> Self {
        let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let value: Option<Value> = serde_json::from_slice(body).ok();
        let message = match &value {
            Some(value) => message(value),
            None => shortened(&String::from_utf8_lossy(body)),
        };
        let mut detail = status.as_u16().to_string();
        if let Some(target) = header(LOCATION.as_str()).filter(|_| status.is_redirection()) {
            detail = format!(
                "{detail}: redirected to {}; correct the endpoint",
                shortened(target)
            );
        } else if !message.is_empty() {
            detail = format!("{detail}: {message}");
        }
        Self {
            status: status.as_u16(),
            words: value.as_ref().map(words).unwrap_or_default(),
            wait: retry_after(headers, now).or_else(|| wait_in(&message)),
            no_retry: header("x-should-retry") == Some("false"),
            message: message.to_lowercase(),
            detail,
        }
    }

    /// A refusal of which only the status counts.
    pub(crate) fn bare(status: u16, wait: Option<Duration>, detail: String) -> Self {
        Self {
            status,
            words: Vec::new(),
            message: String::new(),
            wait,
            no_retry: false,
            detail,
        }
    }

    /// What the worker must do, by the first row that fits: of the service's own, then of all.
    pub(crate) fn decide(self, own: &[Row]) -> CallError {
        let meaning = self.meaning(own);
        self.means(meaning)
    }

    pub(crate) fn meaning(&self, own: &[Row]) -> Meaning {
        rows(own)
            .find(|row| self.fits(row))
            .map_or(Meaning::Malformed, |row| row.meaning)
    }

    fn fits(&self, row: &Row) -> bool {
        row.statuses.contains(&self.status)
            && match row.mark {
                Mark::Any => true,
                Mark::Word(word) => self.words.iter().any(|found| found == word),
                Mark::Says(text) => self.message.contains(text),
                Mark::NoRetry => self.no_retry,
                Mark::Wait => self.wait.is_some(),
            }
    }

    pub(crate) fn means(self, meaning: Meaning) -> CallError {
        let (retry_after, detail) = (self.wait, self.detail);
        match meaning {
            Meaning::RateLimited => CallError::RateLimited {
                retry_after,
                detail,
            },
            Meaning::Overloaded => CallError::Overloaded {
                retry_after,
                detail,
            },
            Meaning::Unauthorized => CallError::Unauthorized(detail),
            Meaning::Misconfigured => CallError::Misconfigured(detail),
            Meaning::QuotaExhausted => CallError::QuotaExhausted(detail),
            Meaning::Malformed => CallError::Malformed(detail),
            Meaning::Rejected(cause) => CallError::rejected(cause, detail).called(),
        }
    }

    /// The file has failed, for a cause that the table cannot name.
    pub(crate) fn rejected(self, cause: String) -> CallError {
        CallError::rejected(cause, self.detail).called()
    }
}

/// Codes and types, as the service and what is behind it call them. Some servers' are numbers.
pub(crate) fn words(body: &Value) -> Vec<String> {
    let error = body.get("error").unwrap_or(body);
    let details = error.get("details").and_then(Value::as_array);
    [error]
        .into_iter()
        .chain(details.into_iter().flatten())
        .flat_map(|error| [error].into_iter().chain(inner_errors(error)))
        .flat_map(|error| [error.get("code"), error.get("type")])
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}

/// Azure's sentence, for where a gateway has dropped the header.
fn wait_in(message: &str) -> Option<Duration> {
    let (_, rest) = message.split_once("Please retry after ")?;
    let (count, unit) = rest.split_once(' ')?;
    let seconds: u64 = count.parse().ok().filter(|seconds| *seconds > 0)?;
    unit.starts_with("second")
        .then_some(Duration::from_secs(seconds))
}

#[cfg(test)]
pub(crate) mod testing;
