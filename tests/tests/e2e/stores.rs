//! Files in object stores: emulators of S3 and Azure Blob Storage, the real command.

use std::{
    collections::BTreeSet,
    fs,
    time::{Duration, Instant},
};

use filefleet_shared::store::{Entry, Read, StoreError};
use filefleet_tests::{
    emulator::{Emulator, Kind},
    process::pause,
    results::Results,
};
use futures_util::TryStreamExt;
use serde_json::Value;

use crate::support::{Fleet, LIMIT, Place, Sim};

/// Names that people give to files, in the order of their bytes.
const NAMES: [&str; 7] = [
    "#?&+=.txt",
    "a b.txt",
    "a-b.txt",
    "deep/er/z~^`[]{}.txt",
    "plain.txt",
    "Ünïcode/100%.txt",
    "日本.txt",
];

fn filled(kind: Kind) -> Emulator {
    let emulator = Emulator::start(kind);
    for name in NAMES {
        emulator.put("in", name, format!("This is {name}.").as_bytes());
    }
    // Neither hidden, nor below another prefix that begins alike.
    emulator.put("in", ".git/config", b"hidden");
    emulator.put("in-other", "x.txt", b"elsewhere");
    if kind == Kind::S3 {
        emulator.mark_directory("in/deep");
        emulator.mark_directory("in/empty");
    }
    emulator
}

fn files(lines: &[Value]) -> Vec<&str> {
    let mut lines: Vec<&Value> = lines.iter().collect();
    lines.sort_by_key(|line| line["seq"].as_u64());
    lines
        .iter()
        .filter_map(|line| line["file"].as_str())
        .collect()
}

fn runs_a_store(kind: Kind) {
    let (emulator, sim) = (filled(kind), Sim::with_latency(1));
    let mut place = Place::with_files(0);
    place.variables = emulator.variables();
    place.configure(&sim.url(), 4, "");
    let url = emulator.url("in");
    place.ends_with(0, "run", &["run", &url, "-o", "out"]);
    let results = Results::read(&place.out());
    results.assert_exactly_once(NAMES.len() as u64);
    let mut expected = NAMES.to_vec();
    expected.sort_unstable();
    assert_eq!(files(&results.succeeded), expected);
    for line in &results.succeeded {
        assert!(
            line["etag"].is_string() && line["input_changed"].is_null(),
            "{line}"
        );
    }
    assert_eq!(sim.paid(), (NAMES.len() as u64, 0));

    // Again: what is finished is left out, what is new or has changed is done.
    place.ends_with(0, "again", &["run", &url, "-o", "out"]);
    assert_eq!(sim.paid().0, NAMES.len() as u64);
    emulator.put("in", "plain.txt", b"This is PLAIN.txt.");
    emulator.put("in", "new.txt", b"This is new.");
    place.ends_with(0, "changed", &["run", &url, "-o", "out"]);
    assert_eq!(sim.paid().0, NAMES.len() as u64 + 2);

    // Globs are as in a directory.
    let args = [
        "run",
        &url,
        "-o",
        "some",
        "--include",
        "deep/",
        "--include",
        "a*",
    ];
    place.ends_with(0, "some", &args);
    let some = Results::read(&place.path().join("some"));
    assert_eq!(files(&some.succeeded), [NAMES[1], NAMES[2], NAMES[3]]);
}

#[test]
fn every_file_of_an_s3_bucket_is_done_once_in_the_order_of_its_keys() {
    runs_a_store(Kind::S3);
}

#[test]
fn every_file_of_an_azure_container_is_done_once_in_the_order_of_its_keys() {
    runs_a_store(Kind::Azure);
}

#[test]
fn a_store_that_is_wrong_or_away_is_told_before_anything_is_paid() {
    let (emulator, sim) = (Emulator::start(Kind::S3), Sim::with_latency(1));
    let mut place = Place::with_files(0);
    place.variables = emulator.variables();
    place.configure(&sim.url(), 4, "");
    let said = place.ends_with(2, "wrong", &["run", "s3://nobody/in", "-o", "out"]);
    assert!(said.contains("no such bucket"), "{said}");
    let said = place.ends_with(2, "empty", &["run", &emulator.url("in"), "-o", "none"]);
    assert!(
        said.contains("no file to work on in s3://papers/in"),
        "{said}"
    );
    let said = place.ends_with(2, "user", &["run", "s3://me:secret@papers/in", "-o", "out"]);
    assert!(
        said.contains("credentials") && !said.contains("secret"),
        "{said}"
    );
    assert_eq!(sim.paid().0, 0);
}

#[test]
fn a_run_that_waits_for_its_store_can_be_interrupted() {
    let (emulator, sim) = (filled(Kind::S3), Sim::with_latency(1));
    let mut place = Place::with_files(0);
    place.variables = emulator.variables();
    place.configure(&sim.url(), 4, "");
    emulator.freeze(true);
    let url = emulator.url("in");
    let mut run = place.filefleet("run", &["run", &url, "-o", "out"]);
    let journal = place.out().join("state/manifest.jsonl");
    let start = Instant::now();
    while !journal.exists() {
        assert!(start.elapsed() < LIMIT, "{}", run.log());
        pause();
    }
    run.signal("INT");
    assert_eq!(run.wait(Duration::from_secs(20)), 3, "{}", run.log());
    emulator.freeze(false);
    place.ends_with(0, "again", &["run", &url, "-o", "out"]);
    Results::read(&place.out()).assert_exactly_once(NAMES.len() as u64);
}

#[test]
fn a_store_that_goes_away_under_a_fleet_puts_its_files_off_and_fails_none() {
    let (emulator, sim) = (filled(Kind::S3), Sim::with_latency(1));
    let mut fleet = Fleet::new(0);
    fleet.place.variables = emulator.secrets();
    let settings = emulator.settings("in").replace("\"5s\"", "\"500ms\"");
    let more = format!("[root.default]\n{settings}[retry]\nattempts = 1\nbase = \"100ms\"");
    fleet.place.configure(&sim.url(), 4, &more);
    let (broker, url) = (fleet.url(), emulator.url("in"));
    let args = ["publish", &url, "--broker", &broker];
    fleet.place.ends_with(0, "publish", &args);
    emulator.freeze(true);
    let args = ["worker", "--broker", &broker];
    let mut worker = fleet.place.filefleet("worker", &args);
    worker.wait_for_text("put off: the file cannot be read here now", LIMIT);
    emulator.freeze(false);
    let args = ["collect", "--broker", &broker, "-o", "out"];
    fleet.place.ends_with(0, "collect", &args);
    fleet.dismiss(vec![worker]);
    Results::read(&fleet.place.out()).assert_exactly_once(NAMES.len() as u64);
}

#[test]
fn a_killed_run_of_a_store_with_several_pages_of_keys_goes_on_where_it_was() {
    const FILES: usize = 1_300;
    let (emulator, sim) = (Emulator::start(Kind::S3), Sim::with_latency(20));
    emulator.put_many("in", FILES);
    let mut place = Place::with_files(0);
    place.variables = emulator.variables();
    place.configure(&sim.url(), 16, "");
    let url = emulator.url("in");
    let args = ["run", &url, "-o", "out"];
    let run = place.filefleet("killed", &args);
    sim.wait_for_paid(100);
    run.kill9();
    sim.wait_until_quiet();
    place.ends_with(0, "again", &args);
    Results::read(&place.out()).assert_exactly_once(FILES as u64);
    // Only what was in flight at the kill was paid twice.
    assert!(sim.paid().1 <= 16, "{:?}", sim.paid());
}

/// What the scan, the workers and the scratch store rely on.
fn keeps_the_contract(kind: Kind) {
    let emulator = Emulator::start(kind);
    for (number, name) in NAMES.iter().enumerate() {
        emulator.put("in", name, &vec![b'x'; number]);
    }
    let store = emulator.store("in");
    emulator.block_on(async {
        let listed = async |after: Option<&str>| -> Vec<String> {
            let entries = store.list(after).expect("a key");
            let entries: Vec<Entry> = entries.try_collect().await.expect("a listing");
            entries.into_iter().map(|entry| entry.key).collect()
        };
        let mut names = NAMES.to_vec();
        names.sort_unstable();
        assert_eq!(listed(None).await, names);
        // An emulator may list from the start: the scan leaves out what it has.
        let behind = listed(Some(names[3])).await;
        let rest = names[4..].iter().map(|name| (*name).to_owned());
        assert!(
            behind.ends_with(&rest.collect::<Vec<String>>()),
            "{behind:?}"
        );

        let Read::Whole { content, entry } = store.read(NAMES[3], 3).await.expect("it") else {
            panic!("3 bytes are no more than 3");
        };
        assert_eq!((content.len(), entry.key.as_str()), (3, NAMES[3]));
        assert!(entry.etag.is_some_and(|etag| !etag.contains('"')));
        assert!(matches!(store.read(NAMES[3], 2).await, Ok(Read::Larger(3))));
        assert!(matches!(
            store.read("nobody", 2).await,
            Err(StoreError::Missing)
        ));
        assert!(store.has(NAMES[0]).await.expect("it") && !store.has("nobody").await.expect("it"));
        store.remove_below("deep").await.expect("removed");
        store.remove_below("deep").await.expect("nothing to remove");
        assert_eq!(listed(None).await.len(), NAMES.len() - 1);
    });
}

#[test]
fn s3_keeps_the_contract_of_a_store() {
    keeps_the_contract(Kind::S3);
}

#[test]
fn azure_keeps_the_contract_of_a_store() {
    keeps_the_contract(Kind::Azure);
}

/// Publishes before there is a worker, changes a file, and lets workers find the rest.
fn notices_a_change(fleet: &mut Fleet, sim: &Sim, kind: Kind) {
    let emulator = filled(kind);
    fleet.place.variables = emulator.secrets();
    let name = format!("{kind:?}").to_lowercase();
    let namespace = format!("[root.{name}]\n{}", emulator.settings("in"));
    fleet.place.configure(&sim.url(), 4, &namespace);
    let (broker, url) = (fleet.url(), emulator.url("in"));
    let args = ["publish", &url, "--root", &name, "--broker", &broker];
    fleet.place.ends_with(0, "publish", &args);
    emulator.put("in", "a b.txt", b"Somebody wrote this later.");

    let mut worker = fleet
        .place
        .filefleet("worker", &["worker", "--broker", &broker]);
    worker.wait_for_text("worker ready", LIMIT);
    let args = ["collect", "--broker", &broker, "-o", &name];
    fleet.place.ends_with(0, "collect", &args);
    let log = worker.log();
    fleet.dismiss(vec![worker]);

    let results = Results::read(&fleet.place.path().join(&name));
    results.assert_exactly_once(NAMES.len() as u64);
    let changed: BTreeSet<&str> = results
        .succeeded
        .iter()
        .filter(|line| line["input_changed"] == true)
        .filter_map(|line| line["file"].as_str())
        .collect();
    assert_eq!(changed, BTreeSet::from(["a b.txt"]));
    // Neither what is recorded nor what is logged says where the store is.
    let recorded = fs::read_to_string(fleet.place.path().join(&name).join("results.jsonl"));
    for text in [recorded.expect("results"), log] {
        assert!(
            !text.contains("127.0.0.1") && !text.contains("papers"),
            "{text}"
        );
    }
}

#[test]
fn a_file_of_a_store_that_changes_between_publish_and_work_is_recorded() {
    let (mut fleet, sim) = (Fleet::new(0), Sim::with_latency(1));
    notices_a_change(&mut fleet, &sim, Kind::S3);
    notices_a_change(&mut fleet, &sim, Kind::Azure);
}
