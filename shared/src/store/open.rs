//! From settings to a client. What is not set comes from the environment.

use std::{fs, path::Path, sync::Arc};

use object_store::{
    ClientConfigKey, ObjectStore, RetryConfig,
    aws::{AmazonS3Builder, AmazonS3ConfigKey},
    azure::{AzureConfigKey, MicrosoftAzureBuilder},
    local::LocalFileSystem,
};
use secrecy::ExposeSecret;

use super::{StoreError, StorePlace};
use crate::config::{Secret, StoreConfig};

pub(super) fn client(config: &StoreConfig) -> Result<Arc<dyn ObjectStore>, StoreError> {
    match &config.place {
        StorePlace::S3 { bucket, .. } => s3(config, bucket),
        StorePlace::Azure { container, .. } => azure(config, container),
        StorePlace::Directory(path) => directory(path),
    }
}

/// Those who call decide about trying again.
fn no_retries() -> RetryConfig {
    RetryConfig {
        max_retries: 0,
        ..RetryConfig::default()
    }
}

fn timeout(config: &StoreConfig) -> String {
    format!("{}ms", config.timeout.as_millis())
}

fn resolved(secret: Option<&Secret>) -> Result<Option<String>, StoreError> {
    let text = secret.map(Secret::resolve).transpose()?;
    Ok(text.map(|text| text.expose_secret().to_owned()))
}

fn s3(config: &StoreConfig, bucket: &str) -> Result<Arc<dyn ObjectStore>, StoreError> {
    let secrets = &config.secrets;
    let allow_http = config.allow_http.map(|allow| allow.to_string());
    let values = [
        (AmazonS3ConfigKey::Endpoint, config.endpoint.clone()),
        // The environment's own one for S3 would win over the configuration.
        (AmazonS3ConfigKey::S3Endpoint, config.endpoint.clone()),
        (AmazonS3ConfigKey::Region, config.region.clone()),
        (
            AmazonS3ConfigKey::AccessKeyId,
            resolved(secrets.access_key_id.as_ref())?,
        ),
        (
            AmazonS3ConfigKey::SecretAccessKey,
            resolved(secrets.secret_access_key.as_ref())?,
        ),
        (
            AmazonS3ConfigKey::Token,
            resolved(secrets.session_token.as_ref())?,
        ),
        (
            AmazonS3ConfigKey::Client(ClientConfigKey::AllowHttp),
            allow_http,
        ),
        (
            AmazonS3ConfigKey::Client(ClientConfigKey::Timeout),
            Some(timeout(config)),
        ),
    ];
    let mut builder = AmazonS3Builder::from_env()
        .with_bucket_name(bucket)
        .with_retry(no_retries());
    for (key, value) in values {
        if let Some(value) = value {
            builder = builder.with_config(key, value);
        }
    }
    Ok(Arc::new(builder.build().map_err(StoreError::Settings)?))
}

fn azure(config: &StoreConfig, container: &str) -> Result<Arc<dyn ObjectStore>, StoreError> {
    let secrets = &config.secrets;
    let allow_http = config.allow_http.map(|allow| allow.to_string());
    let values = [
        (AzureConfigKey::AccountName, config.account.clone()),
        (AzureConfigKey::Endpoint, config.endpoint.clone()),
        (
            AzureConfigKey::AccessKey,
            resolved(secrets.account_key.as_ref())?,
        ),
        (
            AzureConfigKey::SasKey,
            resolved(secrets.sas_token.as_ref())?,
        ),
        (
            AzureConfigKey::Client(ClientConfigKey::AllowHttp),
            allow_http,
        ),
        (
            AzureConfigKey::Client(ClientConfigKey::Timeout),
            Some(timeout(config)),
        ),
    ];
    let mut builder = MicrosoftAzureBuilder::from_env()
        .with_container_name(container)
        .with_retry(no_retries());
    for (key, value) in values {
        if let Some(value) = value {
            builder = builder.with_config(key, value);
        }
    }
    Ok(Arc::new(builder.build().map_err(StoreError::Settings)?))
}

fn directory(path: &Path) -> Result<Arc<dyn ObjectStore>, StoreError> {
    fs::create_dir_all(path).map_err(StoreError::Directory)?;
    let store = LocalFileSystem::new_with_prefix(path).map_err(StoreError::Settings)?;
    // A message that refers to an object must not outlive it on a machine that loses its power.
    let store = store.with_fsync(true).with_automatic_cleanup(true);
    Ok(Arc::new(store))
}
