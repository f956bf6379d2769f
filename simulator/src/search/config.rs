//! How search indexes fail.

use serde::{Deserialize, Serialize};

use crate::{
    Quotas,
    control::{given, put},
};

/// How search indexes behave. The default has no limits and no failures.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SearchConfig {
    /// Batches and queries a second; over it they are refused with 503. `None` is no limit.
    pub requests_per_second: Option<u64>,
    /// Share of the documents of every batch that are not written and answered with 409, 422 or
    /// 503 within a 207; from 0 to 1.
    pub document_failures: f64,
}

impl SearchConfig {
    /// A quota of nothing would refuse everything.
    pub(crate) fn is_zero(&self) -> bool {
        self.requests_per_second == Some(0)
    }

    pub(super) fn quotas(&self) -> Option<Quotas> {
        let per_second = self.requests_per_second?;
        Some(Quotas {
            requests_per_minute: Some(per_second.saturating_mul(60)),
            rejections_count: false,
            ..Quotas::default()
        })
    }
}

/// A change of [`SearchConfig`]: what is left out stays, `null` takes the limit away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SearchControl {
    /// [`SearchConfig::requests_per_second`].
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub requests_per_second: Option<Option<u64>>,
    /// [`SearchConfig::document_failures`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub document_failures: Option<f64>,
}

impl SearchControl {
    pub(crate) fn apply(self, to: &mut SearchConfig) {
        put(&mut to.requests_per_second, self.requests_per_second);
        put(&mut to.document_failures, self.document_failures);
    }
}
