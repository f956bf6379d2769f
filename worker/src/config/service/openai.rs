//! `kind = "openai"`: a server that speaks like OpenAI.

use filefleet_shared::config::{Secret, Section};

use super::{EXPOSED, ServiceKind, entra};
use crate::service::{
    entra::EntraConfig,
    openai::{Dialect, Endpoint, EndpointError, MaxTokensField},
};

/// What a service of kind `openai` has besides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenAiConfig {
    /// Where it is and which dialect it speaks.
    pub endpoint: Endpoint,
    /// Its key; local servers need none.
    pub key: Option<Secret>,
    /// Who asks for tokens in place of a key.
    pub entra: Option<EntraConfig>,
    /// The organization that pays, where a key is of several.
    pub organization: Option<String>,
    /// Overrides the parameter that bounds an answer.
    pub max_tokens_field: Option<MaxTokensField>,
}

pub(super) fn read(section: &mut Section<'_>) -> Option<ServiceKind> {
    const DIALECTS: &[(&str, Option<Dialect>)] = &[
        ("auto", None),
        ("openai", Some(Dialect::OpenAi)),
        ("azure", Some(Dialect::Azure)),
        ("azure-v1", Some(Dialect::AzureV1)),
    ];
    const FIELDS: &[(&str, MaxTokensField)] = &[
        ("max_tokens", MaxTokensField::MaxTokens),
        ("max_completion_tokens", MaxTokensField::MaxCompletionTokens),
    ];
    let address = section.string("endpoint");
    let dialect = section.opt_enum("dialect", DIALECTS).flatten();
    let api_version = section.opt_string("api_version");
    let key = section.opt_secret("key");
    let entra = entra::read(section);
    let organization = section.opt_string("organization");
    let max_tokens_field = section.opt_enum("max_tokens_field", FIELDS);
    let insecure = section.opt_bool("insecure").unwrap_or(false);
    let endpoint = match Endpoint::parse(&address?, dialect, api_version.as_deref()) {
        Ok(endpoint) => endpoint,
        Err(EndpointError { key, message }) => {
            section.error(key, message);
            return None;
        }
    };
    if (key.is_some() || entra.is_some()) && !insecure && endpoint.is_exposed() {
        section.error("endpoint", EXPOSED);
    }
    if entra.is_some() && endpoint.dialect() == Dialect::OpenAi {
        let message = "is for Azure OpenAI: set `dialect` to `azure-v1`, or to `azure`";
        section.error("entra", message);
    }
    Some(ServiceKind::OpenAi(OpenAiConfig {
        endpoint,
        key,
        entra,
        organization,
        max_tokens_field,
    }))
}
