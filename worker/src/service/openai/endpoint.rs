//! Where a service is, and which of the dialects it speaks.

use reqwest::Url;
use serde::Serialize;

use crate::service::transport::{self, VERSIONED, address};

/// How requests are addressed and signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// `BASE/chat/completions` with a bearer key: OpenAI, DeepSeek, vLLM, llama.cpp, Ollama.
    OpenAi,
    /// Azure OpenAI with the deployment in the path and a dated `api-version`.
    Azure,
    /// Azure OpenAI under `/openai/v1`, without a date.
    AzureV1,
}

/// Name of the parameter that bounds an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MaxTokensField {
    /// Deprecated by OpenAI and refused by its reasoning models; all that others know.
    MaxTokens,
    /// What OpenAI's newer models want.
    MaxCompletionTokens,
}

/// A validated endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    base: Url,
    dialect: Dialect,
    api_version: Option<String>,
}

/// What is wrong, and with which key of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct EndpointError {
    /// `endpoint` or `api_version`.
    pub key: &'static str,
    /// What is wrong and how to mend it.
    pub message: String,
}

impl Endpoint {
    /// Reads an endpoint as people write it: with or without `/v1`, `/openai/v1`, a slash at the
    /// end, or the path of the call itself. `dialect` is recognised by the host if none is given.
    ///
    /// # Errors
    /// Not an address, or an API version that is missing or out of place.
    pub fn parse(
        text: &str,
        dialect: Option<Dialect>,
        api_version: Option<&str>,
    ) -> Result<Self, EndpointError> {
        let base = address(text, VERSIONED).map_err(|message| wrong("endpoint", message))?;
        let dialect = dialect.unwrap_or_else(|| recognise(&base, api_version));
        match (dialect, api_version) {
            (Dialect::Azure, None) => {
                let message = "is missing: dialect `azure` needs one, like \"2024-10-21\"";
                return Err(wrong("api_version", message));
            }
            (Dialect::OpenAi | Dialect::AzureV1, Some(_)) => {
                let message = "is only for dialect `azure`; remove it or set that dialect";
                return Err(wrong("api_version", message));
            }
            _ => {}
        }
        Ok(Self {
            base: trimmed(base, dialect),
            dialect,
            api_version: api_version.map(str::to_owned),
        })
    }

    /// The same dialect spoken by the simulator at `base`.
    ///
    /// # Errors
    /// `base` is not an address.
    pub fn rehearsed(&self, base: &str) -> Result<Self, EndpointError> {
        Self::parse(base, Some(self.dialect), self.api_version.as_deref())
    }

    /// The dialect.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// The address without the path of a call.
    #[must_use]
    pub fn base(&self) -> &Url {
        &self.base
    }

    /// A key sent there could be read on the way.
    #[must_use]
    pub fn is_exposed(&self) -> bool {
        transport::is_exposed(&self.base)
    }

    /// Where chat completions of a model or deployment are.
    #[must_use]
    pub fn chat_url(&self, model: &str) -> Url {
        self.url(model, &["chat", "completions"])
    }

    /// Where embeddings of a model or deployment are.
    #[must_use]
    pub fn embeddings_url(&self, model: &str) -> Url {
        self.url(model, &["embeddings"])
    }

    fn url(&self, model: &str, call: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty();
            match self.dialect {
                Dialect::OpenAi => {}
                Dialect::Azure => {
                    path.extend(["openai", "deployments", model]);
                }
                Dialect::AzureV1 => {
                    path.extend(["openai", "v1"]);
                }
            }
            path.extend(call);
        }
        if let Some(version) = &self.api_version {
            url.query_pairs_mut().append_pair("api-version", version);
        }
        url
    }

    /// The parameter that this service wants for this model.
    #[must_use]
    pub fn max_tokens_field(&self, model: &str) -> MaxTokensField {
        let new = match self.dialect {
            // Versions before September 2024 refuse what they do not know.
            Dialect::Azure => self.api_version.as_deref() >= Some("2024-09"),
            Dialect::AzureV1 => true,
            Dialect::OpenAi => {
                self.base.host_str() == Some("api.openai.com")
                    || ["o1", "o3", "o4", "gpt-5"].iter().any(|family| {
                        model.strip_prefix(family).is_some_and(|rest| {
                            !rest.starts_with(|c: char| c.is_ascii_alphanumeric())
                        })
                    })
            }
        };
        if new {
            MaxTokensField::MaxCompletionTokens
        } else {
            MaxTokensField::MaxTokens
        }
    }
}

fn wrong(key: &'static str, message: impl Into<String>) -> EndpointError {
    EndpointError {
        key,
        message: message.into(),
    }
}

fn recognise(base: &Url, api_version: Option<&str>) -> Dialect {
    let host = base.host_str().unwrap_or_default();
    let azure = [
        ".openai.azure.com",
        ".cognitiveservices.azure.com",
        ".services.ai.azure.com",
    ]
    .iter()
    .any(|suffix| host.ends_with(suffix));
    match (azure, api_version) {
        (true, None) => Dialect::AzureV1,
        (_, Some(_)) => Dialect::Azure,
        (false, None) => Dialect::OpenAi,
    }
}

/// Takes off what [`Endpoint::url`] puts on.
fn trimmed(mut base: Url, dialect: Dialect) -> Url {
    let full = base.path().to_owned();
    let mut path = full.trim_end_matches('/');
    for call in ["/chat/completions", "/embeddings"] {
        path = path.strip_suffix(call).unwrap_or(path);
    }
    match dialect {
        Dialect::OpenAi if path.is_empty() => path = "/v1",
        Dialect::OpenAi => {}
        Dialect::Azure | Dialect::AzureV1 => {
            path = path
                .find("/openai/deployments")
                .map_or(path, |at| &path[..at]);
            path = path.strip_suffix("/v1").unwrap_or(path);
            path = path.strip_suffix("/openai").unwrap_or(path);
        }
    }
    base.set_path(path);
    base
}
