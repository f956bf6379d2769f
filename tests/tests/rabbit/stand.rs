//! One node for all tests that do not hurt it, and a namespace for each of them.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use bytes::Bytes;
use filefleet_shared::broker::{
    Broker, BrokerError, Consumer, Delivery, Headers, Message, Route,
    rabbit::{RabbitBroker, RabbitConfig},
};
use filefleet_tests::node::RabbitNode;
use tokio::{sync::Mutex, time::timeout};
use uuid::Uuid;

/// Long enough for a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

static SHARED: Mutex<Weak<RabbitNode>> = Mutex::const_new(Weak::new());

/// The shared node; it ends with the last test that holds it.
pub(crate) async fn shared_node() -> Arc<RabbitNode> {
    let mut shared = SHARED.lock().await;
    if let Some(node) = shared.upgrade() {
        return node;
    }
    let node = Arc::new(RabbitNode::start().await.unwrap());
    *shared = Arc::downgrade(&node);
    node
}

/// A namespace that nobody has used.
pub(crate) fn config(url: String) -> RabbitConfig {
    RabbitConfig {
        namespace: format!("t{}", Uuid::now_v7().simple()),
        exclusive_wait: Duration::from_secs(2),
        ..RabbitConfig::new(url)
    }
}

pub(crate) async fn connect(config: RabbitConfig) -> Arc<dyn Broker> {
    Arc::new(RabbitBroker::connect(config).await.unwrap())
}

pub(crate) fn work(service: &str, id: &str) -> Message {
    Message {
        id: id.to_owned(),
        route: Route::Work {
            service: service.to_owned(),
        },
        headers: Headers::default(),
        body: Bytes::from(format!("{{\"id\":\"{id}\"}}")),
    }
}

pub(crate) async fn next(consumer: &mut Consumer) -> Result<Delivery, BrokerError> {
    timeout(PATIENCE, consumer.recv())
        .await
        .expect("nothing was delivered in time")
}
