//! What OpenAI says; the other dialects put the same in their own form.

use axum::http::StatusCode;

use super::{Exceeded, Refusal};
use crate::{Kind, quota::Limited};

/// The parts that dialects put together differently.
pub(super) struct Words {
    pub(super) status: StatusCode,
    pub(super) kind: &'static str,
    pub(super) code: Option<&'static str>,
    pub(super) param: Option<String>,
    pub(super) message: String,
}

impl Words {
    fn new(status: StatusCode, kind: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            kind,
            code: None,
            param: None,
            message: message.into(),
        }
    }

    fn code(self, code: &'static str) -> Self {
        Self {
            code: Some(code),
            ..self
        }
    }

    fn param(self, param: &str) -> Self {
        Self {
            param: Some(param.to_owned()),
            ..self
        }
    }
}

const INVALID: &str = "invalid_request_error";

pub(super) const FILTERED: &str = "The response was filtered due to the prompt triggering Azure OpenAI's \
     content management policy. Please modify your prompt and retry. To learn more about our \
     content filtering policies please read our documentation: \
     https://go.microsoft.com/fwlink/?linkid=2198766";

impl Refusal {
    pub(super) fn words(&self) -> Words {
        match self {
            Self::Invalid(invalid) => Words {
                status: StatusCode::BAD_REQUEST,
                kind: invalid.kind,
                code: invalid.code,
                param: invalid.param.clone(),
                message: invalid.message.clone(),
            },
            Self::NotJsonContent => Words::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                INVALID,
                "Unsupported content type: expected 'application/json'.",
            )
            .code("unsupported_content_type"),
            Self::TooLarge => Words::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                INVALID,
                "Request body is too large.",
            ),
            Self::Unauthorized { given } => unauthorized(given.as_deref()),
            Self::NoSuchModel { model } => Words::new(
                StatusCode::NOT_FOUND,
                INVALID,
                format!("The model `{model}` does not exist or you do not have access to it."),
            )
            .code("model_not_found"),
            Self::NoSuchPath { method, path } => Words::new(
                StatusCode::NOT_FOUND,
                INVALID,
                format!("Invalid URL ({method} {path})"),
            ),
            Self::WrongMethod { method, path } => Words::new(
                StatusCode::METHOD_NOT_ALLOWED,
                INVALID,
                format!(
                    "Not allowed to {method} on {path}. \
                     (HINT: Perhaps you meant to use a different HTTP method?)"
                ),
            ),
            Self::ContextExceeded {
                kind,
                prompt,
                context,
            } => too_long(*kind, *prompt, *context),
            Self::ContentFilter => Words::new(StatusCode::BAD_REQUEST, INVALID, FILTERED)
                .code("content_filter")
                .param("prompt"),
            Self::RateLimited {
                model, exceeded, ..
            } => rate_limited(model, exceeded),
            Self::InsufficientQuota | Self::NoBalance => self.without_money(),
            Self::Closed | Self::Internal | Self::Overloaded | Self::Busy | Self::Loading => {
                self.failing()
            }
        }
    }

    fn without_money(&self) -> Words {
        match self {
            Self::NoBalance => Words::new(
                StatusCode::PAYMENT_REQUIRED,
                "unknown_error",
                "Insufficient Balance",
            )
            .code("invalid_request_error"),
            _ => Words::new(
                StatusCode::TOO_MANY_REQUESTS,
                "insufficient_quota",
                "You exceeded your current quota, please check your plan and billing details.",
            )
            .code("insufficient_quota"),
        }
    }

    fn failing(&self) -> Words {
        let unavailable = StatusCode::SERVICE_UNAVAILABLE;
        match self {
            Self::Busy => Words::new(
                unavailable,
                "api_error",
                "server busy, please try again.  maximum pending requests exceeded",
            ),
            Self::Loading => Words::new(unavailable, "unavailable_error", "Loading model"),
            Self::Internal => Words::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "server_error",
                "The server had an error while processing your request. Sorry about that!",
            ),
            _ => Words::new(
                unavailable,
                "server_error",
                "The server is currently overloaded with other requests. Sorry about that!",
            ),
        }
    }
}

fn unauthorized(given: Option<&str>) -> Words {
    let status = StatusCode::UNAUTHORIZED;
    match given {
        // Providers show the ends of the key. The middle of any text may be inside a
        // character, so only the length is shown here.
        Some(key) => Words::new(
            status,
            INVALID,
            format!(
                "Incorrect API key provided: {}. You can find your API key at \
                 https://platform.openai.com/account/api-keys.",
                "*".repeat(key.chars().count().min(64))
            ),
        )
        .code("invalid_api_key"),
        None => Words::new(
            status,
            INVALID,
            "You didn't provide an API key. You need to provide your API key in an \
             Authorization header using Bearer auth (i.e. Authorization: Bearer YOUR_KEY).",
        ),
    }
}

fn too_long(kind: Kind, prompt: u64, context: u64) -> Words {
    if kind == Kind::Embeddings {
        return Words::new(
            StatusCode::BAD_REQUEST,
            INVALID,
            format!(
                "This model's maximum context length is {context} tokens, however you requested \
                 {prompt} tokens ({prompt} in your prompt; 0 for the completion). Please reduce \
                 your prompt; or completion length."
            ),
        );
    }
    Words::new(
        StatusCode::BAD_REQUEST,
        INVALID,
        format!(
            "This model's maximum context length is {context} tokens. However, your messages \
             resulted in {prompt} tokens. Please reduce the length of the messages."
        ),
    )
    .code("context_length_exceeded")
    .param("messages")
}

fn rate_limited(model: &str, exceeded: &Exceeded) -> Words {
    let (kind, long) = match exceeded.what {
        Limited::Requests => ("requests", "requests per min (RPM)"),
        Limited::Tokens => ("tokens", "tokens per min (TPM)"),
    };
    let Exceeded {
        limit,
        used,
        requested,
        ..
    } = exceeded;
    let message = if requested > limit {
        format!(
            "Request too large for {model} in organization org-simulator on {long}: Limit {limit}, \
             Requested {requested}. The input or output tokens must be reduced in order to run \
             successfully. Visit https://platform.openai.com/account/rate-limits to learn more."
        )
    } else {
        format!(
            "Rate limit reached for {model} in organization org-simulator on {long}: Limit {limit}, \
             Used {used}, Requested {requested}. Please try again in {}. Visit \
             https://platform.openai.com/account/rate-limits to learn more.",
            crate::headers::go_duration(exceeded.wait),
        )
    };
    Words::new(StatusCode::TOO_MANY_REQUESTS, kind, message).code("rate_limit_exceeded")
}
