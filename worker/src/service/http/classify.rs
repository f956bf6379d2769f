//! What the status of an answer means, as one table: the first row that fits decides.

use std::time::SystemTime;

use reqwest::header::HeaderMap;

use crate::service::{
    CallError,
    refusal::{Mark, Meaning, Refusal, Row, row},
    transport::retry_after,
};

/// The file has failed. Its outcome says the status too.
const FILE: &str = "http";

/// Statuses that mean something else at one service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statuses {
    /// Tried again.
    pub retry: Vec<u16>,
    /// The file has failed.
    pub reject: Vec<u16>,
}

const OWN: &[Row] = &[
    row(429..=429, Mark::Any, Meaning::RateLimited),
    row(503..=503, Mark::Wait, Meaning::RateLimited),
    // Who says when to come again does not mean never, whatever the number.
    row(400..=599, Mark::Wait, Meaning::Overloaded),
    // The steps of one service need not send the same headers.
    row(431..=431, Mark::Any, Meaning::Rejected(FILE)),
    // A status below 300 is one that `success` does not name.
    row(100..=299, Mark::Any, Meaning::Rejected(FILE)),
];

/// What the worker must do about an answer of this status; `detail` is for a person.
pub(crate) fn classify(
    status: u16,
    headers: &HeaderMap,
    statuses: &Statuses,
    detail: String,
    now: SystemTime,
) -> CallError {
    let refusal = Refusal::bare(status, retry_after(headers, now), detail);
    let meaning = if statuses.reject.contains(&status) {
        Meaning::Rejected(FILE)
    } else if statuses.retry.contains(&status) && status != 429 {
        Meaning::Overloaded
    } else {
        refusal.meaning(OWN)
    };
    match meaning {
        Meaning::Rejected(_) => refusal.rejected(format!("http_{status}")),
        other => refusal.means(other),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use reqwest::header::{HeaderValue, RETRY_AFTER};

    use super::*;

    fn of(status: u16, wait: bool, statuses: &Statuses) -> String {
        let mut headers = HeaderMap::new();
        if wait {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("7"));
        }
        let error = classify(status, &headers, statuses, String::new(), SystemTime::now());
        let asked = Some(Duration::from_secs(7)).filter(|_| wait);
        match error {
            CallError::RateLimited { retry_after, .. } => {
                assert_eq!(retry_after, asked);
                "rate limited".to_owned()
            }
            CallError::Overloaded { retry_after, .. } => {
                assert_eq!(retry_after, asked);
                "overloaded".to_owned()
            }
            CallError::Unauthorized(_) => "unauthorized".to_owned(),
            CallError::Misconfigured(_) => "misconfigured".to_owned(),
            CallError::QuotaExhausted(_) => "no money".to_owned(),
            CallError::Malformed(_) => "malformed".to_owned(),
            CallError::Rejected { cause, .. } => cause.into_owned(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_status_has_its_meaning() {
        let none = Statuses::default();
        for (status, plain, with_wait) in [
            (204, "http_204", "http_204"),
            (302, "misconfigured", "misconfigured"),
            (400, "http_400", "overloaded"),
            (401, "unauthorized", "overloaded"),
            (402, "no money", "overloaded"),
            (403, "unauthorized", "overloaded"),
            (404, "misconfigured", "overloaded"),
            (405, "misconfigured", "overloaded"),
            (408, "overloaded", "overloaded"),
            (409, "overloaded", "overloaded"),
            (413, "http_413", "overloaded"),
            (422, "http_422", "overloaded"),
            (429, "rate limited", "rate limited"),
            (500, "overloaded", "overloaded"),
            (503, "overloaded", "rate limited"),
            (599, "overloaded", "overloaded"),
            (999, "malformed", "malformed"),
        ] {
            assert_eq!(of(status, false, &none), plain, "{status}");
            assert_eq!(of(status, true, &none), with_wait, "{status}");
        }
    }

    #[test]
    fn a_service_has_the_last_word_about_its_statuses() {
        let statuses = Statuses {
            retry: vec![422, 429],
            reject: vec![404, 500],
        };
        assert_eq!(of(422, false, &statuses), "overloaded");
        assert_eq!(of(429, false, &statuses), "rate limited");
        assert_eq!(of(404, false, &statuses), "http_404");
        assert_eq!(of(500, true, &statuses), "http_500");
    }
}
