//! What reading documents is like.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    Quotas,
    control::{given, put, put_ms},
    quota::Bucket,
};

/// How documents are read. The default reads at once and without quotas.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OcrConfig {
    /// From accepting a document until it is read; the requests themselves take
    /// [`SimulatorConfig::latency`](crate::SimulatorConfig::latency), but polls no time.
    pub processing: Duration,
    /// Requests a second; `None` is no limit.
    pub quotas: Option<OcrQuotas>,
}

/// Requests a second, judged apart. The default is a paid (S0) resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OcrQuotas {
    /// Documents sent. 15.
    pub posts_per_second: u64,
    /// Polls. 50.
    pub gets_per_second: u64,
}

impl Default for OcrQuotas {
    fn default() -> Self {
        Self {
            posts_per_second: 15,
            gets_per_second: 50,
        }
    }
}

impl OcrQuotas {
    pub(super) fn of(self, bucket: Bucket) -> Quotas {
        let per_second = if bucket == Bucket::OcrPosts {
            self.posts_per_second
        } else {
            self.gets_per_second
        };
        Quotas {
            requests_per_minute: Some(per_second.saturating_mul(60)),
            rejections_count: false,
            ..Quotas::default()
        }
    }
}

impl OcrConfig {
    /// A quota of nothing would refuse everything.
    pub(crate) fn is_zero(&self) -> bool {
        self.quotas
            .is_some_and(|quotas| quotas.posts_per_second == 0 || quotas.gets_per_second == 0)
    }
}

/// A change of [`OcrConfig`]: what is left out stays, `null` takes the quotas away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OcrControl {
    /// [`OcrConfig::processing`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processing_ms: Option<u64>,
    /// [`OcrConfig::quotas`]; `{}` for the default ones.
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub quotas: Option<Option<OcrQuotas>>,
}

impl OcrControl {
    pub(crate) fn apply(self, to: &mut OcrConfig) {
        put_ms(&mut to.processing, self.processing_ms);
        put(&mut to.quotas, self.quotas);
    }
}
