//! Outputs too large for a message: through the scratch store, and gone with their run.

use std::{fs, path::Path, time::Instant};

use filefleet_tests::{
    emulator::{Emulator, Kind},
    process::{Process, pause},
    results::Results,
};

use crate::support::{Fleet, LIMIT, Place, Sim};

/// A step that gives 200 KiB, one that asks about it, and one that sees both.
fn configure(place: &Place, sim: &str, more: &str) {
    let text = format!(
        r#"{more}
[retry]
base = "100ms"
[service.numbers]
kind = "command"
program = "seq"
max_output_bytes = "16MiB"

[service.sim]
kind = "openai"
endpoint = "{sim}"
limits = {{ in_flight = 2 }}

[[pipeline.large]]
name = "list"
service = "numbers"
run = {{ args = ["1", "40000"], stdin = "none" }}
[[pipeline.large]]
name = "ask"
service = "sim"
chat = {{ model = "gpt-4o-mini", prompt = "Sum up: {{{{ list.text }}}}" }}
[[pipeline.large]]
name = "size"
service = "numbers"
run = {{ args = ["{{{{ list.text | length }}}}", "{{{{ list.text | length }}}}"], stdin = "none" }}

[[pipeline.huge]]
name = "list"
service = "numbers"
run = {{ args = ["1", "1300000"], stdin = "none" }}
"#
    );
    fs::write(place.path().join("filefleet.toml"), text).expect("a file");
}

/// Every file's last step saw the whole output of the first.
fn assert_whole(out: &Path, files: u64) {
    let results = Results::read(out);
    results.assert_exactly_once(files);
    assert!(results.failed.is_empty(), "{:?}", results.failed.first());
    let length: usize = (1..=40_000)
        .map(|number: u32| number.to_string().len() + 1)
        .sum();
    for line in &results.succeeded {
        let seen = line["output"]["text"].as_str().map(str::trim);
        // `seq` may end its output with a newline that is not part of the text.
        let close = [length, length - 1].map(|length| length.to_string());
        assert!(
            seen.is_some_and(|seen| close.iter().any(|known| known == seen)),
            "{line}"
        );
    }
}

fn runs_left(place: &Place) -> usize {
    let entries = fs::read_dir(place.out().join("state/scratch")).expect("the scratch store");
    entries.count()
}

#[test]
fn a_large_output_reaches_the_next_steps_of_a_run_on_this_machine_without_configuration() {
    let (place, sim) = (Place::with_files(12), Sim::with_latency(1));
    configure(&place, &sim.url(), "");
    place.ends_with(0, "run", &["run", "files", "-p", "large", "-o", "out"]);
    assert_whole(&place.out(), 12);
    assert_eq!(sim.paid(), (12, 0));
    assert_eq!(runs_left(&place), 0);
}

#[test]
fn a_killed_run_keeps_its_large_outputs_and_goes_on() {
    let (place, sim) = (Place::with_files(30), Sim::with_latency(100));
    configure(&place, &sim.url(), "");
    let args = ["run", "files", "-p", "large", "-o", "out"];
    let run = place.filefleet("killed", &args);
    sim.wait_for_paid(6);
    run.kill9();
    sim.wait_until_quiet();
    assert_eq!(runs_left(&place), 1);
    place.ends_with(0, "again", &args);
    assert_whole(&place.out(), 30);
    assert_eq!(runs_left(&place), 0);
    // Only what was in flight at the kill was paid twice.
    assert!(sim.paid().1 <= 2, "{:?}", sim.paid());
}

#[test]
fn a_result_too_large_for_a_message_is_in_the_results_all_the_same() {
    let (place, sim) = (Place::with_files(3), Sim::with_latency(1));
    configure(&place, &sim.url(), "");
    place.ends_with(0, "run", &["run", "files", "-p", "huge", "-o", "out"]);
    let results = Results::read(&place.out());
    results.assert_exactly_once(3);
    for line in &results.succeeded {
        let text = line["output"]["text"].as_str().expect("a text");
        assert!(text.len() > 9_000_000 && text.trim_end().ends_with("\n1300000"));
    }
    assert_eq!(runs_left(&place), 0);
}

fn worker(fleet: &Fleet, number: usize) -> Process {
    let broker = fleet.url();
    let args = ["worker", "--broker", &broker, "--root", "files"];
    let mut worker = fleet.place.filefleet(&format!("worker-{number}"), &args);
    worker.wait_for_text("worker ready", LIMIT);
    worker
}

fn publish(fleet: &Fleet) {
    let broker = fleet.url();
    let args = ["publish", "files", "-p", "large", "--broker", &broker];
    fleet.place.ends_with(0, "publish", &args);
}

/// On RabbitMQ, with a scratch store that all share; a worker is killed, the store goes away.
fn through_a_shared_store(kind: Kind) {
    let mut emulator = Emulator::start(kind);
    let (mut fleet, sim) = (Fleet::new(30), Sim::with_latency(50));
    fleet.place.variables = emulator.secrets();
    let scratch = format!("[scratch]\n{}", emulator.settings("scratch"));
    configure(&fleet.place, &sim.url(), &scratch);
    // Away before the first output: it is waited for, and no file fails.
    emulator.kill();
    publish(&fleet);
    let mut killed = worker(&fleet, 0);
    killed.wait_for_text("an answer cannot be kept yet", LIMIT);
    emulator.boot();
    sim.wait_for_paid(4);
    killed.kill9();
    let workers = vec![worker(&fleet, 1), worker(&fleet, 2)];
    fleet.collect();
    fleet.dismiss(workers);
    assert_whole(&fleet.place.out(), 30);
    assert!(sim.paid().1 <= 2, "{:?}", sim.paid());
    let left: Vec<String> = emulator.keys("scratch");
    let left: Vec<&String> = left.iter().filter(|key| *key != "probe").collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn large_outputs_go_from_worker_to_worker_through_s3_and_survive_a_killed_one() {
    through_a_shared_store(Kind::S3);
}

#[test]
fn large_outputs_go_from_worker_to_worker_through_azure_and_survive_a_killed_one() {
    through_a_shared_store(Kind::Azure);
}

#[test]
fn without_a_scratch_store_a_fleet_says_which_key_a_large_output_needs() {
    let (fleet, sim) = (Fleet::new(2), Sim::with_latency(1));
    configure(&fleet.place, &sim.url(), "");
    publish(&fleet);
    let workers = vec![worker(&fleet, 0)];
    let mut collector = fleet.collector("collect", &[]);
    assert_eq!(collector.wait(LIMIT), 1, "{}", collector.log());
    fleet.dismiss(workers);
    let results = Results::read(&fleet.place.out());
    results.assert_exactly_once(2);
    for line in &results.failed {
        assert_eq!(line["cause"], "output_too_large", "{line}");
        assert!(line.to_string().contains("scratch.url"), "{line}");
    }
}

#[test]
fn what_somebody_removes_from_the_scratch_store_is_a_named_failure() {
    let (place, sim) = (Place::with_files(1), Sim::with_latency(2_000));
    configure(&place, &sim.url(), "");
    let args = ["run", "files", "-p", "large", "-o", "out"];
    let run = place.filefleet("killed", &args);
    let start = Instant::now();
    while sim.stats()["in_flight"] == 0 {
        assert!(start.elapsed() < LIMIT, "no call");
        pause();
    }
    run.kill9();
    fs::remove_dir_all(place.out().join("state/scratch")).expect("the scratch store");
    place.ends_with(1, "again", &args);
    let results = Results::read(&place.out());
    results.assert_exactly_once(1);
    assert_eq!(
        results.failed[0]["cause"], "scratch_missing",
        "{:?}",
        results.failed
    );
}
