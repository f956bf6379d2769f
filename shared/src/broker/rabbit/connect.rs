//! One connection: with a deadline, a heartbeat and our own certificates, and no recovery.

use std::{io, sync::Arc, time::Duration};

use lapin::{
    Connection, ConnectionProperties, ErrorKind,
    tcp::{OwnedIdentity, OwnedTLSConfig},
};
use secrecy::ExposeSecret;
use tokio::{sync::Mutex, time::timeout};

use super::RabbitConfig;
use crate::broker::BrokerError;

/// Seconds; below 5 it gives false alarms, and the broker's default of 60 is too late.
const HEARTBEAT: u16 = 10;

/// AMQP's reply codes that we tell apart.
pub(super) mod code {
    pub(in super::super) const ACCESS_REFUSED: u16 = 403;
    pub(in super::super) const NOT_FOUND: u16 = 404;
    pub(in super::super) const RESOURCE_LOCKED: u16 = 405;
    const INVALID_PATH: u16 = 402;
    const PRECONDITION_FAILED: u16 = 406;
    const NOT_ALLOWED: u16 = 530;

    /// Trying again gives the same answer.
    pub(in super::super) const FINAL: [u16; 4] = [
        ACCESS_REFUSED,
        INVALID_PATH,
        PRECONDITION_FAILED,
        NOT_ALLOWED,
    ];
}

/// The broker's reply code, if the error is one of its answers.
pub(super) fn reply_code(error: &lapin::Error) -> Option<u16> {
    match error.kind() {
        ErrorKind::ProtocolError(error) => Some(error.get_id()),
        _ => None,
    }
}

/// Names an error by what the caller can do.
pub(super) fn classify(error: &lapin::Error) -> BrokerError {
    let refused = match error.kind() {
        ErrorKind::ProtocolError(error) => code::FINAL.contains(&error.get_id()),
        ErrorKind::AuthProviderError(_) => true,
        ErrorKind::IOError(error) => refuses_certificate(error),
        _ => false,
    };
    if refused {
        BrokerError::Refused(error.to_string())
    } else {
        BrokerError::Unavailable(error.to_string())
    }
}

/// A TLS alert or a certificate that does not verify; both come as "invalid data".
fn refuses_certificate(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::InvalidData
}

/// Opens a connection called `name` in the broker's lists.
pub(super) async fn connect(config: &RabbitConfig, name: &str) -> Result<Connection, BrokerError> {
    let mut uri = config.parsed_uri()?;
    uri.query.heartbeat.get_or_insert(HEARTBEAT);
    let runtime = lapin::runtime::default_runtime().map_err(|error| classify(&error))?;
    // No `enable_auto_recover`: it wedges under repeated cuts. Sessions are rebuilt instead.
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    let connecting = Connection::connect_uri_with_config(uri, properties, tls(config), runtime);
    match timeout(config.connect_timeout, connecting).await {
        Ok(connected) => connected.map_err(|error| classify(&error)),
        Err(_) => Err(late("connecting", config.connect_timeout)),
    }
}

/// The error for a deadline that passed.
pub(super) fn late(what: &str, deadline: Duration) -> BrokerError {
    BrokerError::Unavailable(format!("{what} took longer than {deadline:?}"))
}

fn tls(config: &RabbitConfig) -> OwnedTLSConfig {
    let Some(tls) = &config.tls else {
        return OwnedTLSConfig::default();
    };
    OwnedTLSConfig {
        identity: tls.identity.as_ref().map(|identity| OwnedIdentity::PKCS8 {
            pem: identity.cert_pem.clone().into_bytes(),
            key: identity.key_pem.expose_secret().as_bytes().to_vec(),
        }),
        cert_chain: tls.ca_pem.clone(),
    }
}

/// A connection that several users share, opened again when it is found dead.
#[derive(Debug)]
pub(super) struct Link {
    config: Arc<RabbitConfig>,
    name: &'static str,
    current: Mutex<Option<Arc<Connection>>>,
}

impl Link {
    pub(super) fn new(config: Arc<RabbitConfig>, name: &'static str) -> Self {
        Self {
            config,
            name,
            current: Mutex::new(None),
        }
    }

    /// The live connection, or a new one.
    pub(super) async fn get(&self) -> Result<Arc<Connection>, BrokerError> {
        let mut current = self.current.lock().await;
        if let Some(connection) = current.as_ref().filter(|found| found.status().connected()) {
            return Ok(Arc::clone(connection));
        }
        let connection = Arc::new(connect(&self.config, self.name).await?);
        *current = Some(Arc::clone(&connection));
        Ok(connection)
    }

    /// Never hand out `connection` again: it did not answer.
    pub(super) async fn discard(&self, connection: &Arc<Connection>) {
        let mut current = self.current.lock().await;
        if current
            .as_ref()
            .is_some_and(|found| Arc::ptr_eq(found, connection))
        {
            *current = None;
        }
    }

    /// Closes it and waits for the broker's answer.
    pub(super) async fn close(&self) {
        if let Some(connection) = self.current.lock().await.take() {
            close(&connection, self.config.ack_timeout_on_socket).await;
        }
    }
}

/// Closes a connection; one that does not answer is dropped.
pub(super) async fn close(connection: &Connection, deadline: Duration) {
    match timeout(deadline, connection.close(200, "OK".into())).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "connection was closed already"),
        Err(_) => tracing::debug!("connection did not answer to close"),
    }
}
