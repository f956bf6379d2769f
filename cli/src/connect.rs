//! From flags and configuration to a broker.

use std::{path::Path, sync::Arc};

use filefleet_shared::{
    broker::{
        Broker,
        rabbit::{Identity, RabbitBroker, RabbitConfig, Tls},
    },
    config::BrokerConfig,
};
use filefleet_worker::config::Config;

use crate::{
    args::{BrokerArgs, ConfigArgs},
    exit::CommandError,
};

/// The configuration file that is read if none is named.
const DEFAULT_FILE: &str = "filefleet.toml";

/// Reads the configuration that is named, or `filefleet.toml` if it exists.
///
/// # Errors
/// It cannot be read, or every mistake in it.
pub(crate) fn config(args: &ConfigArgs) -> Result<Option<Config>, CommandError> {
    let path = match &args.config {
        Some(path) => path.as_path(),
        None if Path::new(DEFAULT_FILE).exists() => Path::new(DEFAULT_FILE),
        None => return Ok(None),
    };
    Config::load(path).map(Some).map_err(CommandError::usage)
}

/// As [`config`], for commands that cannot do without.
///
/// # Errors
/// There is none.
pub(crate) fn needed_config(args: &ConfigArgs) -> Result<Config, CommandError> {
    config(args)?.ok_or_else(|| {
        CommandError::usage(
            "no configuration: write filefleet.toml here, or name a file with --config",
        )
    })
}

/// Connects to RabbitMQ.
///
/// # Errors
/// None is configured, a secret or a certificate cannot be read, or the broker says no.
pub(crate) async fn rabbit(
    args: &BrokerArgs,
    config: Option<&BrokerConfig>,
) -> Result<Arc<dyn Broker>, CommandError> {
    open(settings(args, config)?).await
}

/// Connects to the RabbitMQ of [`settings`].
///
/// # Errors
/// The broker says no, or is not there.
pub(crate) async fn open(settings: RabbitConfig) -> Result<Arc<dyn Broker>, CommandError> {
    Ok(Arc::new(RabbitBroker::connect(settings).await?))
}

/// Which RabbitMQ, and how to use it; nothing is connected yet.
///
/// # Errors
/// None is configured, or a secret or a certificate cannot be read.
pub(crate) fn settings(
    args: &BrokerArgs,
    config: Option<&BrokerConfig>,
) -> Result<RabbitConfig, CommandError> {
    let mut settings = match (&args.broker, config) {
        (Some(url), _) => RabbitConfig::new(url.clone()),
        (None, Some(config)) => {
            RabbitConfig::new(config.url.resolve().map_err(CommandError::usage)?)
        }
        (None, None) => {
            return Err(CommandError::usage(
                "no broker: give --broker URL, set FILEFLEET_BROKER, or write [broker] with a \
                 url into the configuration",
            ));
        }
    };
    if let Some(config) = config {
        settings.namespace.clone_from(&config.namespace);
        settings.publishers = config.publishers;
        settings.connect_timeout = config.connect_timeout;
        settings.outage = config.outage;
        settings.ack_timeout = config.ack_timeout.or(settings.ack_timeout);
        settings.tls = tls(config)?;
    }
    if let Some(namespace) = &args.namespace {
        settings.namespace.clone_from(namespace);
    }
    Ok(settings)
}

fn tls(config: &BrokerConfig) -> Result<Option<Tls>, CommandError> {
    let read = |path: &Path| {
        std::fs::read_to_string(path)
            .map_err(|error| CommandError::usage(format!("[broker] {}: {error}", path.display())))
    };
    let ca_pem = config.ca_file.as_deref().map(read).transpose()?;
    let identity = match &config.identity {
        Some(identity) => Some(Identity {
            cert_pem: read(&identity.cert_file)?,
            key_pem: read(&identity.key_file)?.into(),
        }),
        None => None,
    };
    let wanted = ca_pem.is_some() || identity.is_some();
    Ok(wanted.then_some(Tls { ca_pem, identity }))
}

/// The services of a configuration.
pub(crate) fn services(config: Option<&Config>) -> Vec<String> {
    config
        .map(|config| config.services.keys().cloned().collect())
        .unwrap_or_default()
}
