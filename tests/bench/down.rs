//! A service that is down for two minutes in the middle of a run.

use std::time::{Duration, Instant};

use filefleet_tests::{
    process::{Process, pause},
    results::{Results, summary},
};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::{
    speed::collector,
    stand::{Bound, LIMIT, Stand, broker, finish, report},
};

const WORKERS: usize = 4;
/// Calls in flight of each, so that the four make 133 calls a second.
const IN_FLIGHT: usize = 10;
const LATENCY_MS: u64 = 300;
const FILES: usize = 7_000;
const BEFORE: Duration = Duration::from_secs(10);
const DOWN: Duration = Duration::from_secs(120);
const AFTER: Duration = Duration::from_secs(15);
/// Part of the speed before that is full speed, and when it must be there.
const FULL: f64 = 0.9;
const SETTLED: Duration = Duration::from_secs(5);

// What may be called meanwhile: the failures in a row until a worker knows, with those in flight
// then, and a probe every four seconds, after a few in the beginning.
const FLEET: f64 = 4.0;
const FAILED: f64 = 10.0;
const CALLS: f64 = 10.0;
const FIRST_PROBES: f64 = 3.0;
const PROBE_SECONDS: f64 = 4.0;

/// Calls that were paid by then.
type Sample = (Instant, f64);

/// What a run was like.
struct Seen {
    before: f64,
    calls: f64,
    after: Vec<Sample>,
    failed: f64,
}

/// It answers 503, and then another one closes its connections.
pub(crate) fn measure(runtime: &Runtime) -> bool {
    [
        ("503", json!("unavailable")),
        ("no connection", json!(true)),
    ]
    .iter()
    .fold(true, |good, (what, down)| {
        good & be_down(runtime, down).report(what)
    })
}

fn be_down(runtime: &Runtime, down: &Value) -> Seen {
    let stand = Stand::with_simulator(FILES, LATENCY_MS);
    let node = broker(runtime);
    let url = node.url();
    let config = stand.configure("publish", IN_FLIGHT);
    let args = ["publish", "files", "-c", &config, "--broker", &url];
    finish(&mut stand.filefleet("publish", &args));
    let mut collect = collector(&stand, &url);
    let workers: Vec<Process> = (0..WORKERS)
        .map(|number| stand.worker(&url, number, IN_FLIGHT))
        .collect();
    while stand.paid(runtime).0 < 300 {
        pause();
    }
    let before = speed(&watch(&stand, runtime, BEFORE));

    stand.control(runtime, &json!({ "down": down }));
    let asked = requests(&stand, runtime);
    watch(&stand, runtime, DOWN);
    let calls = requests(&stand, runtime) - asked;
    stand.control(runtime, &json!({ "down": false }));
    let after = watch(&stand, runtime, AFTER);

    finish(&mut collect);
    drop(workers);
    Results::read(&stand.out()).assert_exactly_once(FILES as u64);
    Seen {
        before,
        calls,
        after,
        failed: summary(&stand.out())["failed"].as_f64().expect("a count"),
    }
}

impl Seen {
    fn report(&self, what: &str) -> bool {
        let name = |figure: &str| format!("down for 2 min, {what}: {figure}");
        let figure = |figure: &str, value, unit, bound| report(&name(figure), value, unit, bound);
        let known = FAILED + CALLS;
        let budget = (known + FIRST_PROBES + DOWN.as_secs_f64() / PROBE_SECONDS) * FLEET;
        figure("calls a second before", self.before, "", Bound::None);
        let few = figure("calls meanwhile", self.calls, "", Bound::AtMost(budget));
        let part = self.calls / self.before / DOWN.as_secs_f64();
        figure("of those without it", part * 100.0, "%", Bound::None);
        let back = recovery(&self.after, self.before * FULL);
        let soon = figure("time to full speed", back, "s", Bound::AtMost(5.0));
        let began = self.after[0].0 + SETTLED;
        let settled: Vec<Sample> = self
            .after
            .iter()
            .copied()
            .filter(|(at, _)| *at >= began)
            .collect();
        let ratio = speed(&settled) / self.before;
        let as_before = figure("speed then to before", ratio, "x", Bound::AtLeast(0.95));
        let none = figure("failed files", self.failed, "", Bound::AtMost(0.0));
        few && soon && as_before && none
    }
}

/// Samples for so long, the first at once.
fn watch(stand: &Stand, runtime: &Runtime, time: Duration) -> Vec<Sample> {
    let began = Instant::now();
    let mut samples = Vec::new();
    loop {
        let paid = stand.stats(runtime)["paid"].as_f64().expect("a counter");
        samples.push((Instant::now(), paid));
        if began.elapsed() >= time {
            return samples;
        }
        pause();
    }
}

/// Calls a second.
fn speed(samples: &[Sample]) -> f64 {
    let (first, last) = (samples[0], samples[samples.len() - 1]);
    (last.1 - first.1) / (last.0 - first.0).as_secs_f64()
}

/// Seconds until the first second that has so many calls.
fn recovery(samples: &[Sample], full: f64) -> f64 {
    let began = samples[0].0;
    let reached = samples.iter().position(|(at, paid)| {
        let second = *at + Duration::from_secs(1);
        let then = samples.iter().find(|(later, _)| *later >= second);
        then.is_some_and(|(later, more)| (more - paid) / (*later - *at).as_secs_f64() >= full)
    });
    reached.map_or(LIMIT.as_secs_f64(), |at| {
        (samples[at].0 - began).as_secs_f64()
    })
}

fn requests(stand: &Stand, runtime: &Runtime) -> f64 {
    stand.stats(runtime)["requests"]
        .as_f64()
        .expect("a counter")
}
