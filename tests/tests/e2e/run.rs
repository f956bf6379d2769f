//! `filefleet run` on the embedded broker.

use std::{fs, process::Command};

use filefleet_tests::{
    process::filefleet,
    results::{self, Results},
};

use crate::support::{LIMIT, Place, Sim, workspace};

fn samples() -> String {
    workspace().join("samples").display().to_string()
}

#[test]
fn a_rehearsal_of_the_samples_needs_no_key_and_leaves_results_to_look_at() {
    let place = Place::new();
    let said = place.ends_with(
        0,
        "run",
        &[
            "run",
            &samples(),
            "--rehearse",
            "--rehearse-latency",
            "5ms",
            "-o",
            "out",
        ],
    );
    assert!(
        said.to_lowercase().contains("rehears"),
        "not labelled as a rehearsal: {said}"
    );
    let results = Results::read(&place.out());
    let summary = results::summary(&place.out());
    let total = summary["total"].as_u64().expect("a total");
    assert!(total >= 8, "{summary}");
    results.assert_exactly_once(total);
    assert_eq!(summary["status"], "complete", "{summary}");
    assert_eq!(summary["succeeded"], total, "{summary}");
    for line in &results.succeeded {
        let text = line["output"]["text"].as_str().unwrap_or_default();
        assert!(text.contains("[rehearsal]") && text.len() > 40, "{line}");
    }
}

#[test]
fn a_second_run_pays_nothing_again_and_does_new_and_changed_files() {
    let sim = Sim::with_latency(1);
    let place = Place::with_files(60);
    place.configure(&sim.url(), 16, "");
    place.ends_with(0, "first", &["run", "files", "-o", "out"]);
    assert_eq!(sim.paid(), (60, 0));
    place.ends_with(0, "second", &["run", "files", "-o", "out"]);
    assert_eq!(sim.paid(), (60, 0));
    fs::write(place.files().join("new.txt"), "A new letter.").expect("a file");
    fs::write(place.files().join("00000/0000007.txt"), "A changed letter.").expect("a file");
    place.ends_with(0, "third", &["run", "files", "-o", "out"]);
    assert_eq!(sim.paid().0, 62);
}

#[test]
fn a_run_killed_in_the_middle_goes_on_with_one_outcome_per_file() {
    let sim = Sim::with_latency(100);
    let place = Place::with_files(600);
    place.configure(&sim.url(), 20, "");
    for (round, paid) in [100, 300].into_iter().enumerate() {
        let run = place.filefleet(&format!("killed-{round}"), &["run", "files", "-o", "out"]);
        sim.wait_for_paid(paid);
        run.kill9();
    }
    place.ends_with(0, "last", &["run", "files", "-o", "out"]);
    Results::read(&place.out()).assert_exactly_once(600);
    let (paid, repeated) = sim.paid();
    println!("run killed twice: 600 files, {paid} paid calls, {repeated} repeated");
    assert!(
        repeated <= 2 * 25,
        "{repeated} repeated calls, at most 25 were in hand at each kill"
    );
}

#[test]
fn a_run_that_is_told_to_stop_finishes_what_it_has_and_resumes_without_paying_twice() {
    let sim = Sim::with_latency(100);
    let place = Place::with_files(1500);
    place.configure(&sim.url(), 20, "");
    // Some seconds of work: a slow machine must not be done before it is told.
    for (paid, signal) in [(60, "TERM"), (120, "HUP")] {
        let mut run = place.filefleet("stopped", &["run", "files", "-o", "out"]);
        sim.wait_for_paid(paid);
        run.signal(signal);
        assert_eq!(run.wait(LIMIT), 3, "{signal}: {}", run.log());
    }
    let so_far = Results::read(&place.out()).counts().len() as u64;
    assert_eq!(sim.paid().0, so_far, "a paid answer was not kept");
    place.ends_with(0, "resumed", &["run", "files", "-o", "out"]);
    Results::read(&place.out()).assert_exactly_once(1500);
    assert_eq!(sim.paid(), (1500, 0));
}

#[test]
fn files_that_cannot_succeed_are_named_outcomes_and_the_run_still_ends() {
    let sim = Sim::with_latency(1);
    let place = Place::with_files(20);
    place.configure(&sim.url(), 8, "");
    fs::write(place.files().join("empty.txt"), "").expect("a file");
    fs::write(
        place.files().join("binary.txt"),
        [0u8, 159, 146, 150, 255, 254],
    )
    .expect("a file");
    place.ends_with(1, "run", &["run", "files", "-o", "out"]);
    let results = Results::read(&place.out());
    results.assert_exactly_once(22);
    let mut causes: Vec<_> = results
        .failed
        .iter()
        .map(|line| line["cause"].as_str().unwrap_or_default())
        .collect();
    causes.sort_unstable();
    assert_eq!(causes, ["empty_file", "not_text"]);
    let summary = results::summary(&place.out());
    assert_eq!(summary["failed"], 2);
    let explained = fs::read_to_string(workspace().join("docs/results.md")).expect("the docs");
    for object in [&summary, &results.failed[0], &results.succeeded[0]] {
        for key in object.as_object().expect("an object").keys() {
            assert!(explained.contains(&format!("`{key}`")), "{key}");
        }
    }
}

#[test]
fn a_full_standard_error_ends_no_run() {
    let sim = Sim::with_latency(1);
    let place = Place::with_files(20);
    place.configure(&sim.url(), 8, "");
    let full = || fs::File::create("/dev/full").expect("the device");
    for args in [
        &["run", "files", "-o", "out", "--log", "debug"][..],
        &["run", "nowhere", "-o", "out"],
        &["completions", "bash"],
    ] {
        let mut command = Command::new(filefleet());
        command.args(args).current_dir(place.path());
        let status = command.stdout(full()).stderr(full()).status();
        let code = status.expect("it starts").code();
        let wanted = if args.contains(&"nowhere") { 2 } else { 0 };
        assert_eq!(code, Some(wanted), "{args:?}");
    }
    Results::read(&place.out()).assert_exactly_once(20);
}

#[test]
fn the_command_of_the_readme_has_one_binary_to_run() {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--no-deps",
            "--offline",
            "--format-version",
            "1",
        ])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .output()
        .expect("cargo runs");
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("metadata");
    let list = |value: &serde_json::Value| value.as_array().cloned().expect("a list");
    let defaults = list(&metadata["workspace_default_members"]);
    let binaries: Vec<serde_json::Value> = list(&metadata["packages"])
        .iter()
        .filter(|package| defaults.contains(&package["id"]))
        .flat_map(|package| list(&package["targets"]))
        .filter(|target| target["kind"][0] == "bin")
        .map(|target| target["name"].clone())
        .collect();
    assert_eq!(binaries, ["filefleet"]);
}
