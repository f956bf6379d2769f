//! How close to the ideal a whole run is.

use std::time::{Duration, Instant};

use filefleet_tests::{
    process::{Process, pause},
    results::{Results, summary},
};
use tokio::runtime::Runtime;

use crate::stand::{Bound, LIMIT, Stand, broker, cost, finish, megabytes, report};

const FILES: usize = 10_000;
const LATENCY_MS: u64 = 200;
const IN_FLIGHT: usize = 500;
/// All calls at the latency, so many at once.
const IDEAL: f64 = (FILES / IN_FLIGHT) as f64 * LATENCY_MS as f64 / 1000.0;
const MOST_MEGABYTES: f64 = 100.0;

/// One process, from its start to its end.
pub(crate) fn run(runtime: &Runtime) -> bool {
    let stand = Stand::with_simulator(FILES, LATENCY_MS);
    let config = stand.configure("run", IN_FLIGHT);
    let began = Instant::now();
    let mut process = stand.filefleet("run", &["run", "files", "-c", &config, "-o", "out"]);
    let (ended, cost) = finish(&mut process);
    check(&stand, runtime);
    let ratio = (ended - began).as_secs_f64() / IDEAL;
    let peak = megabytes(cost.peak_bytes);
    let fast = report("run: wall time to ideal", ratio, "x", Bound::AtMost(1.25));
    let small = report(
        "run: peak memory",
        peak,
        "MB",
        Bound::AtMost(MOST_MEGABYTES),
    );
    fast && small
}

/// Three workers, from the start of `publish` to the end of `collect`.
pub(crate) fn fleet(runtime: &Runtime) -> bool {
    let stand = Stand::with_simulator(FILES, LATENCY_MS);
    let node = broker(runtime);
    let url = node.url();
    let shares = [
        IN_FLIGHT / 3,
        IN_FLIGHT / 3,
        IN_FLIGHT - 2 * (IN_FLIGHT / 3),
    ];
    let workers: Vec<Process> = (0..3)
        .map(|number| stand.worker(&url, number, shares[number]))
        .collect();
    let config = stand.configure("publish", IN_FLIGHT);
    let began = Instant::now();
    let args = ["publish", "files", "-c", &config, "--broker", &url];
    let mut publish = stand.filefleet("publish", &args);
    let mut collect = collector(&stand, &url);
    let (_, publish_cost) = finish(&mut publish);
    let (ended, collect_cost) = finish(&mut collect);
    check(&stand, runtime);
    let ratio = (ended - began).as_secs_f64() / IDEAL;
    let wall = summary(&stand.out())["wall_seconds"]
        .as_f64()
        .expect("a wall time");
    let mut good = report("fleet: wall time to ideal", ratio, "x", Bound::AtMost(1.4));
    report(
        "fleet: first publish to last outcome, to ideal",
        wall / IDEAL,
        "x",
        Bound::None,
    );
    let worker = workers.iter().map(|worker| cost(worker).peak_bytes).max();
    for (what, bytes) in [
        ("fleet: peak memory of publish", publish_cost.peak_bytes),
        ("fleet: peak memory of a worker", worker.unwrap_or_default()),
        ("fleet: peak memory of collect", collect_cost.peak_bytes),
    ] {
        good &= report(what, megabytes(bytes), "MB", Bound::AtMost(MOST_MEGABYTES));
    }
    good
}

/// Starts `collect` as soon as the run is known to the broker.
pub(crate) fn collector(stand: &Stand, url: &str) -> Process {
    let began = Instant::now();
    loop {
        let mut collect = stand.filefleet("collect", &["collect", "--broker", url, "-o", "out"]);
        let started = Instant::now();
        while collect.try_wait().is_none() {
            if started.elapsed() > Duration::from_millis(500) {
                return collect;
            }
            pause();
        }
        assert!(began.elapsed() < LIMIT, "{}", collect.log());
    }
}

/// Every file has one outcome, and was paid once.
fn check(stand: &Stand, runtime: &Runtime) {
    Results::read(&stand.out()).assert_exactly_once(FILES as u64);
    assert_eq!(stand.paid(runtime), (FILES as u64, 0));
}
