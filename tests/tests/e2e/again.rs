//! `filefleet run` again in the same output directory, with a pipeline that has changed.

use std::{collections::BTreeSet, fs};

use filefleet_simulator::{Latency, SimulatorConfig};
use filefleet_tests::results::Results;

use crate::support::{Place, Sim};

const RUN: [&str; 4] = ["run", "files", "-o", "out"];
const REDO: [&str; 5] = ["run", "files", "-o", "out", "--redo"];

/// Ids of the runs whose answers are in the results.
fn runs(results: &Results) -> BTreeSet<String> {
    let run = |line: &serde_json::Value| line["run"].to_string();
    results.succeeded.iter().map(run).collect()
}

fn assert_refused(place: &Place, sim: &Sim, name: &str, args: &[&str], why: &str) {
    let paid = sim.paid();
    let said = place.ends_with(2, name, args);
    for part in [why, "-o", "--redo"] {
        assert!(said.contains(part), "{part} is not in: {said}");
    }
    assert_eq!(sim.paid(), paid, "something was started");
}

#[test]
fn finished_files_of_a_changed_pipeline_are_not_passed_over_in_silence() {
    let sim = Sim::with_latency(1);
    let place = Place::with_files(30);
    place.configure(&sim.url(), 8, "");
    place.ends_with(0, "first", &RUN);
    let first = fs::read(place.out().join("results.jsonl")).expect("results");
    // What does not decide the answers may change.
    place.reconfigure("timeout = \"30s\"", "timeout = \"40s\"");
    place.reconfigure("in_flight = 8", "in_flight = 4");
    place.ends_with(0, "limits", &RUN);
    assert_eq!(sim.paid(), (30, 0));

    place.reconfigure("Describe this.", "Describe this in French.");
    assert_refused(&place, &sim, "refused", &RUN, "its steps changed");
    let kept = fs::read(place.out().join("results.jsonl")).expect("results");
    assert_eq!(kept, first, "results were touched");

    place.ends_with(0, "redone", &REDO);
    assert_eq!(sim.paid(), (60, 0));
    let results = Results::read(&place.out());
    results.assert_exactly_once(30);
    assert_eq!(
        runs(&results).len(),
        1,
        "answers of two pipelines are mixed"
    );
    let old: Vec<_> = fs::read_dir(place.out().join("runs"))
        .expect("earlier runs")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    assert_eq!(old.len(), 1, "{old:?}");
    let kept = fs::read(old[0].join("results.jsonl")).expect("the old results");
    assert_eq!(kept, first, "what was paid for is kept");
    // The pipeline that it has now is the one to go on with.
    place.ends_with(0, "again", &RUN);
    assert_eq!(sim.paid(), (60, 0));
}

#[test]
fn a_run_that_is_not_finished_goes_on_with_its_pipeline_or_is_given_up_whole() {
    let sim = Sim::with_latency(100);
    let place = Place::with_files(200);
    place.configure(&sim.url(), 10, "");
    let run = place.filefleet("killed", &RUN);
    sim.wait_for_paid(40);
    run.kill9();
    sim.wait_until_quiet();
    place.reconfigure("gpt-4o-mini", "gpt-4o");
    assert_refused(&place, &sim, "refused", &RUN, "is not finished");

    let before = sim.paid().0;
    let redo = place.filefleet("redo", &REDO);
    sim.wait_for_paid(before + 60);
    redo.kill9();
    sim.wait_until_quiet();
    place.ends_with(0, "resumed", &RUN);
    let results = Results::read(&place.out());
    results.assert_exactly_once(200);
    assert_eq!(
        runs(&results).len(),
        1,
        "answers of two pipelines are mixed"
    );
    let paid = sim.paid().0 - before;
    println!("given up and done again: 200 files, {paid} paid calls");
    // At the kill, 13 were in hand; of the 160 steps that were given up, none was paid.
    assert!(paid <= 200 + 13, "{paid} paid calls for 200 files");
}

#[test]
fn answers_of_a_rehearsal_are_never_taken_for_real_ones() {
    let sim = Sim::with_latency(1);
    let place = Place::with_files(10);
    place.configure(&sim.url(), 4, "");
    let rehearsal = |name: &str, out: &str, redo: &[&str]| {
        let args = ["run", "files", "--rehearse", "--rehearse-latency", "1ms"];
        let args = [&args, &["-o", out][..], redo].concat();
        place.ends(name, &args)
    };
    assert_eq!(rehearsal("rehearsal", "out", &[]).0, 0);
    assert_eq!(rehearsal("same", "out", &[]).0, 0);
    assert_refused(&place, &sim, "real", &RUN, "rehearsal");
    place.ends_with(0, "redone", &REDO);
    assert_eq!(sim.paid(), (10, 0));
    let (code, said) = rehearsal("back", "out", &[]);
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("real answers"), "{said}");
    assert_eq!(Results::read(&place.out()).succeeded.len(), 10);
    assert_eq!(rehearsal("elsewhere", "other", &[]).0, 0);
    assert_eq!(rehearsal("redone-back", "out", &["--redo"]).0, 0);
    assert_eq!(sim.paid(), (10, 0));
}

#[test]
fn a_mistake_that_nothing_was_answered_with_can_be_mended_and_the_run_goes_on() {
    let sim = Sim::start(SimulatorConfig {
        latency: Latency::Fixed(std::time::Duration::from_millis(1)),
        models: Some(vec!["gpt-4o-mini".to_owned()]),
        ..SimulatorConfig::default()
    });
    let place = Place::with_files(40);
    place.configure(&sim.url(), 4, "");
    place.reconfigure("gpt-4o-mini", "gpt-4o-mimi");
    let said = place.ends_with(4, "wrong", &RUN);
    assert!(said.contains("misconfigured"), "{said}");
    place.reconfigure("gpt-4o-mimi", "gpt-4o-mini");
    place.ends_with(0, "right", &RUN);
    Results::read(&place.out()).assert_exactly_once(40);
    assert_eq!(sim.paid(), (40, 0));
}

#[test]
fn a_second_run_in_the_same_directory_is_refused_and_does_not_set_aside_the_first() {
    let sim = Sim::with_latency(200);
    let place = Place::with_files(60);
    place.configure(&sim.url(), 4, "");
    let mut first = place.filefleet("first", &RUN);
    sim.wait_for_paid(4);
    for args in [&RUN[..], &REDO[..]] {
        let said = place.ends_with(7, "second", args);
        assert!(said.contains("another run"), "{said}");
    }
    assert_eq!(first.wait(crate::support::LIMIT), 0, "{}", first.log());
    Results::read(&place.out()).assert_exactly_once(60);
    assert_eq!(sim.paid(), (60, 0));
}
