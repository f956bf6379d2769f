//! How requests to one service are made: client, address, key.

use reqwest::{Client, header::HeaderMap};

use super::Address;
use crate::{
    config::{HttpConfig, ServiceConfig},
    service::{
        BuildError, CatalogOptions, catalog,
        signer::{Credential, Signer},
    },
};

/// How requests to one service are made.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    pub(super) client: Client,
    pub(super) address: Address,
    pub(super) signer: Signer,
    /// The same for every request, without the key.
    pub(super) headers: HeaderMap,
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
        let credential = Credential {
            key: config.key.as_ref(),
            header: config.key_header.clone(),
            prefix: &config.key_prefix,
            entra: None,
        };
        let client = catalog::client(name, service, config.address.base())?;
        Ok(Self {
            client,
            address: config.address.clone(),
            signer: Signer::new(name, &credential, options)?,
            headers: config.headers.iter().cloned().collect(),
            rehearsing: options.rehearse.is_some(),
        })
    }
}
