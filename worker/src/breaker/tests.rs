//! Breakers of one service, and of one with two deployments.

use super::*;

fn one() -> Breaker {
    Breaker::new(vec!["gpt".to_owned()])
}

fn trip_at(breaker: &Breaker, now: Instant) {
    let kind = PauseKind::Unreachable;
    let circuit = breaker.circuit(0);
    circuit.change(|state| state.trip(now, kind, "refused", None));
}

fn pause(breaker: &Breaker) -> Option<Pause> {
    breaker.watch().borrow().clone()
}

#[test]
fn a_refused_key_pauses_at_once_and_an_answer_resumes() {
    let breaker = one();
    breaker.circuit(0).trip(PauseKind::Unauthorized, "401");
    assert_eq!(
        pause(&breaker).map(|pause| pause.kind),
        Some(PauseKind::Unauthorized)
    );
    breaker.circuit(0).answered(Instant::now());
    assert_eq!(pause(&breaker), None);
}

#[test]
fn one_lost_connection_pauses_nothing_and_several_in_a_row_do() {
    let breaker = one();
    for _ in 0..2 {
        for _ in 1..UNREACHABLE_IN_A_ROW {
            breaker.circuit(0).unreachable("refused");
        }
        assert!(!breaker.is_open());
        breaker.circuit(0).answered(Instant::now());
    }
    for _ in 0..UNREACHABLE_IN_A_ROW {
        breaker.circuit(0).unreachable("refused");
    }
    assert!(breaker.is_open());
}

#[test]
fn a_service_that_fails_every_call_is_paused_and_one_answer_resumes_it() {
    let breaker = one();
    for _ in 1..FAILED_IN_A_ROW {
        breaker.circuit(0).failed("500");
    }
    assert!(!breaker.is_open());
    breaker.circuit(0).failed("500");
    assert_eq!(
        pause(&breaker).map(|pause| pause.kind),
        Some(PauseKind::Failing)
    );
    breaker.circuit(0).answered(Instant::now());
    breaker.circuit(0).failed("500");
    assert!(!breaker.is_open());
}

#[test]
fn calls_in_flight_at_a_trip_do_not_prolong_it_and_failed_probes_do() {
    let breaker = one();
    let start = Instant::now();
    for _ in 0..100 {
        trip_at(&breaker, start);
    }
    let first = pause(&breaker).expect("paused");
    assert_eq!((first.since, first.until), (start, start + SHORTEST));
    trip_at(&breaker, first.until);
    let second = pause(&breaker).expect("paused");
    assert_eq!(
        (second.since, second.until),
        (start, first.until + SHORTEST * 2)
    );
}

#[test]
fn a_service_is_paused_while_all_its_deployments_are_and_says_what_comes_back_by_itself() {
    let breaker = Breaker::new(vec!["gpt/east".to_owned(), "gpt/west".to_owned()]);
    breaker.circuit(0).trip(PauseKind::Unauthorized, "401");
    assert_eq!(pause(&breaker), None);
    assert!(breaker.circuit(0).ready_at().1 && !breaker.circuit(1).ready_at().1);
    let wait = Duration::from_secs(60);
    breaker.circuit(1).throttled(wait, "429");
    let both = pause(&breaker).expect("paused");
    assert_eq!(both.kind, PauseKind::Throttled);
    assert_eq!(Some(both.until), breaker.circuit(0).ready_at().0);
    breaker.circuit(1).answered(Instant::now());
    assert_eq!(pause(&breaker), None);
    assert!(breaker.circuit(0).ready_at().1);
}

#[tokio::test(start_paused = true)]
async fn an_answer_to_a_call_from_before_a_pause_ends_none_whose_time_is_not_over() {
    let wait = Duration::from_secs(60);
    let before = Instant::now();
    let (throttled, refused) = (one(), one());
    throttled.circuit(0).throttled(wait, "429");
    refused.circuit(0).trip(PauseKind::Unauthorized, "401");
    throttled.circuit(0).answered(before);
    assert!(throttled.is_open());
    tokio::time::advance(wait).await;
    throttled.circuit(0).answered(before);
    refused.circuit(0).answered(before);
    assert!(!throttled.is_open());
    assert!(refused.is_open(), "its key was taken back since");
    refused.circuit(0).answered(Instant::now());
    assert!(!refused.is_open());
}

#[test]
fn of_several_times_that_a_service_asks_for_the_longest_counts() {
    let breaker = one();
    let start = Instant::now();
    for wait in [30, 60, 40] {
        let wait = Some(Duration::from_secs(wait));
        let throttle = |state: &mut State| state.trip(start, PauseKind::Throttled, "429", wait);
        breaker.circuit(0).change(throttle);
    }
    let until = pause(&breaker).expect("paused").until;
    assert_eq!(until, start + Duration::from_secs(60));
}
