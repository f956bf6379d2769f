//! How requests to one service are made: client, address, key.

use filefleet_shared::config::Secret;
use reqwest::{
    Client,
    header::{HeaderMap, HeaderValue},
};
use secrecy::{ExposeSecret, SecretString};

use super::Address;
use crate::{
    config::{HttpConfig, ServiceConfig},
    service::{BuildError, CatalogOptions, catalog},
};

/// How requests to one service are made.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    pub(super) client: Client,
    pub(super) address: Address,
    pub(super) key: Option<SecretString>,
    /// The same for every request, without the key.
    pub(super) headers: HeaderMap,
    /// The header with the key, set last so that nothing can take its place.
    pub(super) signature: HeaderMap,
    /// Nothing is sent.
    pub(super) rehearsing: bool,
}

impl Access {
    /// # Errors
    /// The key cannot be had or sent, or no client can be made.
    pub(crate) fn new(
        name: &str,
        service: &ServiceConfig,
        config: &HttpConfig,
        options: &CatalogOptions,
    ) -> Result<Self, BuildError> {
        let rehearsing = options.rehearse.is_some();
        let key = config.key.as_ref().filter(|_| !rehearsing);
        let key = key.map(Secret::resolve).transpose()?;
        let mut signature = HeaderMap::new();
        if let Some(key) = &key {
            let text = format!("{}{}", config.key_prefix, key.expose_secret());
            let mut value = HeaderValue::try_from(text).map_err(|source| BuildError::Header {
                service: name.to_owned(),
                source,
            })?;
            value.set_sensitive(true);
            signature.insert(config.key_header.clone(), value);
        }
        let client = catalog::client(name, service, config.address.base())?;
        Ok(Self {
            client,
            address: config.address.clone(),
            key,
            headers: config.headers.iter().cloned().collect(),
            signature,
            rehearsing,
        })
    }
}
