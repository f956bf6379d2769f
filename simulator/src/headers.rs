//! Response headers: ids, rate limits and when to come back, with their quirks.

use std::time::{Duration, SystemTime};

use axum::http::{HeaderMap, HeaderName, HeaderValue};

use crate::{
    Quirk, SimulatorConfig,
    quota::{Level, Levels},
    refusal::Dialect,
};

/// What every answer says about itself.
pub(crate) struct About<'a> {
    pub(crate) dialect: &'a Dialect,
    /// Decides the request's id.
    pub(crate) id: u64,
    pub(crate) processing: Duration,
    pub(crate) levels: Levels,
}

/// Headers of an answer or a refusal. `wait` is given with a 429 that a wait mends.
pub(crate) fn headers(
    about: &About<'_>,
    config: &SimulatorConfig,
    wait: Option<Duration>,
) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(12);
    let mut set = |name: &'static str, value: String| {
        // Every value here is printable ASCII.
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    };
    let id = crate::chance::mix(about.id);
    let processing = about.processing.as_millis().to_string();
    if !about.dialect.is_openai_like() {
        set("apim-request-id", uuid_like(about.id, id));
        set("x-envoy-upstream-service-time", processing);
        if let Some(wait) = wait {
            // Of the two, only Azure OpenAI gives milliseconds.
            retry_after(config, wait, &mut |name, value| {
                if name == "retry-after" {
                    set(name, value);
                }
            });
        }
        return headers;
    }
    set("x-request-id", format!("req_{:016x}{id:016x}", about.id));
    if about.dialect.is_azure() {
        set("apim-request-id", uuid_like(about.id, id));
        set("x-ms-region", "Simulator".to_owned());
    }
    set("openai-processing-ms", processing);
    rate_limits(about, config, wait.is_some(), &mut set);
    if let Some(wait) = wait {
        retry_after(config, wait, &mut set);
    }
    headers
}

pub(crate) fn uuid_like(high: u64, low: u64) -> String {
    format!(
        "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
        high >> 32,
        (high >> 16) & 0xffff,
        high & 0xfff,
        low >> 52,
        low & 0xffff_ffff_ffff
    )
}

fn rate_limits(
    about: &About<'_>,
    config: &SimulatorConfig,
    throttled: bool,
    set: &mut impl FnMut(&'static str, String),
) {
    const REQUESTS: [&str; 3] = [
        "x-ratelimit-limit-requests",
        "x-ratelimit-remaining-requests",
        "x-ratelimit-reset-requests",
    ];
    const TOKENS: [&str; 3] = [
        "x-ratelimit-limit-tokens",
        "x-ratelimit-remaining-tokens",
        "x-ratelimit-reset-tokens",
    ];
    if config.has(Quirk::RatelimitNegative) {
        for [limit, remaining, reset] in [REQUESTS, TOKENS] {
            set(limit, "-1".to_owned());
            set(remaining, "-1".to_owned());
            set(reset, "0".to_owned());
        }
        return;
    }
    let Levels { requests, tokens } = about.levels;
    for (level, [limit, remaining, reset]) in [(requests, REQUESTS), (tokens, TOKENS)] {
        let Some(level) = level else { continue };
        let lies = throttled && config.has(Quirk::RemainingLies);
        let left = if lies {
            level.limit.div_ceil(2)
        } else {
            level.remaining
        };
        set(limit, level.limit.to_string());
        set(remaining, left.to_string());
        set(reset, reset_time(about.dialect, level));
    }
}

fn reset_time(dialect: &Dialect, level: Level) -> String {
    if dialect.is_azure() {
        whole_seconds(level.reset).to_string()
    } else {
        go_duration(level.reset)
    }
}

pub(crate) fn retry_after(
    config: &SimulatorConfig,
    wait: Duration,
    set: &mut impl FnMut(&'static str, String),
) {
    const DAY: u64 = 86_400;
    if config.has(Quirk::RetryAfterMissing) {
        return;
    }
    if config.has(Quirk::RetryAfterDate) {
        // Whole seconds, so up: a date before the wait is over would be too early.
        let when = SystemTime::now() + wait + Duration::from_millis(999);
        set("retry-after", httpdate::fmt_http_date(when));
    } else if config.has(Quirk::RetryAfter24h) {
        set("retry-after", DAY.to_string());
        set("retry-after-ms", (DAY * 1000).to_string());
    } else if config.has(Quirk::RetryAfterNegative) {
        set("retry-after", "-1".to_owned());
        set("retry-after-ms", "-1".to_owned());
    } else {
        set("retry-after", whole_seconds(wait).to_string());
        let millis = if config.has(Quirk::RetryAfterMsZero) {
            0
        } else {
            millis(wait).max(1)
        };
        set("retry-after-ms", millis.to_string());
    }
}

/// Rounded up: a client that waits as long is not refused again.
pub(crate) fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

/// As Go prints durations: `12ms`, `1.5s`, `6m0s`.
pub(crate) fn go_duration(time: Duration) -> String {
    let millis = millis(time);
    if millis == 0 {
        return "0s".to_owned();
    }
    if millis < 1000 {
        return format!("{millis}ms");
    }
    let (hours, minutes) = (millis / 3_600_000, millis / 60_000 % 60);
    let (seconds, thousandths) = (millis / 1000 % 60, millis % 1000);
    let mut text = String::new();
    if hours > 0 {
        text = format!("{hours}h");
    }
    if hours > 0 || minutes > 0 {
        text += &format!("{minutes}m");
    }
    if thousandths == 0 {
        return format!("{text}{seconds}s");
    }
    let fraction = format!("{thousandths:03}");
    format!("{text}{seconds}.{}s", fraction.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_go_writes_them() {
        for (millis, text) in [
            (0, "0s"),
            (12, "12ms"),
            (1_000, "1s"),
            (1_500, "1.5s"),
            (20_050, "20.05s"),
            (360_000, "6m0s"),
            (3_600_001, "1h0m0.001s"),
        ] {
            assert_eq!(go_duration(Duration::from_millis(millis)), text);
        }
        assert_eq!(go_duration(Duration::from_micros(11_001)), "12ms");
    }

    #[test]
    fn waits_are_rounded_up() {
        assert_eq!(whole_seconds(Duration::from_millis(1_001)), 2);
        assert_eq!(whole_seconds(Duration::from_secs(2)), 2);
        assert_eq!(whole_seconds(Duration::ZERO), 0);
    }
}
