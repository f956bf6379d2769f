//! Quirks seen in the field, by name. None is on unless it is asked for.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// One way in which real services differ from their specification.
///
/// Quirks with a [marker](Quirk::marker) strike every request while they are on; with
/// [`Quirk::Markers`] on they strike only the requests whose text has the word (of an image: its
/// bytes). Quirks of prompts, contents and finish reasons are chat's alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Quirk {
    /// 429 with `retry-after-ms: 0`, as Azure does over its tokens quota.
    RetryAfterMsZero,
    /// 429 with a `Retry-After` of a day.
    #[serde(rename = "retry-after-24h")]
    RetryAfter24h,
    /// 429 with a `Retry-After` below zero.
    RetryAfterNegative,
    /// 429 without any `Retry-After`.
    RetryAfterMissing,
    /// 429 with `Retry-After` as an HTTP date and without `retry-after-ms`.
    RetryAfterDate,
    /// All `x-ratelimit-*` values are -1, the resets 0.
    RatelimitNegative,
    /// 429 while `x-ratelimit-remaining-requests` says that there is room.
    RemainingLies,
    /// 200 at once, and empty lines until the body comes.
    DeepseekKeepAlive,
    /// 503 "Loading model" for [`SimulatorConfig::loading`](crate::SimulatorConfig::loading).
    LlamacppLoading,
    /// Errors with an integer `code` and no `param`; answers without `refusal`.
    IntegerCode,
    /// 400 for prompts over
    /// [`SimulatorConfig::context_tokens`](crate::SimulatorConfig::context_tokens).
    ContextExceeded,
    /// 400 `content_filter` with Azure's `innererror`.
    #[serde(rename = "content-filter-400")]
    ContentFilter400,
    /// 200 with finish reason `content_filter` and no content.
    #[serde(rename = "content-filter-200")]
    ContentFilter200,
    /// 200 with `message.refusal` and no content.
    Refusal,
    /// 200 with half of the answer and finish reason `length`.
    Truncated,
    /// 200 with an empty content.
    EmptyContent,
    /// 200 with an answer that is not the JSON that was asked for; corrected when told so, in a
    /// request that has the answer in it.
    InvalidJson,
    /// 429 `insufficient_quota`: no money left, waiting does not help.
    InsufficientQuota,
    /// 402, as DeepSeek answers without balance.
    PaymentRequired,
    /// The answer takes [`SimulatorConfig::slow`](crate::SimulatorConfig::slow) longer.
    Slow,
    /// Reading a document ends with status `failed` (which is a 200).
    OcrFailed,
    /// Words in the text of a request decide, instead of the set of quirks.
    Markers,
}

impl Quirk {
    /// Every quirk there is.
    pub const ALL: [Self; 22] = [
        Self::RetryAfterMsZero,
        Self::RetryAfter24h,
        Self::RetryAfterNegative,
        Self::RetryAfterMissing,
        Self::RetryAfterDate,
        Self::RatelimitNegative,
        Self::RemainingLies,
        Self::DeepseekKeepAlive,
        Self::LlamacppLoading,
        Self::IntegerCode,
        Self::ContextExceeded,
        Self::ContentFilter400,
        Self::ContentFilter200,
        Self::Refusal,
        Self::Truncated,
        Self::EmptyContent,
        Self::InvalidJson,
        Self::InsufficientQuota,
        Self::PaymentRequired,
        Self::Slow,
        Self::OcrFailed,
        Self::Markers,
    ];

    /// Its name, in kebab case.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RetryAfterMsZero => "retry-after-ms-zero",
            Self::RetryAfter24h => "retry-after-24h",
            Self::RetryAfterNegative => "retry-after-negative",
            Self::RetryAfterMissing => "retry-after-missing",
            Self::RetryAfterDate => "retry-after-date",
            Self::RatelimitNegative => "ratelimit-negative",
            Self::RemainingLies => "remaining-lies",
            Self::DeepseekKeepAlive => "deepseek-keep-alive",
            Self::LlamacppLoading => "llamacpp-loading",
            Self::IntegerCode => "integer-code",
            Self::ContextExceeded => "context-exceeded",
            Self::ContentFilter400 => "content-filter-400",
            Self::ContentFilter200 => "content-filter-200",
            Self::Refusal => "refusal",
            Self::Truncated => "truncated",
            Self::EmptyContent => "empty-content",
            Self::InvalidJson => "invalid-json",
            Self::InsufficientQuota => "insufficient-quota",
            Self::PaymentRequired => "payment-required",
            Self::Slow => "slow",
            Self::OcrFailed => "ocr-failed",
            Self::Markers => "markers",
        }
    }

    /// The word that calls for it in the text of a request, while [`Quirk::Markers`] is on.
    ///
    /// Three more words call for faults: `SIM_ERROR` (500), `SIM_RESET`, `SIM_MALFORMED`.
    #[must_use]
    pub fn marker(self) -> Option<&'static str> {
        match self {
            Self::ContentFilter400 => Some("SIM_CONTENT_FILTER"),
            Self::ContentFilter200 => Some("SIM_CONTENT_FILTER_200"),
            Self::Refusal => Some("SIM_REFUSAL"),
            Self::Truncated => Some("SIM_TRUNCATE"),
            Self::EmptyContent => Some("SIM_EMPTY"),
            Self::InvalidJson => Some("SIM_INVALID_JSON"),
            Self::Slow => Some("SIM_SLOW"),
            Self::OcrFailed => Some("SIM_OCR_FAILED"),
            _ => None,
        }
    }
}

impl fmt::Display for Quirk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// There is no quirk of this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown quirk {0:?}; known are: {known}", known = Quirk::ALL.map(Quirk::as_str).join(", "))]
pub struct UnknownQuirk(String);

impl FromStr for Quirk {
    type Err = UnknownQuirk;

    fn from_str(name: &str) -> Result<Self, UnknownQuirk> {
        Self::ALL
            .into_iter()
            .find(|quirk| quirk.as_str() == name)
            .ok_or_else(|| UnknownQuirk(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_through_text_and_json() {
        for quirk in Quirk::ALL {
            assert_eq!(quirk.to_string().parse(), Ok(quirk));
            let json = serde_json::to_string(&quirk).unwrap();
            assert_eq!(json, format!("\"{quirk}\""));
        }
    }

    #[test]
    fn an_unknown_name_lists_the_known_ones() {
        let error = "retry-after-tomorrow".parse::<Quirk>().unwrap_err();
        assert!(error.to_string().contains("retry-after-24h"), "{error}");
    }
}
