//! What a refusal means, as one table: the first row that fits decides.

use std::{
    ops::RangeInclusive,
    time::{Duration, SystemTime},
};

use filefleet_shared::wire::Usage;
use reqwest::{
    StatusCode,
    header::{HeaderMap, LOCATION},
};
use serde_json::Value;

use crate::service::{
    CallError,
    detail::{message, shortened},
    transport::retry_after,
};

struct Row {
    statuses: RangeInclusive<u16>,
    mark: Mark,
    meaning: Meaning,
}

/// What else must be so.
enum Mark {
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
enum Meaning {
    RateLimited,
    Overloaded,
    Unauthorized,
    Misconfigured,
    QuotaExhausted,
    Rejected(&'static str),
    Malformed,
}

const fn row(statuses: RangeInclusive<u16>, mark: Mark, meaning: Meaning) -> Row {
    Row {
        statuses,
        mark,
        meaning,
    }
}

const TABLE: &[Row] = &[
    row(300..=399, Mark::Any, Meaning::Misconfigured),
    row(
        400..=400,
        Mark::Word("content_filter"),
        Meaning::Rejected("content_filter"),
    ),
    row(
        400..=400,
        Mark::Word("ResponsibleAIPolicyViolation"),
        Meaning::Rejected("content_filter"),
    ),
    row(
        400..=400,
        Mark::Word("context_length_exceeded"),
        Meaning::Rejected("context_length"),
    ),
    row(
        400..=400,
        Mark::Word("exceed_context_size_error"),
        Meaning::Rejected("context_length"),
    ),
    // vLLM and DeepSeek have no word for it.
    row(
        400..=400,
        Mark::Says("maximum context length"),
        Meaning::Rejected("context_length"),
    ),
    row(
        400..=400,
        Mark::Word("model_not_found"),
        Meaning::Misconfigured,
    ),
    row(
        400..=400,
        Mark::Says("model not exist"),
        Meaning::Misconfigured,
    ),
    row(401..=401, Mark::Any, Meaning::Unauthorized),
    row(402..=402, Mark::Any, Meaning::QuotaExhausted),
    row(403..=403, Mark::Any, Meaning::Unauthorized),
    row(404..=405, Mark::Any, Meaning::Misconfigured),
    row(409..=409, Mark::NoRetry, Meaning::Rejected("not_retryable")),
    row(408..=409, Mark::Any, Meaning::Overloaded),
    row(
        429..=429,
        Mark::Word("insufficient_quota"),
        Meaning::QuotaExhausted,
    ),
    row(429..=429, Mark::Any, Meaning::RateLimited),
    // Too many or too large headers: ours are the same for every file.
    row(431..=431, Mark::Any, Meaning::Misconfigured),
    row(400..=499, Mark::Any, Meaning::Rejected("invalid_request")),
    row(500..=599, Mark::NoRetry, Meaning::Rejected("not_retryable")),
    // llama.cpp: the server was not started for this.
    row(501..=501, Mark::Any, Meaning::Misconfigured),
    row(503..=503, Mark::Wait, Meaning::RateLimited),
    row(500..=599, Mark::Any, Meaning::Overloaded),
    row(0..=u16::MAX, Mark::Any, Meaning::Malformed),
];

/// What the worker must do about an answer that is not a success.
pub(crate) fn classify(
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
    now: SystemTime,
) -> CallError {
    let refusal = Refusal::read(status, headers, body, now);
    let meaning = TABLE
        .iter()
        .find(|row| refusal.fits(row))
        .map_or(Meaning::Malformed, |row| row.meaning);
    refusal.means(meaning)
}

/// A refusal as far as it is understood.
struct Refusal {
    status: u16,
    words: Vec<String>,
    message: String,
    wait: Option<Duration>,
    no_retry: bool,
    detail: String,
}

impl Refusal {
    fn read(status: StatusCode, headers: &HeaderMap, body: &[u8], now: SystemTime) -> Self {
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

    fn means(self, meaning: Meaning) -> CallError {
        let Self {
            wait: retry_after,
            detail,
            ..
        } = self;
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
            Meaning::Rejected(cause) => CallError::Rejected {
                cause: cause.into(),
                detail,
                usage: Usage {
                    calls: 1,
                    ..Usage::default()
                },
            },
        }
    }
}

/// Codes and types, as the service and what is behind it call them. Some servers' are numbers.
fn words(body: &Value) -> Vec<String> {
    let error = body.get("error").unwrap_or(body);
    let inner = error.get("innererror").or_else(|| error.get("inner_error"));
    [
        error.get("code"),
        error.get("type"),
        inner.and_then(|inner| inner.get("code")),
    ]
    .into_iter()
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
mod tests;
