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
    assert!(!status.out().contains("results."), "{}", status.out());
    assert!(!fleet.place.path().join("other").exists());
    fleet.dismiss(workers);
}
