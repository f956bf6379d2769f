//! Steps that are chosen per file, and answers that must satisfy a schema.

use std::fs;

use filefleet_simulator::{Quirk, SimulatorConfig};
use filefleet_tests::results::{self, Results};
use serde_json::Value;

use crate::support::{Place, Sim};

/// Markdown is translated first, data is extracted from text of any kind, other files are left.
fn configure(place: &Place, sim: &str) {
    let schema = r#"{
        "title": "invoice", "type": "object", "additionalProperties": false,
        "properties": {"total": {"type": "number"}, "title": {"type": "string"}},
        "required": ["total", "title"]
    }"#;
    fs::write(place.path().join("invoice.schema.json"), schema).expect("a file");
    let text = format!(
        r#"
[service.sim]
kind = "openai"
endpoint = "{sim}"

[[pipeline.invoices]]
name = "translate"
service = "sim"
when = "file.media_type == 'text/markdown'"
chat = {{ model = "m", prompt = "Translate: {{{{ text }}}}" }}

[[pipeline.invoices]]
name = "extract"
service = "sim"
when = "file.media_type is startingwith 'text/'"
timeout = "20s"
retry = {{ attempts = 2 }}
[pipeline.invoices.chat]
model = "m"
prompt = "Extract from {{{{ translate.text if translate else '' }}}}"
content = "text"
schema = "invoice.schema.json"

[[pipeline.invoices]]
name = "judge"
service = "sim"
when = "extract and extract.total > 100"
chat = {{ model = "m", prompt = "Is {{{{ extract.total }}}} much?" }}
"#
    );
    fs::write(place.path().join("filefleet.toml"), text).expect("a file");
}

fn fill(place: &Place) {
    for (name, content) in [
        ("small.txt", "Invoice 1. Total: 12.50 EUR"),
        ("large.txt", "Invoice 2. Total: 950.00 EUR"),
        ("small.md", "# Invoice 3\n\nTotal: 7.25 EUR"),
        ("picture.png", "not looked at"),
        ("bad.txt", "Invoice 5. SIM_INVALID_JSON Total: 3.00 EUR"),
    ] {
        fs::write(place.files().join(name), content).expect("a file");
    }
}

fn line<'a>(results: &'a Results, name: &str) -> &'a Value {
    let mut lines = results.succeeded.iter();
    lines
        .find(|line| line["file"] == name)
        .unwrap_or_else(|| panic!("{name} did not succeed: {:?}", results.failed))
}

#[test]
fn every_file_goes_through_the_steps_whose_conditions_hold_for_it() {
    let sim = Sim::start(SimulatorConfig {
        quirks: [Quirk::Markers].into(),
        ..SimulatorConfig::default()
    });
    let place = Place::with_files(0);
    fill(&place);
    configure(&place, &sim.url());
    place.ends_with(0, "run", &["run", "files", "-o", "out"]);
    let results = Results::read(&place.out());
    results.assert_exactly_once(5);

    let small = line(&results, "small.txt");
    assert_eq!(
        (&small["step"], &small["output"]["total"]),
        (&"extract".into(), &12.5.into())
    );
    assert_eq!(small["usage"]["calls"], 1, "{small}");
    let large = line(&results, "large.txt");
    assert_eq!(
        (&large["step"], &large["usage"]["calls"]),
        (&"judge".into(), &2.into())
    );
    assert!(large["output"]["text"].is_string(), "{large}");
    let translated = line(&results, "small.md");
    assert_eq!(translated["step"], "extract");
    assert_eq!(translated["usage"]["calls"], 2, "{translated}");
    assert!(translated["output"]["total"].is_number(), "{translated}");

    let picture = line(&results, "picture.png");
    assert_eq!(
        (&picture["unmatched"], &picture["output"]),
        (&true.into(), &Value::Null)
    );
    assert_eq!(picture["usage"]["calls"], 0, "{picture}");

    // Its first answer is no JSON, and the second question about it mends that.
    let asked_twice = line(&results, "bad.txt");
    assert_eq!(asked_twice["output"]["total"], 3.0, "{asked_twice}");
    assert_eq!(
        (&asked_twice["usage"]["calls"], &asked_twice["attempts"]),
        (&2.into(), &1.into())
    );

    let summary = results::summary(&place.out());
    assert_eq!(
        (&summary["succeeded"], &summary["unmatched"]),
        (&5.into(), &1.into()),
        "{summary}"
    );
    assert_eq!(sim.paid(), (7, 0));
}

#[test]
fn a_condition_that_cannot_be_decided_is_a_named_failure_that_keeps_what_was_paid() {
    let sim = Sim::with_latency(1);
    let place = Place::with_files(2);
    let text = format!(
        r#"
[service.sim]
kind = "openai"
endpoint = "{sim}"

[[pipeline.two]]
name = "read"
service = "sim"
chat = {{ model = "m", prompt = "Describe." }}

[[pipeline.two]]
name = "judge"
service = "sim"
when = "read.confidence > 0.5"
chat = {{ model = "m", prompt = "Judge {{{{ read.text }}}}" }}
"#,
        sim = sim.url()
    );
    fs::write(place.path().join("filefleet.toml"), text).expect("a file");
    place.ends_with(1, "run", &["run", "files", "-o", "out"]);
    let results = Results::read(&place.out());
    results.assert_exactly_once(2);
    for line in &results.failed {
        assert_eq!(
            (&line["cause"], &line["usage"]["calls"]),
            (&"bad_condition".into(), &1.into())
        );
        let detail = line["detail"].as_str().unwrap_or_default();
        assert!(detail.contains("step \"judge\""), "{line}");
    }
    assert_eq!(results.failed.len(), 2);
}
