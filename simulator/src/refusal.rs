//! What a service says instead of an answer, in the words of each dialect.

use std::time::Duration;

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::{Kind, quota::Exceeded};

mod azure;
mod words;

use words::FILTERED;

/// The version of Image Analysis that is served.
pub(crate) const VISION_VERSION: &str = "2023-10-01";

/// Whose protocol a request speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// OpenAI, DeepSeek, vLLM, Ollama; with [`crate::Quirk::IntegerCode`] llama.cpp.
    OpenAi,
    /// Azure with a deployment in the path.
    AzureClassic { api_version: String },
    /// Azure's versionless path.
    AzureV1,
    /// Image Analysis.
    AzureVision { api_version: String },
}

impl Dialect {
    pub(crate) fn is_azure(&self) -> bool {
        !matches!(self, Self::OpenAi)
    }

    pub(crate) fn is_openai_like(&self) -> bool {
        !matches!(self, Self::AzureVision { .. })
    }

    /// Whether there is a service of the version that the address asks for.
    pub(crate) fn has_known_version(&self) -> bool {
        match self {
            Self::OpenAi | Self::AzureV1 => true,
            Self::AzureClassic { api_version } => !api_version.is_empty(),
            Self::AzureVision { api_version } => api_version == VISION_VERSION,
        }
    }

    fn api_version(&self) -> &str {
        match self {
            Self::AzureClassic { api_version } | Self::AzureVision { api_version } => api_version,
            Self::OpenAi | Self::AzureV1 => "v1",
        }
    }
}

/// A request that is wrong in itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Invalid {
    pub(crate) message: String,
    /// OpenAI's `type`.
    pub(crate) kind: &'static str,
    pub(crate) param: Option<String>,
    pub(crate) code: Option<&'static str>,
    /// Code and message of Azure's `innererror`.
    pub(crate) inner: Option<(&'static str, String)>,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The connection is closed instead.
    Closed,
    Invalid(Invalid),
    NotJsonContent,
    TooLarge,
    Unauthorized {
        given: Option<String>,
    },
    NoBalance,
    NoSuchModel {
        model: String,
    },
    NoSuchPath {
        method: String,
        path: String,
    },
    WrongMethod {
        method: String,
        path: String,
    },
    RateLimited {
        kind: Kind,
        model: String,
        exceeded: Exceeded,
    },
    InsufficientQuota,
    ContextExceeded {
        kind: Kind,
        prompt: u64,
        context: u64,
    },
    ContentFilter,
    Internal,
    Overloaded,
    Busy,
    Loading,
}

impl Refusal {
    pub(crate) fn status(&self) -> StatusCode {
        self.words().status
    }

    /// The wait to tell in `Retry-After`, if this refusal has one.
    pub(crate) fn wait(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { exceeded, .. } => Some(exceeded.wait),
            _ => None,
        }
    }

    /// The body, as the dialect spells it.
    pub(crate) fn body(&self, dialect: &Dialect, integer_code: bool) -> Value {
        if !dialect.is_openai_like() {
            return self.vision(dialect);
        }
        if integer_code {
            return self.llama_cpp();
        }
        if *self == Self::ContentFilter {
            return content_filter();
        }
        if dialect.is_azure()
            && let Some((code, message)) = self.azure(dialect)
        {
            return json!({"error": {"code": code, "message": message}});
        }
        let words = self.words();
        json!({"error": {
            "message": words.message,
            "type": words.kind,
            "param": words.param,
            "code": words.code,
        }})
    }

    /// As observed of llama.cpp: the status as an integer, no `param`.
    fn llama_cpp(&self) -> Value {
        let words = self.words();
        if let Self::ContextExceeded {
            prompt, context, ..
        } = self
        {
            return json!({"error": {
                "code": 400,
                "message": format!(
                    "request ({prompt} tokens) exceeds the available context size \
                     ({context} tokens), try increasing it"
                ),
                "type": "exceed_context_size_error",
                "n_prompt_tokens": prompt,
                "n_ctx": context,
            }});
        }
        let kind = match words.status.as_u16() {
            401 => "authentication_error",
            404 => "not_found_error",
            503 => "unavailable_error",
            _ => words.kind,
        };
        json!({"error": {
            "code": words.status.as_u16(),
            "message": words.message,
            "type": kind,
        }})
    }
}

/// `innererror` and `content_filter_result`: what is on the wire, unlike the specification.
fn content_filter() -> Value {
    let safe = json!({"filtered": false, "severity": "safe"});
    json!({"error": {
        "message": FILTERED,
        "type": null,
        "param": "prompt",
        "code": "content_filter",
        "status": 400,
        "innererror": {
            "code": "ResponsibleAIPolicyViolation",
            "content_filter_result": {
                "hate": safe,
                "jailbreak": {"filtered": false, "detected": false},
                "self_harm": safe,
                "sexual": safe,
                "violence": {"filtered": true, "severity": "medium"},
            },
        },
    }})
}
