//! Services of kind `command`: programs of this machine in a pipeline.

use std::{fs, path::Path, time::Instant};

use filefleet_tests::{
    pdf,
    process::pause,
    results::{self, Results},
};

use crate::support::{LIMIT, Place, Sim};

/// The steps of kind `command`, and the chat that follows one of them.
fn configure(place: &Place, sim: &str) {
    let text = format!(
        r#"
[service.pdf]
kind = "command"
program = "pdftotext"

[service.sim]
kind = "openai"
endpoint = "{sim}"

[[pipeline.text]]
name = "read"
service = "pdf"
run = {{ args = ["-layout", "{{{{ file.path }}}}", "-"], stdin = "none" }}

[[pipeline.both]]
name = "read"
service = "pdf"
run = {{ args = ["-layout", "-", "-"] }}
[[pipeline.both]]
name = "sum"
service = "sim"
chat = {{ model = "gpt-4o-mini", prompt = "Sum up: {{{{ read.text }}}}" }}
"#
    );
    fs::write(place.path().join("filefleet.toml"), text).expect("a file");
}

fn place_with_pdfs() -> Place {
    assert!(
        Path::new("/usr/bin/pdftotext").exists(),
        "pdftotext is missing: tests/run installs poppler-utils"
    );
    let place = Place::with_files(0);
    for number in 0..6 {
        let name = format!("invoice {number}.pdf");
        let page = pdf::with_lines(&[format!("Invoice {number} of Ada")]);
        fs::write(place.files().join(name), page).expect("a file");
    }
    place
}

#[test]
fn a_program_reads_every_file_and_one_that_it_cannot_read_is_a_named_outcome() {
    let place = place_with_pdfs();
    configure(&place, "http://127.0.0.1:9/v1");
    fs::write(place.files().join("no.pdf"), "This is no PDF.").expect("a file");
    place.ends_with(1, "text", &["run", "files", "-p", "text", "-o", "out"]);
    let results = Results::read(&place.out());
    results.assert_exactly_once(7);
    for line in &results.succeeded {
        let name = line["file"].as_str().unwrap_or_default();
        let number = name.trim_matches(|c: char| !c.is_ascii_digit());
        let text = line["output"]["text"].as_str().unwrap_or_default();
        assert!(text.contains(&format!("Invoice {number} of Ada")), "{line}");
    }
    let failed = &results.failed[0];
    assert_eq!(failed["cause"], "command_failed", "{failed}");
    let said = failed.to_string();
    assert!(
        said.contains("exit code 1") && !said.contains("/tmp"),
        "{said}"
    );
}

#[test]
fn what_a_program_reads_goes_on_to_a_model() {
    let sim = Sim::with_latency(1);
    let place = place_with_pdfs();
    configure(&place, &sim.url());
    place.ends_with(0, "both", &["run", "files", "-p", "both", "-o", "out"]);
    Results::read(&place.out()).assert_exactly_once(6);
    assert_eq!(sim.paid(), (6, 0));
    // In a rehearsal the model is the simulator's, and the program runs all the same.
    let rehearse = [
        "run",
        "files",
        "-p",
        "both",
        "--rehearse",
        "-o",
        "rehearsed",
    ];
    place.ends_with(0, "rehearsed", &rehearse);
    assert_eq!(sim.paid(), (6, 0));
}

/// A script that starts a child which sleeps, tells both ids, and waits.
fn place_with_a_sleeper(service: &str, more: &str) -> Place {
    let place = Place::with_files(1);
    let text = format!(
        r#"{more}
[service.slow]
kind = "command"
program = "sh"
{service}
[[pipeline.sleep]]
name = "sleep"
service = "slow"
run = {{ args = ["-c", "sleep 500 & echo $$ $! >> {pids}; wait"] }}
"#,
        pids = place.path().join("pids").display()
    );
    fs::write(place.path().join("filefleet.toml"), text).expect("a file");
    place
}

/// The ids that the script has told, once it has.
fn sleepers(place: &Place) -> Vec<String> {
    let start = Instant::now();
    loop {
        let text = fs::read_to_string(place.path().join("pids")).unwrap_or_default();
        if text.ends_with('\n') {
            return text.split_whitespace().map(str::to_owned).collect();
        }
        assert!(start.elapsed() < LIMIT, "the script did not start");
        pause();
    }
}

fn assert_gone(ids: &[String]) {
    let start = Instant::now();
    let runs = |id: &String| {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        let rest = stat.rsplit_once(") ").map(|(_, rest)| rest.to_owned());
        rest.is_some_and(|rest| !rest.starts_with('Z'))
    };
    while ids.iter().any(runs) {
        assert!(start.elapsed().as_secs() < 10, "{ids:?} still run");
        pause();
    }
}

#[test]
fn a_timeout_ends_the_program_and_all_that_it_started() {
    let place = place_with_a_sleeper("timeout = \"1s\"", "[retry]\nattempts = 2\nbase = \"10ms\"");
    place.ends_with(1, "run", &["run", "files", "-o", "out"]);
    let ids = sleepers(&place);
    assert_eq!(ids.len(), 4, "two attempts of a shell and its child");
    assert_gone(&ids);
    let results = Results::read(&place.out());
    results.assert_exactly_once(1);
    assert_eq!(results.failed[0]["cause"], "timeout");
    assert_eq!(results::summary(&place.out())["failed"], 1);
}

#[test]
fn a_drain_that_runs_out_of_time_leaves_no_program_behind() {
    let place = place_with_a_sleeper("", "[worker]\ngrace = \"1s\"");
    let mut run = place.filefleet("run", &["run", "files", "-o", "out"]);
    let ids = sleepers(&place);
    run.signal("TERM");
    assert_eq!(run.wait(LIMIT), 3, "{}", run.log());
    assert_gone(&ids);
}

#[test]
fn a_program_does_not_outlive_a_worker_that_was_killed() {
    let place = place_with_a_sleeper("", "");
    let run = place.filefleet("run", &["run", "files", "-o", "out"]);
    let ids = sleepers(&place);
    run.kill9();
    // The kernel ends the program; a child that it has started is not known to anyone.
    assert_gone(&ids[..1]);
    let killed = std::process::Command::new("kill").arg(&ids[1]).status();
    assert!(killed.is_ok());
}
