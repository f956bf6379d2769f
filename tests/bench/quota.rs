//! How close to a quota a fleet stays; the simulator, which judges each request, counts.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use filefleet_tests::{
    node::RabbitNode,
    process::{Process, pause},
};
use serde_json::json;
use tokio::runtime::Runtime;

use crate::stand::{Bound, LIMIT, Stand, broker, finish, report};

/// Requests per second of the simulated service.
const QUOTA: u64 = 100;
pub(crate) const LATENCY_MS: u64 = 300;
/// Seconds after the first request that do not count.
pub(crate) const WARM_UP: u64 = 5;

/// A fleet at work, on a queue that holds more than it will do.
pub(crate) struct Fleet {
    pub(crate) stand: Stand,
    node: RabbitNode,
    workers: Vec<Process>,
    config: String,
    files: u64,
    started: usize,
}

/// What was judged in some seconds.
pub(crate) struct Judged {
    pub(crate) accepted: f64,
    throttled: f64,
    seconds: f64,
    /// Accepted in each second.
    each: Vec<f64>,
}

impl Fleet {
    pub(crate) fn new(
        runtime: &Runtime,
        files: u64,
        simulator: &[&str],
        limits: &str,
        workers: usize,
    ) -> Self {
        let number = usize::try_from(files).expect("few");
        let stand = Stand::with_limited(number, LATENCY_MS, simulator);
        let node = broker(runtime);
        let config = stand.configure_limits("fleet", limits);
        let url = node.url();
        let args = ["publish", "files", "-c", &config, "--broker", &url];
        finish(&mut stand.filefleet("publish", &args));
        let mut fleet = Self {
            stand,
            node,
            workers: Vec::new(),
            config,
            files,
            started: 0,
        };
        fleet.grow(workers);
        fleet
    }

    fn grow(&mut self, to: usize) {
        while self.workers.len() < to {
            self.started += 1;
            let (url, number) = (self.node.url(), self.started);
            let worker = self.stand.start_worker(&url, number, &self.config);
            self.workers.push(worker);
        }
        for worker in &mut self.workers {
            worker.wait_for_text("worker ready", LIMIT);
        }
    }

    /// Of those that leave, so many are killed, and the others told to.
    fn shrink(&mut self, to: usize, killed: usize) {
        for (number, worker) in self.workers.drain(to..).enumerate() {
            if number < killed {
                worker.kill9();
            } else {
                let mut worker = worker;
                worker.signal("TERM");
                // Its end is waited for in its own time.
                std::thread::spawn(move || worker.wait(LIMIT));
            }
        }
    }

    /// The second by which all workers were there and a request was made.
    pub(crate) fn begun(&self, runtime: &Runtime) -> u64 {
        while self.stand.stats(runtime)["first_request_ms"].is_null() {
            pause();
        }
        now()
    }

    /// What was judged from a second on to before another; waits for them to be over.
    fn judged(&self, runtime: &Runtime, from: u64, to: u64) -> Judged {
        let judged = Judged::of(&self.stand, runtime, from, to);
        let (paid, _) = self.stand.paid(runtime);
        assert!(paid < self.files, "nothing was left to do");
        judged
    }
}

impl Judged {
    /// What a simulator judged from a second on to before another; waits for them to be over.
    pub(crate) fn of(stand: &Stand, runtime: &Runtime, from: u64, to: u64) -> Self {
        wait_until(to + 1);
        let stats = stand.stats(runtime);
        let seconds = stats["seconds"].as_array().expect("a list");
        let each = |key: &str| -> Vec<f64> {
            // A second without a request is left out there.
            let judged = |at: u64| {
                let second = seconds.iter().find(|second| second["at"] == at);
                second.map_or(0.0, |second| second[key].as_f64().expect("a count"))
            };
            (from..to).map(judged).collect()
        };
        let accepted = each("accepted");
        #[expect(clippy::cast_precision_loss, reason = "seconds are few")]
        let seconds = accepted.len() as f64;
        Self {
            accepted: accepted.iter().sum(),
            throttled: each("throttled").iter().sum(),
            seconds,
            each: accepted,
        }
    }

    /// The two lines of a report; false if one is beyond its bound.
    pub(crate) fn report(&self, what: &str, quota: f64, least: f64, most_refused: f64) -> bool {
        let goodput = self.accepted / self.seconds / quota;
        let refused = self.throttled / self.accepted;
        let name = |figure: &str| format!("{what}: {figure}");
        let good = report(
            &name("goodput to quota"),
            goodput,
            "",
            Bound::AtLeast(least),
        );
        let calm = report(
            &name("429s per success"),
            refused,
            "",
            Bound::AtMost(most_refused),
        );
        good && calm
    }
}

fn wait_until(second: u64) {
    while now() < second {
        pause();
    }
}

fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.expect("after 1970").as_secs()
}

/// A quota of requests, and fleets of several sizes.
pub(crate) fn requests(runtime: &Runtime) -> bool {
    let mut good = true;
    for workers in [16, 4, 1] {
        let per_minute = (QUOTA * 60).to_string();
        let simulator = ["--requests-per-minute", &per_minute];
        let limits = format!("limits = {{ requests_per_second = {QUOTA} }}");
        let fleet = Fleet::new(runtime, QUOTA * 45, &simulator, &limits, workers);
        let first = fleet.begun(runtime) + WARM_UP;
        let judged = fleet.judged(runtime, first, first + 30);
        let what = format!("quota of 100/s, {workers} workers");
        good &= judged.report(&what, 100.0, 0.95, 0.01);
    }
    good
}

/// A quota of tokens, alone and with one of requests that is as narrow.
pub(crate) fn tokens(runtime: &Runtime) -> bool {
    const TOKENS: u64 = 3_000_000;
    let mut good = true;
    for (what, requests) in [("quota of tokens", false), ("quotas of both", true)] {
        let per_minute = (QUOTA * 60).to_string();
        let tokens = TOKENS.to_string();
        let mut simulator = vec!["--tokens-per-minute", &tokens];
        let mut limits = format!("tokens_per_minute = {TOKENS}");
        if requests {
            simulator.extend(["--requests-per-minute", &per_minute]);
            limits = format!("{limits}, requests_per_second = {QUOTA}");
        }
        let limits = format!("limits = {{ {limits} }}");
        // At 260 tokens each, 192 a second fit the quota of tokens.
        let fleet = Fleet::new(runtime, QUOTA * 270, &simulator, &limits, 4);
        let first = fleet.begun(runtime) + WARM_UP;
        let judged = fleet.judged(runtime, first, first + 120);
        let stats = fleet.stand.stats(runtime);
        let count = |key: &str| stats[key].as_f64().expect("a counter");
        let each = count("input_tokens") / count("paid");
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let by_tokens = TOKENS as f64 / 60.0 / each;
        let quota = if requests {
            by_tokens.min(100.0)
        } else {
            by_tokens
        };
        good &= judged.report(what, quota, 0.95, 0.01);
    }
    good
}

/// Workers come, leave and are killed.
pub(crate) fn churn(runtime: &Runtime) -> bool {
    let per_minute = (QUOTA * 60).to_string();
    let simulator = ["--requests-per-minute", &per_minute];
    let limits = format!("limits = {{ requests_per_second = {QUOTA} }}");
    let mut fleet = Fleet::new(runtime, QUOTA * 90, &simulator, &limits, 4);
    let first = fleet.begun(runtime);
    wait_until(first + 15);
    fleet.grow(16);
    wait_until(first + 35);
    fleet.shrink(2, 2);
    let judged = fleet.judged(runtime, first + WARM_UP, first + 65);
    println!("accepted in each second, workers come after 10 and go after 30:");
    let each = judged.each.iter().map(ToString::to_string);
    println!("  {}", each.collect::<Vec<_>>().join(" "));
    judged.report("4, then 16, then 2 workers", 100.0, 0.95, 0.01)
}

/// A quota that is not what is configured.
pub(crate) fn wrong(runtime: &Runtime) -> bool {
    let per_minute = (QUOTA * 60).to_string();
    let simulator = ["--requests-per-minute", &per_minute];
    let limits = format!("limits = {{ requests_per_second = {QUOTA} }}");
    let fleet = Fleet::new(runtime, QUOTA * 60, &simulator, &limits, 4);
    let first = fleet.begun(runtime);
    wait_until(first + 15);
    let halved = json!({ "requests_per_minute": QUOTA * 30 });
    fleet.stand.control(runtime, &halved);
    let judged = fleet.judged(runtime, first + 25, first + 50);
    let mut good = judged.report("quota halved meanwhile", 50.0, 0.9, 0.1);
    drop(fleet);

    let twice = format!("limits = {{ requests_per_second = {} }}", QUOTA * 2);
    let fleet = Fleet::new(runtime, QUOTA * 60, &simulator, &twice, 4);
    let first = fleet.begun(runtime) + 10;
    let judged = fleet.judged(runtime, first, first + 30);
    good &= judged.report("quota configured twice too high", 100.0, 0.9, 0.1);
    good
}

/// A service that is three times slower with more than 40 calls in flight.
pub(crate) fn knee(runtime: &Runtime) -> bool {
    const BEST: usize = 40;
    let rate = |limits: &str| {
        let stand = Stand::with_simulator(12_000, LATENCY_MS);
        stand.control(
            runtime,
            &json!({ "knee": { "above": BEST, "factor": 3.0 } }),
        );
        let config = stand.configure_limits("run", limits);
        let _run = stand.filefleet("run", &["run", "files", "-c", &config, "-o", "out"]);
        let paid = || stand.paid(runtime).0;
        while paid() < 100 {
            pause();
        }
        let began = (paid(), SystemTime::now());
        (0..)
            .take_while(|_| {
                began
                    .1
                    .elapsed()
                    .is_ok_and(|passed| passed < Duration::from_secs(60))
            })
            .for_each(|_| pause());
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let rate = (paid() - began.0) as f64 / 60.0;
        rate
    };
    let best = rate(&format!("limits = {{ in_flight = {BEST} }}"));
    let found = rate("");
    report(
        "knee: rate of what was found to the best",
        found / best,
        "",
        Bound::AtLeast(0.9),
    )
}
