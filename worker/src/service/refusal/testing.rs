//! What the tests of every table of refusals need.

use std::{
    collections::BTreeSet,
    time::{Duration, SystemTime},
};

use reqwest::{
    StatusCode,
    header::{HeaderMap, HeaderName, HeaderValue},
};

use super::{Refusal, Row, rows};
use crate::service::CallError;

/// Headers by name and value.
pub(crate) type Pairs = &'static [(&'static str, &'static str)];

pub(crate) fn headers(pairs: Pairs) -> HeaderMap {
    pairs
        .iter()
        .map(|(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        })
        .collect()
}

/// An error in a word, with its wait in seconds if it has one.
pub(crate) fn word(error: &CallError) -> String {
    let timed = |word: &str, wait: &Option<Duration>| match wait {
        Some(wait) => format!("{word} {}", wait.as_secs_f64()),
        None => word.to_owned(),
    };
    match error {
        CallError::RateLimited { retry_after, .. } => timed("limited", retry_after),
        CallError::Overloaded { retry_after, .. } => timed("overloaded", retry_after),
        CallError::Unauthorized(_) => "unauthorized".to_owned(),
        CallError::Misconfigured(_) => "misconfigured".to_owned(),
        CallError::QuotaExhausted(_) => "quota".to_owned(),
        CallError::Malformed(_) => "malformed".to_owned(),
        CallError::Rejected { cause, .. } => cause.clone().into_owned(),
        other @ (CallError::Unreachable(_) | CallError::Timeout(_) | CallError::Pending { .. }) => {
            panic!("{other}")
        }
    }
}

/// Rows of a table, and of what is common to all, that decide about none of these refusals.
pub(crate) fn idle_rows<'a>(
    own: &[Row],
    refusals: impl IntoIterator<Item = (u16, Pairs, &'a str)>,
) -> Vec<usize> {
    let deciding: BTreeSet<usize> = refusals
        .into_iter()
        .filter_map(|(status, pairs, body)| {
            let status = StatusCode::from_u16(status).unwrap();
            let now = SystemTime::UNIX_EPOCH;
            let refusal = Refusal::read(status, &headers(pairs), body.as_bytes(), now);
            rows(own).position(|row| refusal.fits(row))
        })
        .collect();
    (0..rows(own).count())
        .filter(|row| !deciding.contains(row))
        .collect()
}
