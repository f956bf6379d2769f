//! kill -9 of a process that publishes and settles on the embedded broker, again and again:
//! what it had reported as confirmed is there, what it had settled never comes back, and what
//! follows from a settlement is there exactly as settled.
//!
//! Without a test harness: this binary is the process that dies, too.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    error::Error,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use filefleet_shared::broker::{
    Broker, BrokerError, ConsumeOptions, Dead, Delivery, Headers, Later, Message, Queue, ResultKey,
    Route, Verdict, embedded::EmbeddedBroker,
};
use filefleet_shared::wire::{RunId, Status};
use tokio::task::JoinSet;

type Failure = Box<dyn Error + Send + Sync>;

const CHILD: &str = "FILEFLEET_KILL_TEST_QUEUE";
const RUN: &str = "01890a5d-ac96-774b-bcce-b302099a8057";
const ROUNDS: u32 = 8;
const PATIENCE: Duration = Duration::from_secs(20);

fn main() -> Result<(), Failure> {
    let runtime = tokio::runtime::Runtime::new()?;
    match env::var_os(CHILD) {
        Some(queue) => runtime.block_on(work_until_killed(Path::new(&queue))),
        None => {
            let directory = tempfile::tempdir()?;
            let queue = directory.path().join("queue.db");
            let mut ledger = Ledger::default();
            for round in 0..ROUNDS {
                kill_a_worker(&queue, round, &mut ledger)?;
            }
            runtime.block_on(ledger.compare(&queue))
        }
    }
}

fn work() -> Queue {
    Queue::Work("ocr".to_owned())
}

fn run() -> Result<RunId, Failure> {
    Ok(RUN.parse()?)
}

fn step(id: String) -> Message {
    Message {
        route: Route::Work {
            service: "ocr".to_owned(),
        },
        headers: Headers::default(),
        body: Bytes::from(id.clone()),
        id,
    }
}

fn outcome(id: &str, status: Status) -> Result<Message, Failure> {
    let route = Route::Result {
        run: run()?,
        key: ResultKey::Outcome(status),
    };
    Ok(Message {
        route,
        ..step(id.to_owned())
    })
}

/// Says what is confirmed, one line each. A line that a kill cuts short is not counted.
fn report(word: &str, id: &str) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{word} {id} .")?;
    Ok(stdout.flush()?)
}

async fn work_until_killed(queue: &Path) -> Result<(), Failure> {
    let broker: Arc<dyn Broker> = Arc::new(EmbeddedBroker::open(queue)?);
    broker.declare(&[work(), Queue::Results(run()?)]).await?;
    let mut consumer = broker.consume(&work(), ConsumeOptions::shared(40)).await?;
    let process = std::process::id();
    let mut settling: JoinSet<Result<(), Failure>> = JoinSet::new();
    for publisher in 0..3 {
        let broker = Arc::clone(&broker);
        settling.spawn(async move {
            for batch in 0.. {
                let ids: Vec<String> = (0..10)
                    .map(|n| format!("{process}-{publisher}-{batch}-{n}"))
                    .collect();
                broker
                    .publish(ids.iter().cloned().map(step).collect())
                    .await?;
                for id in &ids {
                    report("published", id)?;
                }
            }
            Ok(())
        });
    }
    loop {
        tokio::select! {
            received = consumer.recv() => {
                settling.spawn(settle(received?));
            }
            Some(settled) = settling.join_next() => settled??,
        }
    }
}

/// Every verdict has its turn.
async fn settle(delivery: Delivery) -> Result<(), Failure> {
    let envelope = delivery.envelope();
    let (id, attempt) = (envelope.id.clone(), envelope.headers.attempt);
    report("received", &id)?;
    match rand::random_range(0..10) {
        0 => drop(delivery),
        1 => delivery.settle(Verdict::Release).await?,
        2 | 3 => {
            let later = Later {
                delay: Duration::from_millis(20),
                attempts: 1,
                cause: "overloaded".to_owned(),
                first_attempt: None,
                body: None,
            };
            delivery.settle(Verdict::Later(later)).await?;
            report(&format!("later-{attempt}"), &id)?;
        }
        4 => {
            let dead = Dead {
                reason: "rejected".to_owned(),
                detail: String::new(),
                by: "a worker".to_owned(),
                publish: vec![outcome(&id, Status::Failed)?],
            };
            delivery.settle(Verdict::Dead(dead)).await?;
            report("dead", &id)?;
        }
        _ => {
            let follows = vec![outcome(&id, Status::Succeeded)?];
            delivery.settle(Verdict::Done(follows)).await?;
            report("done", &id)?;
        }
    }
    Ok(())
}

/// What killed processes had reported.
#[derive(Default)]
struct Ledger {
    published: BTreeSet<String>,
    done: BTreeSet<String>,
    dead: BTreeSet<String>,
    /// Attempts that a message must have left behind.
    attempts: BTreeMap<String, u32>,
    wrong: Vec<String>,
}

fn kill_a_worker(queue: &Path, round: u32, ledger: &mut Ledger) -> Result<(), Failure> {
    let mut child = Command::new(env::current_exe()?)
        .env(CHILD, queue)
        .stdout(Stdio::piped())
        .spawn()?;
    let stdout = child.stdout.take().ok_or("no pipe to the child")?;
    let last = rand::random_range(1..4000);
    let mut reported = 0;
    for line in BufReader::new(stdout).lines() {
        // What was in the pipe when the child died was reported all the same.
        ledger.note(&line?);
        reported += 1;
        if reported == last {
            child.kill()?;
        }
    }
    let status = child.wait()?;
    if reported < last {
        return Err(format!("round {round}: the child ended by itself with {status}").into());
    }
    Ok(())
}

impl Ledger {
    fn note(&mut self, line: &str) {
        let mut words = line.split(' ');
        let (Some(word), Some(id), Some(".")) = (words.next(), words.next(), words.next()) else {
            return;
        };
        let confirmed = match word {
            "published" => &mut self.published,
            "done" => &mut self.done,
            "dead" => &mut self.dead,
            "received" => {
                if self.done.contains(id) || self.dead.contains(id) {
                    self.wrong.push(format!("{id} was settled and came back"));
                }
                return;
            }
            _ => {
                if let Some(attempt) = word.strip_prefix("later-").and_then(|n| n.parse().ok()) {
                    self.attempts.insert(id.to_owned(), attempt);
                }
                return;
            }
        };
        confirmed.insert(id.to_owned());
    }

    /// Empties the queues and compares.
    async fn compare(mut self, queue: &Path) -> Result<(), Failure> {
        let broker: Arc<dyn Broker> = Arc::new(EmbeddedBroker::open(queue)?);
        let found = Found {
            left: drain(&*broker, &work()).await?,
            outcomes: drain(&*broker, &Queue::Results(run()?)).await?,
            letters: drain(&*broker, &Queue::Dead).await?,
        };
        broker.close().await;
        self.wrong.extend(found.contradictions());
        self.wrong.extend(self.broken_promises(&found));
        println!(
            "{ROUNDS} processes killed: {} published, {} done, {} dead, {} put off, {} left",
            self.published.len(),
            self.done.len(),
            self.dead.len(),
            self.attempts.len(),
            found.left.len()
        );
        if self.wrong.is_empty() {
            Ok(())
        } else {
            Err(self.wrong.join("\n").into())
        }
    }

    /// What was reported and is not so.
    fn broken_promises(&self, found: &Found) -> Vec<String> {
        let Found {
            left,
            outcomes,
            letters,
        } = found;
        let mut broken = Vec::new();
        for id in &self.published {
            if !left.contains_key(id) && !outcomes.contains_key(id) {
                broken.push(format!("{id} was published and is nowhere"));
            }
        }
        for id in &self.done {
            if !outcomes.contains_key(id) || letters.contains_key(id) {
                broken.push(format!("{id} was done and has no outcome"));
            }
        }
        for id in self.dead.iter().filter(|id| !letters.contains_key(*id)) {
            broken.push(format!("{id} was given up and is no dead letter"));
        }
        for (id, attempt) in &self.attempts {
            if let Some(copies) = left.get(id)
                && copies.iter().any(|found| found <= attempt)
            {
                broken.push(format!("{id} has lost attempt {attempt}"));
            }
        }
        broken
    }
}

/// Attempts of a message, one per copy that was found, by id.
type Copies = BTreeMap<String, Vec<u32>>;

/// What the queues held in the end.
struct Found {
    left: Copies,
    outcomes: Copies,
    letters: Copies,
}

impl Found {
    /// What cannot be, whatever was reported.
    fn contradictions(&self) -> Vec<String> {
        let Self {
            left,
            outcomes,
            letters,
        } = self;
        let mut wrong = Vec::new();
        for (name, place) in [("work", left), ("results", outcomes), ("dead", letters)] {
            for (id, copies) in place.iter().filter(|(_, copies)| copies.len() > 1) {
                wrong.push(format!("{id} is {} times in {name}", copies.len()));
            }
        }
        for id in left.keys().filter(|id| outcomes.contains_key(*id)) {
            wrong.push(format!("{id} has an outcome and is still queued"));
        }
        for id in letters.keys().filter(|id| !outcomes.contains_key(*id)) {
            wrong.push(format!("{id} is a dead letter without its outcome"));
        }
        wrong
    }
}

/// Everything in a queue, what waits included: attempts by id.
async fn drain(broker: &dyn Broker, queue: &Queue) -> Result<Copies, Failure> {
    let mut found = Copies::new();
    let mut consumer = broker.consume(queue, ConsumeOptions::shared(1000)).await?;
    let mut quiet = false;
    // A message may still wait 20 ms; then nothing may be left.
    while !quiet {
        match tokio::time::timeout(Duration::from_secs(1), consumer.recv()).await {
            Ok(received) => take(received, &mut found).await?,
            Err(_) => {
                let depth = broker.inspect(queue).await?;
                quiet = depth.is_none_or(|depth| depth.ready == 0);
            }
        }
    }
    consumer.close().await;
    Ok(found)
}

async fn take(received: Result<Delivery, BrokerError>, found: &mut Copies) -> Result<(), Failure> {
    let delivery = received?;
    let envelope = delivery.envelope();
    found
        .entry(envelope.id.clone())
        .or_default()
        .push(envelope.headers.attempt);
    tokio::time::timeout(PATIENCE, delivery.settle(Verdict::Done(Vec::new()))).await??;
    Ok(())
}
