//! From texts to an index and back, against the simulator.

use std::io::Write;

use bytes::Bytes;
use filefleet_shared::wire::StepMessage;
use filefleet_simulator::{Kind, SearchConfig, Simulator, SimulatorConfig, start};
use filefleet_worker::{
    config::Config,
    service::{Answer, BoundStep, CallError, Catalog, CatalogOptions, Heard, Reply, StepInput},
};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::stand::message;

const WORDS: [&str; 4] = ["apples", "bridges", "clouds", "deserts"];

async fn simulator(search: SearchConfig) -> Simulator {
    let config = SimulatorConfig {
        search,
        ..SimulatorConfig::default()
    };
    start(config, ([127, 0, 0, 1], 0).into()).await.unwrap()
}

/// Steps `embed`, `store` and `find`; with a definition of the index if it has to be created.
fn steps(base: &str, create: &str, options: &CatalogOptions) -> [BoundStep; 3] {
    let text = format!(
        r#"
[service.ai]
kind = "openai"
endpoint = "{base}"
[service.docs]
kind = "search"
endpoint = "{base}"
limits = {{ in_flight = 64 }}
[[pipeline.rag]]
name = "embed"
service = "ai"
embed = {{ model = "m", dimensions = 8, chunk = {{ tokens = 16, overlap = 0 }} }}
[[pipeline.rag]]
name = "store"
service = "docs"
index = {{ index = "docs", {create} each = "embed.chunks", document = {{ source = "{{{{ file.key }}}}", text = "{{{{ item.text }}}}", vector = "{{{{ item.vector }}}}" }} }}
[[pipeline.rag]]
name = "find"
service = "docs"
query = {{ index = "docs", search = "{{{{ text }}}}", vector = "{{{{ embed.chunks[0].vector }}}}", vector_field = "vector", filter = "source eq '{{{{ file.key|odata }}}}'", select = ["source", "text"], top = 2, count = true }}
"#
    );
    let config = Config::parse("test.toml", &text).unwrap();
    let catalog = Catalog::build(&config, options).unwrap();
    ["embed", "store", "find"].map(|name| catalog.step("rag", name).unwrap().clone())
}

fn schema() -> tempfile::NamedTempFile {
    let text = json!({
        "name": "docs",
        "fields": [
            {"name": "id", "type": "Edm.String", "key": true},
            {"name": "source", "type": "Edm.String"},
            {"name": "text", "type": "Edm.String"},
            {"name": "vector", "type": "Collection(Edm.Single)", "dimensions": 8,
             "vectorSearchProfile": "p"},
        ],
        "vectorSearch": {
            "algorithms": [{"name": "h", "kind": "hnsw"}],
            "profiles": [{"name": "p", "algorithm": "h"}],
        },
    });
    let mut file = tempfile::NamedTempFile::new().unwrap();
    write!(file, "{text}").unwrap();
    file
}

async fn run(step: &BoundStep, message: &mut StepMessage, text: &str) -> Result<Answer, CallError> {
    message.step.clone_from(&step.name);
    let content = Bytes::copy_from_slice(text.as_bytes());
    let input = StepInput {
        message,
        content,
        heard: &Heard::default(),
    };
    match step.call.call(input).await? {
        Reply::Answered(answer) => {
            message
                .outputs
                .insert(step.name.clone(), answer.output.clone());
            Ok(answer)
        }
        Reply::Accepted(accepted) => panic!("{accepted:?}"),
    }
}

/// Three sentences about one thing, each a chunk.
fn text(number: usize) -> String {
    let word = WORDS[number % WORDS.len()];
    let sentence =
        |n: usize| format!("Sentence {n} of file {number} is about {word}, and says so. ");
    (0..3).map(sentence).collect()
}

/// Embeds and stores so many files at the same time.
async fn store(steps: &[BoundStep; 3], files: usize) -> Vec<StepMessage> {
    let mut tasks = JoinSet::new();
    for number in 0..files {
        let [embed, store, _] = steps.clone();
        tasks.spawn(async move {
            let mut message = message(&embed, "text/plain");
            message.seq = number as u64;
            message.file.key = format!("it's {number}");
            run(&embed, &mut message, &text(number)).await.unwrap();
            let stored = run(&store, &mut message, "").await.unwrap();
            assert_eq!(stored.output["documents"], 3, "{stored:?}");
            message
        });
    }
    let mut messages = tasks.join_all().await;
    messages.sort_by_key(|message| message.seq);
    messages
}

#[tokio::test]
async fn texts_are_embedded_indexed_together_and_found_again() {
    let failing = SearchConfig {
        document_failures: 0.1,
        ..SearchConfig::default()
    };
    let simulator = simulator(failing).await;
    let schema = schema();
    let create = format!("create = {:?},", schema.path());
    let steps = steps(&simulator.base_url(), &create, &CatalogOptions::default());
    let mut messages = store(&steps, 50).await;
    let index = simulator.index("docs").unwrap();
    assert_eq!(index.documents, 150);
    assert!(
        index.writes.values().all(|writes| *writes == 1),
        "one was sent again in vain"
    );
    let batches = simulator.stats().kinds[&Kind::SearchIndex].requests;
    assert!(batches < 50, "{batches} batches: nothing was shared");
    println!("150 documents of 50 files in {batches} batches");
    let found = run(&steps[2], &mut messages[7], "Sentence 1")
        .await
        .unwrap();
    assert_eq!(found.output["count"], 3);
    let documents = found.output["documents"].as_array().unwrap();
    assert_eq!(documents.len(), 2);
    assert!(
        documents.iter().all(|found| found["source"] == "it's 7"),
        "{found:?}"
    );
    assert!(documents[0]["score"].as_f64() >= documents[1]["score"].as_f64());
    assert_eq!(documents[0].get("vector"), None);
}

#[tokio::test]
async fn writing_again_changes_nothing() {
    let simulator = simulator(SearchConfig::default()).await;
    let schema = schema();
    let create = format!("create = {:?},", schema.path());
    // Another process, as far as the index is concerned.
    for _ in 0..2 {
        let steps = steps(&simulator.base_url(), &create, &CatalogOptions::default());
        store(&steps, 4).await;
    }
    let index = simulator.index("docs").unwrap();
    assert_eq!(index.documents, 12);
    assert!(index.writes.values().all(|writes| *writes == 2));
}

#[tokio::test]
async fn a_rehearsal_needs_neither_a_key_nor_an_index() {
    let simulator = simulator(SearchConfig::default()).await;
    let options = CatalogOptions {
        rehearse: Some(simulator.base_url()),
    };
    let steps = steps("https://real.search.windows.net", "", &options);
    let mut early = message(&steps[2], "text/plain");
    let output = json!({"chunks": [{"vector": [0.5]}]});
    early.outputs.insert("embed".to_owned(), output);
    let nothing = run(&steps[2], &mut early, "Sentence").await.unwrap();
    assert_eq!(nothing.output, json!({"documents": []}));
    let mut messages = store(&steps, 4).await;
    let found = run(&steps[2], &mut messages[2], "Sentence").await.unwrap();
    assert_eq!(found.output["count"], 3);
    assert_eq!(simulator.index("docs").unwrap().documents, 12);
}

#[tokio::test]
async fn a_field_that_the_index_has_not_is_a_misconfiguration_and_a_wrong_value_fails_its_file() {
    let simulator = simulator(SearchConfig::default()).await;
    let schema = schema();
    let create = format!("create = {:?},", schema.path());
    let steps = steps(&simulator.base_url(), &create, &CatalogOptions::default());
    store(&steps, 1).await;
    let mut wrong = message(&steps[1], "text/plain");
    let chunk = |vector: Value| json!({"chunks": [{"text": "t", "vector": vector}]});
    wrong
        .outputs
        .insert("embed".to_owned(), chunk(json!([1, 2])));
    let mut right = wrong.clone();
    right.file.key = "right".to_owned();
    let output = chunk(json!([1, 2, 3, 4, 5, 6, 7, 8]));
    right.outputs.insert("embed".to_owned(), output);
    let (wrong, right) = tokio::join!(
        run(&steps[1], &mut wrong, ""),
        run(&steps[1], &mut right, "")
    );
    assert!(right.is_ok(), "{right:?}");
    let Err(CallError::Rejected { detail, usage, .. }) = wrong else {
        panic!("{wrong:?}");
    };
    assert!(detail.contains("vector dimensions"), "{detail}");
    assert_eq!(usage.calls, 2);
}
