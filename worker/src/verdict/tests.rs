use std::mem::{Discriminant, discriminant};

use filefleet_shared::wire::Usage;

use super::*;

const MINUTE: Duration = Duration::from_secs(60);

fn policy() -> RetryPolicy {
    RetryPolicy {
        attempts: 3,
        base: Duration::from_secs(1),
        cap: Duration::from_secs(120),
        hold: Duration::from_secs(20),
        total: Duration::from_secs(3600),
        budget: 0.1,
    }
}

fn first() -> Situation {
    Situation {
        attempt: 1,
        deferred: 1,
        age: Duration::ZERO,
        held: Duration::ZERO,
        hold_budget: 20 * MINUTE,
        timeout: MINUTE,
        accepted: false,
        forgiven: false,
        blame: Blame::Service,
    }
}

fn text() -> String {
    "why".to_owned()
}

fn rejected() -> CallError {
    CallError::Rejected {
        cause: "refusal".into(),
        detail: text(),
        usage: Usage::default(),
    }
}

/// Every error: what it costs and where it goes on the first attempt and on the last one.
fn table() -> Vec<(CallError, &'static str, &'static str)> {
    let slow = Some(Duration::from_secs(30));
    vec![
        (
            CallError::RateLimited {
                retry_after: None,
                detail: text(),
            },
            "hold free",
            "hold free",
        ),
        (
            CallError::RateLimited {
                retry_after: slow,
                detail: text(),
            },
            "put off free",
            "put off free",
        ),
        (
            CallError::Overloaded {
                retry_after: None,
                detail: text(),
            },
            "hold counted",
            "fail overloaded",
        ),
        (
            CallError::Overloaded {
                retry_after: slow,
                detail: text(),
            },
            "put off counted",
            "fail overloaded",
        ),
        (CallError::Unreachable(text()), "hold free", "hold free"),
        (CallError::Timeout(text()), "hold counted", "fail timeout"),
        (
            CallError::Malformed(text()),
            "hold counted",
            "fail malformed_answer",
        ),
        (
            CallError::Unauthorized(text()),
            "pause unauthorized",
            "pause unauthorized",
        ),
        (
            CallError::Misconfigured(text()),
            "pause misconfigured",
            "pause misconfigured",
        ),
        (
            CallError::QuotaExhausted(text()),
            "pause quota_exhausted",
            "pause quota_exhausted",
        ),
        (
            CallError::Pending { retry_after: None },
            "put off free",
            "put off free",
        ),
        (rejected(), "fail refusal", "fail refusal"),
    ]
}

#[test]
fn what_is_paid_is_given_up_only_when_its_time_is_over() {
    let question = Situation {
        attempt: 50,
        accepted: true,
        ..first()
    };
    let error = CallError::Overloaded {
        retry_after: None,
        detail: text(),
    };
    let decision = decide(&error, question, &policy());
    assert!(!words(&decision).starts_with("fail"), "{decision:?}");
    let late = Situation {
        age: policy().total,
        ..question
    };
    assert_eq!(words(&decide(&error, late, &policy())), "fail overloaded");
}

fn words(decision: &Decision) -> String {
    let cost = |wait: &Wait| if wait.counted { "counted" } else { "free" };
    match decision {
        Decision::Hold(wait) => format!("hold {}", cost(wait)),
        Decision::PutOff(wait) => format!("put off {}", cost(wait)),
        Decision::Pause(kind) => format!("pause {}", kind.as_str()),
        Decision::Fail { cause, .. } => format!("fail {cause}"),
    }
}

#[test]
fn every_error_has_its_row_on_the_first_and_on_the_last_attempt() {
    for (error, at_first, at_last) in table() {
        let last = Situation {
            attempt: 3,
            ..first()
        };
        assert_eq!(
            words(&decide(&error, first(), &policy())),
            at_first,
            "{error}"
        );
        assert_eq!(
            words(&decide(&error, last, &policy())),
            at_last,
            "{error}, last attempt"
        );
    }
}

#[test]
fn a_refusal_that_is_the_files_own_costs_attempts_and_an_unclear_one_pauses_nothing() {
    let blamed = |blame, attempt| Situation {
        blame,
        attempt,
        ..first()
    };
    for (error, cause) in [
        (CallError::Unauthorized(text()), "unauthorized"),
        (CallError::Misconfigured(text()), "misconfigured"),
    ] {
        let decided = |at| words(&decide(&error, at, &policy()));
        assert_eq!(decided(blamed(Blame::Unclear, 3)), "put off free");
        assert_eq!(decided(blamed(Blame::File, 1)), "hold counted");
        assert_eq!(decided(blamed(Blame::File, 3)), format!("fail {cause}"));
    }
    let money = CallError::QuotaExhausted(text());
    for blame in [Blame::Unclear, Blame::File] {
        let decided = words(&decide(&money, blamed(blame, 3), &policy()));
        assert_eq!(decided, "pause quota_exhausted");
    }
}

#[test]
fn the_table_names_every_kind_of_error() {
    let seen: std::collections::HashSet<Discriminant<CallError>> = table()
        .iter()
        .map(|(error, ..)| discriminant(error))
        .collect();
    // A new variant does not compile in `decide` without a row; here it must get a test.
    assert_eq!(seen.len(), 10);
}

#[test]
fn a_step_older_than_its_total_deadline_fails_even_if_throttled() {
    let old = Situation {
        age: Duration::from_secs(3600),
        ..first()
    };
    for (error, ..) in table() {
        let decision = decide(&error, old, &policy());
        let waits = matches!(decision, Decision::Hold(_) | Decision::PutOff(_));
        assert!(!waits, "{error} still waits: {decision:?}");
    }
}

#[test]
fn a_delivery_held_long_is_put_off_instead_of_held() {
    let held = Situation {
        held: 19 * MINUTE,
        ..first()
    };
    let decision = decide(&CallError::Timeout(text()), held, &policy());
    assert_eq!(words(&decision), "put off counted");
}

#[test]
fn a_day_of_retry_after_is_capped() {
    let day = CallError::RateLimited {
        retry_after: Some(24 * 60 * MINUTE),
        detail: text(),
    };
    let Decision::PutOff(wait) = decide(&day, first(), &policy()) else {
        panic!("a day is not held in the worker")
    };
    assert_eq!(wait.delay, policy().cap);
}

#[test]
fn a_probe_that_fails_costs_no_attempt_even_if_it_was_the_last() {
    let at = Situation {
        attempt: 6,
        forgiven: true,
        ..first()
    };
    let error = CallError::Overloaded {
        retry_after: None,
        detail: "500".to_owned(),
    };
    match decide(&error, at, &RetryPolicy::default()) {
        Decision::Hold(wait) | Decision::PutOff(wait) => assert!(!wait.counted, "{wait:?}"),
        other => panic!("{other:?}"),
    }
}
