//! `[broker]`: the RabbitMQ server.

use std::{path::PathBuf, time::Duration};

use secrecy::SecretString;

use super::{Secret, SecretError, Section, check_name};

/// The namespace of exchanges and queues where none is configured.
pub const DEFAULT_NAMESPACE: &str = "filefleet";

const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a broker may be away where nothing else is configured: longer than a restart, an
/// update or a failover takes, short enough that a fleet without a broker is noticed.
pub const DEFAULT_OUTAGE: Duration = Duration::from_secs(15 * 60);

/// `[broker]`: the RabbitMQ server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerConfig {
    /// `amqp://` or `amqps://` URL.
    pub url: BrokerUrl,
    /// First part of the name of every exchange and queue.
    pub namespace: String,
    /// PEM file of the authority that signed the server's certificate, if it is not a public one.
    pub ca_file: Option<PathBuf>,
    /// How this client proves who it is, where the server asks for a certificate.
    pub identity: Option<ClientIdentity>,
    /// Most connections that publish at once.
    pub publishers: usize,
    /// The longest the broker lets a delivery stay unsettled, where it is not the server's own.
    pub ack_timeout: Option<Duration>,
    /// Longest wait for a connection.
    pub connect_timeout: Duration,
    /// How long the broker may be away before processes that use it give up.
    pub outage: Duration,
}

/// A client certificate with its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientIdentity {
    /// PEM file of the certificate.
    pub cert_file: PathBuf,
    /// PEM file of its private key.
    pub key_file: PathBuf,
}

/// The broker's URL: in the open if it has no password, else a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BrokerUrl {
    /// Without a password.
    Open(String),
    /// With a password in it.
    Secret(Secret),
}

impl BrokerUrl {
    /// The URL to connect to.
    ///
    /// # Errors
    /// The secret cannot be had.
    pub fn resolve(&self) -> Result<SecretString, SecretError> {
        match self {
            Self::Open(url) => Ok(SecretString::from(url.as_str())),
            Self::Secret(secret) => secret.resolve(),
        }
    }
}

impl BrokerConfig {
    /// A broker at a URL that has no password, everything else by default.
    ///
    /// # Errors
    /// Not such a URL.
    pub fn at(url: &str) -> Result<Self, String> {
        check_url(url)?;
        Ok(Self::with_url(BrokerUrl::Open(url.to_owned())))
    }

    /// Reads `[broker]`, if it is there.
    #[must_use]
    pub fn read(root: &mut Section<'_>) -> Option<Self> {
        let mut section = root.opt_section("broker")?;
        let url = read_url(&mut section);
        let namespace = section.opt_string("namespace");
        if let Some(Err(message)) = namespace.as_deref().map(check_name) {
            section.error("namespace", message);
        }
        let ca_file = section.opt_path("ca_file");
        let identity = read_identity(&mut section);
        let publishers = section.opt_integer("publishers", 1..=64);
        let ack_timeout = section.opt_duration("ack_timeout");
        let connect_timeout = section.opt_duration("connect_timeout");
        let outage = section.opt_duration("outage");
        let connect_timeout = connect_timeout.unwrap_or(DEFAULT_CONNECT_TIMEOUT);
        let outage = outage.unwrap_or(DEFAULT_OUTAGE);
        if outage < connect_timeout {
            // One of them stands there: the defaults fit together.
            let blamed = if section.has("outage") {
                "outage"
            } else {
                "connect_timeout"
            };
            section.error(blamed, "`outage` must not be less than `connect_timeout`");
        }
        section.finish();
        let default = Self::with_url(url?);
        Some(Self {
            namespace: namespace.unwrap_or(default.namespace),
            ca_file,
            identity,
            publishers: publishers.unwrap_or(default.publishers),
            ack_timeout,
            connect_timeout,
            outage,
            url: default.url,
        })
    }

    fn with_url(url: BrokerUrl) -> Self {
        Self {
            url,
            namespace: DEFAULT_NAMESPACE.to_owned(),
            ca_file: None,
            identity: None,
            publishers: 2,
            ack_timeout: None,
            connect_timeout: DEFAULT_CONNECT_TIMEOUT,
            outage: DEFAULT_OUTAGE,
        }
    }
}

fn read_url(section: &mut Section<'_>) -> Option<BrokerUrl> {
    if section.is_table("url") {
        return section.opt_secret("url").map(BrokerUrl::Secret);
    }
    let url = section.string("url")?;
    match check_url(&url) {
        Ok(()) => Some(BrokerUrl::Open(url)),
        Err(message) => {
            section.error("url", message);
            None
        }
    }
}

fn read_identity(section: &mut Section<'_>) -> Option<ClientIdentity> {
    let cert_file = section.opt_path("cert_file");
    let key_file = section.opt_path("key_file");
    match (section.has("cert_file"), section.has("key_file")) {
        (true, false) => section.error("cert_file", "needs `key_file` beside it"),
        (false, true) => section.error("key_file", "needs `cert_file` beside it"),
        _ => {}
    }
    Some(ClientIdentity {
        cert_file: cert_file?,
        key_file: key_file?,
    })
}

/// The message never repeats the URL: what is wrong with it may be the password in it.
fn check_url(url: &str) -> Result<(), String> {
    let rest = url
        .strip_prefix("amqps://")
        .or_else(|| url.strip_prefix("amqp://"))
        .ok_or("must start with amqps:// or amqp://")?;
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    // A password with an unescaped `/` or `?` in it would end the authority early.
    if user.contains(':') || (user.is_empty() && rest.contains('@')) {
        return Err("has a password in it: write url = { env = \"NAME\" } \
                    or { file = \"PATH\" } and put the whole URL there"
            .to_owned());
    }
    if host.is_empty() || host.starts_with(':') {
        return Err("has no host".to_owned());
    }
    Ok(())
}
