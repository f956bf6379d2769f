//! Many steps that wait to be tried again: they are the broker's, and a worker's memory is as it
//! was.

use std::time::{Duration, Instant};

use filefleet_tests::process::{Process, pause};
use lapin::{Connection, ConnectionProperties, options::QueueDeclareOptions, types::FieldTable};
use serde_json::json;
use tokio::runtime::Runtime;

use crate::{
    stand::{Bound, LIMIT, Stand, broker, cost, finish, megabytes, report},
    worker::results_queue,
};

const FEW: u64 = 1_000;
const MANY: u64 = 100_000;
/// Part of the calls that fail. With more of them ten would fail in a row now and then, and pause
/// the service.
const FAILING: f64 = 0.35;
/// Of them, enough fail; some of the first ones are tried again meanwhile.
const FILES: usize = 320_000;
/// Waits are drawn from 0 to an hour: few are over while the others begin.
const LIMITS: &str = r#"limits = { in_flight = 64 }

[retry]
base = "1h"
cap = "1h"
hold = "1s"
"#;
const RUNGS: [&str; 7] = ["1s", "5s", "15s", "60s", "5min", "15min", "1h"];

/// Steps in the queues.
#[derive(Clone, Copy, Debug)]
struct Depths {
    waiting: u64,
    /// Nobody has them, or the worker.
    ready: u64,
    outcomes: u64,
}

impl Depths {
    fn all(self) -> u64 {
        self.waiting + self.ready + self.outcomes
    }
}

/// Fills the wait queues by failing calls.
pub(crate) fn measure(runtime: &Runtime) -> bool {
    let stand = Stand::with_simulator(FILES, 0);
    stand.control(runtime, &json!({ "error_500": FAILING }));
    let node = broker(runtime);
    let url = node.url();
    let config = stand.configure_limits("backoff", LIMITS);
    let args = ["publish", "files", "-c", &config, "--broker", &url];
    finish(&mut stand.filefleet("publish", &args));
    let results = results_queue(&stand);
    let connecting = Connection::connect(&url, ConnectionProperties::default());
    let connection = runtime.block_on(connecting).expect("a connection");
    let depths = || runtime.block_on(look(&connection, &results));

    let mut worker = stand.start_worker(&url, 0, &config);
    worker.wait_for_text("worker ready", LIMIT);
    let began = Instant::now();
    let few = filled(&mut worker, FEW, &depths);
    let many = filled(&mut worker, MANY, &depths);
    let seconds = began.elapsed().as_secs_f64();
    worker.signal("TERM");
    finish(&mut worker);
    let at_rest = at_rest(&depths);
    println!("published: {FILES}; in the queues at the end: {at_rest:?}");
    for (waiting, bytes) in [few, many] {
        let name = format!("backoff: memory of the worker, {waiting} waiting");
        report(&name, megabytes(bytes), "MB", Bound::None);
    }
    let growth = megabytes(many.1) / megabytes(few.1);
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let (each_second, off) = (
        many.0 as f64 / seconds,
        at_rest.all().abs_diff(FILES as u64) as f64,
    );
    report("backoff: put off per second", each_second, "", Bound::None);
    let flat = report(
        "backoff: memory to memory",
        growth,
        "x",
        Bound::AtMost(1.25),
    );
    let whole = report("backoff: steps lost or double", off, "", Bound::AtMost(0.0));
    flat && whole
}

/// Waits until so many steps wait; how many it are, and the memory of the worker then.
fn filled(worker: &mut Process, waiting: u64, depths: &impl Fn() -> Depths) -> (u64, u64) {
    let began = Instant::now();
    loop {
        let now = depths();
        if now.waiting >= waiting {
            return (now.waiting, cost(worker).bytes);
        }
        let ended = worker.try_wait();
        let goes_on = ended.is_none() && began.elapsed() < LIMIT;
        assert!(goes_on, "{now:?}: {}", worker.log());
        pause();
    }
}

/// The queues of a fleet without workers. What is over its wait is between two of them for a
/// moment.
fn at_rest(depths: &impl Fn() -> Depths) -> Depths {
    let began = Instant::now();
    loop {
        let now = depths();
        if now.all() == FILES as u64 || began.elapsed() > Duration::from_secs(10) {
            return now;
        }
        pause();
    }
}

async fn look(connection: &Connection, results: &str) -> Depths {
    let mut depths = Depths {
        waiting: 0,
        ready: 0,
        outcomes: depth(connection, results).await,
    };
    for rung in RUNGS {
        depths.waiting += depth(connection, &format!("filefleet.wait.{rung}")).await;
    }
    for queue in ["filefleet.work.sim", "filefleet.quarantine.sim"] {
        depths.ready += depth(connection, queue).await;
    }
    depths
}

/// Messages of a queue that can be delivered.
async fn depth(connection: &Connection, queue: &str) -> u64 {
    let channel = connection.create_channel().await.expect("a channel");
    let options = QueueDeclareOptions {
        durable: true,
        passive: true,
        ..QueueDeclareOptions::default()
    };
    let declared = channel.queue_declare(queue.into(), options, FieldTable::default());
    let queue = declared.await.expect("the queue is there");
    let closed = channel.close(200, "OK".into()).await;
    closed.expect("a channel closes");
    queue.message_count().into()
}
