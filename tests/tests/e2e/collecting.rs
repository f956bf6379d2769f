//! Where a run is collected: one directory, and whoever asks elsewhere is told which.

use filefleet_tests::results::Results;

use crate::support::{Fleet, LIMIT, Sim};

#[test]
fn a_run_is_completed_in_the_directory_it_was_begun_in_and_others_are_told_which() {
    let sim = Sim::with_latency(50);
    let fleet = Fleet::new(300);
    fleet.place.configure(&sim.url(), 10, "");
    fleet.publish();
    let workers = fleet.workers(1);
    let first = fleet.collector("first", &[]);
    sim.wait_for_paid(100);
    first.kill9();
    let url = fleet.url();
    let elsewhere = ["collect", "--broker", &url, "-o", "other"];
    let said = fleet.place.ends_with(7, "standby", &elsewhere);
    let out = fleet.place.out().canonicalize().expect("the directory");
    assert!(said.contains(&out.display().to_string()), "{said}");
    let mut again = fleet.collector("again", &[]);
    assert_eq!(again.wait(LIMIT), 0, "{}", again.log());
    Results::read(&fleet.place.out()).assert_exactly_once(300);

    for _ in 0..2 {
        let mut late = fleet.place.filefleet("late", &elsewhere);
        assert_eq!(late.wait(LIMIT), 0, "{}", late.log());
        let told = late.out();
        assert!(told.contains("already complete: 300 succeeded"), "{told}");
        assert!(told.contains(&out.display().to_string()), "{told}");
    }
    let mut status = fleet
        .place
        .filefleet("status", &["status", "--broker", &url]);
    assert_eq!(status.wait(LIMIT), 0);
    let told = status.out();
    assert!(!told.contains("results."), "{told}");
    assert!(told.contains("complete: 300 succeeded, 0 failed"), "{told}");
    assert!(!fleet.place.path().join("other").exists());
    fleet.dismiss(workers);
}

#[test]
fn a_directory_published_again_is_told_and_finished_files_can_be_left_out() {
    let sim = Sim::with_latency(0);
    let fleet = Fleet::new(20);
    fleet.place.configure(&sim.url(), 10, "");
    let url = fleet.url();
    fleet.publish();
    let workers = fleet.workers(1);
    let mut collector = fleet.collector("collect", &[]);
    assert_eq!(collector.wait(LIMIT), 0, "{}", collector.log());

    let skipping = ["publish", "files", "--broker", &url, "--skip-finished"];
    let with = |out| [&skipping[..], &[out]].concat();
    let said = fleet.place.ends_with(2, "mistyped", &with("uot"));
    assert!(said.contains("uot"), "{said}");
    let mut nothing = fleet.place.filefleet("nothing", &with("out"));
    assert_eq!(nothing.wait(LIMIT), 0, "{}", nothing.log());
    assert!(nothing.out().contains("all 20"), "{}", nothing.out());
    std::fs::write(fleet.place.files().join("new.txt"), "A new letter.").expect("a file");
    fleet.place.ends_with(0, "new", &with("out"));
    let mut collector = fleet
        .place
        .filefleet("collect-new", &["collect", "--broker", &url, "-o", "new"]);
    assert_eq!(collector.wait(LIMIT), 0, "{}", collector.log());
    Results::read(&fleet.place.path().join("new")).assert_exactly_once(1);
    assert_eq!(sim.paid(), (21, 0));

    let said = fleet
        .place
        .ends_with(0, "all", &["publish", "files", "--broker", &url]);
    assert!(said.contains("published before, as run"), "{said}");
    fleet.publish();
    let status = ["--json", "status", "--broker", &url];
    let mut status = fleet.place.filefleet("status", &status);
    assert_eq!(status.wait(LIMIT), 0);
    let status: serde_json::Value = serde_json::from_str(status.out().trim()).expect("JSON");
    let runs = status["runs"].as_array().expect("runs");
    assert_eq!(runs.len(), 2, "all runs that are to be collected: {status}");
    fleet.dismiss(workers);
}
