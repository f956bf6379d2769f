//! How close a forecast from a sample is to the run of all files.

use std::{fs, path::Path, time::Instant};

use filefleet_tests::{process::Process, results};
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::stand::{Bound, LIMIT, Stand, finish, report};

const LATENCY_MS: u64 = 500;
/// Files that are tried of each directory.
const SAMPLE: &str = "60";

/// A pipeline with what it is held up by.
struct Case {
    what: &'static str,
    /// Files of 1 KiB.
    files: usize,
    simulator: &'static [&'static str],
    /// Services and pipeline; ENDPOINT and BASE stand for the simulator's addresses.
    config: &'static str,
    bound: (&'static str, &'static str),
}

const CASES: [Case; 3] = [
    Case {
        what: "a quota of requests",
        files: 500,
        simulator: &["--requests-per-minute", "1200"],
        config: r#"
[service.gpt]
kind = "openai"
endpoint = "ENDPOINT"
limits = { requests_per_minute = 1200 }
[[pipeline.p]]
name = "answer"
service = "gpt"
chat = { model = "gpt-4o-mini", prompt = "Describe this." }
"#,
        bound: ("gpt", "requests_per_minute"),
    },
    Case {
        what: "a quota of tokens",
        files: 300,
        simulator: &["--tokens-per-minute", "1000000"],
        config: r#"
[service.gpt]
kind = "openai"
endpoint = "ENDPOINT"
limits = { in_flight = 100, tokens_per_minute = 1_000_000 }
[[pipeline.p]]
name = "answer"
service = "gpt"
chat = { model = "gpt-4o-mini", prompt = "Describe this.", max_tokens = 300 }
"#,
        bound: ("gpt", "tokens_per_minute"),
    },
    Case {
        what: "latency of OCR and chat",
        files: 400,
        simulator: &["--ocr-time", "2s"],
        config: r#"
[service.ocr]
kind = "docintel"
endpoint = "BASE"
key = { env = "BENCH_KEY" }
limits = { in_flight = 10 }
[service.gpt]
kind = "openai"
endpoint = "ENDPOINT"
limits = { in_flight = 8 }
[[pipeline.p]]
name = "read"
service = "ocr"
read = { model = "prebuilt-read" }
[[pipeline.p]]
name = "answer"
service = "gpt"
chat = { model = "gpt-4o-mini", prompt = "Describe {{ read.content }}" }
"#,
        bound: ("gpt", "in_flight"),
    },
];

/// Forecasts, then runs each pipeline.
pub(crate) fn measure(_runtime: &Runtime) -> bool {
    CASES.iter().fold(true, |good, case| good & case.measure())
}

impl Case {
    fn measure(&self) -> bool {
        let stand = Stand::with_limited(self.files, LATENCY_MS, self.simulator);
        let files = stand.path().join("files");
        // Of other sizes, so that counting files alone would be wrong.
        results::make_files(&files.join("larger"), self.files / 5, 4 * 1024);
        results::make_files(&files.join("largest"), self.files / 20, 20 * 1024);
        make_pages(&files);
        let endpoint = stand.endpoint();
        let config = self
            .config
            .replace("ENDPOINT", &endpoint)
            .replace("BASE", endpoint.trim_end_matches("/v1"));
        fs::write(stand.path().join("filefleet.toml"), config).expect("a file");

        let latency = format!("{LATENCY_MS}ms");
        let args = [
            "rehearse",
            "files",
            "--json",
            "--sample",
            SAMPLE,
            "--latency",
            &latency,
            "--ocr-time",
            "2s",
        ];
        let mut rehearsal = stand.filefleet("rehearse", &args);
        finish(&mut rehearsal);
        let forecast = forecast(&rehearsal);
        let bound = &forecast["bound"];
        let found = (bound["service"].as_str(), bound["by"].as_str());
        let (service, by) = self.bound;
        assert_eq!(found, (Some(service), Some(by)), "{forecast}");

        let began = Instant::now();
        // Only the run needs it.
        let key = [("BENCH_KEY".to_owned(), "any".to_owned())];
        let args = ["run", "files", "-o", "out"];
        let mut run = Process::filefleet_with(stand.path(), "run", &args, &key);
        let (ended, _) = finish(&mut run);
        let real = (ended - began).as_secs_f64();
        let wall = forecast["wall_seconds"].as_f64().expect("a time");
        report(
            &format!("{}: real time ({real:.1} s) to forecast", self.what),
            real / wall,
            "x",
            Bound::Within(0.1),
        )
    }
}

/// As HTML, which both services read.
fn make_pages(dir: &Path) {
    for entry in fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            make_pages(&path);
        } else {
            fs::rename(&path, path.with_extension("html")).expect("a file");
        }
    }
}

fn forecast(rehearsal: &Process) -> Value {
    let out = rehearsal.out();
    let mut lines = out
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines
        .find(|line| line["event"] == "forecast")
        .unwrap_or_else(|| panic!("no forecast within {LIMIT:?}: {out}"))
}
