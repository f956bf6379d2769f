//! What the tests of publishing and collecting share: the embedded broker, watched.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use filefleet_shared::{
    broker::{
        Broker, BrokerError, ConsumeOptions, Consumer, ControlLog, Depth, Message, Queue,
        ResultKey, Route, embedded::EmbeddedBroker,
    },
    files::file_ref,
    time::UnixMillis,
    wire::{
        ControlRecord, Failure, Outcome, OutcomeTag, RunClosed, RunClosedTag, RunId, Status,
        Timings, Usage, VERSION, encode,
    },
};
use tempfile::TempDir;
use tokio::sync::{Semaphore, watch};

/// The embedded broker, which keeps what was published, and can be away or slow.
#[derive(Debug)]
pub(crate) struct Watched {
    broker: EmbeddedBroker,
    /// Confirmed messages of work queues, in order, again and again if published so.
    pub(crate) work: Mutex<Vec<Message>>,
    pub(crate) publishes: AtomicUsize,
    /// Publishes to work queues that may go through; closed it stays shut.
    pub(crate) gate: Semaphore,
    /// Of so many publishes one reports an error although it went through; 0 for none.
    pub(crate) lies: AtomicUsize,
    _dir: TempDir,
}

impl Watched {
    /// A broker that lets everything through.
    pub(crate) fn new() -> Arc<Self> {
        let dir = tempfile::tempdir().unwrap();
        Arc::new(Self {
            broker: EmbeddedBroker::open(&dir.path().join("queue.db")).unwrap(),
            work: Mutex::default(),
            publishes: AtomicUsize::new(0),
            gate: Semaphore::new(Semaphore::MAX_PERMITS / 2),
            lies: AtomicUsize::new(0),
            _dir: dir,
        })
    }

    /// A broker that confirms so many windows and then no more.
    pub(crate) fn stalling_after(windows: usize) -> Arc<Self> {
        let watched = Self::new();
        watched.gate.forget_permits(usize::MAX >> 4);
        watched.gate.add_permits(windows);
        watched
    }

    pub(crate) fn ids(&self) -> Vec<String> {
        let work = self.work.lock().unwrap();
        work.iter().map(|message| message.id.clone()).collect()
    }

    pub(crate) async fn control(&self) -> Vec<ControlRecord> {
        self.broker.follow_control().await.unwrap().history
    }
}

#[async_trait]
impl Broker for Watched {
    async fn declare(&self, queues: &[Queue]) -> Result<(), BrokerError> {
        self.broker.declare(queues).await
    }

    async fn publish(&self, messages: Vec<Message>) -> Result<(), BrokerError> {
        if matches!(messages.first().map(|m| &m.route), Some(Route::Work { .. })) {
            self.gate.acquire().await.unwrap().forget();
            self.work.lock().unwrap().extend(messages.iter().cloned());
        }
        self.broker.publish(messages).await?;
        let count = 1 + self.publishes.fetch_add(1, Ordering::SeqCst);
        let lies = self.lies.load(Ordering::SeqCst);
        if lies > 0 && count.is_multiple_of(lies) {
            return Err(BrokerError::Unavailable("no confirm came".to_owned()));
        }
        Ok(())
    }

    async fn consume(
        &self,
        queue: &Queue,
        options: ConsumeOptions,
    ) -> Result<Consumer, BrokerError> {
        self.broker.consume(queue, options).await
    }

    async fn inspect(&self, queue: &Queue) -> Result<Option<Depth>, BrokerError> {
        self.broker.inspect(queue).await
    }

    async fn waiting(&self) -> Result<u64, BrokerError> {
        self.broker.waiting().await
    }

    async fn delete(&self, queue: &Queue) -> Result<(), BrokerError> {
        self.broker.delete(queue).await
    }

    async fn append_control(&self, record: ControlRecord) -> Result<(), BrokerError> {
        self.broker.append_control(record).await
    }

    async fn follow_control(&self) -> Result<ControlLog, BrokerError> {
        self.broker.follow_control().await
    }

    fn ack_timeout(&self) -> Option<Duration> {
        self.broker.ack_timeout()
    }

    fn outage(&self) -> Duration {
        self.broker.outage()
    }

    async fn close(&self) {
        self.broker.close().await;
    }
}

/// A directory of files whose content is their name.
pub(crate) fn tree(keys: &[String]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for key in keys {
        put(dir.path(), key);
    }
    dir
}

pub(crate) fn put(dir: &Path, key: &str) {
    let path = dir.join(key);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, key).unwrap();
}

/// Keys in several directories, in the order of the scan.
pub(crate) fn keys(count: usize) -> Vec<String> {
    let key = |place| format!("d{}/f{place:05}.txt", place * 3 / count.max(1));
    (0..count).map(key).collect()
}

pub(crate) fn outcome(run: RunId, seq: u64, status: Status) -> Outcome {
    let failure = (status != Status::Succeeded).then(|| Failure {
        cause: "content_filter".to_owned(),
        detail: "refused".to_owned(),
        service: Some("gpt".to_owned()),
    });
    Outcome {
        v: VERSION,
        kind: OutcomeTag::Outcome,
        run,
        seq,
        status,
        file: file_ref(
            "docs",
            format!("f{seq}").as_bytes(),
            seq,
            None,
            "text/plain",
        )
        .unwrap(),
        pipeline: "demo".to_owned(),
        step: "only".to_owned(),
        output: (status == Status::Succeeded).then(|| serde_json::json!({ "answer": seq })),
        stored: None,
        failure,
        by_service: std::collections::BTreeMap::new(),
        usage: Usage {
            calls: 1,
            input_tokens: 10,
            output_tokens: seq,
            ..Usage::default()
        },
        attempts: 1,
        input_changed: false,
        unmatched: false,
        worker: "w1".to_owned(),
        timings: Timings {
            started: UnixMillis(1_000),
            finished: UnixMillis(2_000 + seq),
            call_ms: 100 + seq,
        },
    }
}

pub(crate) fn result_message(outcome: &Outcome) -> Message {
    Message {
        id: outcome.message_id(),
        route: Route::Result {
            run: outcome.run,
            key: ResultKey::Outcome(outcome.status),
        },
        headers: filefleet_shared::broker::Headers::default(),
        body: encode(outcome).unwrap(),
    }
}

pub(crate) fn sentinel(run: RunId, total: u64) -> Message {
    let closed = RunClosed {
        v: VERSION,
        kind: RunClosedTag::RunClosed,
        run,
        total,
        digest: "d1".to_owned(),
        unreadable: 2,
        opened: UnixMillis(0),
        closed: UnixMillis(1_500),
    };
    Message {
        id: format!("{run}:closed"),
        route: Route::Result {
            run,
            key: ResultKey::Closed,
        },
        headers: filefleet_shared::broker::Headers::default(),
        body: encode(&closed).unwrap(),
    }
}

/// The ends of lines, and places inside them, of a text.
pub(crate) fn cuts(text: &[u8]) -> Vec<usize> {
    let mut cuts = vec![0];
    let mut begin = 0;
    for (place, byte) in text.iter().enumerate() {
        if *byte == b'\n' {
            cuts.extend([begin + 1, (begin + place) / 2, place, place + 1]);
            begin = place + 1;
        }
    }
    cuts.dedup();
    cuts
}

pub(crate) fn lines(path: &Path) -> Vec<serde_json::Value> {
    fs::read_to_string(path)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// A stop that nobody tells.
pub(crate) fn no_stop() -> watch::Receiver<bool> {
    watch::channel(false).1
}

pub(crate) fn below(dir: &TempDir, name: &str) -> PathBuf {
    dir.path().join(name)
}
