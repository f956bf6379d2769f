//! What files cost, and budgets.

use filefleet_tests::results::{self, Results};

use crate::support::{Fleet, LIMIT, Place, Sim};

const PRICED: &str = r#"price = { per_call = 0.01 }
prices = { "gpt-4o-mini" = { per_1k_input_tokens = 1.0, per_call = 0.10 } }
limits"#;

#[test]
fn every_file_and_the_run_have_their_cost_by_service() {
    let sim = Sim::with_latency(1);
    let place = Place::with_files(10);
    place.configure(&sim.url(), 4, "");
    place.reconfigure("limits", PRICED);
    place.ends_with(0, "run", &["run", "files", "-o", "out"]);
    let results = Results::read(&place.out());
    results.assert_exactly_once(10);
    let mut sum = 0.0;
    for line in &results.succeeded {
        let tokens = line["usage"]["input_tokens"].as_f64().expect("tokens");
        let cost = line["usage"]["cost"].as_f64().expect("a cost");
        assert!((cost - (tokens / 1000.0 + 0.1)).abs() < 1e-9, "{line}");
        assert_eq!(line["by_service"]["sim"], line["usage"], "{line}");
        sum += cost;
    }
    let summary = results::summary(&place.out());
    for of_run in [&summary["usage"], &summary["by_service"]["sim"]] {
        let cost = of_run["cost"].as_f64().expect("a cost");
        assert!((cost - sum).abs() < 1e-6, "{cost} and {sum}");
    }
}

#[test]
fn a_budget_stops_a_run_within_what_was_in_flight_and_a_larger_one_goes_on() {
    let sim = Sim::with_latency(50);
    let place = Place::with_files(200);
    place.configure(&sim.url(), 8, "");
    place.reconfigure("limits", "price = { per_call = 0.10 }\nlimits");
    let said = place.ends_with(8, "run", &["run", "files", "-o", "out", "--budget", "5"]);
    assert!(said.contains("the budget of 5.00 is spent"), "{said}");
    let (paid, repeated) = sim.paid();
    assert!((50..=58).contains(&paid), "{paid} calls of 0.10 for 5.00");
    assert_eq!(repeated, 0);
    place.ends_with(8, "again", &["run", "files", "-o", "out", "--budget", "5"]);
    assert!(sim.paid().0 <= paid + 8, "{:?} after {paid}", sim.paid());
    place.ends_with(0, "more", &["run", "files", "-o", "out", "--budget", "50"]);
    Results::read(&place.out()).assert_exactly_once(200);
    assert_eq!(sim.paid(), (200, 0));
}

#[test]
fn a_budget_of_a_fleet_makes_its_workers_leave_and_what_is_left_stays() {
    let sim = Sim::with_latency(50);
    let fleet = Fleet::new(200);
    fleet.place.configure(&sim.url(), 4, "");
    fleet
        .place
        .reconfigure("limits", "price = { per_call = 0.10 }\nlimits");
    fleet.publish();
    let workers = fleet.workers(2);
    let mut collect = fleet.collector("collect", &["--budget", "5"]);
    for mut worker in workers {
        assert_eq!(worker.wait(LIMIT), 0, "{}", worker.log());
    }
    assert_eq!(collect.wait(LIMIT), 8, "{}", collect.log());
    let paid = sim.paid().0;
    assert!((50..150).contains(&paid), "{paid}");
    assert_eq!(results::summary(&fleet.place.out())["status"], "incomplete");
}
