//! `embed = { .. }`: a text in chunks, each with its vector.

use std::ops::RangeInclusive;

use filefleet_shared::config::Section;

use super::{Action, compile};
use crate::service::{
    Tokenizer,
    chunk::Chunking,
    openai::{EmbedConfig, Encoding, MOST_DIMENSIONS, MOST_TOKENS},
};

/// Chunks of a text, where the configuration does not say: some 3 MB of it.
const MAX_CHUNKS: usize = 2000;

pub(super) fn read(mut section: Section<'_>, earlier: &[String]) -> Option<Action> {
    const ENCODINGS: &[(&str, Encoding)] =
        &[("base64", Encoding::Base64), ("float", Encoding::Float)];
    let model = section.string("model");
    let dimensions = section.opt_integer("dimensions", range(1, MOST_DIMENSIONS));
    let encoding = section.opt_enum("encoding", ENCODINGS);
    let input = section.opt_string("input");
    let input = input.map(|source| compile(&section, "input", &source, earlier));
    let chunking = read_chunking(&mut section);
    let max_chunks = section.opt_integer("max_chunks", 1..=100_000);
    section.finish();
    Some(Action::Embed(EmbedConfig {
        model: model?,
        dimensions,
        encoding: encoding.unwrap_or_default(),
        input: match input {
            Some(compiled) => Some(compiled?),
            None => None,
        },
        chunking,
        max_chunks: max_chunks.unwrap_or(MAX_CHUNKS),
    }))
}

fn read_chunking(section: &mut Section<'_>) -> Chunking {
    const TOKENIZERS: &[(&str, Tokenizer)] =
        &[("cl100k", Tokenizer::Cl100k), ("bytes", Tokenizer::Bytes)];
    let default = Chunking::default();
    let tokenizer = section.opt_enum("tokenizer", TOKENIZERS);
    let mut chunk = section.section("chunk");
    let tokens = chunk.opt_integer("tokens", range(16, MOST_TOKENS));
    let overlap = chunk.opt_integer("overlap", range(0, MOST_TOKENS));
    let tokens: usize = tokens.unwrap_or(default.tokens);
    if overlap.is_some_and(|overlap: usize| overlap > tokens / 2) {
        chunk.error("overlap", "must not be more than half of `tokens`");
    }
    chunk.finish();
    Chunking {
        tokens,
        overlap: overlap.unwrap_or(default.overlap.min(tokens / 8)),
        tokenizer: tokenizer.unwrap_or_default(),
    }
}

fn range(least: i64, most: usize) -> RangeInclusive<i64> {
    least..=i64::try_from(most).unwrap_or(i64::MAX)
}
