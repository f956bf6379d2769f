//! Where the broker is, and how long to wait for it.

use std::time::Duration;

use lapin::uri::AMQPUri;
use secrecy::{ExposeSecret, SecretString};

use crate::{
    broker::{
        BrokerError,
        topology::{CONSUMER_TIMEOUT, DEFAULT_NAMESPACE},
    },
    config::DEFAULT_OUTAGE,
};

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
    /// How long the broker may be away, once it was there, before a publish or a consumer gives
    /// up. Until then both try again over new sessions.
    pub outage: Duration,
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
            outage: DEFAULT_OUTAGE,
            exclusive_wait: Duration::from_secs(15),
            publishers: 2,
            ack_timeout: Some(CONSUMER_TIMEOUT),
        }
    }
    /// Which queues these are, to tell them from others: `HOST:PORT/VHOST#NAMESPACE`.
    ///
    /// Without user and password: another user of the same queues goes on with the same work.
    ///
    /// # Errors
    /// [`BrokerError::Refused`] if the URI is none.
    pub fn place(&self) -> Result<String, BrokerError> {
        let AMQPUri {
            authority, vhost, ..
        } = self.parsed_uri()?;
        let host = authority.host.to_lowercase();
        let (port, namespace) = (authority.port, &self.namespace);
        Ok(format!("{host}:{port}/{vhost}#{namespace}"))
    }

    pub(super) fn parsed_uri(&self) -> Result<AMQPUri, BrokerError> {
        // The parser's error would quote the password.
        let refused = |_| BrokerError::Refused("the broker's URI is not a valid AMQP URI".into());
        self.uri.expose_secret().parse().map_err(refused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_told_by_host_port_virtual_host_and_namespace_and_names_no_user() {
        let place = |uri: &str| RabbitConfig::new(uri).place().unwrap();
        let here = place("amqp://me:hunter2@Rabbit/prod");
        assert_eq!(here, "rabbit:5672/prod#filefleet");
        assert_eq!(place("amqp://you@rabbit:5672/prod"), here);
        for other in [
            "amqp://rabbit2/prod",
            "amqp://rabbit:5673/prod",
            "amqp://rabbit/test",
            "amqp://rabbit",
        ] {
            assert_ne!(place(other), here);
        }
        let elsewhere = RabbitConfig {
            namespace: "other".to_owned(),
            ..RabbitConfig::new("amqp://rabbit/prod")
        };
        assert_ne!(elsewhere.place().unwrap(), here);
        let wrong = RabbitConfig::new("amqp://me:hunter2@[rabbit").place();
        assert!(!wrong.unwrap_err().to_string().contains("hunter2"));
    }
}
