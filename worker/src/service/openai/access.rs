//! How requests to one endpoint are made: client, address, key.

use reqwest::{
    Client,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, InvalidHeaderValue},
};

use super::{Dialect, Endpoint, MaxTokensField};
use crate::{
    config::{OpenAiConfig, ServiceConfig},
    service::{
        BuildError, CatalogOptions, catalog,
        entra::COGNITIVE_SCOPE,
        signer::{Credential, Signer},
    },
};

/// How requests to one endpoint are made.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    pub(super) client: Client,
    /// Where calls go: in a rehearsal, to the simulator.
    pub(super) endpoint: Endpoint,
    /// Where they go in earnest.
    pub(super) real: Endpoint,
    pub(super) signer: Signer,
    pub(super) organization: Option<String>,
    pub(super) max_tokens_field: Option<MaxTokensField>,
}

impl Access {
    /// # Errors
    /// The key cannot be had or sent, or no client can be made.
    pub(crate) fn new(
        name: &str,
        service: &ServiceConfig,
        config: &OpenAiConfig,
        options: &CatalogOptions,
    ) -> Result<Self, BuildError> {
        let real = config.endpoint.clone();
        let endpoint = match &options.rehearse {
            Some(base) => real
                .rehearsed(base)
                .map_err(|source| BuildError::Simulator {
                    service: name.to_owned(),
                    source,
                })?,
            None => real.clone(),
        };
        let (header, prefix) = match real.dialect() {
            Dialect::OpenAi => (AUTHORIZATION, "Bearer "),
            Dialect::Azure | Dialect::AzureV1 => (HeaderName::from_static("api-key"), ""),
        };
        let credential = Credential {
            key: config.key.as_ref(),
            header,
            prefix,
            entra: config.entra.as_ref().map(|entra| (entra, COGNITIVE_SCOPE)),
        };
        let client = catalog::client(name, service, endpoint.base())?;
        Ok(Self {
            client,
            endpoint,
            real,
            signer: Signer::new(name, &credential, options)?,
            organization: config.organization.clone(),
            max_tokens_field: config.max_tokens_field,
        })
    }

    /// The headers that are the same for every call.
    ///
    /// # Errors
    /// The organization cannot be sent in a header.
    pub(super) fn headers(&self) -> Result<HeaderMap, InvalidHeaderValue> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(organization) = &self.organization {
            let name = HeaderName::from_static("openai-organization");
            headers.insert(name, HeaderValue::try_from(organization)?);
        }
        Ok(headers)
    }
}
