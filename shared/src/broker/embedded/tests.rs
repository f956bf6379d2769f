use std::{path::PathBuf, sync::Arc, task::Poll};

use bytes::Bytes;
use tokio::time::timeout;

use super::*;
use crate::{
    broker::{Delivery, Headers, Later, Route, SettleError, Verdict, conformance::Fixture},
    time::UnixMillis,
    wire::{FleetState, PillMode, RunId},
};

struct OnDisk {
    _directory: tempfile::TempDir,
    path: PathBuf,
}

impl OnDisk {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self {
            path: directory.path().join("queue.db"),
            _directory: directory,
        }
    }
}

#[async_trait]
impl Fixture for OnDisk {
    async fn broker(&self) -> Result<Arc<dyn Broker>, BrokerError> {
        Ok(Arc::new(EmbeddedBroker::open(&self.path)?))
    }

    // Closing hands nothing back: deliveries are left marked in the file, as a death leaves them.
    // Real deaths are in `kill`.
    async fn crash(&self, broker: Arc<dyn Broker>) -> Result<Arc<dyn Broker>, BrokerError> {
        broker.close().await;
        self.broker().await
    }
}

mod laws {
    crate::broker_conformance_tests!(super::OnDisk::new());
}

const PATIENCE: Duration = Duration::from_secs(20);

fn work() -> Queue {
    Queue::Work("ocr".to_owned())
}

fn step(id: &str) -> Message {
    Message {
        id: id.to_owned(),
        route: Route::Work {
            service: "ocr".to_owned(),
        },
        headers: Headers::default(),
        body: Bytes::from(id.to_owned()),
    }
}

fn steps(count: usize) -> Vec<Message> {
    (0..count).map(|n| step(&format!("m{n:05}"))).collect()
}

async fn take(consumer: &mut Consumer) -> Delivery {
    timeout(PATIENCE, consumer.recv()).await.unwrap().unwrap()
}

impl OnDisk {
    async fn open(&self) -> EmbeddedBroker {
        let broker = EmbeddedBroker::open(&self.path).unwrap();
        broker.declare(&[work()]).await.unwrap();
        broker
    }
}

impl EmbeddedBroker {
    async fn worker(&self, prefetch: u16) -> Consumer {
        let options = ConsumeOptions::shared(prefetch);
        self.consume(&work(), options).await.unwrap()
    }

    /// Runs a statement on the writer's own connection.
    async fn sql(&self, statement: &'static str) {
        let done: Result<(), BrokerError> = self
            .handle
            .call(move |turn| turn.store.0.execute_batch(statement).map(Ok))
            .await;
        done.unwrap();
    }

    async fn ready(&self) -> u64 {
        self.inspect(&work()).await.unwrap().unwrap().ready
    }

    /// The disk is full: no page more than the file has.
    async fn fill_disk(&self) {
        self.sql("PRAGMA max_page_count = 1").await;
    }

    async fn make_room(&self) {
        self.sql("PRAGMA max_page_count = 1000000").await;
    }
}

#[tokio::test]
async fn a_second_process_is_refused_until_the_first_has_closed() {
    let disk = OnDisk::new();
    let first = disk.open().await;
    let refused = EmbeddedBroker::open(&disk.path).unwrap_err();
    let owner = format!("in use by process {}", std::process::id());
    assert!(refused.to_string().contains(&owner), "{refused}");
    first.close().await;
    disk.open().await.close().await;
}

#[tokio::test]
async fn closing_twice_is_closed_and_every_call_says_so() {
    let disk = OnDisk::new();
    let broker = disk.open().await;
    let mut consumer = broker.worker(1).await;
    let mut log = broker.follow_control().await.unwrap();
    broker.close().await;
    broker.close().await;
    assert!(matches!(
        broker.inspect(&work()).await,
        Err(BrokerError::Closed)
    ));
    assert!(matches!(consumer.recv().await, Err(BrokerError::Closed)));
    assert_eq!(log.updates.recv().await, None);
}

#[tokio::test]
async fn a_file_that_is_no_queue_of_this_version_is_refused_untouched() {
    let disk = OnDisk::new();
    std::fs::write(
        &disk.path,
        "not a database, but long enough to be looked at".repeat(99),
    )
    .unwrap();
    let refused = EmbeddedBroker::open(&disk.path).unwrap_err();
    assert!(matches!(refused, BrokerError::Refused(_)), "{refused}");

    let disk = OnDisk::new();
    let broker = disk.open().await;
    broker.sql("PRAGMA user_version = 2").await;
    broker.close().await;
    let refused = EmbeddedBroker::open(&disk.path).unwrap_err();
    assert!(refused.to_string().contains("version 2"), "{refused}");
}

#[tokio::test]
async fn another_process_steers_and_watches_without_the_lock() {
    let disk = OnDisk::new();
    assert!(
        EmbeddedControl::open(&disk.path).is_err(),
        "there is no queue yet"
    );
    let broker = disk.open().await;
    let mut log = broker.follow_control().await.unwrap();
    let beside = EmbeddedControl::open(&disk.path).unwrap();
    assert!(beside.is_running().unwrap());

    let opened = FleetState::default().open(RunId::mint(), "invoices", &["ocr".to_owned()]);
    let pill = FleetState::pill(1, PillMode::Drain);
    broker.append_control(opened.clone()).await.unwrap();
    beside.append(&pill).unwrap();
    for record in [&opened, &pill] {
        let update = timeout(PATIENCE, log.updates.recv()).await.unwrap();
        assert_eq!(update.as_ref(), Some(record));
    }
    assert_eq!(beside.records().unwrap(), [opened, pill]);

    broker.publish(steps(5)).await.unwrap();
    let mut consumer = broker.worker(2).await;
    let later = Later {
        delay: Duration::from_secs(3600),
        attempts: 1,
        cause: "overloaded".to_owned(),
        first_attempt: None,
        body: None,
    };
    take(&mut consumer)
        .await
        .settle(Verdict::Later(later))
        .await
        .unwrap();
    let held = take(&mut consumer).await;
    let depths = beside.depths().unwrap();
    let work = depths.iter().find(|depth| depth.queue == "work.ocr");
    let expected = QueueDepth {
        queue: "work.ocr".to_owned(),
        ready: 2,
        delivered: 2,
        waiting: 1,
    };
    assert_eq!(work, Some(&expected));
    drop(held);
    consumer.close().await;
    broker.close().await;
    assert!(!beside.is_running().unwrap());
}

#[tokio::test]
async fn a_slow_follower_of_the_control_log_misses_nothing() {
    let disk = OnDisk::new();
    let broker = disk.open().await;
    let mut log = broker.follow_control().await.unwrap();
    let count = UPDATES as u64 * 3;
    for epoch in 1..=count {
        let pill = FleetState::pill(epoch, PillMode::Drain);
        broker.append_control(pill).await.unwrap();
    }
    let mut state = FleetState::default();
    while state.epoch < count {
        let update = timeout(PATIENCE, log.updates.recv()).await.unwrap();
        let before = state.epoch;
        state.apply(&update.unwrap());
        assert_eq!(state.epoch, before + 1);
    }
    broker.close().await;
}

#[tokio::test]
async fn a_full_disk_refuses_what_needs_room_and_loses_nothing() {
    let disk = OnDisk::new();
    let broker = disk.open().await;
    broker.publish(steps(3)).await.unwrap();
    let mut consumer = broker.worker(2).await;
    let (first, second) = (take(&mut consumer).await, take(&mut consumer).await);

    broker.fill_disk().await;
    let large = || Message {
        body: Bytes::from(vec![b'x'; 1_000_000]),
        ..step("large")
    };
    // Together, so that they share a transaction: the one that fits must not suffer.
    let (refused, fits) = tokio::join!(
        broker.publish(vec![large()]),
        second.settle(Verdict::Done(Vec::new()))
    );
    let refused = refused.unwrap_err();
    assert!(
        refused.is_transient() && refused.to_string().contains("no room left"),
        "{refused}"
    );
    fits.unwrap();
    let settled = first.settle(Verdict::Done(vec![large()])).await;
    assert!(matches!(
        settled,
        Err(SettleError::Publish(BrokerError::Unavailable(_)))
    ));

    broker.make_room().await;
    for id in ["m00002", "m00000"] {
        let delivery = take(&mut consumer).await;
        assert_eq!(delivery.envelope().id, id);
        delivery.settle(Verdict::Done(vec![large()])).await.unwrap();
    }
    consumer.close().await;
    assert_eq!(broker.ready().await, 2);
    broker.close().await;
}

#[tokio::test]
async fn one_callers_missing_queue_is_not_its_neighbours() {
    let disk = OnDisk::new();
    let broker = Arc::new(disk.open().await);
    let calls = (0..200).map(|n| {
        let (broker, mut message) = (Arc::clone(&broker), step(&format!("m{n}")));
        if n % 2 == 0 {
            message.route = Route::Quarantine {
                service: "nowhere".to_owned(),
            };
        }
        tokio::spawn(async move { broker.publish(vec![message]).await })
    });
    let calls: Vec<_> = calls.collect();
    for (n, call) in calls.into_iter().enumerate() {
        let published = call.await.unwrap();
        if n % 2 == 0 {
            assert!(
                matches!(published, Err(BrokerError::Unroutable(name)) if name.contains("nowhere"))
            );
        } else {
            published.unwrap();
        }
    }
    assert_eq!(broker.ready().await, 100);
    broker.close().await;
}

#[tokio::test]
async fn thousands_handed_back_are_ready_in_their_old_order_and_count_no_death() {
    let disk = OnDisk::new();
    let broker = disk.open().await;
    broker.publish(steps(3000)).await.unwrap();
    for _ in 0..2 {
        let mut consumer = broker.worker(2000).await;
        let held = [take(&mut consumer).await, take(&mut consumer).await];
        consumer.close().await;
        drop(held);
        assert_eq!(broker.ready().await, 3000);
    }
    let mut consumer = broker.worker(2000).await;
    for message in steps(3000) {
        let delivery = take(&mut consumer).await;
        let envelope = delivery.envelope();
        assert_eq!((&envelope.id, envelope.deliveries), (&message.id, 1));
        delivery.settle(Verdict::Done(Vec::new())).await.unwrap();
    }
    consumer.close().await;
    broker.close().await;
}

#[tokio::test]
async fn a_settlement_whose_caller_left_is_carried_out_once() {
    let disk = OnDisk::new();
    let broker = disk.open().await;
    for verdict in [Verdict::Release, Verdict::Done(vec![step("b")])] {
        if broker.ready().await == 0 {
            broker.publish(vec![step("a")]).await.unwrap();
        }
        let mut consumer = broker.worker(1).await;
        let mut settling = Box::pin(take(&mut consumer).await.settle(verdict));
        // Asked for, then abandoned.
        std::future::poll_fn(|context| {
            drop(settling.as_mut().poll(context));
            Poll::Ready(())
        })
        .await;
        drop(settling);
        consumer.close().await;
        assert_eq!(broker.ready().await, 1);
    }
    let mut consumer = broker.worker(1).await;
    assert_eq!(take(&mut consumer).await.envelope().id, "b");
    consumer.close().await;
    broker.close().await;
}

#[tokio::test]
async fn a_message_published_for_later_waits() {
    let disk = OnDisk::new();
    let broker = disk.open().await;
    let due = UnixMillis::now().after(Duration::from_millis(300));
    let mut message = step("continued");
    message.headers.not_before = Some(due);
    broker.publish(vec![message, step("a")]).await.unwrap();
    let mut consumer = broker.worker(2).await;
    let first = take(&mut consumer).await;
    assert_eq!(first.envelope().id, "a");
    assert_eq!(take(&mut consumer).await.envelope().id, "continued");
    assert!(UnixMillis::now() >= due);
    broker.close().await;
}

#[tokio::test]
async fn more_waiting_messages_than_fit_one_transaction_all_come_back() {
    let disk = OnDisk::new();
    let broker = disk.open().await;
    let due = UnixMillis::now().after(Duration::from_millis(50));
    let mut waiting = steps(2500);
    for message in &mut waiting {
        message.headers.not_before = Some(due);
    }
    broker.publish(waiting).await.unwrap();
    let mut consumer = broker.worker(100).await;
    for _ in 0..2500 {
        let delivery = take(&mut consumer).await;
        delivery.settle(Verdict::Done(Vec::new())).await.unwrap();
    }
    consumer.close().await;
    broker.close().await;
}

#[tokio::test]
async fn headers_that_cannot_be_read_are_a_dead_letter_with_its_body() {
    let disk = OnDisk::new();
    let broker = disk.open().await;
    broker.publish(vec![step("a"), step("b")]).await.unwrap();
    broker
        .sql("UPDATE message SET headers = '{' WHERE id = 'a'")
        .await;
    let options = ConsumeOptions::shared(1);
    let mut letters = broker.consume(&Queue::Dead, options).await.unwrap();
    let mut consumer = broker.worker(1).await;
    assert_eq!(take(&mut consumer).await.envelope().id, "b");
    let letter = take(&mut letters).await;
    let envelope = letter.envelope();
    assert_eq!((&*envelope.id, &*envelope.body), ("a", &b"a"[..]));
    let death = envelope.headers.death.as_ref().unwrap();
    assert_eq!(
        (&*death.reason, &*death.from),
        ("unreadable_headers", "work.ocr")
    );
    broker.close().await;
}
