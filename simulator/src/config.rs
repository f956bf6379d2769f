//! What the simulated service is like.

use std::{collections::BTreeSet, time::Duration};

use crate::{EntraConfig, OcrConfig, Quirk, SearchConfig};

/// Behaviour of the service. The default answers at once, without quotas, faults or quirks.
#[derive(Clone, Debug, PartialEq)]
pub struct SimulatorConfig {
    /// Decides latencies (with the request's body) and faults (with the request's number).
    pub seed: u64,
    /// How long an answer takes.
    pub latency: Latency,
    /// Where latency begins to suffer from load.
    pub knee: Option<Knee>,
    /// What is refused with 429, for each kind of service by itself, and over which number in
    /// flight with 503.
    pub quotas: Quotas,
    /// How often the service fails.
    pub faults: Faults,
    /// Whether it answers at all.
    pub down: Down,
    /// The key that requests must carry (Bearer, or in the header of the service); any or none if
    /// `None`. A token that was issued here does as well.
    pub require_key: Option<String>,
    /// The models (Azure: deployments) that exist; every name if `None`.
    pub models: Option<Vec<String>>,
    /// Deviations seen in the field.
    pub quirks: BTreeSet<Quirk>,
    /// The longest prompt in tokens, for [`Quirk::ContextExceeded`]. 8192.
    pub context_tokens: u64,
    /// How long the model loads after the start, for [`Quirk::LlamacppLoading`]. 5 s.
    pub loading: Duration,
    /// What [`Quirk::Slow`] adds to the latency. 10 s.
    pub slow: Duration,
    /// Time between empty lines, for [`Quirk::DeepseekKeepAlive`]. 100 ms.
    pub keep_alive: Duration,
    /// How documents are read.
    pub ocr: OcrConfig,
    /// How search indexes behave.
    pub search: SearchConfig,
    /// Who gets tokens in place of keys.
    pub entra: EntraConfig,
}

impl Default for SimulatorConfig {
    fn default() -> Self {
        Self {
            seed: 0,
            latency: Latency::Fixed(Duration::ZERO),
            knee: None,
            quotas: Quotas::default(),
            faults: Faults::default(),
            down: Down::No,
            require_key: None,
            models: None,
            quirks: BTreeSet::new(),
            context_tokens: 8192,
            loading: Duration::from_secs(5),
            slow: Duration::from_secs(10),
            keep_alive: Duration::from_millis(100),
            ocr: OcrConfig::default(),
            search: SearchConfig::default(),
            entra: EntraConfig::default(),
        }
    }
}

/// How long an answer takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Latency {
    /// Always the same.
    Fixed(Duration),
    /// Half of the requests take longer than `median`; the same request always as long.
    LogNormal {
        /// The middle one of all latencies.
        median: Duration,
        /// Standard deviation of the logarithm; 0.5 is usual for language models.
        sigma: f64,
    },
}

/// More in flight than `above` makes every answer slower.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Knee {
    /// In flight, up to which latency is as configured.
    pub above: usize,
    /// Latency is multiplied by this beyond.
    pub factor: f64,
}

/// What a service allows.
#[derive(Clone, Debug, PartialEq)]
pub struct Quotas {
    /// Requests per minute; `None` is no limit.
    pub requests_per_minute: Option<u64>,
    /// Over which time requests are judged, sliding: 600 a minute are 10 in every 1 s. 1 s.
    pub request_window: Duration,
    /// Requests refused with 429 count against the request quota, as OpenAI's do. True.
    ///
    /// Requests that fail in any other way count always.
    pub rejections_count: bool,
    /// Tokens per minute, an estimate at arrival: prompt + `max_tokens`; images have none. `None`
    /// is no limit.
    pub tokens_per_minute: Option<u64>,
    /// After which time the count of tokens starts again at 0, as Azure's does. 60 s.
    pub token_window: Duration,
    /// In flight; one more is refused with 503, as Ollama does. `None` is no limit.
    pub max_concurrent: Option<usize>,
}

impl Default for Quotas {
    fn default() -> Self {
        Self {
            requests_per_minute: None,
            request_window: Duration::from_secs(1),
            rejections_count: true,
            tokens_per_minute: None,
            token_window: Duration::from_secs(60),
            max_concurrent: None,
        }
    }
}

/// Share of requests that fail, each 0 to 1, and in sum at most 1 without `invalid_json`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Faults {
    /// 429 although the quota has room.
    pub error_429: f64,
    /// 500.
    pub error_500: f64,
    /// 503.
    pub error_503: f64,
    /// The connection is closed in the middle of the answer. The answer is paid.
    pub reset: f64,
    /// 200 with a body that is not JSON. The answer is paid.
    pub malformed: f64,
    /// 200 of chat with an answer that is not the JSON that was asked for, apart from the others.
    pub invalid_json: f64,
}

impl Faults {
    fn rates(&self) -> [f64; 5] {
        [
            self.error_429,
            self.error_500,
            self.error_503,
            self.reset,
            self.malformed,
        ]
    }
}

/// Whether the service answers at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Down {
    /// It does.
    #[default]
    No,
    /// It closes the connection without an answer.
    Close,
    /// It answers 503.
    Unavailable,
}

/// A configuration that no service can have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A share of requests outside 0 to 1, or more than all requests in sum.
    #[error("fault rates must be from 0 to 1, and at most 1 in sum")]
    FaultRates,
    /// A quota of nothing would refuse everything.
    #[error("quotas must be above 0; leave one out for no limit")]
    ZeroQuota,
    /// A window without a length.
    #[error("quota windows must be above 0")]
    ZeroWindow,
    /// Sigma or factor is not a number of 0 or more.
    #[error("latency sigma and knee factor must be finite and not negative")]
    Latency,
    /// Empty lines without a pause in between.
    #[error("the time between keep-alive lines must be above 0")]
    KeepAlive,
}

impl SimulatorConfig {
    /// Refuses what no service can be.
    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        let rates = self.faults.rates();
        // A sum of shares like 0.1 + 0.2 + 0.7 may exceed 1 by rounding.
        if rates.iter().any(|rate| !(0.0..=1.0).contains(rate))
            || !(0.0..=1.0).contains(&self.search.document_failures)
            || !(0.0..=1.0).contains(&self.faults.invalid_json)
            || rates.iter().sum::<f64>() > 1.0 + 1e-9
        {
            return Err(ConfigError::FaultRates);
        }
        let quotas = &self.quotas;
        if self.ocr.is_zero()
            || self.search.is_zero()
            || quotas.requests_per_minute == Some(0)
            || quotas.tokens_per_minute == Some(0)
            || quotas.max_concurrent == Some(0)
        {
            return Err(ConfigError::ZeroQuota);
        }
        if quotas.request_window.is_zero() || quotas.token_window.is_zero() {
            return Err(ConfigError::ZeroWindow);
        }
        if let Latency::LogNormal { sigma, .. } = self.latency
            && !(sigma.is_finite() && sigma >= 0.0)
        {
            return Err(ConfigError::Latency);
        }
        if let Some(knee) = self.knee
            && !(knee.factor.is_finite() && knee.factor >= 0.0)
        {
            return Err(ConfigError::Latency);
        }
        if self.keep_alive.is_zero() {
            return Err(ConfigError::KeepAlive);
        }
        Ok(())
    }

    pub(crate) fn has(&self, quirk: Quirk) -> bool {
        self.quirks.contains(&quirk)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_a_service_without_limits() {
        assert_eq!(SimulatorConfig::default().validate(), Ok(()));
    }

    #[test]
    fn impossible_services_are_refused() {
        let with = |change: fn(&mut SimulatorConfig)| {
            let mut config = SimulatorConfig::default();
            change(&mut config);
            config.validate()
        };
        assert_eq!(with(|c| c.faults.reset = 1.5), Err(ConfigError::FaultRates));
        assert_eq!(
            with(|c| {
                c.faults.reset = 0.6;
                c.faults.error_500 = 0.6;
            }),
            Err(ConfigError::FaultRates)
        );
        assert_eq!(
            with(|c| c.quotas.requests_per_minute = Some(0)),
            Err(ConfigError::ZeroQuota)
        );
        assert_eq!(
            with(|c| c.quotas.request_window = Duration::ZERO),
            Err(ConfigError::ZeroWindow)
        );
        assert_eq!(
            with(|c| c.latency = Latency::LogNormal {
                median: Duration::from_secs(1),
                sigma: f64::NAN
            }),
            Err(ConfigError::Latency)
        );
    }
}
