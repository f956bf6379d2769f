//! What a service says about its limits in the headers of its answers.

use std::sync::{Mutex, PoisonError};

use reqwest::header::HeaderMap;

/// Limits that were heard of during one call. Services write, the governor reads.
#[derive(Debug, Default)]
pub struct Heard(Mutex<Option<Limits>>);

/// Requests and tokens, per second.
type Limits = (Option<f64>, Option<f64>);

impl Heard {
    /// Notes what the headers of an answer say: `x-ratelimit-limit-requests` and
    /// `x-ratelimit-limit-tokens`, per minute.
    ///
    /// What is zero or negative says nothing: gateways that know no limit send it.
    pub fn read(&self, headers: &HeaderMap) {
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
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(limits);
        }
    }

    pub(super) fn limits(&self) -> Option<Limits> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
