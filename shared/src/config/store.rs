//! Settings of a store: its place, and what the environment does not say.

use std::{path::PathBuf, time::Duration};

use super::{Secret, Section};
use crate::store::StorePlace;

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);

/// A store, as `[scratch]`, `[journal]` or a `[root.NAME]` with `url` has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreConfig {
    /// Where it is.
    pub place: StorePlace,
    /// Base URL of the service, if it is not that of Amazon or Azure.
    pub endpoint: Option<String>,
    /// Region of an S3 bucket.
    pub region: Option<String>,
    /// Name of an Azure storage account.
    pub account: Option<String>,
    /// Allow an endpoint without TLS.
    pub allow_http: Option<bool>,
    /// Credentials; what is absent comes from the environment.
    pub secrets: StoreSecrets,
    /// Longest wait for one object to be read or written.
    pub timeout: Duration,
}

/// Credentials of a store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreSecrets {
    /// Of S3.
    pub access_key_id: Option<Secret>,
    /// Of S3.
    pub secret_access_key: Option<Secret>,
    /// Of S3, with temporary credentials.
    pub session_token: Option<Secret>,
    /// Of Azure.
    pub account_key: Option<Secret>,
    /// Of Azure: a shared access signature.
    pub sas_token: Option<Secret>,
}

impl StoreConfig {
    /// A store at a place, everything else from the environment.
    #[must_use]
    pub fn at(place: StorePlace) -> Self {
        Self {
            place,
            endpoint: None,
            region: None,
            account: None,
            allow_http: None,
            secrets: StoreSecrets::default(),
            timeout: DEFAULT_TIMEOUT,
        }
    }

    /// Reads a section of this name, if it is there: a URL of a store, or a directory.
    #[must_use]
    pub fn read(root: &mut Section<'_>, name: &str) -> Option<Self> {
        let mut section = root.opt_section(name)?;
        section.require("url");
        let text = section.opt_string("url").unwrap_or_default();
        let config = if text.is_empty() || text.contains("://") {
            Self::read_remote(&mut section)
        } else {
            let path: Option<PathBuf> = section.opt_path("url");
            let timeout = section.opt_duration("timeout").unwrap_or(DEFAULT_TIMEOUT);
            path.map(|path| Self {
                timeout,
                ..Self::at(StorePlace::Directory(path))
            })
        };
        section.finish();
        config
    }

    /// Reads a section whose `url` is of a store. Does not finish it.
    pub(super) fn read_remote(section: &mut Section<'_>) -> Option<Self> {
        let url = section.opt_string("url");
        let place = url.and_then(|url| match StorePlace::parse(&url) {
            Some(Ok(place)) => Some(place),
            Some(Err(message)) => {
                section.error("url", message);
                None
            }
            None => {
                section.error("url", "must start with s3:// or az://");
                None
            }
        });
        let endpoint = section.opt_string("endpoint");
        let allow_http = section.opt_bool("allow_http");
        if let Some(Err(message)) = endpoint
            .as_deref()
            .map(|url| check_endpoint(url, allow_http))
        {
            section.error("endpoint", message);
        }
        let timeout = section.opt_duration("timeout").unwrap_or(DEFAULT_TIMEOUT);
        // Keys of the other kind of store are unknown ones.
        let is_s3 = !matches!(place, Some(StorePlace::Azure { .. }));
        let is_azure = !matches!(place, Some(StorePlace::S3 { .. }));
        let region = is_s3.then(|| section.opt_string("region")).flatten();
        let account = is_azure.then(|| section.opt_string("account")).flatten();
        let mut secret = |known: bool, key| known.then(|| section.opt_secret(key)).flatten();
        let secrets = StoreSecrets {
            access_key_id: secret(is_s3, "access_key_id"),
            secret_access_key: secret(is_s3, "secret_access_key"),
            session_token: secret(is_s3, "session_token"),
            account_key: secret(is_azure, "account_key"),
            sas_token: secret(is_azure, "sas_token"),
        };
        Some(Self {
            place: place?,
            endpoint,
            region,
            account,
            allow_http,
            secrets,
            timeout,
        })
    }
}

/// The message never repeats the URL: what is wrong with it may be the password in it.
fn check_endpoint(url: &str, allow_http: Option<bool>) -> Result<(), &'static str> {
    if url.contains('@') {
        return Err("has a user or password in it: credentials are keys of their own");
    }
    if url.starts_with("https://") || (url.starts_with("http://") && allow_http == Some(true)) {
        return Ok(());
    }
    if url.starts_with("http://") {
        return Err("is without TLS: add allow_http = true to allow it");
    }
    Err("must start with https:// or http://")
}
