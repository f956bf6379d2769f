//! The broker is killed, and its connections are cut, under load.

use std::{
    collections::HashSet,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use filefleet_shared::{
    broker::{
        Broker, BrokerError, ConsumeOptions, Consumer, Queue, Verdict,
        rabbit::{RabbitBroker, RabbitConfig},
    },
    wire::{FleetState, PillMode, RunId},
};
use filefleet_tests::{node::RabbitNode, relay::Relay};
use tokio::{
    task::JoinHandle,
    time::{sleep, timeout},
};

use crate::stand::{PATIENCE, config, connect, next, shared_node, work};

const BATCH: usize = 20;

/// Publishes, each batch until it is confirmed, for as long as there is trouble and a little more;
/// how many messages.
fn publish_on(broker: Arc<dyn Broker>, trouble: Arc<AtomicBool>) -> JoinHandle<usize> {
    tokio::spawn(async move {
        let (mut published, mut after) = (0, 0);
        while after < 20 {
            let ids = (0..BATCH).map(|n| format!("m{}", published + n));
            let messages: Vec<_> = ids.map(|id| work("in", &id)).collect();
            while let Err(error) = broker.publish(messages.clone()).await {
                assert!(error.is_transient(), "{error:?}");
            }
            published += BATCH;
            after += usize::from(!trouble.load(Ordering::Relaxed));
            sleep(Duration::from_millis(5)).await;
        }
        published
    })
}

/// Passes every message from `in` to `out`, as a worker would.
async fn work_through(mut consumer: Consumer, done: Arc<AtomicBool>) {
    while !done.load(Ordering::Relaxed) {
        let Ok(delivery) = timeout(Duration::from_millis(200), consumer.recv()).await else {
            continue;
        };
        let delivery = delivery.unwrap();
        let follows = work("out", &delivery.envelope().id);
        tokio::spawn(async move {
            // A lost settlement is delivered again.
            drop(delivery.settle(Verdict::Done(vec![follows])).await);
        });
    }
    consumer.close().await;
}

/// Collects until every message is there; how many were received.
async fn collect(mut consumer: Consumer, published: Arc<OnceLock<usize>>) -> usize {
    let (mut ids, mut received) = (HashSet::new(), 0);
    while published.get() != Some(&ids.len()) {
        let Ok(delivery) = timeout(Duration::from_millis(200), consumer.recv()).await else {
            continue;
        };
        let delivery = delivery.unwrap();
        received += 1;
        // Before it is settled: the broker may have taken an ack that is reported lost.
        ids.insert(delivery.envelope().id.clone());
        drop(delivery.settle(Verdict::Done(Vec::new())).await);
    }
    consumer.close().await;
    received
}

async fn queues(broker: &Arc<dyn Broker>) -> (Queue, Queue) {
    let (input, output) = (Queue::Work("in".into()), Queue::Work("out".into()));
    let both = [input.clone(), output.clone()];
    broker.declare(&both).await.unwrap();
    (input, output)
}

async fn run_through(broker: &Arc<dyn Broker>, trouble: impl Future<Output = ()>) {
    let (input, output) = queues(broker).await;
    let options = ConsumeOptions::shared(64);
    let done = Arc::new(AtomicBool::new(false));
    let workers = broker.consume(&input, options).await.unwrap();
    let workers = tokio::spawn(work_through(workers, Arc::clone(&done)));
    let results = broker.consume(&output, options).await.unwrap();
    let total = Arc::new(OnceLock::new());
    let results = tokio::spawn(collect(results, Arc::clone(&total)));
    let troubled = Arc::new(AtomicBool::new(true));
    let publishing = publish_on(Arc::clone(broker), Arc::clone(&troubled));
    trouble.await;
    troubled.store(false, Ordering::Relaxed);
    let published = publishing.await.unwrap();
    total.set(published).unwrap();
    let received = timeout(PATIENCE * 3, results)
        .await
        .expect("messages were lost")
        .unwrap();
    done.store(true, Ordering::Relaxed);
    workers.await.unwrap();
    println!("{published} messages, {} duplicates", received - published);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_the_broker_under_load_loses_no_message() {
    let mut node = RabbitNode::start().await.unwrap();
    let broker = connect(config(node.url())).await;
    let trouble = async {
        for _ in 0..2 {
            sleep(Duration::from_millis(700)).await;
            node.kill9().unwrap();
            node.restart().await.unwrap();
        }
    };
    run_through(&broker, trouble).await;
    broker.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cutting_connections_again_and_again_loses_no_message() {
    let node = shared_node().await;
    let relay = Relay::to(node.port()).await.unwrap();
    let uri = format!("amqp://guest:guest@127.0.0.1:{}/%2f", relay.port());
    let broker = connect(config(uri)).await;
    let trouble = async {
        for cut in 0..20 {
            sleep(Duration::from_millis(50 + 37 * cut % 300)).await;
            relay.cut();
        }
    };
    run_through(&broker, trouble).await;
    broker.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_broker_is_waited_for_and_the_consumer_comes_back() {
    let mut node = RabbitNode::start().await.unwrap();
    let broker = connect(config(node.url())).await;
    let (input, _) = queues(&broker).await;
    let mut consumer = broker
        .consume(&input, ConsumeOptions::shared(1))
        .await
        .unwrap();
    node.stop().await.unwrap();
    let publishing = tokio::spawn({
        let broker = Arc::clone(&broker);
        async move { broker.publish(vec![work("in", "after")]).await }
    });
    node.restart().await.unwrap();
    publishing.await.unwrap().unwrap();
    let delivery = next(&mut consumer).await.unwrap();
    assert_eq!(delivery.envelope().id, "after");
    delivery.settle(Verdict::Done(Vec::new())).await.unwrap();
    consumer.close().await;
    broker.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_stays_away_is_given_up_after_the_outage_and_one_that_is_not_there_at_once() {
    let node = shared_node().await;
    let relay = Relay::to(node.port()).await.unwrap();
    let uri = format!("amqp://guest:guest@127.0.0.1:{}/%2f", relay.port());
    let config = RabbitConfig {
        outage: Duration::from_secs(2),
        ..config(uri)
    };
    let broker = connect(config.clone()).await;
    let (input, _) = queues(&broker).await;
    let mut consumer = broker
        .consume(&input, ConsumeOptions::shared(1))
        .await
        .unwrap();
    drop(relay);
    let failed = broker.publish(vec![work("in", "1")]).await.unwrap_err();
    let told = failed.to_string();
    assert!(
        told.starts_with("broker away for longer than 2s: "),
        "{told}"
    );
    let over = next(&mut consumer).await.unwrap_err();
    assert!(matches!(over, BrokerError::Away { .. }), "{over:?}");
    consumer.close().await;
    let failed = RabbitBroker::connect(config).await.unwrap_err();
    assert!(failed.is_transient(), "{failed:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_control_log_reaches_late_joiners_and_survives_cuts_without_repeating() {
    let node = shared_node().await;
    let relay = Relay::to(node.port()).await.unwrap();
    let uri = format!("amqp://guest:guest@127.0.0.1:{}/%2f", relay.port());
    let config = config(uri);
    let broker = connect(config.clone()).await;
    let opened = FleetState::default().open(RunId::mint(), "p", &[]);
    broker.append_control(opened.clone()).await.unwrap();
    let pills: Vec<_> = (1..40)
        .map(|epoch| FleetState::pill(epoch, PillMode::Drain))
        .collect();

    let late = connect(config).await;
    let mut log = late.follow_control().await.unwrap();
    assert_eq!(log.history, std::slice::from_ref(&opened));
    for (n, pill) in pills.iter().enumerate() {
        // Some of the cuts come between a record and its confirm: it is appended again.
        let cutting = async {
            if n % 4 == 1 {
                sleep(Duration::from_micros(100) * u32::try_from(n).unwrap()).await;
                relay.cut();
            }
        };
        let (appended, ()) = tokio::join!(broker.append_control(pill.clone()), cutting);
        appended.unwrap();
    }
    for pill in &pills {
        let update = timeout(PATIENCE, log.updates.recv()).await;
        assert_eq!(update.expect("no update in time").as_ref(), Some(pill));
    }
    let again = late.follow_control().await.unwrap();
    assert_eq!(again.history.len(), 1 + pills.len());
    late.close().await;
    let ended = timeout(PATIENCE, log.updates.recv()).await;
    assert_eq!(ended.expect("updates go on after close"), None);
}
