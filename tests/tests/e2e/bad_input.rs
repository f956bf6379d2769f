//! Bad input: a clear message, the right exit code, and nothing lost.

use std::{
    ffi::OsStr,
    fs::{self, File},
    os::unix::ffi::OsStrExt,
    process::Command,
};

use filefleet_tests::{
    process::Process,
    results::{self, Results},
};

use crate::support::{Fleet, LIMIT, Place, Sim};

#[test]
fn a_directory_that_is_missing_empty_or_a_file_is_said_by_name() {
    let sim = Sim::with_latency(0);
    let place = Place::with_files(0);
    place.configure(&sim.url(), 4, "");
    let said = place.ends_with(2, "missing", &["run", "nowhere", "-o", "out"]);
    assert!(
        said.contains("no such directory") && said.contains("nowhere"),
        "{said}"
    );
    let said = place.ends_with(2, "empty", &["run", "files", "-o", "out"]);
    assert!(said.contains("no file") && said.contains("files"), "{said}");
    let said = place.ends_with(2, "file", &["run", "filefleet.toml", "-o", "out"]);
    assert!(said.contains("not a directory"), "{said}");
}

#[test]
fn odd_files_end_in_outcomes_of_their_own() {
    let sim = Sim::with_latency(0);
    let place = Place::with_files(3);
    place.configure(&sim.url(), 4, "");
    fs::write(
        place.files().join(OsStr::from_bytes(b"caf\xe9.txt")),
        "A menu.",
    )
    .expect("a file");
    let huge = File::create(place.files().join("huge.txt")).expect("a file");
    huge.set_len(2 * 1024 * 1024 * 1024).expect("a sparse file");
    std::os::unix::fs::symlink("loop", place.files().join("loop")).expect("a link");
    let said = place.ends_with(1, "run", &["run", "files", "-o", "out", "--follow"]);
    assert!(
        said.contains("loop"),
        "the unreadable entry is not named: {said}"
    );
    let results = Results::read(&place.out());
    results.assert_exactly_once(5);
    assert_eq!(results.failed.len(), 1);
    assert_eq!(results.failed[0]["cause"], "too_large");
    assert_eq!(results::summary(&place.out())["unreadable"], 1);
    assert_eq!(
        results.succeeded.len(),
        4,
        "the name that is not UTF-8 was not worked on"
    );
}

#[test]
fn results_of_a_run_are_never_taken_for_files() {
    let sim = Sim::with_latency(0);
    let place = Place::with_files(3);
    place.configure(&sim.url(), 4, "");
    let said = place.ends_with(2, "same", &["run", "files", "-o", "files"]);
    assert!(said.contains("give another one with -o"), "{said}");
    assert!(!place.files().join("state").exists(), "something was begun");
    let only = ["--include", "files/", "--include", "out/"];
    place.ends_with(0, "first", &["run", "files", "-o", "out"]);
    let mut args = vec!["run", ".", "-o", "other"];
    args.extend(only);
    let said = place.ends_with(0, "above", &args);
    assert!(said.contains("left out") && said.contains("/out"), "{said}");
    Results::read(&place.path().join("other")).assert_exactly_once(3);
}

#[test]
fn a_mistyped_glob_begins_nothing_and_changed_flags_are_told_as_flags() {
    let sim = Sim::with_latency(100);
    let place = Place::with_files(60);
    place.configure(&sim.url(), 2, "");
    let nowhere = "amqp://127.0.0.1:9";
    for args in [
        &["run", "files", "--include", "["][..],
        &["publish", "files", "--exclude", "[", "--broker", nowhere],
    ] {
        let said = place.ends_with(2, "glob", args);
        assert!(said.contains("bad glob \"[\""), "{said}");
    }
    assert!(!place.path().join("filefleet-out").exists());
    assert!(!place.path().join(".filefleet").exists());

    let mut run = place.filefleet("run", &["run", "files", "--include", "*.txt"]);
    sim.wait_for_paid(4);
    run.signal("TERM");
    assert_eq!(run.wait(LIMIT), 3, "{}", run.log());
    let said = place.ends_with(2, "changed", &["run", "files", "--exclude", "*.md"]);
    for part in ["--include '*.txt'", "--exclude '*.md'", "-o"] {
        assert!(said.contains(part), "{part} is not in: {said}");
    }
    assert!(!said.contains("ScanOptions"), "{said}");
}

#[test]
fn what_could_not_be_read_keeps_a_run_from_being_a_success_the_second_time_too() {
    let sim = Sim::with_latency(0);
    let place = Place::with_files(3);
    place.configure(&sim.url(), 4, "");
    std::os::unix::fs::symlink("nowhere", place.files().join("dangling")).expect("a link");
    let args = ["--json", "run", "files", "-o", "out", "--follow"];
    for (total, skipped) in [(Some(3), None), (Some(0), Some(3))] {
        let mut run = place.filefleet("run", &args);
        assert_eq!(run.wait(LIMIT), 1, "{}", run.log());
        let out = run.out();
        let last = out.lines().last().expect("a summary");
        let summary: serde_json::Value = serde_json::from_str(last).expect("JSON");
        assert_eq!(summary["event"], "summary");
        assert_eq!(summary["unreadable"], 1);
        assert_eq!(summary["total"].as_u64(), total);
        assert_eq!(summary["skipped"].as_u64(), skipped);
    }
    let mut text = place.filefleet("text", &args[1..]);
    assert_eq!(text.wait(LIMIT), 1);
    assert!(text.out().contains("1 entry of"), "{}", text.out());
}

#[test]
fn every_mistake_of_a_configuration_is_listed_with_its_line_and_nothing_starts() {
    let place = Place::with_files(1);
    let broken = r#"[service.gpt]
kind = "openai"
endpoint = "https://api.openai.com/v1"
key = "sk-inline"
limits = { in_flght = 10 }

[[pipeline.describe]]
name = "answer"
service = "gtp"
chat = { model = "gpt-4o-mini", prompt = "Describe {{ text" }
"#;
    fs::write(place.path().join("filefleet.toml"), broken).expect("a file");
    let said = place.ends_with(2, "run", &["run", "files", "-o", "out"]);
    for part in [
        "filefleet.toml:4",
        "filefleet.toml:5",
        "in_flight",
        "filefleet.toml:9",
        "gtp",
        "filefleet.toml:10",
    ] {
        assert!(said.contains(part), "{part} is not in:\n{said}");
    }
    assert!(!said.contains("sk-inline"), "the key is shown: {said}");
    assert!(!place.out().exists(), "something was started");
}

#[test]
fn an_unknown_pipeline_and_a_missing_secret_are_said_before_anything_starts() {
    let place = Place::with_files(1);
    place.configure("http://127.0.0.1:9/v1", 4, "");
    let said = place.ends_with(2, "pipeline", &["run", "files", "-p", "nonsense"]);
    assert!(
        said.contains("nonsense") && said.contains("describe"),
        "{said}"
    );
    let path = place.path().join("filefleet.toml");
    let text = fs::read_to_string(&path).expect("the configuration");
    let keyed = text.replace("timeout", "key = { env = \"NO_SUCH_KEY\" }\ntimeout");
    fs::write(&path, keyed).expect("the configuration");
    let said = place.ends_with(2, "secret", &["run", "files"]);
    assert!(said.contains("NO_SUCH_KEY"), "{said}");
}

#[test]
fn no_broker_is_said_with_its_own_exit_code() {
    let place = Place::with_files(1);
    place.configure("http://127.0.0.1:9/v1", 4, "");
    let nowhere = "amqp://127.0.0.1:9";
    for args in [
        vec!["publish", "files", "--broker", nowhere],
        vec!["worker", "--root", "files", "--broker", nowhere],
        vec!["collect", "--broker", nowhere],
        vec!["status", "--broker", nowhere],
        vec!["stop", "--broker", nowhere],
    ] {
        let said = place.ends_with(5, args[0], &args);
        assert!(said.contains("broker"), "{args:?}: {said}");
    }
}

#[test]
fn a_full_disk_stops_the_run_and_with_room_it_goes_on() {
    let sim = Sim::with_latency(1);
    let place = Place::with_files(3000);
    place.configure(&sim.url(), 20, "");
    let out = place.out();
    fs::create_dir(&out).expect("a directory");
    let disk = Tmpfs::mount(&out, "3m");
    let (code, said) = place.ends("full", &["run", "files", "-o", "out"]);
    assert_eq!(code, 6, "{said}");
    assert!(
        said.contains("no room left to write") && said.contains("out/"),
        "{said}"
    );
    // Told by what waits for room and by the end; not by each step.
    assert!(said.lines().count() <= 4, "{said}");
    disk.resize("200m");
    place.ends_with(0, "room", &["run", "files", "-o", "out"]);
    Results::read(&out).assert_exactly_once(3000);
}

#[test]
fn a_second_collector_of_a_run_is_refused_and_hurts_nothing() {
    let sim = Sim::with_latency(300);
    // Longer than a second collector asks before it gives up: a dead one's lock takes a while.
    let fleet = Fleet::new(1000);
    fleet.place.configure(&sim.url(), 10, "");
    let workers = fleet.workers(1);
    fleet.publish();
    let mut first = fleet.collector("first", &[]);
    sim.wait_for_paid(20);
    let url = fleet.url();
    let same = fleet
        .place
        .ends_with(7, "same", &["collect", "--broker", &url, "-o", "out"]);
    assert!(same.contains("collect"), "{same}");
    let other = fleet
        .place
        .ends_with(7, "other", &["collect", "--broker", &url, "-o", "other"]);
    assert!(
        other.contains("consumer") || other.contains("collect"),
        "{other}"
    );
    assert_eq!(first.wait(LIMIT), 0, "{}", first.log());
    Results::read(&fleet.place.out()).assert_exactly_once(1000);
    fleet.dismiss(workers);
}

#[test]
fn links_that_are_passed_over_are_told_once_and_in_json() {
    let place = Place::with_files(1);
    place.configure("http://127.0.0.1:9/v1", 1, "");
    let links = place.path().join("links");
    fs::create_dir(&links).expect("a directory");
    for number in 0..3 {
        let link = links.join(format!("{number}.txt"));
        std::os::unix::fs::symlink(place.files(), link).expect("a link");
    }
    let told = "3 symbolic links passed over; --follow takes them";
    let run = ["run", "links", "-o", "out", "--rehearse"];
    let said = place.ends_with(2, "only", &run);
    assert!(said.contains(told), "{said}");
    fs::write(links.join("real.txt"), "Dear all,").expect("a file");
    let said = place.ends_with(0, "beside", &run);
    assert_eq!(said.matches(told).count(), 1, "{said}");
    let mut json = place.filefleet(
        "json",
        &["run", "links", "-o", "more", "--rehearse", "--json"],
    );
    assert_eq!(json.wait(LIMIT), 0, "{}", json.log());
    let event = r#"{"event":"links_passed_over","links":3}"#;
    assert!(json.out().contains(event), "{}", json.out());
    let mut rehearsal = place.filefleet("rehearsal", &["rehearse", "links"]);
    assert_eq!(rehearsal.wait(LIMIT), 0, "{}", rehearsal.log());
    assert!(rehearsal.out().contains(told), "{}", rehearsal.out());
}

#[test]
fn a_link_out_of_the_root_is_a_named_failure_until_the_worker_may_follow_it() {
    let sim = Sim::with_latency(0);
    let fleet = Fleet::new(3);
    fleet.place.configure(&sim.url(), 4, "");
    fs::write(fleet.place.path().join("secret.txt"), "Not of the root.").expect("a file");
    std::os::unix::fs::symlink("../secret.txt", fleet.place.files().join("link.txt"))
        .expect("a link");
    let url = fleet.url();
    let publish = ["publish", "files", "--follow", "--broker", &url];
    let worker = fleet.worker(0);
    fleet.place.ends_with(0, "publish", &publish);
    let mut collector = fleet.collector("refused", &[]);
    assert_eq!(collector.wait(LIMIT), 1, "{}", collector.log());
    let results = Results::read(&fleet.place.out());
    results.assert_exactly_once(4);
    assert_eq!(results.failed.len(), 1);
    assert_eq!(results.failed[0]["file"], "link.txt");
    assert_eq!(results.failed[0]["cause"], "input_forbidden");
    assert_eq!(sim.paid(), (3, 0), "the file outside was sent");
    fleet.dismiss(vec![worker]);

    let args = ["worker", "--broker", &url, "--root", "files", "--follow"];
    let mut worker = fleet.place.filefleet("following", &args);
    worker.wait_for_text("worker ready", LIMIT);
    fleet.place.ends_with(0, "again", &publish);
    let collect = ["collect", "--broker", &url, "-o", "followed"];
    fleet.place.ends_with(0, "collect", &collect);
    let results = Results::read(&fleet.place.path().join("followed"));
    assert_eq!(results.succeeded.len(), 4);
    fleet.dismiss(vec![worker]);
}

/// A small file system of its own; unmounted when dropped.
struct Tmpfs {
    path: std::path::PathBuf,
}

impl Tmpfs {
    fn mount(path: &std::path::Path, size: &str) -> Self {
        run(Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(path));
        Self {
            path: path.to_owned(),
        }
    }

    fn resize(&self, size: &str) {
        run(Command::new("mount")
            .args(["-o", &format!("remount,size={size}")])
            .arg(&self.path));
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        run(Command::new("umount").arg("-l").arg(&self.path));
    }
}

fn run(command: &mut Command) {
    let status = command.status().expect("a command of the system");
    assert!(status.success(), "{command:?} needs root");
}

#[test]
fn usage_errors_have_their_own_exit_code_and_help_has_examples() {
    let place = Place::new();
    place.ends_with(2, "nothing", &[]);
    place.ends_with(2, "unknown", &["fly"]);
    let said = place.ends_with(2, "run-id", &["collect", "--run", "123"]);
    assert!(said.contains("not the id of a run"), "{said}");
    let said = place.ends_with(2, "time", &["stop", "--wait", "--timeout", "5"]);
    assert!(said.contains("500ms, 10s"), "{said}");
    for command in [
        "run", "publish", "worker", "collect", "status", "stop", "simulate",
    ] {
        let mut help: Process = place.filefleet("help", &[command, "--help"]);
        assert_eq!(help.wait(LIMIT), 0);
        assert!(
            help.out().contains("Examples:"),
            "{command} has no examples"
        );
    }
}

#[test]
fn flags_that_would_have_no_effect_are_refused_and_a_rehearsal_has_its_limit() {
    let place = Place::with_files(8);
    place.configure("http://127.0.0.1:9/v1", 4, "");
    for flag in [
        ["--in-flight", "2"],
        ["--endpoint", "http://127.0.0.1:9/v1"],
        ["--key-env", "KEY"],
    ] {
        let said = place.ends_with(2, "flag", &["run", "files", flag[0], flag[1]]);
        assert!(said.contains("--model"), "{said}");
    }
    let rehearse = ["run", "files", "--rehearse", "--rehearse-latency", "300ms"];
    let args = [&rehearse[..], &["--in-flight", "1"]].concat();
    let start = std::time::Instant::now();
    place.ends_with(0, "rehearse", &args);
    assert!(start.elapsed().as_millis() > 8 * 300, "not one at a time");
}
