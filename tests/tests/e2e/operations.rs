//! Documents that take long to read: each is paid once, whoever dies meanwhile.

use std::{fs, time::Duration};

use filefleet_simulator::{Latency, OcrConfig, SimulatorConfig};
use filefleet_tests::results::{self, Results};

use crate::support::{Fleet, LIMIT, Place, Sim};

/// Submits in flight of one worker, and a quarter more in hand.
const IN_FLIGHT: u64 = 8;
const IN_HAND: u64 = 10;

/// A simulator that reads a document for `seconds`.
fn slow(seconds: u64) -> Sim {
    Sim::start(SimulatorConfig {
        latency: Latency::Fixed(Duration::from_millis(100)),
        ocr: OcrConfig {
            processing: Duration::from_secs(seconds),
            quotas: None,
        },
        ..SimulatorConfig::default()
    })
}

/// Documents, and a pipeline that reads them.
fn fill(place: &Place, documents: u64, sim: &Sim, more: &str) {
    for number in 0..documents {
        let path = place.files().join(format!("{number:04}.html"));
        fs::write(path, format!("<p>Invoice {number}, total 12.50 EUR</p>")).expect("a file");
    }
    let endpoint = sim.url();
    let text = format!(
        r#"{more}

[service.ocr]
kind = "docintel"
endpoint = "{endpoint}"
timeout = "5s"
limits = {{ in_flight = {IN_FLIGHT}, polls = 8 }}

[[pipeline.scans]]
name = "read"
service = "ocr"
read = {{}}
"#
    );
    fs::write(place.path().join("filefleet.toml"), text).expect("a file");
}

fn assert_read(place: &Place, sim: &Sim, documents: u64, most_repeated: u64) {
    let results = Results::read(&place.out());
    results.assert_exactly_once(documents);
    let summary = results::summary(&place.out());
    assert_eq!(summary["succeeded"], documents, "{summary}");
    for line in &results.succeeded {
        let content = line["output"]["content"].as_str().unwrap_or_default();
        assert!(content.contains("total 12.50 EUR"), "{line}");
        assert_eq!(line["usage"]["pages"], 1, "{line}");
        assert_eq!(line["usage"]["calls"], 1, "{line}");
    }
    let stats = sim.stats();
    let ocr = &stats["kinds"]["ocr"];
    let count = |key: &str| {
        ocr[key]
            .as_u64()
            .unwrap_or_else(|| panic!("{key} in {stats}"))
    };
    println!(
        "{documents} documents, {} paid, {} repeated",
        count("paid"),
        count("repeated")
    );
    assert_eq!(count("distinct_tasks"), documents, "{stats}");
    assert_eq!(count("untagged"), 0, "{stats}");
    assert!(count("repeated") <= most_repeated, "{stats}");
}

#[test]
fn a_document_is_paid_once_however_often_its_result_is_asked_for() {
    let sim = slow(3);
    let place = Place::with_files(0);
    fill(&place, 40, &sim, "");
    place.ends_with(0, "run", &["run", "files", "-o", "out"]);
    assert_read(&place, &sim, 40, 0);
    let polls = sim.stats()["kinds"]["ocr-poll"]["requests"].as_u64();
    assert!(polls >= Some(80), "{polls:?} questions: nothing was slow");
}

#[test]
fn a_run_killed_while_documents_are_read_pays_none_of_them_again() {
    let sim = slow(2);
    let place = Place::with_files(0);
    fill(&place, 200, &sim, "");
    for (round, paid) in [50, 120].into_iter().enumerate() {
        let run = place.filefleet(&format!("killed-{round}"), &["run", "files", "-o", "out"]);
        sim.wait_for_paid(paid);
        run.kill9();
    }
    place.ends_with(0, "last", &["run", "files", "-o", "out"]);
    assert_read(&place, &sim, 200, 2 * IN_HAND);
}

#[test]
fn a_worker_killed_while_documents_are_read_pays_none_of_them_again() {
    let sim = slow(2);
    let fleet = Fleet::new(0);
    fill(&fleet.place, 300, &sim, "");
    let mut workers = fleet.workers(2);
    fleet.publish();
    let mut collector = fleet.collector("collect", &[]);
    sim.wait_for_paid(100);
    workers.remove(0).kill9();
    assert_eq!(collector.wait(LIMIT), 0, "{}", collector.log());
    assert_read(&fleet.place, &sim, 300, IN_HAND);
    fleet.dismiss(workers);
}

#[test]
fn a_document_may_take_longer_than_a_delivery() {
    let sim = slow(15);
    let fleet = Fleet::new(0);
    let broker = format!(
        "[broker]\nurl = \"{}\"\nack_timeout = \"7s\"",
        plain(&fleet.url())
    );
    let more = format!("{broker}\n[retry]\nhold = \"1s\"");
    fill(&fleet.place, 30, &sim, &more);
    let workers = fleet.workers(1);
    fleet.publish();
    fleet.collect();
    assert_read(&fleet.place, &sim, 30, 0);
    fleet.dismiss(workers);
}

/// The address without the user, whom `--broker` names.
fn plain(url: &str) -> String {
    let host = url.rsplit_once('@').map_or(url, |(_, host)| host);
    format!("amqp://{host}")
}
