//! A fleet with members that call whenever they may, and a broker that counts them.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use filefleet_shared::{
    broker::{Broker, BrokerError, ConsumeOptions, Consumer, ControlLog, Depth, Message, Queue},
    wire::{ControlRecord, Usage},
};
use tokio::{
    sync::{broadcast, watch},
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

use crate::{
    context::{Lane, Stats},
    governor::{
        Bounds, Demand,
        share::{Membership, NEWS, News},
    },
    pool::tests::{breaker_of, pool},
    retry::RetryBudget,
};

pub(super) const QUOTA: usize = 100;

/// A broker that counts consumers and keeps no message.
#[derive(Debug)]
pub(super) struct Counting {
    pub(super) consumers: AtomicU64,
    /// How long a question takes, and the news of an answer.
    delay: Duration,
    pub(super) silent: AtomicBool,
    pub(super) news: broadcast::Sender<News>,
    /// What is said does not say what has changed.
    pub(super) mute: AtomicBool,
    records: Mutex<Vec<ControlRecord>>,
}

#[async_trait]
impl Broker for Counting {
    async fn declare(&self, _: &[Queue]) -> Result<(), BrokerError> {
        Ok(())
    }

    async fn publish(&self, _: Vec<Message>) -> Result<(), BrokerError> {
        Ok(())
    }

    async fn consume(&self, _: &Queue, _: ConsumeOptions) -> Result<Consumer, BrokerError> {
        Err(BrokerError::Closed)
    }

    async fn inspect(&self, _: &Queue) -> Result<Option<Depth>, BrokerError> {
        sleep(self.delay).await;
        if self.silent.load(Ordering::SeqCst) {
            return Err(BrokerError::Closed);
        }
        Ok(Some(Depth {
            ready: 0,
            consumers: self.consumers.load(Ordering::SeqCst),
        }))
    }

    async fn waiting(&self) -> Result<u64, BrokerError> {
        Ok(0)
    }

    async fn delete(&self, _: &Queue) -> Result<(), BrokerError> {
        Ok(())
    }

    async fn append_control(&self, record: ControlRecord) -> Result<(), BrokerError> {
        sleep(self.delay).await;
        let ControlRecord::Members(mut members) = record.clone() else {
            return Err(BrokerError::Closed);
        };
        if self.mute.load(Ordering::SeqCst) {
            members.change = None;
        }
        self.records.lock().unwrap().push(record);
        let (news, delay) = (self.news.clone(), self.delay);
        tokio::spawn(async move {
            sleep(delay).await;
            drop(news.send(News::of(&members)));
        });
        Ok(())
    }

    async fn follow_control(&self) -> Result<ControlLog, BrokerError> {
        Err(BrokerError::Closed)
    }

    fn ack_timeout(&self) -> Option<Duration> {
        None
    }

    fn outage(&self) -> Duration {
        Duration::ZERO
    }

    async fn close(&self) {}
}

/// One that calls whenever it may.
pub(super) struct Member {
    lane: Arc<Lane>,
    tasks: JoinSet<()>,
    keeping: JoinSet<()>,
}

pub(super) struct Fleet {
    pub(super) broker: Arc<Counting>,
    pub(super) members: Vec<Member>,
    calls: Arc<Mutex<Vec<Instant>>>,
}

impl Fleet {
    pub(super) fn new() -> Self {
        Self {
            broker: Arc::new(Counting {
                consumers: AtomicU64::new(0),
                delay: Duration::from_millis(20),
                silent: AtomicBool::new(false),
                news: broadcast::Sender::new(NEWS),
                mute: AtomicBool::new(false),
                records: Mutex::default(),
            }),
            members: Vec::new(),
            calls: Arc::default(),
        }
    }

    pub(super) fn come(&mut self) {
        let lane = Arc::new(lane());
        let membership = Membership {
            broker: self.broker.clone(),
            lane: lane.clone(),
            news: self.broker.news.subscribe(),
        };
        let mut keeping = JoinSet::new();
        keeping.spawn(membership.keep());
        let mut tasks = JoinSet::new();
        let (calling, calls) = (lane.clone(), self.calls.clone());
        tasks.spawn(async move {
            loop {
                match calling.calls.acquire(Demand::default(), None).await {
                    Ok((deployment, permit)) => {
                        let now = Instant::now();
                        calls.lock().unwrap().push(now);
                        deployment.circuit().answered(now);
                        permit.answered(&Usage::default());
                    }
                    Err(paused) => sleep_until(paused.until).await,
                }
            }
        });
        tasks.spawn(consume(lane.clone(), self.broker.clone()));
        self.broker.consumers.fetch_add(1, Ordering::SeqCst);
        lane.consuming.send_replace(true);
        self.members.push(Member {
            lane,
            tasks,
            keeping,
        });
    }

    /// The oldest one leaves as one that is told to, and is counted until it has settled.
    pub(super) async fn leave(&mut self, settling: Duration) {
        let mut member = self.members.remove(0);
        member.tasks.shutdown().await;
        member.lane.consuming.send_replace(false);
        let broker = self.broker.clone();
        tokio::spawn(async move {
            sleep(settling).await;
            broker.consumers.fetch_sub(1, Ordering::SeqCst);
        });
        tokio::spawn(async move { while member.keeping.join_next().await.is_some() {} });
    }

    /// All are told to leave the service alone until then, one after the other.
    pub(super) async fn pause(&self, until: Instant, apart: Duration) {
        for member in &self.members {
            let wait = until.saturating_duration_since(Instant::now());
            member.lane.breaker.circuit(0).throttled(wait, "429");
            sleep(apart).await;
        }
    }

    /// The oldest one dies.
    pub(super) async fn die(&mut self) {
        let mut member = self.members.remove(0);
        member.tasks.shutdown().await;
        member.keeping.shutdown().await;
        self.broker.consumers.fetch_sub(1, Ordering::SeqCst);
    }

    /// Calls since `from`, as a part of the quota.
    pub(super) fn goodput(&self, from: Instant) -> f64 {
        let calls = self.calls.lock().unwrap();
        let count = calls.iter().filter(|at| **at >= from).count();
        count as f64 / from.elapsed().as_secs_f64() / QUOTA as f64
    }

    /// No second has more calls than the quota and what chance adds to it; one member that is not
    /// counted would add more.
    pub(super) fn keeps_to_the_quota(&self, when: &str) {
        let most = self.most();
        assert!(most <= QUOTA + QUOTA / 10, "{most} in a second, {when}");
    }

    /// The most calls in any second.
    fn most(&self) -> usize {
        let mut calls = self.calls.lock().unwrap();
        calls.sort();
        let mut window = VecDeque::new();
        let fullest = calls.iter().map(|at| {
            window.push_back(*at);
            while window[0] + Duration::from_secs(1) <= *at {
                window.pop_front();
            }
            window.len()
        });
        fullest.max().unwrap_or(0)
    }
}

/// Is counted but while the service is paused, as the loop of a queue is.
async fn consume(lane: Arc<Lane>, broker: Arc<Counting>) {
    let mut paused = lane.breaker.watch();
    loop {
        let until = paused.wait_for(Option::is_some).await;
        let until = until
            .expect("the lane has it")
            .as_ref()
            .map(|pause| pause.until);
        broker.consumers.fetch_sub(1, Ordering::SeqCst);
        sleep_until(until.expect("it was looked for")).await;
        broker.consumers.fetch_add(1, Ordering::SeqCst);
        drop(paused.wait_for(Option::is_none).await);
    }
}

fn lane() -> Lane {
    let bounds = Bounds {
        in_flight: 64,
        seeking: false,
        requests: Some(QUOTA as f64),
        tokens: None,
    };
    let calls = pool(&[(1, 1, bounds)]);
    Lane {
        name: "gpt".to_owned(),
        breaker: breaker_of(&calls),
        calls,
        retries: RetryBudget::new(0.1),
        consuming: watch::Sender::new(false),
        stats: Arc::new(Stats::default()),
    }
}
