//! What a service says instead of an answer, in the words of each dialect.

use std::time::Duration;

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::quota::{Exceeded, Limited};

mod words;

use words::FILTERED;

/// Whose protocol a request speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// OpenAI, DeepSeek, vLLM, Ollama; with [`crate::Quirk::IntegerCode`] llama.cpp.
    OpenAi,
    /// Azure with a deployment in the path.
    AzureClassic { api_version: String },
    /// Azure's versionless path.
    AzureV1,
}

impl Dialect {
    pub(crate) fn is_azure(&self) -> bool {
        !matches!(self, Self::OpenAi)
    }

    fn api_version(&self) -> &str {
        match self {
            Self::AzureClassic { api_version } => api_version,
            Self::OpenAi | Self::AzureV1 => "v1",
        }
    }
}

/// A request that is wrong in itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Invalid {
    pub(crate) message: String,
    pub(crate) param: Option<String>,
    pub(crate) code: Option<&'static str>,
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
        model: String,
        exceeded: Exceeded,
    },
    InsufficientQuota,
    ContextExceeded {
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

    /// Code and message, where Azure's own gateway answers and not the model behind it.
    fn azure(&self, dialect: &Dialect) -> Option<(&'static str, String)> {
        let words = self.words();
        let code = match self {
            Self::RateLimited { exceeded, .. } => {
                return Some(("429", azure_throttled(dialect, exceeded)));
            }
            Self::Unauthorized { .. } => {
                return Some((
                    "401",
                    "Access denied due to invalid subscription key or wrong API endpoint. Make \
                     sure to provide a valid key for an active subscription and use a correct \
                     regional API endpoint for your resource."
                        .to_owned(),
                ));
            }
            Self::NoSuchModel { .. } => {
                return Some((
                    "DeploymentNotFound",
                    "The API deployment for this resource does not exist. If you created the \
                     deployment within the last 5 minutes, please wait a moment and try again."
                        .to_owned(),
                ));
            }
            Self::NoSuchPath { .. } | Self::WrongMethod { .. } => {
                return Some(("404", "Resource not found".to_owned()));
            }
            Self::Internal => "InternalServerError",
            Self::Overloaded | Self::Busy => "ServiceUnavailable",
            _ => return None,
        };
        Some((code, words.message))
    }

    /// As observed of llama.cpp: the status as an integer, no `param`.
    fn llama_cpp(&self) -> Value {
        let words = self.words();
        if let Self::ContextExceeded { prompt, context } = self {
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

fn azure_throttled(dialect: &Dialect, exceeded: &Exceeded) -> String {
    let what = match exceeded.what {
        Limited::Requests => "call rate limit",
        Limited::Tokens => "token rate limit",
    };
    format!(
        "Requests to the ChatCompletions_Create Operation under Azure OpenAI API version {} have \
         exceeded {what} of your current OpenAI S0 pricing tier. Please retry after {} seconds. \
         Please go here: https://aka.ms/oai/quotaincrease if you would like to further increase \
         the default rate limit.",
        dialect.api_version(),
        crate::headers::whole_seconds(exceeded.wait),
    )
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
