//! What the measurements share: a simulator in a process of its own, a broker, a directory.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use filefleet_tests::{
    node::RabbitNode,
    process::{Cost, Process, pause},
    results,
};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// A measurement that hangs must end.
pub(crate) const LIMIT: Duration = Duration::from_secs(600);

/// A directory with files, and a simulator for its configuration.
pub(crate) struct Stand {
    dir: TempDir,
    simulator: Option<(Process, u16)>,
}

impl Stand {
    /// `files` of 1 KiB, and no simulator.
    pub(crate) fn with_files(files: usize) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        results::make_files(&dir.path().join("files"), files, 1024);
        Self {
            dir,
            simulator: None,
        }
    }

    /// The same, with a simulator that answers after `millis`.
    pub(crate) fn with_simulator(files: usize, millis: u64) -> Self {
        Self::with_limited(files, millis, &[])
    }

    /// The same, with a simulator that is given more arguments.
    pub(crate) fn with_limited(files: usize, millis: u64, limits: &[&str]) -> Self {
        let mut stand = Self::with_files(files);
        let port = TcpListener::bind(("127.0.0.1", 0))
            .and_then(|listener| listener.local_addr())
            .expect("a free port")
            .port();
        let listen = format!("127.0.0.1:{port}");
        let latency = format!("{millis}ms");
        let args = ["simulate", "--listen", &listen, "--latency", &latency];
        let mut simulator = stand.filefleet("simulator", &[&args, limits].concat());
        simulator.wait_for_text("simulating", LIMIT);
        stand.simulator = Some((simulator, port));
        stand
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn out(&self) -> PathBuf {
        self.path().join("out")
    }

    pub(crate) fn endpoint(&self) -> String {
        let port = self.simulator.as_ref().map_or(9, |(_, port)| *port);
        format!("http://127.0.0.1:{port}/v1")
    }

    /// Calls the simulator was paid for, and those among them for a task that was paid before.
    pub(crate) fn paid(&self, runtime: &Runtime) -> (u64, u64) {
        let stats = self.stats(runtime);
        let count = |key: &str| stats[key].as_u64().expect("a counter");
        (count("paid"), count("repeated"))
    }

    /// What the simulator has counted.
    pub(crate) fn stats(&self, runtime: &Runtime) -> serde_json::Value {
        let url = self.endpoint().replace("/v1", "/_stats");
        runtime.block_on(async {
            let answer = reqwest::get(url).await.expect("the simulator answers");
            let text = answer.text().await.expect("a body");
            serde_json::from_str(&text).expect("stats are JSON")
        })
    }

    /// Changes the simulated service.
    pub(crate) fn control(&self, runtime: &Runtime, change: &serde_json::Value) {
        let url = self.endpoint().replace("/v1", "/_control");
        let status = runtime.block_on(async {
            let request = reqwest::Client::new().post(url).body(change.to_string());
            let answer = request.send().await.expect("the simulator answers");
            answer.status()
        });
        assert!(status.is_success(), "{change}: {status}");
    }

    /// Writes a configuration with so many calls in flight; its path.
    pub(crate) fn configure(&self, name: &str, in_flight: usize) -> String {
        self.configure_limits(name, &format!("limits = {{ in_flight = {in_flight} }}"))
    }

    /// Writes a configuration with this line in its service; its path.
    pub(crate) fn configure_limits(&self, name: &str, limits: &str) -> String {
        let text = format!(
            r#"[service.sim]
kind = "openai"
endpoint = "{}"
{limits}

[[pipeline.describe]]
name = "answer"
service = "sim"
chat = {{ model = "gpt-4o-mini", prompt = "Describe this." }}
"#,
            self.endpoint()
        );
        let path = self.path().join(format!("{name}.toml"));
        fs::write(&path, text).expect("a file");
        path.display().to_string()
    }

    pub(crate) fn filefleet(&self, name: &str, args: &[&str]) -> Process {
        Process::filefleet(self.path(), name, args)
    }

    pub(crate) fn worker(&self, broker: &str, number: usize, in_flight: usize) -> Process {
        let config = self.configure(&format!("worker-{number}"), in_flight);
        let mut worker = self.start_worker(broker, number, &config);
        worker.wait_for_text("worker ready", LIMIT);
        worker
    }

    pub(crate) fn start_worker(&self, broker: &str, number: usize, config: &str) -> Process {
        let args = [
            "worker", "-c", config, "--broker", broker, "--root", "files",
        ];
        self.filefleet(&format!("worker-{number}"), &args)
    }
}

/// A private broker.
pub(crate) fn broker(runtime: &Runtime) -> RabbitNode {
    runtime
        .block_on(RabbitNode::start())
        .expect("a private node")
}

/// Waits for a process to succeed; when it was seen to end, and what it cost.
pub(crate) fn finish(process: &mut Process) -> (Instant, Cost) {
    let began = Instant::now();
    let mut cost = None;
    loop {
        cost = process.cost().or(cost);
        if let Some(status) = process.try_wait() {
            let cost = cost.expect("it was seen alive");
            assert!(status.success(), "{status}: {}", process.log());
            return (Instant::now(), cost);
        }
        assert!(began.elapsed() < LIMIT, "still runs: {}", process.log());
        pause();
    }
}

/// CPU time and peak memory of a process that runs.
pub(crate) fn cost(process: &Process) -> Cost {
    process.cost().expect("the process runs")
}

/// One line of the report; false if `value` is beyond `bound`.
pub(crate) fn report(what: &str, value: f64, unit: &str, bound: Bound) -> bool {
    let (good, wanted) = match bound {
        Bound::AtMost(most) => (value <= most, format!("at most {most}")),
        Bound::AtLeast(least) => (value >= least, format!("at least {least}")),
        Bound::Within(part) => (
            (value - 1.0).abs() <= part,
            format!("within {:.0} % of 1", part * 100.0),
        ),
        Bound::None => (true, String::new()),
    };
    let verdict = match (good, wanted.is_empty()) {
        (_, true) => String::new(),
        (true, false) => format!("  ({wanted})"),
        (false, false) => format!("  MISSED: wanted {wanted}"),
    };
    println!("{what:<58} {value:>9.2} {unit}{verdict}");
    good
}

/// What a figure has to keep to.
#[derive(Clone, Copy)]
pub(crate) enum Bound {
    AtMost(f64),
    AtLeast(f64),
    /// So close to 1.
    Within(f64),
    None,
}

#[expect(clippy::cast_precision_loss, reason = "megabytes for people")]
pub(crate) fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
