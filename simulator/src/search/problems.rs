//! What AI Search says no with.

use axum::http::StatusCode;

use crate::azure::Problem;

pub(super) fn locked() -> Problem {
    Problem::new(
        StatusCode::FORBIDDEN,
        "Forbidden",
        "Access denied: the API key is missing or not one of this service.",
    )
}

pub(super) fn crowded() -> Problem {
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "ServiceUnavailable",
        "You are sending too many requests. Please try again later.",
    )
}

pub(super) fn wrong_method() -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "MethodNotAllowed",
        "The requested resource does not support this http method.",
    )
}

pub(super) fn invalid(details: &str) -> Problem {
    Problem::new(
        StatusCode::BAD_REQUEST,
        "InvalidRequestParameter",
        format!("The request is invalid. Details: {details}"),
    )
}

pub(super) fn invalid_expression(details: &str) -> Problem {
    Problem::new(
        StatusCode::BAD_REQUEST,
        "InvalidRequestParameter",
        format!("Invalid expression: {details}"),
    )
}

pub(super) fn too_large() -> Problem {
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "RequestEntityTooLarge",
        "The page was not displayed because the request entity is too large.",
    )
}

pub(super) fn no_such_index(name: &str) -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "ResourceNotFound",
        format!("No index with the name '{name}' was found in the service 'simulator'."),
    )
}

pub(super) fn no_such_document() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "ResourceNotFound",
        "The document was not found.",
    )
}

pub(super) fn exists(name: &str) -> Problem {
    Problem::new(
        StatusCode::CONFLICT,
        "ResourceNameAlreadyInUse",
        format!("Cannot create index '{name}' because it already exists."),
    )
}

pub(super) fn condition_failed() -> Problem {
    Problem::new(
        StatusCode::PRECONDITION_FAILED,
        "PreconditionFailed",
        "The precondition given in one of the request headers evaluated to false.",
    )
}
