//! TLS with a private authority, and a broker that asks for a client certificate.

use std::fs;

use filefleet_shared::broker::{
    Broker, BrokerError, ConsumeOptions, Queue, Verdict,
    rabbit::{Identity, RabbitBroker, RabbitConfig, Tls},
};
use filefleet_tests::node::{NodeOptions, RabbitNode};

use crate::stand::{config, next, work};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_certificate_opens_the_door_and_without_one_it_stays_shut() {
    let options = NodeOptions {
        tls: true,
        ..NodeOptions::default()
    };
    let node = RabbitNode::start_with(options).await.unwrap();
    let files = node.certificates().unwrap();
    let read = |path| fs::read_to_string(path).unwrap();
    let with = |identity| RabbitConfig {
        tls: Some(Tls {
            ca_pem: Some(read(&files.ca)),
            identity,
        }),
        ..config(node.tls_url())
    };
    let identity = Identity {
        cert_pem: read(&files.client_cert),
        key_pem: read(&files.client_key).into(),
    };

    let broker = RabbitBroker::connect(with(Some(identity))).await.unwrap();
    let queue = Queue::Work("a".into());
    broker.declare(std::slice::from_ref(&queue)).await.unwrap();
    broker.publish(vec![work("a", "over-tls")]).await.unwrap();
    let mut consumer = broker
        .consume(&queue, ConsumeOptions::shared(1))
        .await
        .unwrap();
    let delivery = next(&mut consumer).await.unwrap();
    assert_eq!(delivery.envelope().id, "over-tls");
    delivery.settle(Verdict::Done(Vec::new())).await.unwrap();
    consumer.close().await;
    broker.close().await;

    // Under TLS 1.3 the server's alert can be lost to the reset that follows it.
    let without = RabbitBroker::connect(with(None)).await;
    assert!(
        matches!(
            without,
            Err(BrokerError::Refused(_) | BrokerError::Unavailable(_))
        ),
        "{without:?}"
    );
    let unknown_authority = RabbitBroker::connect(config(node.tls_url())).await;
    assert!(
        matches!(unknown_authority, Err(BrokerError::Refused(_))),
        "{unknown_authority:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_credentials_are_refused_and_never_shown() {
    let node = crate::stand::shared_node().await;
    let uri = format!("amqp://guest:s3cret@127.0.0.1:{}/%2f", node.port());
    let config = config(uri);
    assert!(!format!("{config:?}").contains("s3cret"));
    let refused = RabbitBroker::connect(config).await.unwrap_err();
    assert!(matches!(refused, BrokerError::Refused(_)), "{refused:?}");
    assert!(!refused.to_string().contains("s3cret"));
}
