//! Every law of the contract, over a relay that can play the death of a process.

use std::sync::Arc;

use async_trait::async_trait;
use filefleet_shared::broker::{
    Broker, BrokerError,
    conformance::Fixture,
    rabbit::{RabbitBroker, RabbitConfig},
};
use filefleet_tests::{node::RabbitNode, relay::Relay};
use tokio::sync::Mutex;

use crate::stand::{config, shared_node};

struct Namespace {
    node: Arc<RabbitNode>,
    config: RabbitConfig,
    relay: Mutex<Option<Relay>>,
}

impl Namespace {
    async fn new() -> Self {
        let node = shared_node().await;
        Self {
            config: config(node.url()),
            node,
            relay: Mutex::new(None),
        }
    }
}

#[async_trait]
impl Fixture for Namespace {
    async fn broker(&self) -> Result<Arc<dyn Broker>, BrokerError> {
        let port = self.node.port();
        let relay = Relay::to(port).await.expect("a free port");
        let uri = format!("amqp://guest:guest@127.0.0.1:{}/%2f", relay.port());
        *self.relay.lock().await = Some(relay);
        let config = RabbitConfig {
            uri: uri.into(),
            ..self.config.clone()
        };
        Ok(Arc::new(RabbitBroker::connect(config).await?))
    }

    async fn crash(&self, broker: Arc<dyn Broker>) -> Result<Arc<dyn Broker>, BrokerError> {
        // The old one's sockets end, and where it would reconnect nobody listens.
        drop(self.relay.lock().await.take());
        drop(broker);
        self.broker().await
    }
}

filefleet_shared::broker_conformance_tests!(Namespace::new().await);
