use std::{sync::Arc, time::Duration};

use filefleet_shared::{
    broker::Route,
    files::Roots,
    wire::{self, Outcome, Status, Usage},
};
use serde_json::json;
use tokio::sync::Semaphore;

use super::*;
use crate::{
    config::Config,
    retry::RetryPolicy,
    service::{Catalog, CatalogOptions, tests::message},
};

/// A pipeline of three steps with these conditions; an empty one is none.
fn context(conditions: [&str; 3]) -> Context {
    let mut text = "[service.s]\nkind = \"openai\"\nendpoint = \"http://127.0.0.1:1\"\n".to_owned();
    for (name, when) in ["one", "two", "three"].into_iter().zip(conditions) {
        let when = match when {
            "" => String::new(),
            when => format!("when = {when:?}\n"),
        };
        text.push_str(&format!(
            "[[pipeline.default]]\nname = \"{name}\"\nservice = \"s\"\n{when}\
             chat = {{ model = \"m\", prompt = \"p\" }}\n"
        ));
    }
    let config = Config::parse("f.toml", &text).unwrap();
    Context {
        worker: "w".to_owned(),
        catalog: Catalog::build(&config, &CatalogOptions::default()).unwrap(),
        roots: Arc::new(Roots::default()),
        retry: RetryPolicy::default(),
        bytes: Semaphore::new(1),
        bytes_total: 1,
        hold_budget: Duration::MAX,
        quarantine_after: 2,
        dead_after: 3,
        announce: tokio::sync::mpsc::channel(1).0,
    }
}

fn at(step: &str) -> StepMessage {
    let mut message = message("a.txt");
    step.clone_into(&mut message.step);
    message
}

/// What the first step of a file becomes when a worker takes it.
fn taken(context: &Context, message: &StepMessage) -> Option<Verdict> {
    let step = context.catalog.step("default", &message.step).unwrap();
    past(context, message, &Headers::default(), step)
}

/// What becomes of a file after a step that gave `output`.
fn ended(context: &Context, message: &StepMessage, output: Value) -> Verdict {
    let usage = Usage {
        calls: 1,
        ..Usage::default()
    };
    let answer = Answer { output, usage };
    let ended = Ended {
        attempts: 1,
        ..Ended::untried(usage)
    };
    after(context, message, &Headers::default(), ended, answer)
}

fn following(verdict: Verdict) -> StepMessage {
    match verdict {
        Verdict::Done(messages) => {
            assert!(
                matches!(messages[0].route, Route::Work { .. }),
                "{messages:?}"
            );
            wire::decode(&messages[0].body).unwrap()
        }
        other => panic!("{other:?}"),
    }
}

fn outcome(verdict: &Verdict) -> Outcome {
    let messages = match verdict {
        Verdict::Done(messages) => messages,
        Verdict::Dead(dead) => &dead.publish,
        other => panic!("{other:?}"),
    };
    wire::decode(&messages[0].body).unwrap()
}

#[test]
fn steps_whose_condition_does_not_hold_are_passed_over_and_gave_nothing() {
    let context = context(["", "one.kind == 'scan'", "two is none"]);
    let next = following(ended(&context, &at("one"), json!({"kind": "text"})));
    assert_eq!(next.step, "three");
    assert_eq!(next.outputs["one"], json!({"kind": "text"}));
    assert_eq!(next.outputs["two"], json!(null));
    assert_eq!(next.usage.calls, 1);
    let next = following(ended(&context, &at("one"), json!({"kind": "scan"})));
    assert_eq!((next.step.as_str(), next.outputs.len()), ("two", 1));
}

#[test]
fn a_file_ends_with_the_last_answer_where_no_step_is_left() {
    let context = context(["", "file.size > 100", "file.size > 100"]);
    let outcome = outcome(&ended(&context, &at("one"), json!("answer")));
    assert_eq!(outcome.status, Status::Succeeded);
    assert_eq!(
        (outcome.step.as_str(), outcome.output),
        ("one", Some(json!("answer")))
    );
    assert!(!outcome.unmatched);
}

#[test]
fn a_first_step_whose_condition_does_not_hold_is_handed_on_without_a_call() {
    let context = context(["file.size > 100", "", "file.size > 100"]);
    let next = following(taken(&context, &at("one")).unwrap());
    assert_eq!((next.step.as_str(), next.usage.calls), ("two", 0));
    assert_eq!(next.outputs["one"], json!(null));
    assert!(taken(&context, &at("two")).is_none());
}

#[test]
fn a_file_that_no_step_wants_succeeds_and_says_so() {
    let context = context(["file.size > 100"; 3]);
    let outcome = outcome(&taken(&context, &at("one")).unwrap());
    assert_eq!(
        (outcome.status, outcome.unmatched),
        (Status::Succeeded, true)
    );
    assert_eq!(
        (outcome.output, outcome.attempts, outcome.usage.calls),
        (None, 0, 0)
    );
}

/// As after a change of the configuration, between the step before and this one.
#[test]
fn an_earlier_answer_is_kept_where_a_step_is_given_up_late() {
    let context = context(["", "file.size > 100", "file.size > 100"]);
    let mut message = at("two");
    message.outputs.insert("one".to_owned(), json!("answer"));
    let outcome = outcome(&taken(&context, &message).unwrap());
    assert_eq!(
        (outcome.unmatched, outcome.output),
        (false, Some(json!("answer")))
    );
}

#[test]
fn what_a_service_has_accepted_is_finished_whatever_the_condition() {
    let context = context(["file.size > 100", "", ""]);
    let accepted = at("one").continued(json!("id"), filefleet_shared::time::UnixMillis(1));
    assert!(taken(&context, &accepted).is_none());
}

#[test]
fn a_condition_that_cannot_be_decided_is_a_named_failure_that_keeps_what_was_paid() {
    let context = context(["", "one.kind == 'scan'", ""]);
    let verdict = ended(&context, &at("one"), json!({"knd": "scan"}));
    let outcome = outcome(&verdict);
    let failure = outcome.failure.unwrap();
    assert_eq!(failure.cause, "bad_condition");
    assert!(
        failure.detail.contains("`when` of step \"two\""),
        "{}",
        failure.detail
    );
    assert_eq!((outcome.status, outcome.usage.calls), (Status::Failed, 1));
    assert!(matches!(verdict, Verdict::Dead(_)));
}
