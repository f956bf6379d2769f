use serde_json::json;

use super::*;
use crate::{
    config::Config,
    service::{CatalogOptions, tests::message},
};

/// A pipeline of three steps with these conditions; an empty one is none.
fn catalog(conditions: [&str; 3]) -> Catalog {
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
    Catalog::build(&config, &CatalogOptions::default()).unwrap()
}

fn at(step: &str) -> StepMessage {
    let mut message = message("a.txt");
    step.clone_into(&mut message.step);
    message
}

type Taken = (Option<String>, Vec<String>);

/// The next step, and the steps that are passed over.
fn taken(way: &Way<'_>) -> Taken {
    let passed = way.passed.iter().map(|&step| step.to_owned());
    (way.next.map(|step| step.name.clone()), passed.collect())
}

fn to(next: &str, passed: &[&str]) -> Taken {
    let passed = passed.iter().map(|&step| step.to_owned());
    (
        Some(next.to_owned()).filter(|next| !next.is_empty()),
        passed.collect(),
    )
}

/// The way of a first message.
fn first(catalog: &Catalog, message: &StepMessage) -> Option<Taken> {
    let step = catalog.step("default", &message.step).unwrap();
    past(catalog, message, step).unwrap().as_ref().map(taken)
}

#[test]
fn steps_whose_condition_does_not_hold_are_passed_over_and_gave_nothing() {
    let catalog = catalog(["", "one.kind == 'scan'", "two is none"]);
    let way = after(&catalog, &at("one"), &json!({"kind": "text"})).unwrap();
    assert_eq!(taken(&way), to("three", &["two"]));
    let mut following = at("one");
    way.mark(&mut following);
    assert_eq!(following.outputs["two"], json!(null));
    let way = after(&catalog, &at("one"), &json!({"kind": "scan"})).unwrap();
    assert_eq!(taken(&way), to("two", &[]));
}

#[test]
fn a_file_ends_where_no_step_is_left() {
    let catalog = catalog(["", "file.size > 100", "file.size > 100"]);
    let way = after(&catalog, &at("one"), &json!("answer")).unwrap();
    assert_eq!(taken(&way), to("", &["two", "three"]));
    let way = after(&catalog, &at("three"), &json!("answer")).unwrap();
    assert_eq!(taken(&way), to("", &[]));
}

#[test]
fn a_first_step_is_passed_over_if_its_condition_does_not_hold() {
    let catalog = catalog(["file.size > 100", "file.size > 200", ""]);
    assert_eq!(
        first(&catalog, &at("one")),
        Some(to("three", &["one", "two"]))
    );
    assert_eq!(first(&catalog, &at("three")), None);
    let nobody = self::catalog(["file.size > 100"; 3]);
    let all = to("", &["one", "two", "three"]);
    assert_eq!(first(&nobody, &at("one")), Some(all));
}

/// As after a change of the configuration between the step before and this one.
#[test]
fn what_was_decided_or_accepted_before_is_not_decided_again() {
    let catalog = catalog(["file.size > 100", "file.size > 100", ""]);
    let mut decided = at("two");
    decided.outputs.insert("one".to_owned(), json!("answer"));
    assert_eq!(first(&catalog, &decided), None);
    let accepted = at("one").continued(json!("id"), filefleet_shared::time::UnixMillis(1));
    assert_eq!(first(&catalog, &accepted), None);
}

#[test]
fn a_condition_that_cannot_be_decided_names_its_step() {
    let catalog = catalog(["", "one.kind == 'scan'", ""]);
    let why = after(&catalog, &at("one"), &json!({"knd": "scan"})).unwrap_err();
    assert!(why.starts_with("`when` of step \"two\": "), "{why}");
}
