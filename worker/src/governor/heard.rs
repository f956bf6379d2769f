//! What a service says about its limits in the headers of its answers.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use filefleet_shared::wire::Usage;
use reqwest::header::HeaderMap;

/// What is known of one call before its end. Services write, the governor reads its limits.
#[derive(Debug, Default)]
pub struct Heard {
    limits: Mutex<Option<Limits>>,
    answers: AtomicU64,
    paid: Mutex<Usage>,
}

/// Requests and tokens, per second.
type Limits = (Option<f64>, Option<f64>);

impl Heard {
    /// Notes an answer to a request of the call, good or bad, and what its headers say:
    /// `x-ratelimit-limit-requests` and `x-ratelimit-limit-tokens`, per minute.
    ///
    /// What is zero or negative says nothing: gateways that know no limit send it.
    pub fn read(&self, headers: &HeaderMap) {
        self.answers.fetch_add(1, Ordering::Relaxed);
        let per_second = |name: &str| {
            let value = headers.get(name)?.to_str().ok()?;
            let per_minute: f64 = value.trim().parse().ok()?;
            (per_minute.is_finite() && per_minute >= 1.0).then_some(per_minute / 60.0)
        };
        let limits = (
            per_second("x-ratelimit-limit-requests"),
            per_second("x-ratelimit-limit-tokens"),
        );
        if limits != (None, None) {
            *self.limits.lock().unwrap_or_else(PoisonError::into_inner) = Some(limits);
        }
    }

    /// Notes what was paid so far by a call that has another question to ask.
    ///
    /// It counts if the call ends with an error that does not say what was paid, or is cut off.
    pub fn paid(&self, usage: Usage) {
        *self.paid.lock().unwrap_or_else(PoisonError::into_inner) = usage;
    }

    pub(crate) fn was_paid(&self) -> Usage {
        *self.paid.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Requests that were answered, as far as the service notes them.
    pub(crate) fn answers(&self) -> u64 {
        self.answers.load(Ordering::Relaxed)
    }

    pub(super) fn limits(&self) -> Option<Limits> {
        *self.limits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderName, HeaderValue};

    use super::*;

    fn read(requests: &'static str) -> Option<Limits> {
        let name = HeaderName::from_static("x-ratelimit-limit-requests");
        let heard = Heard::default();
        heard.read(&HeaderMap::from_iter([(
            name,
            HeaderValue::from_static(requests),
        )]));
        heard.limits()
    }

    #[test]
    fn limits_are_per_minute_and_nonsense_is_none() {
        assert_eq!(read("600"), Some((Some(10.0), None)));
        for nonsense in ["-1", "0", "", "many", "nan", "inf", "-2"] {
            assert_eq!(read(nonsense), None, "{nonsense}");
        }
    }
}
