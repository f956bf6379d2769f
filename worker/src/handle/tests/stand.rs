//! A worker's part that handles deliveries, without a broker.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;
use filefleet_shared::{
    broker::{Headers, Message},
    files::Roots,
    wire::{FileRef, Outcome, RunId, TaskId},
};
use serde_json::Value;
use tokio::sync::{Semaphore, mpsc};

use super::super::*;
use crate::{
    breaker::Breaker,
    config::Config,
    context::Stats,
    pool::Pool,
    retry::RetryBudget,
    service::{Answer, Catalog, CatalogOptions, Service, StepInput},
};

/// What a call comes to, by the key of its file.
type Answers = dyn Fn(&str) -> Result<Reply, CallError> + Send + Sync;

/// How long calls take for files whose keys begin with `slow`.
pub(crate) const SLOW: Duration = Duration::from_secs(10);

/// A service that does what it is told, in no time but for [`SLOW`] files.
pub(crate) struct Told {
    answers: Box<Answers>,
    pub(crate) needs_files: AtomicBool,
    /// The files it was called for.
    pub(crate) calls: Mutex<Vec<String>>,
}

#[async_trait]
impl Service for Told {
    async fn call(&self, input: StepInput<'_>) -> Result<Reply, CallError> {
        let key = &input.message.file.key;
        self.calls.lock().unwrap().push(key.clone());
        // Calls are told apart by when they begin.
        let now = UnixMillis::now();
        while UnixMillis::now() == now {
            tokio::task::yield_now().await;
        }
        if key.starts_with("slow") {
            tokio::time::sleep(SLOW).await;
        }
        (self.answers)(key)
    }

    fn needs_content(&self) -> bool {
        self.needs_files.load(Ordering::SeqCst)
    }
}

/// One worker with one service.
pub(crate) struct Stand {
    pub(crate) context: Context,
    pub(crate) lane: Lane,
    pub(crate) service: Arc<Told>,
    pub(crate) draining: watch::Sender<bool>,
    pub(crate) run: RunId,
}

impl Stand {
    /// Its service does what it is told; `limits` are keys of it in the configuration.
    pub(crate) fn new(
        limits: &str,
        answers: impl Fn(&str) -> Result<Reply, CallError> + Send + Sync + 'static,
    ) -> Self {
        let text = format!(
            "[service.s]\nkind = \"http\"\nendpoint = \"http://127.0.0.1:9\"\n{limits}\n\
             [[pipeline.p]]\nname = \"ask\"\nservice = \"s\"\n\
             request = {{ text = \"{{{{ file.key }}}}\" }}\n"
        );
        let service = Arc::new(Told {
            answers: Box::new(answers),
            needs_files: AtomicBool::new(false),
            calls: Mutex::default(),
        });
        let call: Arc<dyn Service> = service.clone();
        Self::of(catalog(&text).calling(&call), service)
    }

    /// Its service is the one that the configuration says.
    pub(crate) fn configured(text: &str) -> Self {
        let nobody = Told {
            answers: Box::new(|_| fine()),
            needs_files: AtomicBool::new(false),
            calls: Mutex::default(),
        };
        Self::of(catalog(text), Arc::new(nobody))
    }

    fn of(catalog: Catalog, service: Arc<Told>) -> Self {
        Self {
            lane: lane(&catalog),
            context: context(catalog),
            service,
            draining: watch::Sender::new(false),
            run: RunId::mint(),
        }
    }

    /// The first delivery of a file.
    pub(crate) fn envelope(&self, key: &str) -> Envelope {
        let task = TaskId {
            run: self.run,
            seq: 0,
        };
        let file = FileRef {
            root: "inbox".to_owned(),
            key: key.to_owned(),
            key_bytes: None,
            size: 5,
            modified: None,
            etag: None,
            media_type: "text/plain".to_owned(),
        };
        let message = StepMessage::first(task, "p", "ask", file);
        Envelope {
            id: message.message_id(),
            queue: Queue::Work("s".to_owned()),
            headers: Headers::default(),
            body: wire::encode(&message).expect("a message"),
            deliveries: 1,
        }
    }

    pub(crate) async fn handle(&self, envelope: &Envelope) -> Verdict {
        handle(
            &self.context,
            &self.lane,
            envelope,
            self.draining.subscribe(),
        )
        .await
    }

    /// Handles a delivery that is put off; gives it as it comes back.
    pub(crate) async fn put_off(&self, envelope: &Envelope) -> Envelope {
        match self.handle(envelope).await {
            Verdict::Later(later) => Envelope {
                headers: envelope.headers.put_off(&later, UnixMillis::now()),
                ..envelope.clone()
            },
            other => panic!("not put off: {other:?}"),
        }
    }

    pub(crate) fn paused(&self) -> Option<PauseKind> {
        let pause = self.lane.breaker.watch();
        let pause = pause.borrow();
        pause.as_ref().map(|pause| pause.kind)
    }
}

/// The outcome of a file, from the verdict that ends it.
pub(crate) fn outcome(verdict: &Verdict) -> Outcome {
    let messages: &[Message] = match verdict {
        Verdict::Done(messages) => messages,
        Verdict::Dead(dead) => &dead.publish,
        other => panic!("not ended: {other:?}"),
    };
    wire::decode(&messages[0].body).expect("an outcome")
}

/// An answer that says nothing.
#[expect(clippy::unnecessary_wraps, reason = "what a service gives")]
pub(crate) fn fine() -> Result<Reply, CallError> {
    let usage = Usage {
        calls: 1,
        ..Usage::default()
    };
    let output = Value::Null;
    Ok(Answer { output, usage }.into())
}

fn catalog(text: &str) -> Catalog {
    let config = Config::parse("test.toml", text).expect("a configuration");
    Catalog::build(&config, &CatalogOptions::default()).expect("a catalog")
}

fn lane(catalog: &Catalog) -> Lane {
    let limits = catalog.services().next().expect("a service");
    let breaker = Arc::new(Breaker::new(vec!["s".to_owned()]));
    let bounds = limits
        .deployments
        .iter()
        .map(|limits| (limits, limits.calls));
    let lane = Lane {
        name: "s".to_owned(),
        calls: Pool::new("s", bounds, breaker.clone()),
        retries: RetryBudget::new(0.1),
        consuming: watch::Sender::new(true),
        breaker,
        stats: Arc::new(Stats::default()),
    };
    lane.calls.share(1);
    lane
}

fn context(catalog: Catalog) -> Context {
    Context {
        worker: "w".to_owned(),
        catalog,
        roots: Arc::new(Roots::default()),
        scratch: None,
        journal: None,
        retry: RetryPolicy::default(),
        bytes: Semaphore::new(16),
        bytes_total: 16,
        output_bytes: Semaphore::new(16),
        hold_budget: Duration::from_secs(1620),
        quarantine_after: 2,
        dead_after: 3,
        budget: Arc::default(),
        calls: None,
        announce: mpsc::channel(8).0,
        complete: watch::Sender::default(),
    }
}
