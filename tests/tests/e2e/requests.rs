//! Services of kind `http`: long operations of a server that nobody here knows.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Instant,
};

use axum::{
    Router,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    routing::{get, post},
};
use filefleet_tests::{process::pause, results::Results};

use crate::support::{LIMIT, Place};

#[derive(Clone, Default)]
struct Jobs {
    begun: Arc<AtomicUsize>,
    asked: Arc<AtomicUsize>,
    done: Arc<AtomicBool>,
}

async fn begin(State(jobs): State<Jobs>, body: String) -> (StatusCode, HeaderMap) {
    let id = jobs.begun.fetch_add(1, Ordering::SeqCst);
    let location = format!("/v1/ops/{id}-{}", body.len());
    let location = location.parse().expect("a header");
    let headers = [("operation-location".parse().expect("a name"), location)];
    (StatusCode::ACCEPTED, headers.into_iter().collect())
}

async fn ask(State(jobs): State<Jobs>, Path(id): Path<String>) -> String {
    jobs.asked.fetch_add(1, Ordering::SeqCst);
    if jobs.done.load(Ordering::SeqCst) {
        format!(r#"{{"status": "succeeded", "result": {{"id": "{id}"}}, "pages": 2}}"#)
    } else {
        r#"{"status": "running"}"#.to_owned()
    }
}

/// A server of long operations; it ends with the runtime.
fn serve(jobs: Jobs) -> (tokio::runtime::Runtime, String) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let listener = runtime
        .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
        .expect("a port");
    let address = listener.local_addr().expect("an address");
    let router = Router::new()
        .route("/v1/scan", post(begin))
        .route("/v1/ops/{id}", get(ask))
        .with_state(jobs);
    runtime.spawn(async move { axum::serve(listener, router).await });
    (runtime, format!("http://{address}/v1"))
}

fn configure(place: &Place, endpoint: &str, rehearse: &str) {
    let text = format!(
        r#"
[service.scan]
kind = "http"
endpoint = "{endpoint}"

[[pipeline.scan]]
name = "scan"
service = "scan"
[pipeline.scan.request]
path = "scan"
file = "bytes"
usage = {{ pages = "/pages" }}
{rehearse}
[pipeline.scan.request.poll]
operation_header = "operation-location"
result = "/result"
"#
    );
    fs::write(place.path().join("filefleet.toml"), text).expect("a file");
}

#[test]
fn operations_that_were_accepted_survive_a_kill_and_are_not_begun_again() {
    let jobs = Jobs::default();
    let (_runtime, endpoint) = serve(jobs.clone());
    let place = Place::with_files(20);
    configure(&place, &endpoint, "");
    let run = place.filefleet("killed", &["run", "files", "-o", "out"]);
    // What is asked for has been written down before.
    let start = Instant::now();
    while jobs.asked.load(Ordering::SeqCst) < 60 {
        assert!(start.elapsed() < LIMIT, "not asked: {}", run.log());
        pause();
    }
    assert_eq!(jobs.begun.load(Ordering::SeqCst), 20);
    run.kill9();
    jobs.done.store(true, Ordering::SeqCst);
    place.ends_with(0, "resumed", &["run", "files", "-o", "out"]);
    let results = Results::read(&place.out());
    results.assert_exactly_once(20);
    assert_eq!(jobs.begun.load(Ordering::SeqCst), 20, "paid twice");
    for line in &results.succeeded {
        let id = line["output"]["id"].as_str().unwrap_or_default();
        assert!(id.ends_with("-1024"), "{line}");
        assert_eq!(line["usage"]["pages"], 2, "{line}");
        assert_eq!(line["usage"]["calls"], 1, "{line}");
    }
}

#[test]
fn a_rehearsal_of_an_unknown_service_needs_an_answer_to_assume() {
    let jobs = Jobs::default();
    let (_runtime, endpoint) = serve(jobs.clone());
    let place = Place::with_files(3);
    configure(&place, &endpoint, "");
    let rehearse = ["run", "files", "--rehearse", "-o", "out"];
    let said = place.ends_with(2, "refused", &rehearse);
    assert!(
        said.contains("step scan") && said.contains("rehearse ="),
        "{said}"
    );
    configure(&place, &endpoint, "rehearse = { id = \"assumed\" }");
    place.ends_with(0, "rehearsed", &rehearse);
    let results = Results::read(&place.out());
    results.assert_exactly_once(3);
    assert_eq!(results.succeeded[0]["output"]["id"], "assumed");
    assert_eq!(
        jobs.begun.load(Ordering::SeqCst),
        0,
        "a rehearsal called it"
    );
}

/// A gateway that lets no file through that begins with `<script>`, in front of a slow service.
async fn guarded(body: String) -> (StatusCode, &'static str) {
    if body.starts_with("<script>") {
        return (StatusCode::FORBIDDEN, "not through here");
    }
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    (StatusCode::OK, "{}")
}

#[test]
fn a_file_that_alone_is_refused_fails_and_the_run_ends() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0");
    let listener = runtime.block_on(listener).expect("a port");
    let address = listener.local_addr().expect("an address");
    let router = Router::new().route("/look", post(guarded));
    runtime.spawn(async move { axum::serve(listener, router).await });
    let place = Place::with_files(100);
    // Among the others, so that some are answered before it and after it.
    let folders = fs::read_dir(place.files()).expect("the folders");
    let names = folders.flat_map(|folder| fs::read_dir(folder.expect("a folder").path()));
    let names = names.flatten();
    let mut names: Vec<_> = names.map(|name| name.expect("a file").path()).collect();
    names.sort();
    fs::write(&names[50], "<script>").expect("a file");
    let text = format!(
        r#"
[retry]
base = "100ms"
attempts = 3
[service.look]
kind = "http"
endpoint = "http://{address}"
limits = {{ in_flight = 4 }}
[[pipeline.look]]
name = "look"
service = "look"
request = {{ path = "look", file = "bytes" }}
"#
    );
    fs::write(place.path().join("filefleet.toml"), text).expect("a file");
    place.ends_with(1, "run", &["run", "files", "-o", "out"]);
    let results = Results::read(&place.out());
    results.assert_exactly_once(100);
    assert_eq!(results.failed.len(), 1);
    assert_eq!(results.failed[0]["cause"], "unauthorized");
}
