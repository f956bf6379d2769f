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

/// Two steps: the second is so slow that what the first has cost is in unfinished files.
fn two_steps(place: &Place, sim: &Sim) {
    place.configure(&sim.url(), 4, "");
    place.reconfigure("limits", "price = { per_call = 1.0 }\nlimits");
    let slow = format!(
        r#"[service.slow]
kind = "openai"
endpoint = "{}"
price = {{ per_call = 1.0 }}
limits = {{ in_flight = 1, requests_per_second = 1 }}

[[pipeline"#,
        sim.url()
    );
    place.reconfigure("[[pipeline", &slow);
    let second = r#"Describe this." }
[[pipeline.describe]]
name = "again"
service = "slow"
chat = { model = "gpt-4o-mini", prompt = "Again: {{ answer.text }}" }"#;
    place.reconfigure("Describe this.\" }", second);
}

#[test]
fn a_run_that_goes_on_with_its_budget_spent_on_unfinished_files_begins_no_call() {
    let sim = Sim::with_latency(20);
    let place = Place::with_files(200);
    two_steps(&place, &sim);
    let run = ["run", "files", "-o", "out", "--budget", "20"];
    place.ends_with(8, "run", &run);
    let paid = sim.paid();
    assert!((20..=25).contains(&paid.0), "{paid:?}");
    for name in ["second", "third"] {
        let said = place.ends_with(8, name, &run);
        let spent = format!("the budget of 20.00 is spent ({}.00 so far, with", paid.0);
        assert!(said.contains(&spent), "{said}");
        assert_eq!(sim.paid(), paid, "{name}");
    }
    place.ends_with(8, "more", &["run", "files", "-o", "out", "--budget", "40"]);
    let (more, _) = sim.paid();
    assert!((40..=45).contains(&more), "{more}");
}

#[test]
fn what_unfinished_files_have_cost_counts_after_a_kill_but_for_the_calls_in_flight() {
    let sim = Sim::with_latency(20);
    let place = Place::with_files(200);
    two_steps(&place, &sim);
    let run = place.filefleet("run", &["run", "files", "-o", "out", "--budget", "1000"]);
    sim.wait_for_paid(60);
    run.kill9();
    sim.wait_until_quiet();
    let paid = sim.paid();
    let known = (paid.0 - 5).to_string();
    place.ends_with(
        8,
        "again",
        &["run", "files", "-o", "out", "--budget", &known],
    );
    assert_eq!(sim.paid(), paid);
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

#[test]
fn a_budget_without_a_price_is_refused_and_a_price_of_no_step_is_told() {
    let sim = Sim::with_latency(1);
    let place = Place::with_files(3);
    place.configure(&sim.url(), 4, "");
    let slip = r#"prices = { "gpt-4o-mni" = { per_call = 0.10 } }
limits"#;
    place.reconfigure("limits", slip);
    let budget = ["run", "files", "-o", "out", "--budget", "5"];
    let said = place.ends_with(2, "refused", &budget);
    let missing = "no price of service sim, model gpt-4o-mini is known";
    assert!(said.contains(missing), "{said}");
    assert!(said.contains("in [service.sim]"), "{said}");
    assert!(said.contains("no step names \"gpt-4o-mni\""), "{said}");
    assert_eq!(sim.stats()["requests"], 0);
    let mut rehearsal = place.filefleet("rehearsal", &["rehearse", "files"]);
    assert_eq!(rehearsal.wait(LIMIT), 0, "{}", rehearsal.log());
    assert!(rehearsal.out().contains(missing), "{}", rehearsal.out());
    place.reconfigure("prices", "price = { per_call = 0 }\nprices");
    place.ends_with(0, "free", &budget);
}
