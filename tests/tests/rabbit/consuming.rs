//! Consuming: one exclusive consumer, early messages, other producers, broker-side dead letters.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use filefleet_shared::{
    broker::{BrokerError, ConsumeOptions, Headers, Later, Queue, Verdict},
    time::UnixMillis,
};
use lapin::{
    BasicProperties, Connection, ConnectionProperties,
    options::{BasicPublishOptions, QueueDeclareOptions},
    types::FieldTable,
};

use tokio::time::sleep;

use crate::stand::{config, connect, next, shared_node, work};

const EXCLUSIVE: ConsumeOptions = ConsumeOptions {
    prefetch: 1,
    exclusive: true,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_exclusive_consumers_the_second_is_told_that_the_queue_is_busy() {
    let node = shared_node().await;
    let config = config(node.url());
    let (one, other) = (connect(config.clone()).await, connect(config).await);
    let queue = Queue::Quarantine("a".into());
    one.declare(std::slice::from_ref(&queue)).await.unwrap();
    let first = one.consume(&queue, EXCLUSIVE).await.unwrap();
    for (broker, options) in [
        (&other, EXCLUSIVE),
        (&one, EXCLUSIVE),
        (&other, ConsumeOptions::shared(1)),
    ] {
        let refused = broker.consume(&queue, options).await;
        assert!(matches!(refused, Err(BrokerError::Busy(_))), "{refused:?}");
    }
    // Asked for while it is held, it is given when it is free.
    let (second, ()) = tokio::join!(other.consume(&queue, EXCLUSIVE), first.close());
    second.unwrap().close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_comes_too_early_waits_again_and_keeps_its_attempt() {
    let node = shared_node().await;
    let broker = connect(config(node.url())).await;
    let queue = Queue::Work("a".into());
    broker.declare(std::slice::from_ref(&queue)).await.unwrap();
    let due = UnixMillis::now().after(Duration::from_millis(2_300));
    let mut message = work("a", "early");
    message.headers = Headers {
        attempt: 4,
        not_before: Some(due),
        ..Headers::default()
    };
    broker
        .publish(vec![message, work("a", "now")])
        .await
        .unwrap();
    let mut consumer = broker
        .consume(&queue, ConsumeOptions::shared(1))
        .await
        .unwrap();
    let now = next(&mut consumer).await.unwrap();
    assert_eq!(now.envelope().id, "now");
    now.settle(Verdict::Done(Vec::new())).await.unwrap();
    let early = next(&mut consumer).await.unwrap();
    assert!(UnixMillis::now() >= due);
    assert_eq!(early.envelope().id, "early");
    assert_eq!(early.envelope().headers.attempt, 4);
    early.settle(Verdict::Done(Vec::new())).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn consumers_that_close_while_early_messages_are_on_their_way_make_no_second_ones() {
    const MESSAGES: usize = 300;
    let node = shared_node().await;
    let broker = connect(config(node.url())).await;
    let queue = Queue::Work("a".into());
    broker.declare(std::slice::from_ref(&queue)).await.unwrap();
    let due = UnixMillis::now().after(Duration::from_secs(4));
    let early = |number: usize| {
        let mut message = work("a", &number.to_string());
        message.headers.not_before = Some(due);
        message
    };
    broker
        .publish((0..MESSAGES).map(early).collect())
        .await
        .unwrap();
    // Each takes some of them, and goes while they are on their way to a wait queue.
    for pause in 0..20 {
        let options = ConsumeOptions::shared(100);
        let consumer = broker.consume(&queue, options).await.unwrap();
        sleep(Duration::from_millis(pause)).await;
        consumer.close().await;
    }
    let options = ConsumeOptions::shared(100);
    let mut consumer = broker.consume(&queue, options).await.unwrap();
    let mut seen = HashSet::new();
    for _ in 0..MESSAGES {
        let delivery = next(&mut consumer).await.unwrap();
        let id = delivery.envelope().id.clone();
        assert!(seen.insert(id.clone()), "{id} came twice");
        delivery.settle(Verdict::Done(Vec::new())).await.unwrap();
    }
    assert_eq!(broker.waiting().await.unwrap(), 0);
    let depth = broker.inspect(&queue).await.unwrap();
    assert_eq!(depth.map(|depth| depth.ready), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waited_comes_back_to_the_queue_it_was_taken_from() {
    let node = shared_node().await;
    let broker = connect(config(node.url())).await;
    let queue = Queue::Dead;
    let work_queue = Queue::Work("a".into());
    broker
        .declare(std::slice::from_ref(&work_queue))
        .await
        .unwrap();
    broker.publish(vec![work("a", "1")]).await.unwrap();
    let mut workers = broker
        .consume(&work_queue, ConsumeOptions::shared(1))
        .await
        .unwrap();
    let dead = filefleet_shared::broker::Dead {
        reason: "test".into(),
        detail: "a test".into(),
        by: "me".into(),
        publish: Vec::new(),
    };
    let delivery = next(&mut workers).await.unwrap();
    delivery.settle(Verdict::Dead(dead)).await.unwrap();
    let mut consumer = broker
        .consume(&queue, ConsumeOptions::shared(1))
        .await
        .unwrap();
    let began = Instant::now();
    let later = Later {
        delay: Duration::from_secs(1),
        attempts: 0,
        cause: "test".into(),
        first_attempt: None,
        body: None,
    };
    let delivery = next(&mut consumer).await.unwrap();
    delivery.settle(Verdict::Later(later)).await.unwrap();
    let again = next(&mut consumer).await.unwrap();
    assert!(began.elapsed() >= Duration::from_secs(1));
    let death = again.envelope().headers.death.clone().unwrap();
    assert_eq!(
        (death.reason.as_str(), death.from.as_str()),
        ("test", "work.a")
    );
    again.settle(Verdict::Done(Vec::new())).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bare_message_of_another_producer_is_a_first_attempt() {
    let node = shared_node().await;
    let config = config(node.url());
    let namespace = config.namespace.clone();
    let broker = connect(config).await;
    let queue = Queue::Work("a".into());
    broker.declare(std::slice::from_ref(&queue)).await.unwrap();
    let foreign = Connection::connect(&node.url(), ConnectionProperties::default())
        .await
        .unwrap();
    let channel = foreign.create_channel().await.unwrap();
    channel
        .basic_publish(
            format!("{namespace}.work").into(),
            "a".into(),
            BasicPublishOptions::default(),
            b"not json",
            BasicProperties::default(),
        )
        .await
        .unwrap();
    let mut consumer = broker
        .consume(&queue, ConsumeOptions::shared(1))
        .await
        .unwrap();
    let delivery = next(&mut consumer).await.unwrap();
    assert_eq!(delivery.envelope().headers, Headers::default());
    assert_eq!(&delivery.envelope().body[..], b"not json");
    assert!(!delivery.envelope().id.is_empty());
    delivery.settle(Verdict::Done(Vec::new())).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn declaring_over_a_queue_with_other_arguments_is_refused() {
    let node = shared_node().await;
    let config = config(node.url());
    let name = format!("{}.work.a", config.namespace);
    let broker = connect(config).await;
    let foreign = Connection::connect(&node.url(), ConnectionProperties::default())
        .await
        .unwrap();
    let channel = foreign.create_channel().await.unwrap();
    channel
        .queue_declare(
            name.into(),
            QueueDeclareOptions::durable(),
            FieldTable::default(),
        )
        .await
        .unwrap();
    let refused = broker.declare(&[Queue::Work("a".into())]).await;
    assert!(
        matches!(refused, Err(BrokerError::Refused(_))),
        "{refused:?}"
    );
}
