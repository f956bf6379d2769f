//! Fifty documents embedded one after the other, and through a run.

use std::{
    fs,
    time::{Duration, Instant},
};

use filefleet_tests::results::Results;
use serde_json::json;
use tokio::runtime::Runtime;

use crate::stand::{Bound, Stand, finish, report};

const FILES: usize = 50;
const LATENCY_MS: u64 = 400;

/// The time of a loop to the time of a run, processes and queue included.
pub(crate) fn measure(runtime: &Runtime) -> bool {
    let stand = Stand::with_simulator(FILES, LATENCY_MS);
    let one_by_one = loop_over(&stand, runtime);
    let config = stand.path().join("embed.toml");
    let text = format!(
        r#"[service.sim]
kind = "openai"
endpoint = "{}"
limits = {{ in_flight = {FILES} }}

[[pipeline.embed]]
name = "embed"
service = "sim"
embed = {{ model = "text-embedding-3-small" }}
"#,
        stand.endpoint()
    );
    fs::write(&config, text).expect("a file");
    let config = config.display().to_string();
    let began = Instant::now();
    let mut run = stand.filefleet("run", &["run", "files", "-c", &config, "-o", "out"]);
    let (ended, _) = finish(&mut run);
    Results::read(&stand.out()).assert_exactly_once(FILES as u64);
    let ratio = one_by_one.as_secs_f64() / (ended - began).as_secs_f64();
    report(
        "embed: 50 files one by one, to a run",
        ratio,
        "x",
        Bound::AtLeast(11.0),
    )
}

/// What a script does: one request, its answer, the next.
fn loop_over(stand: &Stand, runtime: &Runtime) -> Duration {
    let url = format!("{}/embeddings", stand.endpoint());
    let texts: Vec<String> = walk(&stand.path().join("files"));
    assert_eq!(texts.len(), FILES);
    runtime.block_on(async {
        let client = reqwest::Client::new();
        let began = Instant::now();
        for text in texts {
            let body = json!({ "model": "text-embedding-3-small", "input": text });
            let request = client.post(&url).header("content-type", "application/json");
            let answer = request.body(body.to_string()).send().await;
            let answer = answer.expect("the simulator answers");
            assert!(answer.status().is_success(), "{}", answer.status());
            answer.bytes().await.expect("a body");
        }
        began.elapsed()
    })
}

fn walk(dir: &std::path::Path) -> Vec<String> {
    let entries = fs::read_dir(dir).expect("a directory");
    let mut texts = Vec::new();
    for entry in entries {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            texts.extend(walk(&path));
        } else {
            texts.push(fs::read_to_string(path).expect("a text"));
        }
    }
    texts
}
