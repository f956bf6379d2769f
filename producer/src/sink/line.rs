//! Lines of the result files: flat, the file first.

use std::{borrow::Cow, collections::BTreeMap};

use filefleet_shared::{
    time::UnixMillis,
    wire::{Outcome, RunId, Status, Usage},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One task as people read it.
#[derive(Serialize)]
pub(super) struct Line<'a> {
    file: &'a str,
    status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<&'a str>,
    usage: Usage,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    by_service: &'a BTreeMap<String, Usage>,
    attempts: u32,
    seq: u64,
    run: RunId,
    pipeline: &'a str,
    step: &'a str,
    root: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_bytes: Option<&'a str>,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    modified: Option<UnixMillis>,
    #[serde(skip_serializing_if = "Option::is_none")]
    etag: Option<&'a str>,
    media_type: &'a str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    input_changed: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    unmatched: bool,
    worker: &'a str,
    started: UnixMillis,
    finished: UnixMillis,
    call_ms: u64,
}

impl<'a> From<&'a Outcome> for Line<'a> {
    fn from(outcome: &'a Outcome) -> Self {
        let failure = outcome.failure.as_ref();
        Self {
            file: &outcome.file.key,
            status: outcome.status,
            output: outcome.output.as_ref(),
            cause: failure.map(|failure| failure.cause.as_str()),
            detail: failure.map(|failure| failure.detail.as_str()),
            service: failure.and_then(|failure| failure.service.as_deref()),
            usage: outcome.usage,
            by_service: &outcome.by_service,
            attempts: outcome.attempts,
            seq: outcome.seq,
            run: outcome.run,
            pipeline: &outcome.pipeline,
            step: &outcome.step,
            root: &outcome.file.root,
            key_bytes: outcome.file.key_bytes.as_deref(),
            size: outcome.file.size,
            modified: outcome.file.modified,
            etag: outcome.file.etag.as_deref(),
            media_type: &outcome.file.media_type,
            input_changed: outcome.input_changed,
            unmatched: outcome.unmatched,
            worker: &outcome.worker,
            started: outcome.timings.started,
            finished: outcome.timings.finished,
            call_ms: outcome.timings.call_ms,
        }
    }
}

/// What of a line is counted. Reading it passes over the output without keeping it.
#[derive(Deserialize)]
pub(crate) struct CountedLine<'a> {
    pub(super) run: RunId,
    pub(super) seq: u64,
    pub(super) status: Status,
    #[serde(default, borrow)]
    pub(super) cause: Option<Cow<'a, str>>,
    #[serde(default)]
    pub(super) unmatched: bool,
    pub(super) usage: Usage,
    #[serde(default)]
    pub(super) by_service: Cow<'a, BTreeMap<String, Usage>>,
    pub(super) finished: UnixMillis,
    pub(super) call_ms: u64,
}

impl<'a> From<&'a Outcome> for CountedLine<'a> {
    fn from(outcome: &'a Outcome) -> Self {
        let failure = outcome.failure.as_ref();
        Self {
            run: outcome.run,
            seq: outcome.seq,
            status: outcome.status,
            cause: failure.map(|failure| Cow::Borrowed(failure.cause.as_str())),
            unmatched: outcome.unmatched,
            usage: outcome.usage,
            by_service: Cow::Borrowed(&outcome.by_service),
            finished: outcome.timings.finished,
            call_ms: outcome.timings.call_ms,
        }
    }
}
