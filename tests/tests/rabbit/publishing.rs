//! Publishing: what is routed, what is not, and what others can read.

use std::{sync::Arc, time::Duration};

use filefleet_shared::broker::{Broker, BrokerError, ConsumeOptions, Queue, Verdict};
use futures_util::future::join_all;

use crate::stand::{config, connect, next, shared_node, work};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publishing_to_a_queue_that_does_not_exist_names_it() {
    let node = shared_node().await;
    let broker = connect(config(node.url())).await;
    let refused = broker.publish(vec![work("nobody", "1")]).await.unwrap_err();
    let BrokerError::Unroutable(name) = &refused else {
        panic!("{refused:?}");
    };
    assert!(name.ends_with(".work.nobody"), "{name}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_deleted_behind_our_back_loses_nothing_and_is_noticed() {
    let node = shared_node().await;
    let config = config(node.url());
    let broker = connect(config.clone()).await;
    let other = connect(config).await;
    let queue = Queue::Work("a".into());
    broker.declare(std::slice::from_ref(&queue)).await.unwrap();
    broker.publish(vec![work("a", "1")]).await.unwrap();
    other.delete(&queue).await.unwrap();
    // Believed for a while: it goes where nothing is lost.
    broker.publish(vec![work("a", "2")]).await.unwrap();
    let depth = broker.inspect(&Queue::Unroutable).await.unwrap().unwrap();
    assert_eq!(depth.ready, 1);
    let mut consumer = broker
        .consume(&Queue::Unroutable, ConsumeOptions::shared(1))
        .await
        .unwrap();
    let kept = next(&mut consumer).await.unwrap();
    assert_eq!(kept.envelope().id, "2");
    kept.settle(Verdict::Done(Vec::new())).await.unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
    let noticed = broker.publish(vec![work("a", "3")]).await;
    assert!(
        matches!(noticed, Err(BrokerError::Unroutable(_))),
        "{noticed:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_publishers_at_once_share_the_sessions_and_lose_nothing() {
    const CALLERS: usize = 200;
    const EACH: usize = 25;
    let node = shared_node().await;
    let broker = connect(config(node.url())).await;
    let queue = Queue::Work("a".into());
    broker.declare(std::slice::from_ref(&queue)).await.unwrap();
    let calls = (0..CALLERS).map(|caller| {
        let broker: Arc<dyn Broker> = Arc::clone(&broker);
        tokio::spawn(async move {
            let batch = (0..EACH).map(|n| work("a", &format!("{caller}-{n}")));
            broker.publish(batch.collect()).await
        })
    });
    for published in join_all(calls).await {
        published.unwrap().unwrap();
    }
    let depth = broker.inspect(&queue).await.unwrap().unwrap();
    assert_eq!(depth.ready, (CALLERS * EACH) as u64);
}
