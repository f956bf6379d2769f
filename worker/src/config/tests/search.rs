//! Embeddings and AI Search: what is refused, and what is meant by default.

use std::time::Duration;

use super::*;
use crate::service::{
    Path, Tokenizer,
    chunk::Chunking,
    openai::{EmbedConfig, Encoding},
    search::{BatchConfig, IndexConfig, Node, QueryConfig, Verb},
};

const SERVICES: &str = "[service.ai]\nkind = \"openai\"\nendpoint = \"https://x\"\n\
     [service.docs]\nkind = \"search\"\nendpoint = \"https://x\"\n\
     [[pipeline.p]]\nname = \"embed\"\nservice = \"ai\"\n";

fn embed(config: &Config) -> &EmbedConfig {
    let steps = config.pipelines.values().flatten();
    let mut found = steps.filter_map(|step| match &step.action {
        Action::Embed(embed) => Some(embed),
        _ => None,
    });
    found.next().unwrap()
}

fn index(config: &Config) -> &IndexConfig {
    let steps = config.pipelines.values().flatten();
    let mut found = steps.filter_map(|step| match &step.action {
        Action::Index(index) => Some(index),
        _ => None,
    });
    found.next().unwrap()
}

fn query(config: &Config) -> &QueryConfig {
    let steps = config.pipelines.values().flatten();
    let mut found = steps.filter_map(|step| match &step.action {
        Action::Query(query) => Some(query),
        _ => None,
    });
    found.next().unwrap()
}

/// A pipeline of an embed step and one of a search service.
fn steps(first: &str, second: &str) -> String {
    format!("{SERVICES}{first}\n[[pipeline.p]]\nname = \"s\"\nservice = \"docs\"\n{second}\n")
}

#[test]
fn the_example_names_the_defaults_of_embeddings_and_search() {
    let config = Config::parse("filefleet.toml", Config::example_toml()).unwrap();
    let text = Config::example_toml()
        .replace("# encoding", "encoding")
        .replace("# chunk =", "chunk =")
        .replace("# tokenizer", "tokenizer")
        .replace("# max_chunks", "max_chunks")
        .replace("# action =", "action =")
        .replace("# key = \"id\"", "key = \"id\"")
        .replace("# batch", "batch")
        .replace("# k = ", "k = ")
        .replace("# top = 5", "top = 5")
        .replace("# count = false", "count = false");
    let written = Config::parse("filefleet.toml", &text).unwrap();
    let of = |config: &Config| {
        let embed = embed(config);
        let index = index(config);
        let query = query(config);
        let vector = query.vector.as_ref().map(|vector| vector.k);
        (
            (embed.encoding, embed.chunking, embed.max_chunks),
            (index.verb, index.key.clone(), index.batch),
            (query.top, query.count, vector),
        )
    };
    assert_eq!(of(&written), of(&config));
    let expected = (
        (Encoding::Base64, Chunking::default(), 2000),
        (Verb::MergeOrUpload, "id".to_owned(), BatchConfig::default()),
        (5, false, Some(50)),
    );
    assert_eq!(of(&config), expected);
}

#[test]
fn chunks_and_documents_are_made_as_asked() {
    let config = Config::parse(
        "f.toml",
        &steps(
            "embed = { model = \"m\", tokenizer = \"bytes\", chunk = { tokens = 32 } }",
            "index = { index = \"docs\", each = \"embed.chunks\", action = \"upload\", key = \"k\", \
             document = { a = \"{{ item.text }}\", b = \"{{ item.n + 1 }}\", c = \"n {{ item.n }}\", \
             d = 3, e = \"{{ text }}\" }, \
             batch = { documents = 10, bytes = \"1MB\", linger = \"1s\" } }",
        ),
    )
    .unwrap();
    let chunking = Chunking {
        tokens: 32,
        overlap: 4,
        tokenizer: Tokenizer::Bytes,
    };
    assert_eq!(embed(&config).chunking, chunking);
    let index = index(&config);
    assert_eq!(index.each, Path::parse("embed.chunks"));
    let kinds: Vec<&str> = index
        .document
        .iter()
        .map(|(_, node)| match node {
            Node::At(_) => "path",
            Node::Expression(_) => "expression",
            Node::Text(_) => "text",
            Node::Fixed(_) => "fixed",
            Node::List(_) | Node::Object(_) => "other",
        })
        .collect();
    assert_eq!(kinds, ["path", "expression", "text", "fixed", "expression"]);
    let batch = BatchConfig {
        documents: 10,
        bytes: 1_000_000,
        linger: Duration::from_secs(1),
    };
    assert_eq!((index.verb, index.batch), (Verb::Upload, batch));
}

#[test]
fn every_mistake_about_embeddings_and_search_is_listed() {
    let first = "embed = { dimensions = 0, encoding = \"hex\", input = \"{{ item }}\", \
                 chunk = { tokens = 8, overlap = 300 }, tokenizer = \"words\", chunks = 1 }";
    let second = "index = { index = \"Docs\", each = \"read.chunks\", create = \"nowhere.json\", \
                  document = { a = \"{{ item.text }}\" }, \
                  batch = { documents = 1001, bytes = \"1GB\", linger = \"1min\" } }";
    let expected = "\
f.toml:10: pipeline.p[0].embed.chunk.overlap: must not be more than half of `tokens`
f.toml:10: pipeline.p[0].embed.chunk.tokens: must be from 16 to 8192
f.toml:10: pipeline.p[0].embed.chunks: unknown key, did you mean `chunk`?
f.toml:10: pipeline.p[0].embed.dimensions: must be from 1 to 16384
f.toml:10: pipeline.p[0].embed.encoding: \"hex\" is not one of `base64`, `float`
f.toml:10: pipeline.p[0].embed.input: `item` is not known here; a prompt has text, file, outputs
f.toml:10: pipeline.p[0].embed.model: is missing
f.toml:10: pipeline.p[0].embed.tokenizer: \"words\" is not one of `cl100k`, `bytes`";
    let report = report(&steps(first, second));
    let (of_embed, of_index): (Vec<&str>, Vec<&str>) =
        report.lines().partition(|line| line.contains("].embed."));
    assert_eq!(of_embed.join("\n"), expected);
    for (key, said) in [
        ("index.batch.bytes", "must be from 1B to 64MB"),
        ("index.batch.documents", "must be from 1 to 1000"),
        ("index.batch.linger", "must not be more than 10s"),
        ("index.create", "cannot read nowhere.json"),
        ("index.each", "there is no step `read` before this one"),
        ("index.index", "must be 2 to 128 lower-case letters"),
    ] {
        let told = |line: &&&str| line.contains(&format!("{key}: ")) && line.contains(said);
        assert!(of_index.iter().find(told).is_some(), "{key}: {of_index:?}");
    }
    assert_eq!(of_index.len(), 6, "{of_index:?}");
}

#[test]
fn every_mistake_about_a_question_is_listed() {
    let right = "embed = { model = \"m\" }";
    for (action, said) in [
        (
            "query = { index = \"docs\" }",
            "query.search: what to look for?",
        ),
        (
            "query = { index = \"docs\", search = \"a\", k = 3 }",
            "query.k: belongs to a `vector`",
        ),
        (
            "query = { index = \"docs\", vector = \"{{ embed.chunks }}\" }",
            "query.vector_field: is missing",
        ),
        (
            "query = { index = \"docs\", vector = \"a {{ text }}\", vector_field = \"v\" }",
            "query.vector: must be one expression",
        ),
        (
            "query = { index = \"docs\", search = \"a\", select = [\"a,b\"], top = 0 }",
            "query.select: must be a list of fields",
        ),
        ("index = { index = \"docs\" }", "index.document: is missing"),
        (
            "embed = { model = \"m\" }",
            "is not offered by a service of kind \"search\"",
        ),
    ] {
        let report = report(&steps(right, action));
        assert!(report.contains(said), "{report}");
    }
    let delete = steps(right, "index = { index = \"docs\", action = \"delete\" }");
    assert!(Config::parse("f.toml", &delete).is_ok());
}

/// What changes vectors or documents is another pipeline; how they travel together is not.
#[test]
fn what_decides_about_vectors_and_documents_changes_their_digest() {
    let text = steps(
        "embed = { model = \"m\", chunk = { tokens = 32 } }",
        "index = { index = \"docs\", document = { a = \"{{ text }}\" } }",
    );
    let digest = |text: &str| {
        let config = Config::parse("f.toml", text).unwrap();
        config.answers_digest("p", false).unwrap()
    };
    for (old, new, same) in [
        ("tokens = 32", "tokens = 33", false),
        ("model = \"m\"", "model = \"n\"", false),
        ("\"{{ text }}\"", "\"{{ text }}!\"", false),
        (
            "kind = \"search\"\nendpoint = \"https://x\"",
            "kind = \"search\"\nendpoint = \"https://y\"",
            false,
        ),
        (
            "kind = \"search\"",
            "kind = \"search\"\ntimeout = \"1min\"",
            true,
        ),
    ] {
        assert!(text.contains(old), "{old}");
        let changed = text.replacen(old, new, 1);
        assert_eq!(digest(&changed) == digest(&text), same, "{new}");
    }
}
