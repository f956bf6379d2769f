//! From a directory to an index for retrieval: read, cut, embed, write, and find again.

use std::fs;

use filefleet_simulator::{Latency, SearchConfig, SimulatorConfig};
use filefleet_tests::results::{self, Results};
use serde_json::{Value, json};

use crate::support::{Place, Sim};

const FILES: usize = 60;

/// A simulator whose index refuses every tenth document at first.
fn forgetful(millis: u64) -> Sim {
    Sim::start(SimulatorConfig {
        latency: Latency::Fixed(std::time::Duration::from_millis(millis)),
        search: SearchConfig {
            document_failures: 0.1,
            ..SearchConfig::default()
        },
        ..SimulatorConfig::default()
    })
}

/// Texts of some paragraphs, no two alike.
fn write_texts(place: &Place) {
    fs::create_dir_all(place.files()).expect("a directory");
    for file in 0..FILES {
        let paragraph = |n: usize| {
            format!(
                "Paragraph {n} of letter {file} tells of invoice {}. The total is {}.50 EUR, to be \
                 paid by the {n}th.\n\n",
                file * 31 + n,
                file * 7 + n
            )
        };
        let text: String = (0..2 + file % 5).map(paragraph).collect();
        fs::write(place.files().join(format!("letter {file}.txt")), text).expect("a file");
    }
}

const PIPELINE: &str = r#"
[service.ocr]
kind = "docintel"
endpoint = "ENDPOINT"

[service.ai]
kind = "openai"
endpoint = "ENDPOINT"

[service.docs]
kind = "search"
endpoint = "ENDPOINT"
limits = { in_flight = 32 }

FIRST

[[pipeline.letters]]
name = "embed"
service = "ai"
[pipeline.letters.embed]
model = "embedder"
dimensions = 16
chunk = { tokens = 48, overlap = 8 }
INPUT

[[pipeline.letters]]
name = "store"
service = "docs"
[pipeline.letters.index]
index = "letters"
each = "embed.chunks"
document = { source = "{{ file.key }}", text = "{{ item.text }}", vector = "{{ item.vector }}" }
CREATE

[[pipeline.letters]]
name = "related"
service = "docs"
[pipeline.letters.query]
index = "letters"
vector = "{{ embed.chunks[0].vector }}"
vector_field = "vector"
filter = "source eq '{{ file.key|odata }}'"
select = ["source", "text"]
count = true
top = 1
"#;

/// The index, if it has to be created.
fn definition() -> Value {
    json!({
        "fields": [
            {"name": "id", "type": "Edm.String", "key": true},
            {"name": "source", "type": "Edm.String"},
            {"name": "text", "type": "Edm.String"},
            {"name": "vector", "type": "Collection(Edm.Single)", "dimensions": 16,
             "vectorSearchProfile": "p"},
        ],
        "vectorSearch": {
            "algorithms": [{"name": "h", "kind": "hnsw"}],
            "profiles": [{"name": "p", "algorithm": "h"}],
        },
    })
}

/// Writes `filefleet.toml`; `first` is a step before the others that reads the documents.
fn configure(place: &Place, endpoint: &str, create: bool, first: &str) {
    let file = place.path().join("letters.json");
    fs::write(file, definition().to_string()).expect("a file");
    let create = if create {
        "create = \"letters.json\""
    } else {
        ""
    };
    let input = if first.is_empty() {
        ""
    } else {
        "input = \"{{ read.content }}\""
    };
    let text = PIPELINE
        .replace("ENDPOINT", endpoint)
        .replace("FIRST", first)
        .replace("INPUT", input)
        .replace("CREATE", create);
    fs::write(place.path().join("filefleet.toml"), text).expect("a file");
}

/// Every file found its own first chunk as the nearest; how many chunks all files have.
fn chunks_found(results: &Results) -> u64 {
    let mut chunks = 0;
    for line in &results.succeeded {
        let output = &line["output"];
        assert_eq!(output["documents"][0]["source"], line["file"], "{line}");
        let text = output["documents"][0]["text"].as_str().unwrap_or_default();
        assert!(text.starts_with("Paragraph 0"), "{line}");
        chunks += output["count"].as_u64().expect("a count");
    }
    chunks
}

fn of(stats: &Value, kind: &str, key: &str) -> u64 {
    stats["kinds"][kind][key]
        .as_u64()
        .unwrap_or_else(|| panic!("{kind}.{key} in {stats}"))
}

#[test]
fn a_directory_becomes_an_index_that_finds_its_files() {
    let sim = forgetful(5);
    let place = Place::new();
    write_texts(&place);
    configure(&place, &sim.url(), true, "");
    place.ends_with(0, "run", &["run", "files", "-o", "out"]);
    let results = Results::read(&place.out());
    results.assert_exactly_once(FILES as u64);
    let chunks = chunks_found(&results);
    assert!(chunks > FILES as u64, "{chunks}: nothing was cut");
    let index = sim.index("letters");
    assert_eq!(index.documents, chunks);
    assert!(
        index.writes.values().all(|writes| *writes == 1),
        "{index:?}"
    );
    let stats = sim.stats();
    assert_eq!(of(&stats, "embeddings", "paid"), FILES as u64);
    let batches = of(&stats, "search-index", "requests");
    println!("{chunks} chunks of {FILES} files in {batches} batches");
    assert!(
        batches < FILES as u64,
        "{batches} batches: files did not share them"
    );
    for line in &results.succeeded {
        let usage = &line["usage"];
        assert!(usage["calls"].as_u64() >= Some(3), "{line}");
        assert!(usage["input_tokens"].as_u64() > Some(0), "{line}");
    }
}

#[test]
fn a_run_killed_while_it_indexes_leaves_each_document_once() {
    let sim = forgetful(60);
    let place = Place::new();
    write_texts(&place);
    configure(&place, &sim.url(), true, "");
    let run = place.filefleet("killed", &["run", "files", "-o", "out"]);
    sim.wait_for_paid(70);
    run.kill9();
    place.ends_with(0, "resumed", &["run", "files", "-o", "out"]);
    let results = Results::read(&place.out());
    results.assert_exactly_once(FILES as u64);
    assert_eq!(sim.index("letters").documents, chunks_found(&results));
}

#[test]
fn documents_are_read_embedded_and_indexed_in_a_rehearsal() {
    let place = Place::new();
    fs::create_dir(place.files()).expect("a directory");
    for file in 0..10 {
        let text = format!("<p>Paragraph 0: invoice {file}, total 12.50 EUR</p>");
        fs::write(place.files().join(format!("{file}.html")), text).expect("a file");
    }
    let read = "[[pipeline.letters]]\nname = \"read\"\nservice = \"ocr\"\nread = {}";
    configure(&place, "https://real.example.com", false, read);
    let args = [
        "run",
        "files",
        "--rehearse",
        "--rehearse-latency",
        "5ms",
        "-o",
        "out",
    ];
    place.ends_with(0, "run", &args);
    let results = Results::read(&place.out());
    results.assert_exactly_once(10);
    assert_eq!(results::summary(&place.out())["succeeded"], 10);
    assert_eq!(chunks_found(&results), 10);
}
