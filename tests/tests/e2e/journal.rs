//! The journal: what was paid once is not paid again, whoever dies, and however often it is asked.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use filefleet_simulator::{Latency, OcrConfig, SimulatorConfig};
use filefleet_tests::{
    emulator::{Emulator, Kind},
    process::pause,
    results::{self, Results},
};
use serde_json::Value;

use crate::support::{Fleet, LIMIT, Place, Sim};

/// Calls in flight of one worker.
const IN_FLIGHT: usize = 10;
const JOURNAL: &str = "[journal]\nurl = \"journal\"\n";

/// `files` files, of which `copies` after each other have the same bytes.
fn fill(place: &Place, files: usize, copies: usize, suffix: &str) {
    fs::create_dir_all(place.files()).expect("a directory");
    for number in 0..files {
        let path = place.files().join(format!("{number:04}.{suffix}"));
        let text = format!("<p>Letter {} about the fox.</p>", number / copies);
        fs::write(path, text).expect("a file");
    }
}

fn journalled(place: &Place, sim: &Sim, in_flight: usize) {
    let more =
        format!("{JOURNAL}[retry]\nbase = \"100ms\"\n[service.sim.price]\nper_call = 0.01\n");
    place.configure(&sim.url(), in_flight, &more);
}

/// The count of a kind of service.
fn count(sim: &Sim, kind: &str, what: &str) -> u64 {
    let stats = sim.stats();
    let count = &stats["kinds"][kind][what];
    count
        .as_u64()
        .unwrap_or_else(|| panic!("{what} in {stats}"))
}

fn assert_usage(out: &Path, calls: u64, from_journal: u64, cost: f64) {
    let summary = results::summary(out);
    let usage = &summary["usage"];
    let seen = (
        usage["calls"].as_u64(),
        usage["from_journal"].as_u64().unwrap_or_default(),
        usage["cost"].as_f64().unwrap_or_default(),
    );
    assert_eq!(seen, (Some(calls), from_journal, cost), "{summary}");
    let service = summary["by_service"].as_object().expect("services");
    assert_eq!(service.values().next(), Some(usage), "{summary}");
}

fn output(line: &Value) -> String {
    line["output"].to_string()
}

#[test]
fn equal_files_are_paid_once_and_a_second_run_of_them_is_free() {
    let (place, sim) = (Place::new(), Sim::with_latency(50));
    fill(&place, 60, 3, "txt");
    journalled(&place, &sim, IN_FLIGHT);
    place.ends_with(0, "first", &["run", "files", "-o", "out"]);
    let first = Results::read(&place.out());
    first.assert_exactly_once(60);
    assert_eq!(sim.paid().0, 20);
    assert_usage(&place.out(), 20, 40, 0.2);

    // Limits and deadlines do not make another request of it, nor does another name of a file.
    place.reconfigure("timeout = \"30s\"", "timeout = \"40s\"");
    fs::rename(
        place.files().join("0000.txt"),
        place.files().join("renamed.txt"),
    )
    .expect("a file");
    let mut second = place.filefleet("second", &["run", "files", "-o", "again"]);
    assert_eq!(second.wait(LIMIT), 0, "{}", second.log());
    let said = second.out();
    assert!(said.contains("0 calls, from journal: 60"), "{said}");
    let again = place.path().join("again");
    let second = Results::read(&again);
    second.assert_exactly_once(60);
    assert_eq!(sim.paid().0, 20);
    assert_usage(&again, 0, 60, 0.0);
    let mut outputs = [&first, &second].map(|results| {
        let mut outputs: Vec<String> = results.succeeded.iter().map(output).collect();
        outputs.sort();
        outputs
    });
    assert_eq!(outputs[0], outputs[1]);
    outputs[0].dedup();
    assert!(outputs[0].len() <= 20);

    // Nothing of it is answered by what was asked in other words.
    place.reconfigure("Describe this.", "Describe this in French.");
    place.ends_with(0, "third", &["run", "files", "-o", "third"]);
    assert_eq!(sim.paid().0, 40);
}

#[test]
fn equal_documents_share_one_operation_and_only_successes_are_kept() {
    let sim = Sim::start(SimulatorConfig {
        latency: Latency::Fixed(Duration::from_millis(20)),
        quirks: ["markers".parse().expect("a quirk")].into(),
        ocr: OcrConfig {
            processing: Duration::from_secs(2),
            quotas: None,
        },
        ..SimulatorConfig::default()
    });
    let place = Place::new();
    fill(&place, 40, 4, "html");
    let text = format!(
        "{JOURNAL}[service.ocr]\nkind = \"docintel\"\nendpoint = \"{}\"\n\
         limits = {{ in_flight = 8, polls = 8 }}\nprice = {{ per_page = 0.5 }}\n\
         [[pipeline.scans]]\nname = \"read\"\nservice = \"ocr\"\nread = {{}}\n",
        sim.url()
    );
    fs::write(place.path().join("filefleet.toml"), text).expect("a file");
    place.ends_with(0, "first", &["run", "files", "-o", "out"]);
    Results::read(&place.out()).assert_exactly_once(40);
    assert_eq!(count(&sim, "ocr", "paid"), 10);
    assert_usage(&place.out(), 10, 30, 5.0);
    place.ends_with(0, "second", &["run", "files", "-o", "again"]);
    assert_eq!(count(&sim, "ocr", "paid"), 10);
    assert_usage(&place.path().join("again"), 0, 40, 0.0);

    // What fails is nobody's answer: each copy of it is asked for by itself, in every run.
    fs::create_dir(place.path().join("bad")).expect("a directory");
    for number in 0..4 {
        let path = place.path().join(format!("bad/{number}.html"));
        fs::write(path, "<p>SIM_OCR_FAILED</p>").expect("a file");
    }
    for (out, asked) in [("failed", 14), ("failed-again", 18)] {
        place.ends_with(1, out, &["run", "bad", "-o", out]);
        let results = Results::read(&place.path().join(out));
        results.assert_exactly_once(4);
        assert_eq!(results.failed.len(), 4);
        assert_eq!(count(&sim, "ocr", "requests"), asked, "{}", sim.stats());
    }
}

#[test]
fn where_the_first_of_equal_files_fails_the_next_is_asked_for_by_itself() {
    let sim = Sim::start(SimulatorConfig {
        latency: Latency::Fixed(Duration::from_millis(50)),
        quirks: ["markers".parse().expect("a quirk")].into(),
        ..SimulatorConfig::default()
    });
    let place = Place::new();
    fs::create_dir_all(place.files()).expect("a directory");
    for number in 0..5 {
        let path = place.files().join(format!("{number}.txt"));
        fs::write(path, "A letter with SIM_REFUSAL in it.").expect("a file");
    }
    journalled(&place, &sim, IN_FLIGHT);
    for (out, paid) in [("out", 5), ("again", 10)] {
        place.ends_with(1, out, &["run", "files", "-o", out]);
        let out = place.path().join(out);
        Results::read(&out).assert_exactly_once(5);
        assert_eq!(sim.paid().0, paid);
        assert_usage(&out, 5, 0, 0.05);
    }
}

fn wait(time: Duration) {
    let start = Instant::now();
    while start.elapsed() < time {
        pause();
    }
}

#[test]
fn files_that_wait_for_an_equal_one_neither_hold_up_a_drain_nor_their_delivery() {
    let (place, sim) = (Place::new(), Sim::with_latency(4_000));
    fill(&place, 40, 40, "txt");
    let more = format!("{JOURNAL}[retry]\nbase = \"100ms\"\nhold = \"1s\"\n");
    place.configure(&sim.url(), IN_FLIGHT, &more);
    let args = ["run", "files", "-o", "out"];
    let mut run = place.filefleet("stopped", &args);
    let start = Instant::now();
    while sim.stats()["in_flight"] == 0 {
        assert!(start.elapsed() < LIMIT, "no call");
        pause();
    }
    // So long that some were put off.
    wait(Duration::from_secs(2));
    let stopped = Instant::now();
    run.signal("TERM");
    assert_eq!(run.wait(LIMIT), 3, "{}", run.log());
    assert!(stopped.elapsed() < Duration::from_secs(15), "{}", run.log());
    place.ends_with(0, "again", &args);
    Results::read(&place.out()).assert_exactly_once(40);
    assert_eq!(sim.paid().0, 1);
    assert_usage(&place.out(), 1, 39, 0.0);
}

/// Paid calls, and repeated ones, of files whose workers and broker are killed.
fn answers_of_a_killed_fleet(more: &str) -> (u64, u64) {
    const FILES: usize = 300;
    const KILLS: usize = 5;
    let sim = Sim::with_latency(100);
    let mut fleet = Fleet::new(0);
    fill(&fleet.place, FILES, 1, "txt");
    fleet.place.configure(&sim.url(), IN_FLIGHT, more);
    let mut workers = fleet.workers(2);
    fleet.publish();
    let mut collector = fleet.collector("collect", &[]);
    for round in 0..KILLS {
        sim.wait_for_paid(40 * (round as u64 + 1));
        workers.remove(0).kill9();
        workers.push(fleet.worker(10 + round));
    }
    // What is answered while the broker is away cannot be settled, and is delivered again.
    sim.wait_for_paid(40 * (KILLS as u64 + 1));
    fleet.restart_broker();
    assert_eq!(collector.wait(LIMIT), 0, "{}", collector.log());
    let results = Results::read(&fleet.place.out());
    results.assert_exactly_once(FILES as u64);
    assert!(results.failed.is_empty(), "{:?}", results.failed.first());
    fleet.dismiss(workers);
    let paid = sim.paid();
    let allowed = (KILLS * IN_FLIGHT) as u64;
    println!("{FILES} files, {KILLS} kills, one of the broker: {paid:?} ({more:?})");
    if !more.is_empty() {
        assert!(paid.1 <= allowed, "{paid:?}, at most {allowed} repeated");
    }
    paid
}

#[test]
fn an_answer_that_was_kept_is_not_paid_again_when_workers_and_the_broker_are_killed() {
    let with = answers_of_a_killed_fleet(JOURNAL);
    let without = answers_of_a_killed_fleet("");
    println!(
        "repeated calls: {} with a journal, {} without",
        with.1, without.1
    );
}

#[test]
fn a_journal_that_is_away_puts_steps_off_and_nothing_is_paid_until_it_is_back() {
    const FILES: u64 = 60;
    let mut emulator = Emulator::start(Kind::S3);
    let (mut fleet, sim) = (Fleet::new(0), Sim::with_latency(100));
    fill(&fleet.place, 60, 1, "txt");
    fleet.place.variables = emulator.secrets();
    let more = format!(
        "[journal]\n{}[retry]\nbase = \"100ms\"\n",
        emulator.settings("journal")
    );
    fleet.place.configure(&sim.url(), 4, &more);
    emulator.kill();
    fleet.publish();
    let mut first = fleet.worker(0);
    first.wait_for_text("the journal is away", LIMIT);
    let mut collector = fleet.collector("collect", &[]);
    wait(Duration::from_secs(2));
    assert_eq!(sim.paid().0, 0, "paid without a journal");
    emulator.boot();
    sim.wait_for_paid(10);
    emulator.freeze(true);
    let workers = vec![first, fleet.worker(1)];
    // Longer than the store's deadline.
    wait(Duration::from_secs(8));
    emulator.freeze(false);
    assert_eq!(collector.wait(LIMIT), 0, "{}", collector.log());
    let results = Results::read(&fleet.place.out());
    results.assert_exactly_once(FILES);
    assert!(results.failed.is_empty(), "{:?}", results.failed.first());
    assert_eq!(sim.paid(), (FILES, 0));
    fleet.dismiss(workers);
}
