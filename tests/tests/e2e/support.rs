//! What the tests share: a simulator in this process, a configuration, a fleet.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use filefleet_simulator::{IndexStats, Latency, Simulator, SimulatorConfig};
use filefleet_tests::{node::RabbitNode, process::Process, results};
use serde_json::Value;
use tempfile::TempDir;

/// Generous: the machine may be slow, and a hang must still end.
pub(crate) const LIMIT: Duration = Duration::from_secs(120);

/// A simulator that serves until it is dropped.
pub(crate) struct Sim {
    runtime: tokio::runtime::Runtime,
    simulator: Simulator,
    http: reqwest::Client,
}

impl Sim {
    pub(crate) fn start(config: SimulatorConfig) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let anywhere = "127.0.0.1:0".parse().expect("an address");
        let simulator = runtime
            .block_on(filefleet_simulator::start(config, anywhere))
            .expect("the simulator starts");
        Self {
            runtime,
            simulator,
            http: reqwest::Client::new(),
        }
    }

    /// A simulator that answers after `millis`.
    pub(crate) fn with_latency(millis: u64) -> Self {
        Self::start(SimulatorConfig {
            latency: Latency::Fixed(Duration::from_millis(millis)),
            ..SimulatorConfig::default()
        })
    }

    pub(crate) fn url(&self) -> String {
        self.simulator.base_url()
    }

    /// What a search index holds.
    pub(crate) fn index(&self, name: &str) -> IndexStats {
        self.simulator.index(name).expect("the index")
    }

    pub(crate) fn stats(&self) -> Value {
        self.get("_stats")
    }

    /// How many documents a search index holds, as the service says.
    pub(crate) fn count(&self, index: &str) -> u64 {
        let answer = self.get(&format!(
            "indexes/{index}/docs/$count?api-version=2024-07-01"
        ));
        answer.as_u64().unwrap_or_else(|| panic!("{answer}"))
    }

    fn get(&self, path: &str) -> Value {
        let url = format!("http://{}/{path}", self.simulator.addr());
        self.runtime.block_on(async {
            let answer = self
                .http
                .get(url)
                .send()
                .await
                .expect("the simulator answers");
            let text = answer.text().await.expect("a body");
            serde_json::from_str(&text).expect("the answer is JSON")
        })
    }

    /// Changes the simulated service.
    pub(crate) fn control(&self, change: &Value) {
        let url = format!("http://{}/_control", self.simulator.addr());
        let status = self.runtime.block_on(async {
            let request = self.http.post(url).body(change.to_string());
            let answer = request.send().await.expect("the simulator answers");
            answer.status()
        });
        assert!(status.is_success(), "{change}: {status}");
    }

    /// Calls that were paid, and those of them for a task that was paid before.
    pub(crate) fn paid(&self) -> (u64, u64) {
        let stats = self.stats();
        let count = |key: &str| {
            stats[key]
                .as_u64()
                .unwrap_or_else(|| panic!("{key} in {stats}"))
        };
        (count("paid"), count("repeated"))
    }

    /// Waits until nobody calls any more, as after the death of whoever did.
    pub(crate) fn wait_until_quiet(&self) {
        let start = std::time::Instant::now();
        while self.stats()["in_flight"] != 0 {
            assert!(start.elapsed() < LIMIT, "somebody still calls");
            filefleet_tests::process::pause();
        }
    }

    /// Waits until at least `calls` were paid.
    pub(crate) fn wait_for_paid(&self, calls: u64) {
        let start = std::time::Instant::now();
        while self.paid().0 < calls {
            assert!(
                start.elapsed() < LIMIT,
                "only {:?} paid calls of {calls}",
                self.paid()
            );
            filefleet_tests::process::pause();
        }
    }
}

/// Where the repository is.
pub(crate) fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the workspace")
}

/// A directory for one test, with files, a configuration and room for output.
pub(crate) struct Place {
    dir: TempDir,
    /// Variables of the processes.
    pub(crate) variables: Vec<(String, String)>,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self {
            dir: tempfile::tempdir().expect("a directory"),
            variables: Vec::new(),
        }
    }

    pub(crate) fn with_files(count: usize) -> Self {
        let place = Self::new();
        fs::create_dir(place.files()).expect("a directory");
        results::make_files(&place.files(), count, 1024);
        place
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn files(&self) -> PathBuf {
        self.path().join("files")
    }

    pub(crate) fn out(&self) -> PathBuf {
        self.path().join("out")
    }

    /// Writes `filefleet.toml` for a simulator.
    pub(crate) fn configure(&self, endpoint: &str, in_flight: usize, more: &str) {
        let text = format!(
            r#"{more}

[service.sim]
kind = "openai"
endpoint = "{endpoint}"
timeout = "30s"
limits = {{ in_flight = {in_flight} }}

[[pipeline.describe]]
name = "answer"
service = "sim"
chat = {{ model = "gpt-4o-mini", prompt = "Describe this." }}
"#
        );
        fs::write(self.path().join("filefleet.toml"), text).expect("a file");
    }

    /// Copies a directory of the repository.
    pub(crate) fn copy(&self, directory: &str) {
        copy(&workspace().join(directory), &self.path().join(directory));
    }

    /// Copies an example, and puts a simulator in place of all its services.
    pub(crate) fn take_example(&mut self, example: &str, endpoint: &str) {
        copy(&workspace().join("examples").join(example), self.path());
        let path = self.path().join("filefleet.toml");
        let text = fs::read_to_string(&path).expect("the configuration");
        let line = |line: &str| {
            if line.starts_with("endpoint = ") {
                return format!("endpoint = \"{endpoint}\"\n");
            }
            format!("{line}\n")
        };
        let changed: String = text.lines().map(line).collect();
        fs::write(path, changed).expect("the configuration");
        let keys = text.lines().filter_map(|line| {
            let name = line.strip_prefix("key = { env = \"")?.split('"').next()?;
            Some((name.to_owned(), "a key".to_owned()))
        });
        self.variables.extend(keys);
    }

    /// Changes the configuration.
    pub(crate) fn reconfigure(&self, old: &str, new: &str) {
        let path = self.path().join("filefleet.toml");
        let text = fs::read_to_string(&path).expect("the configuration");
        assert!(text.contains(old), "no {old:?} in {text}");
        fs::write(&path, text.replace(old, new)).expect("the configuration");
    }

    pub(crate) fn filefleet(&self, name: &str, args: &[&str]) -> Process {
        Process::filefleet_with(self.path(), name, args, &self.variables)
    }

    /// Runs a command to its end and returns its exit code and what it said on standard error.
    pub(crate) fn ends(&self, name: &str, args: &[&str]) -> (i32, String) {
        let mut process = self.filefleet(name, args);
        let code = process.wait(LIMIT);
        (code, process.log())
    }

    /// Runs a command that must end with `code`.
    pub(crate) fn ends_with(&self, code: i32, name: &str, args: &[&str]) -> String {
        let (ended, said) = self.ends(name, args);
        assert_eq!(ended, code, "{args:?} said:\n{said}");
        said
    }
}

/// Copies files and directories into a directory, which may exist.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    for entry in fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("an entry");
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).expect("a copy");
        }
    }
}

/// A private broker, and processes that use it.
pub(crate) struct Fleet {
    node: RabbitNode,
    runtime: tokio::runtime::Runtime,
    pub place: Place,
    /// One fleet at a time: several brokers on two cores only wait for each other.
    _turn: MutexGuard<'static, ()>,
}

static TURN: Mutex<()> = Mutex::new(());

impl Fleet {
    pub(crate) fn new(files: usize) -> Self {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let node = runtime
            .block_on(RabbitNode::start())
            .expect("a private node");
        Self {
            node,
            runtime,
            place: Place::with_files(files),
            _turn: turn,
        }
    }

    pub(crate) fn url(&self) -> String {
        self.node.url()
    }

    pub(crate) fn kill_broker(&mut self) {
        self.node.kill9().expect("the node is killed");
    }

    /// Kills the broker and starts it again on its data.
    pub(crate) fn restart_broker(&mut self) {
        self.kill_broker();
        self.runtime
            .block_on(self.node.restart())
            .expect("the node starts again");
    }

    pub(crate) fn worker(&self, number: usize) -> Process {
        let url = self.node.url();
        let mut worker = self.place.filefleet(
            &format!("worker-{number}"),
            &["worker", "--broker", &url, "--root", "files"],
        );
        worker.wait_for_text("worker ready", LIMIT);
        worker
    }

    pub(crate) fn workers(&self, count: usize) -> Vec<Process> {
        (0..count).map(|number| self.worker(number)).collect()
    }

    pub(crate) fn publish(&self) {
        let url = self.node.url();
        self.place
            .ends_with(0, "publish", &["publish", "files", "--broker", &url]);
    }

    pub(crate) fn collector(&self, name: &str, more: &[&str]) -> Process {
        let url = self.node.url();
        let mut args = vec!["collect", "--broker", &url, "-o", "out"];
        args.extend(more);
        self.place.filefleet(name, &args)
    }

    /// Collects all outcomes, none of them a failure.
    pub(crate) fn collect(&self) {
        let mut collector = self.collector("collect", &[]);
        assert_eq!(collector.wait(LIMIT), 0, "{}", collector.log());
    }

    /// Stops workers with SIGTERM; each must leave with 0.
    pub(crate) fn dismiss(&self, workers: Vec<Process>) {
        for worker in &workers {
            worker.signal("TERM");
        }
        for mut worker in workers {
            assert_eq!(worker.wait(LIMIT), 0, "{}", worker.log());
        }
    }
}
