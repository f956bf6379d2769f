//! How requests to one endpoint are made: client, address, key.

use filefleet_shared::config::Secret;
use reqwest::{
    Client,
    header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, InvalidHeaderValue},
};
use secrecy::{ExposeSecret, SecretString};

use super::{Dialect, Endpoint, MaxTokensField};
use crate::{
    config::{OpenAiConfig, ServiceConfig},
    service::{BuildError, CatalogOptions, catalog},
};

/// How requests to one endpoint are made.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    pub(super) client: Client,
    /// Where calls go: in a rehearsal, to the simulator.
    pub(super) endpoint: Endpoint,
    /// Where they go in earnest.
    pub(super) real: Endpoint,
    pub(super) key: Option<SecretString>,
    pub(super) organization: Option<String>,
    pub(super) max_tokens_field: Option<MaxTokensField>,
}

impl Access {
    /// # Errors
    /// The key cannot be had, or no client can be made.
    pub(crate) fn new(
        name: &str,
        service: &ServiceConfig,
        config: &OpenAiConfig,
        options: &CatalogOptions,
    ) -> Result<Self, BuildError> {
        let real = config.endpoint.clone();
        let (endpoint, key) = match &options.rehearse {
            Some(base) => {
                let endpoint = real
                    .rehearsed(base)
                    .map_err(|source| BuildError::Simulator {
                        service: name.to_owned(),
                        source,
                    })?;
                (endpoint, None)
            }
            None => {
                let key = config.key.as_ref().map(Secret::resolve).transpose()?;
                (real.clone(), key)
            }
        };
        let client = catalog::client(name, service, endpoint.base())?;
        Ok(Self {
            client,
            endpoint,
            real,
            key,
            organization: config.organization.clone(),
            max_tokens_field: config.max_tokens_field,
        })
    }

    /// The headers that are the same for every call.
    ///
    /// # Errors
    /// The key or organization cannot be sent in a header.
    pub(super) fn headers(&self) -> Result<HeaderMap, InvalidHeaderValue> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(key) = &self.key {
            let key = key.expose_secret();
            let (name, value) = match self.endpoint.dialect() {
                Dialect::OpenAi => ("authorization", format!("Bearer {key}")),
                Dialect::Azure | Dialect::AzureV1 => ("api-key", key.to_owned()),
            };
            let mut value = HeaderValue::try_from(value)?;
            value.set_sensitive(true);
            headers.insert(HeaderName::from_static(name), value);
        }
        if let Some(organization) = &self.organization {
            let name = HeaderName::from_static("openai-organization");
            headers.insert(name, HeaderValue::try_from(organization)?);
        }
        Ok(headers)
    }
}
