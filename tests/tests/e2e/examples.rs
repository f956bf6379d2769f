//! The ready pipelines of `examples/`, rehearsed as their READMEs say.

use std::{collections::BTreeSet, fs};

use filefleet_tests::results::{self, Results};
use filefleet_worker::config::Config;
use serde_json::Value;

use crate::support::{Place, Sim, workspace};

/// Each has a test below.
const EXAMPLES: [&str; 5] = ["invoices", "knowledge", "papers", "photos", "transcripts"];

/// One command of a README and what it left behind.
struct Rehearsal {
    pipeline: Option<String>,
    results: Results,
}

impl Rehearsal {
    /// The line of the file whose name ends so.
    fn of(&self, file: &str) -> &Value {
        let lines = &self.results.succeeded;
        let named = |line: &&Value| {
            line["file"]
                .as_str()
                .is_some_and(|name| name.ends_with(file))
        };
        lines
            .iter()
            .find(named)
            .unwrap_or_else(|| panic!("no {file} in {lines:?}"))
    }
}

/// The commands of an example's README that rehearse it, as arguments.
fn commands(example: &str) -> Vec<Vec<String>> {
    let path = workspace().join("examples").join(example).join("README.md");
    let text = fs::read_to_string(&path).expect("a README");
    let words = |line: &str| {
        let words = line.split_whitespace().skip(1);
        words
            .map(|word| word.trim_matches('\'').to_owned())
            .collect()
    };
    text.lines()
        .filter(|line| line.starts_with("filefleet run ") && line.contains(" --rehearse "))
        .map(words)
        .collect()
}

/// What stands after an option.
fn value(args: &[String], option: &str) -> Option<String> {
    let at = args.iter().position(|arg| arg == option)?;
    args.get(at + 1).cloned()
}

/// Passes the commands of a README, in a copy of what they need.
fn rehearse(example: &str) -> Vec<Rehearsal> {
    let place = Place::new();
    place.copy("samples");
    place.copy("examples");
    let commands = commands(example);
    assert!(!commands.is_empty(), "no command that rehearses {example}");
    let passed = commands.iter().enumerate().map(|(number, args)| {
        let mut args: Vec<&str> = args.iter().map(String::as_str).collect();
        args.extend(["--rehearse-latency", "5ms"]);
        let name = format!("rehearsal-{number}");
        place.ends_with(0, &name, &args);
        let out = value(&commands[number], "-o").expect("an output directory");
        let out = place.path().join(out);
        let summary = results::summary(&out);
        assert_eq!(summary["status"], "complete", "{summary}");
        assert_eq!(summary["succeeded"], summary["total"], "{summary}");
        assert_eq!(summary["unmatched"].as_u64().unwrap_or(0), 0, "{summary}");
        let results = Results::read(&out);
        results.assert_exactly_once(summary["total"].as_u64().expect("a total"));
        Rehearsal {
            pipeline: value(&commands[number], "-p"),
            results,
        }
    });
    passed.collect()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    let text = value[key].as_str().unwrap_or_default();
    assert!(!text.is_empty(), "no {key} in {value}");
    text
}

fn calls(line: &Value, service: &str) -> u64 {
    line["by_service"][service]["calls"].as_u64().unwrap_or(0)
}

#[test]
fn every_example_has_a_test_and_every_pipeline_of_it_is_rehearsed() {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(workspace().join("examples")).expect("examples") {
        let path = entry.expect("an entry").path();
        assert!(path.is_dir(), "{}: not an example", path.display());
        let config = Config::load(&path.join("filefleet.toml"));
        let config = config.unwrap_or_else(|errors| panic!("{errors}"));
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.expect("a name").to_owned();
        let commands = commands(&name);
        let single = config.pipelines.len() == 1;
        for pipeline in config.pipelines.keys() {
            let rehearsed = commands.iter().any(|args| match value(args, "-p") {
                Some(named) => named == *pipeline,
                None => single,
            });
            assert!(
                rehearsed,
                "{name}: {pipeline} is not rehearsed by its README"
            );
        }
        found.insert(name);
    }
    let tested: BTreeSet<String> = EXAMPLES.iter().map(ToString::to_string).collect();
    assert_eq!(found, tested);
}

#[test]
fn invoices_become_json_of_one_schema_whether_they_are_texts_pdfs_or_scans() {
    let [rehearsal] = &rehearse("invoices")[..] else {
        panic!("one command");
    };
    let lines = &rehearsal.results.succeeded;
    assert_eq!(lines.len(), 5);
    for line in lines {
        let invoice = &line["output"];
        text(invoice, "vendor");
        for key in [
            "invoice_number",
            "due_date",
            "currency",
            "net_total",
            "total",
        ] {
            assert!(invoice.get(key).is_some(), "no {key} in {line}");
        }
        assert!(invoice["line_items"].is_array(), "{line}");
        assert_eq!(calls(line, "gpt"), 1, "{line}");
    }
    let pdf = rehearsal.of("invoice-TH-2231.pdf");
    assert_eq!(
        pdf["output"]["vendor"], "Thornbury Conservation Ltd.",
        "{pdf}"
    );
    assert_eq!(pdf["output"]["invoice_number"], "TH-2231", "{pdf}");
    assert_eq!(pdf["output"]["total"], 1044.0, "{pdf}");
    assert_eq!(pdf["usage"]["pages"], 1, "{pdf}");
    let scan = rehearsal.of("beleg-cafe.png");
    assert_eq!(scan["usage"]["pages"], 1, "{scan}");
    let letter = rehearsal.of("invoice-NW-10382.txt");
    assert_eq!(letter["output"]["total"], 1924.2, "{letter}");
    assert_eq!(calls(letter, "ocr"), 0, "a text was read by OCR: {letter}");
}

#[test]
fn photos_get_captions_and_tags_and_a_model_writes_of_them() {
    let rehearsals = rehearse("photos");
    let [captions, alt_texts] = &rehearsals[..] else {
        panic!("two commands");
    };
    assert_eq!(captions.pipeline.as_deref(), Some("captions"));
    for photo in ["lake-at-dusk.jpg", "reading-room.jpg"] {
        let seen = captions.of(photo);
        let caption = text(&seen["output"]["caption"], "text");
        let tags = seen["output"]["tags"].as_array().map_or(0, Vec::len);
        assert!(tags > 1, "{seen}");
        // The rehearsed model tells how its prompt begins.
        let written = alt_texts.of(photo);
        assert!(
            text(&written["output"], "text").contains(caption),
            "{written}"
        );
        assert_eq!(calls(written, "eyes"), 1, "{written}");
        assert_eq!(calls(written, "gpt"), 1, "{written}");
    }
}

#[test]
fn transcripts_become_summaries_and_long_ones_take_two_steps() {
    let [rehearsal] = &rehearse("transcripts")[..] else {
        panic!("one command");
    };
    assert_eq!(rehearsal.results.succeeded.len(), 2);
    for (file, steps) in [("support-call.txt", 1), ("festival-planning.vtt", 2)] {
        let line = rehearsal.of(file);
        let summary = &line["output"];
        text(summary, "title");
        text(summary, "summary");
        assert!(summary["actions"].is_array(), "{line}");
        assert!(summary["decisions"].is_array(), "{line}");
        assert_eq!(calls(line, "gpt"), steps, "{line}");
    }
    let short = text(&rehearsal.of("support-call.txt")["output"], "title");
    assert!(short.contains("Support call"), "{short}");
}

#[test]
fn papers_are_read_by_a_program_and_reviewed_by_a_model() {
    assert!(
        std::path::Path::new("/usr/bin/pdftotext").exists(),
        "pdftotext is missing: tests/run installs poppler-utils"
    );
    let [rehearsal] = &rehearse("papers")[..] else {
        panic!("one command");
    };
    assert_eq!(rehearsal.results.succeeded.len(), 2);
    for (file, title) in [
        (
            "damp-in-stacks.pdf",
            "Damp in closed stacks: a year of readings",
        ),
        (
            "reading-old-ledgers.pdf",
            "Reading old ledgers with layout models",
        ),
    ] {
        let line = rehearsal.of(file);
        // What the program read is what the model was asked about.
        assert_eq!(text(&line["output"], "title"), title, "{line}");
        text(&line["output"], "summary");
        assert_eq!(calls(line, "pdf"), 1, "{line}");
        assert_eq!(calls(line, "gpt"), 1, "{line}");
    }
}

#[test]
fn a_directory_of_all_kinds_of_files_is_indexed_in_a_rehearsal() {
    let rehearsals = rehearse("knowledge");
    let [index, answers] = &rehearsals[..] else {
        panic!("two commands");
    };
    assert_eq!(index.pipeline.as_deref(), Some("index"));
    for line in &index.results.succeeded {
        assert!(line["output"]["documents"].as_u64() >= Some(1), "{line}");
        let text = line["media_type"]
            .as_str()
            .is_some_and(|kind| kind.starts_with("text/"));
        assert_eq!(calls(line, "ocr") == 0, text, "{line}");
    }
    let paper = index.of("papers/damp-in-stacks.pdf");
    assert_eq!(paper["usage"]["pages"], 2, "{paper}");
    assert_eq!(answers.results.succeeded.len(), 2);
    for line in &answers.results.succeeded {
        text(&line["output"], "answer");
        assert_eq!(calls(line, "search"), 1, "{line}");
    }
}

#[test]
fn questions_are_answered_from_what_was_indexed() {
    let sim = Sim::with_latency(5);
    let mut place = Place::new();
    place.copy("samples");
    place.take_example("knowledge", &sim.url());
    let index = "run samples -p index --exclude questions --exclude photos -o out";
    let index: Vec<&str> = index.split(' ').collect();
    place.ends_with(0, "index", &index);
    let indexed = Results::read(&place.out());
    let chunks: Option<u64> = indexed
        .succeeded
        .iter()
        .map(|line| line["output"]["documents"].as_u64())
        .sum();
    assert_eq!(chunks, Some(sim.count("knowledge")));
    let asked = ["run", "samples/questions", "-p", "answer", "-o", "answers"];
    place.ends_with(0, "answer", &asked);
    let answers = Results::read(&place.path().join("answers"));
    answers.assert_exactly_once(2);
    for line in &answers.succeeded {
        text(&line["output"], "answer");
        // A question alone has some twenty; the rest are passages.
        let prompt = line["by_service"]["gpt"]["input_tokens"].as_u64();
        assert!(prompt > Some(500), "no passages in the prompt: {line}");
    }
}
