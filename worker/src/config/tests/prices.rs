//! Prices that are missing, and prices that apply to nothing.

use super::*;

const STEP: &str = r#"
[[pipeline.letters]]
name = "sum"
service = "gpt"
chat = { model = "gpt-4o-mini", prompt = "Sum up." }
"#;

fn config(service: &str) -> Config {
    Config::parse("f.toml", &format!("{SERVICE}{service}{STEP}")).unwrap()
}

fn unpriced(service: &str) -> Vec<String> {
    let unpriced = config(service).unpriced("letters");
    unpriced.iter().map(ToString::to_string).collect()
}

#[test]
fn a_step_has_a_price_of_its_model_or_of_all_even_if_that_is_0() {
    let missing = ["service gpt, model gpt-4o-mini"];
    assert_eq!(unpriced(""), missing);
    let slip = r#"prices = { "gpt-4o-mni" = { per_call = 1.0 } }"#;
    assert_eq!(unpriced(slip), missing);
    for known in [
        r#"prices = { "gpt-4o-mini" = { per_call = 1.0 } }"#,
        "price = { per_call = 0 }",
    ] {
        assert!(unpriced(known).is_empty(), "{known}");
    }
    assert!(config("").unpriced("others").is_empty());
}

#[test]
fn a_program_needs_no_price_and_every_deployment_needs_one() {
    let programs = r#"
[service.local]
kind = "command"
program = "wc"
[[pipeline.letters]]
name = "count"
service = "local"
run = { args = ["{{ file.path }}"] }
"#;
    let programs = Config::parse("f.toml", programs).unwrap();
    assert!(programs.unpriced("letters").is_empty());
    let deployments = r#"
[[service.gpt.deployments]]
name = "east"
price = { per_call = 1.0 }
[[service.gpt.deployments]]
name = "west"
"#;
    assert_eq!(
        unpriced(deployments),
        ["service gpt/west, model gpt-4o-mini"]
    );
}

#[test]
fn a_price_of_a_model_that_no_step_names_is_found() {
    let slip = config(r#"prices = { "gpt-4o-mni" = { per_call = 1.0 } }"#);
    let expected = UnusedPrice {
        service: "gpt".to_owned(),
        model: "gpt-4o-mni".to_owned(),
        named: vec!["gpt-4o-mini".to_owned()],
    };
    assert_eq!(slip.unused_prices(), [expected]);
    let example = Config::parse("filefleet.toml", Config::example_toml()).unwrap();
    assert_eq!(example.unused_prices(), []);
}

#[test]
fn a_model_with_a_dot_must_be_quoted_and_an_amount_that_would_be_0_is_refused() {
    let text = format!("{SERVICE}[service.gpt.prices.gpt-4.1]\nper_call = 1e-12\n");
    assert_eq!(
        report(&text),
        "f.toml:4: service.gpt.prices.gpt-4.1: a name with a dot is written in quotes: \"gpt-4.1\""
    );
    let text = format!("{SERVICE}price = {{ per_page = 1e-12, per_call = 0.0 }}\n");
    assert_eq!(
        report(&text),
        "f.toml:4: service.gpt.price.per_page: would count as 0: the least is 0.000000001"
    );
}
