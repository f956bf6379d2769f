//! Changing a running service: a patch of its configuration, as JSON.

use std::{collections::BTreeSet, time::Duration};

use serde::{Deserialize, Deserializer, Serialize};

use crate::{
    Down, Faults, Knee, Latency, OcrControl, Quirk, Quotas, SearchControl, SimulatorConfig,
};

/// The body of `POST /_control`: what is left out stays, `null` takes a limit away.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Control {
    /// [`Quotas::requests_per_minute`].
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub requests_per_minute: Option<Option<u64>>,
    /// [`Quotas::request_window`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_window_ms: Option<u64>,
    /// [`Quotas::rejections_count`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rejections_count: Option<bool>,
    /// [`Quotas::tokens_per_minute`].
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub tokens_per_minute: Option<Option<u64>>,
    /// [`Quotas::token_window`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_window_ms: Option<u64>,
    /// [`Quotas::max_concurrent`].
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub max_concurrent: Option<Option<usize>>,
    /// [`Faults::error_429`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_429: Option<f64>,
    /// [`Faults::error_500`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_500: Option<f64>,
    /// [`Faults::error_503`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_503: Option<f64>,
    /// [`Faults::reset`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reset: Option<f64>,
    /// [`Faults::malformed`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub malformed: Option<f64>,
    /// [`Faults::invalid_json`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub invalid_json: Option<f64>,
    /// [`SimulatorConfig::latency`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency: Option<LatencyControl>,
    /// [`SimulatorConfig::knee`].
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub knee: Option<Option<KneeControl>>,
    /// [`SimulatorConfig::down`]: `false`, `true` (closes connections) or `"unavailable"` (503).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub down: Option<Down>,
    /// [`SimulatorConfig::require_key`].
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub require_key: Option<Option<String>>,
    /// [`SimulatorConfig::models`].
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub models: Option<Option<Vec<String>>>,
    /// [`SimulatorConfig::quirks`], all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quirks: Option<BTreeSet<Quirk>>,
    /// [`SimulatorConfig::context_tokens`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context_tokens: Option<u64>,
    /// [`SimulatorConfig::loading`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loading_ms: Option<u64>,
    /// [`SimulatorConfig::slow`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slow_ms: Option<u64>,
    /// [`SimulatorConfig::keep_alive`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_alive_ms: Option<u64>,
    /// [`SimulatorConfig::ocr`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ocr: Option<OcrControl>,
    /// [`SimulatorConfig::search`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub search: Option<SearchControl>,
}

/// A [`Latency`] in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum LatencyControl {
    /// [`Latency::Fixed`].
    Fixed {
        /// Milliseconds.
        fixed_ms: u64,
    },
    /// [`Latency::LogNormal`].
    LogNormal {
        /// Milliseconds.
        median_ms: u64,
        /// Standard deviation of the logarithm.
        sigma: f64,
    },
}

/// A [`Knee`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KneeControl {
    /// In flight, up to which latency is as configured.
    pub above: usize,
    /// Latency is multiplied by this beyond.
    pub factor: f64,
}

/// Tells `null` from a field that is left out.
pub(crate) fn given<'de, T, D>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    Option::deserialize(deserializer).map(Some)
}

impl Serialize for Down {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::No => serializer.serialize_bool(false),
            Self::Close => serializer.serialize_bool(true),
            Self::Unavailable => serializer.serialize_str("unavailable"),
        }
    }
}

impl<'de> Deserialize<'de> for Down {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Flag(bool),
            Word(String),
        }
        match Either::deserialize(deserializer)? {
            Either::Flag(false) => Ok(Self::No),
            Either::Flag(true) => Ok(Self::Close),
            Either::Word(word) if word == "unavailable" => Ok(Self::Unavailable),
            Either::Word(word) => Err(serde::de::Error::custom(format!(
                "down is false, true or \"unavailable\", not {word:?}"
            ))),
        }
    }
}

pub(crate) fn put<T>(into: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *into = value;
    }
}

pub(crate) fn put_ms(into: &mut Duration, millis: Option<u64>) {
    put(into, millis.map(Duration::from_millis));
}

impl Control {
    /// The configuration as it is after the change.
    pub(crate) fn apply(self, to: &SimulatorConfig) -> SimulatorConfig {
        let mut config = to.clone();
        let Quotas {
            requests_per_minute,
            request_window,
            rejections_count,
            tokens_per_minute,
            token_window,
            max_concurrent,
        } = &mut config.quotas;
        put(requests_per_minute, self.requests_per_minute);
        put_ms(request_window, self.request_window_ms);
        put(rejections_count, self.rejections_count);
        put(tokens_per_minute, self.tokens_per_minute);
        put_ms(token_window, self.token_window_ms);
        put(max_concurrent, self.max_concurrent);
        let faults: &mut Faults = &mut config.faults;
        put(&mut faults.error_429, self.error_429);
        put(&mut faults.error_500, self.error_500);
        put(&mut faults.error_503, self.error_503);
        put(&mut faults.reset, self.reset);
        put(&mut faults.malformed, self.malformed);
        put(&mut faults.invalid_json, self.invalid_json);
        put(&mut config.latency, self.latency.map(Latency::from));
        let knee = self
            .knee
            .map(|knee| knee.map(|KneeControl { above, factor }| Knee { above, factor }));
        put(&mut config.knee, knee);
        put(&mut config.down, self.down);
        put(&mut config.require_key, self.require_key);
        put(&mut config.models, self.models);
        put(&mut config.quirks, self.quirks);
        put(&mut config.context_tokens, self.context_tokens);
        put_ms(&mut config.loading, self.loading_ms);
        put_ms(&mut config.slow, self.slow_ms);
        put_ms(&mut config.keep_alive, self.keep_alive_ms);
        if let Some(ocr) = self.ocr {
            ocr.apply(&mut config.ocr);
        }
        if let Some(search) = self.search {
            search.apply(&mut config.search);
        }
        config
    }
}

impl From<LatencyControl> for Latency {
    fn from(latency: LatencyControl) -> Self {
        match latency {
            LatencyControl::Fixed { fixed_ms } => Self::Fixed(Duration::from_millis(fixed_ms)),
            LatencyControl::LogNormal { median_ms, sigma } => Self::LogNormal {
                median: Duration::from_millis(median_ms),
                sigma,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_stays_and_null_takes_away() {
        let before = SimulatorConfig {
            require_key: Some("k".to_owned()),
            quotas: Quotas {
                requests_per_minute: Some(600),
                tokens_per_minute: Some(9),
                ..Quotas::default()
            },
            ..SimulatorConfig::default()
        };
        let control: Control = serde_json::from_str(
            r#"{"requests_per_minute": 300, "tokens_per_minute": null, "down": true,
                "latency": {"median_ms": 20, "sigma": 0.5}, "quirks": ["retry-after-24h"]}"#,
        )
        .unwrap();
        let after = control.apply(&before);
        assert_eq!(after.quotas.requests_per_minute, Some(300));
        assert_eq!(after.quotas.tokens_per_minute, None);
        assert_eq!(after.require_key.as_deref(), Some("k"));
        assert_eq!(after.down, Down::Close);
        assert!(after.has(Quirk::RetryAfter24h));
        assert!(matches!(after.latency, Latency::LogNormal { .. }));
    }

    #[test]
    fn a_misspelt_key_is_an_error() {
        for body in [r#"{"request_per_minute": 1}"#, r#"{"down": "a bit"}"#] {
            assert!(serde_json::from_str::<Control>(body).is_err(), "{body}");
        }
    }

    #[test]
    fn only_what_is_set_is_written() {
        let control = Control {
            requests_per_minute: Some(None),
            down: Some(Down::No),
            ..Control::default()
        };
        let json = serde_json::to_string(&control).unwrap();
        assert_eq!(json, r#"{"requests_per_minute":null,"down":false}"#);
        assert_eq!(serde_json::from_str::<Control>(&json).unwrap(), control);
    }
}
