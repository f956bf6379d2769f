//! What Azure says where it differs from OpenAI.

use serde_json::{Value, json};

use super::{Dialect, Exceeded, Refusal};
use crate::{Kind, quota::Limited};

impl Refusal {
    /// Code and message, where Azure's own gateway answers and not the model behind it.
    pub(super) fn azure(&self, dialect: &Dialect) -> Option<(&'static str, String)> {
        let words = self.words();
        let code = match self {
            Self::RateLimited { kind, exceeded, .. } => {
                return Some(("429", throttled(*kind, dialect, exceeded)));
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

    /// As the services beside OpenAI spell it.
    pub(super) fn vision(&self, dialect: &Dialect) -> Value {
        let words = self.words();
        let (code, message) = match self.azure(dialect) {
            Some((code, message)) => (code.to_owned(), message),
            None => {
                let status = || words.status.as_u16().to_string();
                let code = words.code.map_or_else(status, str::to_owned);
                (code, words.message)
            }
        };
        let mut error = json!({"code": code, "message": message});
        if let Self::Invalid(invalid) = self
            && let Some((code, message)) = &invalid.inner
        {
            error["innererror"] = json!({"code": code, "message": message});
        }
        json!({"error": error})
    }
}

fn throttled(kind: Kind, dialect: &Dialect, exceeded: &Exceeded) -> String {
    let (operation, api, tier) = match kind {
        Kind::Vision => ("Analyze", "Computer Vision API", "ComputerVision S1"),
        Kind::Embeddings => ("Embeddings_Create", "Azure OpenAI API version", "OpenAI S0"),
        // The other services refuse in words of their own, see `crate::azure::Problem`.
        _ => (
            "ChatCompletions_Create",
            "Azure OpenAI API version",
            "OpenAI S0",
        ),
    };
    let what = match exceeded.what {
        Limited::Requests => "call rate limit",
        Limited::Tokens => "token rate limit",
    };
    let version = dialect.api_version();
    let (version, more) = if kind == Kind::Vision {
        (
            format!("({version})"),
            "Please contact Azure support service if you would like to further increase the \
             default rate limit.",
        )
    } else {
        (
            version.to_owned(),
            "Please go here: https://aka.ms/oai/quotaincrease if you would like to further \
             increase the default rate limit.",
        )
    };
    format!(
        "Requests to the {operation} Operation under {api} {version} have exceeded {what} of \
         your current {tier} pricing tier. Please retry after {} seconds. {more}",
        crate::headers::whole_seconds(exceeded.wait),
    )
}
