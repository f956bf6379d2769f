//! What Document Intelligence says no with; the texts are those of its documentation.

use std::time::Duration;

use axum::http::StatusCode;

use crate::{azure::Problem, headers::whole_seconds};

pub(super) fn locked() -> Problem {
    Problem::new(
        StatusCode::UNAUTHORIZED,
        "401",
        "Access denied due to invalid subscription key or wrong API endpoint. Make sure to \
         provide a valid key for an active subscription and use a correct regional API endpoint \
         for your resource.",
    )
}

pub(super) fn crowded(wait: Duration) -> Problem {
    let seconds = whole_seconds(wait).max(1);
    Problem::new(
        StatusCode::TOO_MANY_REQUESTS,
        "429",
        format!(
            "Requests to the Analyze Document Operation under Document Intelligence API have \
             exceeded rate limit of your current FormRecognizer S0 pricing tier. Please retry \
             after {seconds} second{}.",
            if seconds == 1 { "" } else { "s" }
        ),
    )
    .wait(wait)
}

fn not_found() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "NotFound", "Resource not found.")
}

pub(super) fn no_such_path() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "404", "Resource not found")
}

pub(super) fn no_such_model() -> Problem {
    not_found().inner(
        "ModelNotFound",
        "The requested model was not found. It may have been deleted or is still building.",
    )
}

pub(super) fn no_such_operation() -> Problem {
    not_found().inner(
        "OperationNotFound",
        "The requested operation was not found. The identifier may be invalid or the operation \
         may have expired.",
    )
}

pub(super) fn invalid_argument(parameter: &str) -> Problem {
    Problem::new(
        StatusCode::BAD_REQUEST,
        "InvalidArgument",
        "Invalid argument.",
    )
    .inner(
        "InvalidParameter",
        format!("The parameter {parameter} is invalid."),
    )
}

fn invalid_request() -> Problem {
    Problem::new(
        StatusCode::BAD_REQUEST,
        "InvalidRequest",
        "Invalid request.",
    )
}

pub(super) fn invalid_json() -> Problem {
    invalid_request().inner(
        "InvalidJsonRequest",
        "The JSON request body must have either urlSource or base64Source.",
    )
}

pub(super) fn invalid_content() -> Problem {
    invalid_request().inner(
        "InvalidContent",
        "The file is corrupted or format is unsupported. Refer to documentation for the list of \
         supported formats.",
    )
}

pub(super) fn invalid_length() -> Problem {
    invalid_request().inner(
        "InvalidContentLength",
        "The input image is too large. Refer to documentation for the maximum file size.",
    )
}

pub(super) fn empty() -> Problem {
    invalid_request().inner("InvalidContentLength", "The input content is empty.")
}

pub(super) fn invalid_dimensions() -> Problem {
    invalid_request().inner(
        "InvalidContentDimensions",
        "The input image dimensions are out of range. Refer to documentation for supported image \
         dimensions.",
    )
}

pub(super) fn unreachable_source() -> Problem {
    invalid_request().inner(
        "ContentSourceNotAccessible",
        "Content is not accessible: the URL is not of a web address.",
    )
}

pub(super) fn unsupported_type() -> Problem {
    Problem::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "UnsupportedMediaType",
        "Request content type is not supported.",
    )
    .inner(
        "UnsupportedContent",
        "Content is not supported: use one of the content types of the documentation.",
    )
}
