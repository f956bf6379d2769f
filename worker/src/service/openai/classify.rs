//! What a refusal means, beyond what a status means everywhere: the first row that fits decides.

use std::time::SystemTime;

use reqwest::{StatusCode, header::HeaderMap};

use crate::service::{
    CallError,
    refusal::{Mark, Meaning, Refusal, Row, row},
};

const OWN: &[Row] = &[
    row(
        400..=400,
        Mark::Word("content_filter"),
        Meaning::Rejected("content_filter"),
    ),
    row(
        400..=400,
        Mark::Word("ResponsibleAIPolicyViolation"),
        Meaning::Rejected("content_filter"),
    ),
    row(
        400..=400,
        Mark::Word("context_length_exceeded"),
        Meaning::Rejected("context_length"),
    ),
    row(
        400..=400,
        Mark::Word("exceed_context_size_error"),
        Meaning::Rejected("context_length"),
    ),
    // vLLM and DeepSeek have no word for it.
    row(
        400..=400,
        Mark::Says("maximum context length"),
        Meaning::Rejected("context_length"),
    ),
    row(
        400..=400,
        Mark::Word("model_not_found"),
        Meaning::Misconfigured,
    ),
    row(
        400..=400,
        Mark::Says("model not exist"),
        Meaning::Misconfigured,
    ),
    row(409..=409, Mark::NoRetry, Meaning::Rejected("not_retryable")),
    row(
        429..=429,
        Mark::Word("insufficient_quota"),
        Meaning::QuotaExhausted,
    ),
    // OpenAI: it has more tokens than a minute's quota, so it never fits.
    row(
        429..=429,
        Mark::Says("request too large"),
        Meaning::Rejected("request_too_large"),
    ),
    // Ollama: one call at once too many.
    row(
        503..=503,
        Mark::Says("maximum pending requests"),
        Meaning::RateLimited,
    ),
    row(500..=599, Mark::NoRetry, Meaning::Rejected("not_retryable")),
    // llama.cpp: the server was not started for this.
    row(501..=501, Mark::Any, Meaning::Misconfigured),
];

/// What the worker must do about an answer that is not a success.
pub(crate) fn classify(
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
    now: SystemTime,
) -> CallError {
    Refusal::read(status, headers, body, now).decide(OWN)
}

#[cfg(test)]
mod tests;
