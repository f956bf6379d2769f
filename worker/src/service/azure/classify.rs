//! What a refusal of an Azure AI service means, beyond what a status means everywhere: the first
//! row that fits decides.

use std::time::SystemTime;

use reqwest::{StatusCode, header::HeaderMap};

use crate::service::{
    CallError,
    refusal::{Mark, Meaning, Refusal, Row, row},
};

const OWN: &[Row] = &[
    row(
        400..=404,
        Mark::Word("ModelNotFound"),
        Meaning::Misconfigured,
    ),
    row(
        400..=409,
        Mark::Word("ModelNotReady"),
        Meaning::Misconfigured,
    ),
    row(
        400..=400,
        Mark::Word("NotSupportedApiVersion"),
        Meaning::Misconfigured,
    ),
    row(
        400..=400,
        Mark::Word("UnsupportedApiVersion"),
        Meaning::Misconfigured,
    ),
    row(
        400..=400,
        Mark::Word("NotSupportedLanguage"),
        Meaning::Misconfigured,
    ),
    row(
        400..=400,
        Mark::Word("NotSupportedVisualFeature"),
        Meaning::Misconfigured,
    ),
    row(
        400..=400,
        Mark::Word("NotSupportedFeature"),
        Meaning::Misconfigured,
    ),
    row(
        400..=400,
        Mark::Says("image size is not allowed"),
        Meaning::Rejected("image_too_large"),
    ),
    row(
        400..=400,
        Mark::Says("image dimension is not allowed"),
        Meaning::Rejected("image_dimensions"),
    ),
    // The free tier's month is used up; it says so with either status, and means days.
    row(
        403..=403,
        Mark::Says("out of call volume quota"),
        Meaning::QuotaExhausted,
    ),
    row(
        429..=429,
        Mark::Says("out of call volume quota"),
        Meaning::QuotaExhausted,
    ),
    row(
        413..=413,
        Mark::Any,
        Meaning::Rejected("invalid_content_length"),
    ),
    row(
        415..=415,
        Mark::Any,
        Meaning::Rejected("unsupported_media_type"),
    ),
];

/// What is wrong with a file, by the service's code: the most telling first.
///
/// The words on the right are outcomes that people count by, so they stay.
const CAUSES: &[(&str, &str)] = &[
    ("InvalidContentDimensions", "invalid_content_dimensions"),
    ("InvalidContentLength", "invalid_content_length"),
    ("UnsupportedContent", "unsupported_content"),
    ("InvalidContent", "invalid_content"),
    ("ModelAnalyzeError", "model_analyze_error"),
    ("InvalidParameterLength", "invalid_parameter"),
    ("InvalidParameter", "invalid_parameter"),
    ("InvalidImageSize", "image_too_large"),
    ("InvalidImageDimension", "image_dimensions"),
    ("InvalidImageFormat", "not_an_image"),
    ("NotSupportedImage", "not_an_image"),
];

/// The outcome that a service's codes name, if they name one.
pub(crate) fn cause_of(codes: &[String]) -> Option<&'static str> {
    CAUSES
        .iter()
        .find(|(code, _)| codes.iter().any(|found| found == code))
        .map(|(_, cause)| *cause)
}

/// What the worker must do about an answer that is not a success.
pub(crate) fn classify(
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
    now: SystemTime,
) -> CallError {
    let refusal = Refusal::read(status, headers, body, now);
    let about_the_file = matches!(status.as_u16(), 400 | 413 | 415 | 422);
    match cause_of(&refusal.words).filter(|_| about_the_file) {
        Some(cause) => refusal.means(Meaning::Rejected(cause)),
        None => refusal.decide(OWN),
    }
}

#[cfg(test)]
mod tests;
