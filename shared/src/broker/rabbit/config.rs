//! Where the broker is, and how long to wait for it.

use std::time::Duration;

use secrecy::SecretString;

use crate::broker::topology::{CONSUMER_TIMEOUT, DEFAULT_NAMESPACE};

/// Configuration of a [`super::RabbitBroker`].
#[derive(Clone, Debug)]
pub struct RabbitConfig {
    /// `amqp://` or `amqps://`, with user and password; never logged.
    pub uri: SecretString,
    /// First part of every name at the broker.
    pub namespace: String,
    /// Own certificate authority and client certificate, for `amqps`.
    pub tls: Option<Tls>,
    /// To connect, handshakes included.
    pub connect_timeout: Duration,
    /// From writing a message to its confirm; then the session is given up.
    pub confirm_timeout: Duration,
    /// For an ack, a declaration or another small answer.
    pub ack_timeout_on_socket: Duration,
    /// How long a publish is tried again over new sessions.
    pub publish_deadline: Duration,
    /// How long to ask for a queue that another exclusive consumer has: a dead one's connection
    /// takes two heartbeats to be noticed.
    pub exclusive_wait: Duration,
    /// Sessions to publish over, each one connection.
    pub publishers: usize,
    /// The longest the broker lets a delivery stay unsettled.
    pub ack_timeout: Option<Duration>,
}

/// TLS beyond the platform's certificate authorities.
#[derive(Clone, Debug)]
pub struct Tls {
    /// Certificate authorities of the broker, PEM.
    pub ca_pem: Option<String>,
    /// What the broker asks of us.
    pub identity: Option<Identity>,
}

/// A client certificate.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Certificate chain, PEM.
    pub cert_pem: String,
    /// Private key, PKCS#8 PEM; never logged.
    pub key_pem: SecretString,
}

impl RabbitConfig {
    /// The defaults, for a broker at `uri`.
    #[must_use]
    pub fn new(uri: impl Into<SecretString>) -> Self {
        Self {
            uri: uri.into(),
            namespace: DEFAULT_NAMESPACE.to_owned(),
            tls: None,
            connect_timeout: Duration::from_secs(10),
            confirm_timeout: Duration::from_secs(30),
            ack_timeout_on_socket: Duration::from_secs(10),
            publish_deadline: Duration::from_secs(60),
            exclusive_wait: Duration::from_secs(15),
            publishers: 2,
            ack_timeout: Some(CONSUMER_TIMEOUT),
        }
    }
}
