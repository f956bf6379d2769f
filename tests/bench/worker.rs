//! What a worker costs per task, beside the least code that makes the same calls.

use std::{
    process::{Command, ExitCode},
    time::{Duration, Instant},
};

use filefleet_tests::process::{Process, cost_of, pause};
use tokio::runtime::Runtime;

use crate::{
    bare,
    stand::{Bound, LIMIT, Stand, broker, cost, finish, report},
};

const FILES: usize = 10_000;
const IN_FLIGHT: u16 = 100;
/// Pairs; the middle ratio counts.
const PAIRS: usize = 3;

/// First argument of a process that is the bare worker.
pub(crate) const BARE: &str = "--bare";

/// Pairs of a worker and a bare loop, each with all the tasks.
pub(crate) fn measure(runtime: &Runtime) -> bool {
    let mut pairs: Vec<(f64, f64)> = (0..PAIRS).map(|_| pair(runtime)).collect();
    pairs.sort_by(|a, b| (a.0 / a.1).total_cmp(&(b.0 / b.1)));
    let (ours, bare) = pairs[PAIRS / 2];
    report("worker: CPU per task", ours, "us", Bound::None);
    report(
        "worker: CPU per task of a bare loop",
        bare,
        "us",
        Bound::None,
    );
    let ratio = ours / bare;
    report(
        "worker: CPU to the bare loop",
        ratio,
        "x",
        Bound::AtMost(2.0),
    )
}

fn pair(runtime: &Runtime) -> (f64, f64) {
    let stand = Stand::with_simulator(FILES, 0);
    let node = broker(runtime);
    let url = node.url();
    let config = stand.configure("publish", usize::from(IN_FLIGHT));
    let args = ["publish", "files", "-c", &config, "--broker", &url];
    finish(&mut stand.filefleet("publish", &args));
    let task = peek(runtime, &url, "filefleet.work.sim");

    let worker = stand.worker(&url, 0, usize::from(IN_FLIGHT));
    let began = Instant::now();
    while stand.paid(runtime).0 < FILES as u64 {
        assert!(began.elapsed() < LIMIT, "{}", worker.log());
        #[expect(clippy::disallowed_methods, reason = "a measurement, not a runtime")]
        std::thread::sleep(Duration::from_millis(200));
    }
    // The last outcomes are on their way.
    (0..50).for_each(|_| pause());
    let ours = cost(&worker).cpu;
    drop(worker);

    let outcome = peek(runtime, &url, &results_queue(&stand));
    let text = std::fs::read_to_string(stand.path().join("files/00000/0000000.txt"));
    let prompt = format!("Describe this.\n\n{}", text.expect("a file"));
    let work = bare::Work {
        broker: url.clone(),
        endpoint: format!("{}/chat/completions", stand.endpoint()),
        request: serde_json::json!({
            "model": "gpt-4o-mini",
            "messages": [{ "role": "user", "content": prompt }],
        })
        .to_string(),
        outcome: String::from_utf8(outcome).expect("an outcome is JSON"),
        in_flight: IN_FLIGHT,
        total: FILES,
    };
    let published = runtime.block_on(bare::publish(&url, &task, FILES));
    published.expect("the bare publish");
    (micros(ours), micros(bare_cpu(&stand, &work)))
}

#[expect(clippy::cast_precision_loss, reason = "microseconds for people")]
fn micros(cpu: Duration) -> f64 {
    cpu.as_micros() as f64 / FILES as f64
}

fn peek(runtime: &Runtime, url: &str, queue: &str) -> Vec<u8> {
    runtime
        .block_on(bare::peek(url, queue))
        .expect("a message in the queue")
}

pub(crate) fn results_queue(stand: &Stand) -> String {
    let journal = std::fs::read_dir(stand.path().join(".filefleet"))
        .expect("the journal's directory")
        .filter_map(Result::ok)
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .find(|name| name.ends_with(".jsonl"))
        .expect("a finished journal");
    let run = journal.split('.').nth_back(1).expect("a run's id");
    format!("filefleet.results.{run}")
}

fn bare_cpu(stand: &Stand, work: &bare::Work) -> Duration {
    let mut command = Command::new(std::env::current_exe().expect("a path"));
    let json = serde_json::to_string(work).expect("plain data");
    command.args([BARE, &json]);
    let mut process = Process::start(stand.path(), "bare", command);
    assert_eq!(process.wait(LIMIT), 0, "{}", process.log());
    let millis: u64 = process.out().trim().parse().expect("its CPU time");
    Duration::from_millis(millis)
}

/// Is the bare worker, and prints its CPU time in milliseconds.
pub(crate) fn be_bare(runtime: &Runtime, work: &str) -> ExitCode {
    let work: bare::Work = serde_json::from_str(work).expect("our own argument");
    if let Err(error) = runtime.block_on(bare::work(work)) {
        eprintln!("{error}");
        return ExitCode::FAILURE;
    }
    let cost = cost_of(std::process::id()).expect("our own process");
    println!("{}", cost.cpu.as_millis());
    ExitCode::SUCCESS
}
