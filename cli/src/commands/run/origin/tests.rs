use filefleet_producer::scan::ScanOptions;
use filefleet_shared::time::UnixMillis;
use tempfile::TempDir;

use super::*;

fn answers(digest: &str) -> Answers {
    Answers {
        directory: "/letters".to_owned(),
        pipeline: "letters".to_owned(),
        rehearsal: false,
        digest: digest.to_owned(),
    }
}

fn place() -> (TempDir, OutDir) {
    let dir = tempfile::tempdir().unwrap();
    let out = OutDir::new(dir.path());
    fs::create_dir(out.state()).unwrap();
    (dir, out)
}

/// Begins a run of the first pipeline that never ends, over `broker`.
pub(crate) fn begin(out: &OutDir, broker: Option<&str>) -> RunId {
    take(out, "one", broker, false).unwrap().record().unwrap();
    let header = Header {
        v: 1,
        run: RunId::mint(),
        root: "run".to_owned(),
        directory: "/files".into(),
        pipeline: "letters".to_owned(),
        step: "sum".to_owned(),
        service: "gpt".to_owned(),
        scan: ScanOptions::default(),
        opened: UnixMillis::now(),
    };
    let json = serde_json::to_string(&header).unwrap();
    let line = format!("{{\"type\":\"manifest\",{}\n", &json[1..]);
    fs::write(out.manifest(), line).unwrap();
    for file in out.queue_files() {
        fs::write(file, "steps").unwrap();
    }
    header.run
}

fn take(
    out: &OutDir,
    digest: &str,
    broker: Option<&str>,
    redo: bool,
) -> Result<Claim, CommandError> {
    Claim::take(out, answers(digest), broker.map(str::to_owned), redo)
}

fn refusal(claimed: Result<Claim, CommandError>) -> String {
    let error = claimed.unwrap_err();
    assert_eq!(error.exit, Exit::Usage, "{error}");
    error.message
}

#[test]
fn one_process_at_a_time_has_a_directory() {
    let (_dir, out) = place();
    let claim = take(&out, "one", None, false).unwrap();
    assert_eq!(take(&out, "one", None, false).unwrap_err().exit, Exit::Busy);
    drop(claim);
    take(&out, "one", None, false).unwrap();
}

#[test]
fn files_of_another_directory_are_never_taken_for_finished() {
    let (_dir, out) = place();
    take(&out, "one", None, false).unwrap().record().unwrap();
    fs::write(out.path().join(sink::RESULTS), "{}\n").unwrap();
    let other = Answers {
        directory: "/other".to_owned(),
        ..answers("one")
    };
    let said = refusal(Claim::take(&out, other, None, false));
    assert!(
        said.contains("/letters") && said.contains("/other"),
        "{said}"
    );
    take(&out, "one", None, false).unwrap();
}

#[test]
fn a_run_that_is_not_finished_keeps_its_pipeline_and_its_broker() {
    let (_dir, out) = place();
    let run = begin(&out, None).to_string();
    take(&out, "one", None, false).unwrap();
    for claimed in [
        take(&out, "two", None, false),
        take(&out, "one", Some("rabbit"), false),
    ] {
        let said = refusal(claimed);
        assert!(said.contains(&run) && said.contains("-o"), "{said}");
    }
}

#[test]
fn a_redo_sets_the_queued_steps_and_the_journal_aside() {
    let (_dir, out) = place();
    let run = begin(&out, None);
    take(&out, "two", None, true).unwrap().record().unwrap();
    for file in out.queue_files().iter().chain([&out.manifest()]) {
        assert!(!file.exists(), "{}", file.display());
        assert!(of_run(file, run).exists(), "{}", file.display());
    }
    take(&out, "two", None, false).unwrap();
}

#[test]
fn steps_that_are_queued_on_rabbitmq_cannot_be_given_up() {
    let (_dir, out) = place();
    begin(&out, Some("rabbit:5672//#filefleet"));
    for broker in [Some("rabbit:5672//#filefleet"), None] {
        let said = refusal(take(&out, "two", broker, true));
        assert!(said.contains("rabbit:5672//#filefleet"), "{said}");
    }
    assert!(out.manifest().exists());
}

#[test]
fn a_redo_that_was_killed_is_ended_before_anything_else() {
    let (_dir, out) = place();
    let run = begin(&out, None);
    let claim = take(&out, "one", None, false).unwrap();
    // As far as the first rename.
    claim.write(None, true).unwrap();
    drop(claim);
    let [queue, ..] = out.queue_files();
    fs::rename(&queue, of_run(&queue, run)).unwrap();
    take(&out, "one", None, false).unwrap();
    for file in out.queue_files().iter().chain([&out.manifest()]) {
        assert!(!file.exists(), "{}", file.display());
    }
}

#[test]
fn where_nothing_succeeded_or_was_answered_any_pipeline_may_come() {
    let (_dir, out) = place();
    take(&out, "one", None, false).unwrap().record().unwrap();
    // No run is open and no file is finished: nothing would be passed over.
    let claim = take(&out, "two", None, false).unwrap();
    claim.record().unwrap();
    drop(claim);
    fs::write(out.path().join(sink::RESULTS), "{}\n").unwrap();
    refusal(take(&out, "one", None, false));

    let (_dir, out) = place();
    begin(&out, None);
    refusal(take(&out, "two", None, false));
    let claim = take(&out, "one", None, false).unwrap();
    assert!(!claim.is_fresh(), "answers may be in the queue");
    claim.withdraw().unwrap();
    drop(claim);
    assert!(take(&out, "two", None, false).unwrap().is_fresh());
}
