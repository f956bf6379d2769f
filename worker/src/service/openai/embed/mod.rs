//! Embeddings: a text in chunks, each with its vector.

mod answer;

use std::{ops::Range, sync::Arc};

use async_trait::async_trait;
use filefleet_shared::wire::Usage;
use reqwest::header::InvalidHeaderValue;
use serde::Serialize;
use serde_json::{Value, json};

use super::{Access, BYTES_PER_TOKEN, but_the_last, door::Door};
use crate::service::{
    Answer, CallError, Demand, Identity, Prompt, Reply, Service, StepInput,
    chunk::{Chunk, Chunking, chunks},
    text,
    transport::{read_up_to, task},
};
use answer::Embedded;

/// Most texts in one request.
const MOST_INPUTS: usize = 2048;
/// Most tokens of one text.
pub(crate) const MOST_TOKENS: usize = 8192;
/// Most tokens of all texts of one request.
const MOST_TOKENS_IN_ALL: usize = 300_000;
/// Most numbers of a vector; no model is known with more.
pub(crate) const MOST_DIMENSIONS: usize = 16_384;

/// What a step asks of an embedding model.
#[derive(Clone, Debug)]
pub struct EmbedConfig {
    /// Model, or deployment at Azure.
    pub model: String,
    /// Numbers of a vector; as the model has them if absent.
    pub dimensions: Option<usize>,
    /// How vectors travel.
    pub encoding: Encoding,
    /// The text; the file's if absent.
    pub input: Option<Arc<Prompt>>,
    /// How it is cut.
    pub chunking: Chunking,
    /// A text in more chunks than this is refused before anything is paid.
    pub max_chunks: usize,
}

/// How vectors travel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// The bytes of little-endian single-precision numbers: a quarter of the size.
    #[default]
    Base64,
    /// Numbers, which every server knows.
    Float,
}

/// One embed step, bound to its endpoint.
pub(crate) struct Embed {
    door: Door,
    config: EmbedConfig,
}

/// `POST …/embeddings`.
#[derive(Serialize)]
struct EmbeddingsRequest<'a> {
    model: &'a str,
    input: &'a [&'a str],
    encoding_format: Encoding,
    #[serde(skip_serializing_if = "Option::is_none")]
    dimensions: Option<usize>,
}

/// A text and its chunks.
struct Cut {
    text: String,
    chunks: Vec<Chunk>,
}

impl Embed {
    /// # Errors
    /// The key or organization cannot be sent in a header.
    pub(crate) fn new(access: &Access, config: EmbedConfig) -> Result<Self, InvalidHeaderValue> {
        let url = access.endpoint.embeddings_url(&config.model);
        let door = Door::new(access, url)?;
        Ok(Self { door, config })
    }

    fn text(&self, input: &StepInput<'_>) -> Result<String, CallError> {
        let file = if self.needs_content() {
            text::read(&input.content, &input.message.file.media_type)
        } else {
            Ok("".into())
        };
        match &self.config.input {
            None => Ok(file?.into_owned()),
            Some(prompt) => text::fill(prompt, input.message, file.as_deref(), "template"),
        }
    }

    async fn cut(&self, text: String) -> Result<Cut, CallError> {
        if text.trim().is_empty() {
            return Err(CallError::rejected("empty", "there is no text to embed"));
        }
        let (chunking, most) = (self.config.chunking, self.config.max_chunks);
        let cut = apart(move || {
            // A chunk of white space says nothing, and services refuse what is empty.
            let said = |chunk: &Chunk| !text[chunk.start..chunk.end].trim().is_empty();
            let chunks = chunks(&text, chunking).filter(said).take(most + 1);
            let chunks = chunks.collect();
            Cut { text, chunks }
        });
        let cut = cut.await?;
        if cut.chunks.len() > most {
            let detail = format!("more than {most} chunks of {} tokens", chunking.tokens);
            return Err(CallError::rejected("too_many_chunks", detail));
        }
        Ok(cut)
    }

    async fn request(&self, texts: &[&str], input: &StepInput<'_>) -> Result<Embedded, CallError> {
        let config = &self.config;
        let request = EmbeddingsRequest {
            model: &config.model,
            input: texts,
            encoding_format: config.encoding,
            dimensions: config.dimensions,
        };
        let body = serde_json::to_vec(&request).map_err(|error| {
            CallError::Misconfigured(format!("cannot write the request: {error}"))
        })?;
        let response = self
            .door
            .post(body, task(input.message), input.heard)
            .await?;
        let limit = answer::most_bytes(texts.len(), config);
        let too_long = || CallError::Malformed(format!("longer than {limit} bytes"));
        let body = read_up_to(response, limit, too_long).await?;
        answer::interpret(&body, texts.len(), config.dimensions)
    }
}

#[async_trait]
impl Service for Embed {
    async fn call(&self, input: StepInput<'_>) -> Result<Reply, CallError> {
        let Cut { text, chunks } = self.cut(self.text(&input)?).await?;
        let texts: Vec<&str> = chunks.iter().map(|c| &text[c.start..c.end]).collect();
        let mut usage = Usage::default();
        let mut model = None;
        let mut vectors: Vec<Vec<f32>> = Vec::with_capacity(chunks.len());
        for part in requests(&chunks) {
            // What was paid before counts whatever becomes of this one.
            input.heard.paid(usage);
            let embedded = self.request(&texts[part], &input).await;
            let embedded = embedded.map_err(|error| error.after(&usage))?;
            usage.calls += 1;
            usage.input_tokens += embedded.tokens;
            model = model.or(embedded.model);
            vectors.extend(embedded.vectors);
        }
        let model = model.unwrap_or_else(|| self.config.model.clone());
        input.heard.paid(but_the_last(usage));
        let output = apart(move || describe(&model, &text, &chunks, vectors)).await;
        let output = output.and_then(|described| described);
        let output = output.map_err(|error| error.after(&usage))?;
        Ok(Answer { output, usage }.into())
    }

    fn identity(&self, input: &StepInput<'_>) -> Option<Identity> {
        let text = self.text(input).ok()?;
        Some(Identity::of([text.as_bytes()]))
    }

    fn demand(&self, input: &StepInput<'_>) -> Demand {
        // What cannot be read or filled in is not sent. Overlaps are sent twice.
        let bytes = self.text(input).map_or(0, |text| text.len());
        let Chunking {
            tokens, overlap, ..
        } = self.config.chunking;
        let sent = bytes.saturating_mul(tokens) / (tokens - overlap).max(1);
        Demand {
            prompt: sent.div_ceil(BYTES_PER_TOKEN) as u64,
            answer: 0,
        }
    }

    fn needs_content(&self) -> bool {
        let input = self.config.input.as_deref();
        input.is_none_or(Prompt::mentions_text)
    }
}

/// Does what takes a while with large texts apart from the tasks that wait for answers.
async fn apart<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, CallError> {
    let worked = tokio::task::spawn_blocking(work).await;
    worked.map_err(|error| CallError::rejected("panic", format!("internal error: {error}")))
}

/// The output: each chunk with its vector.
fn describe(
    model: &str,
    text: &str,
    chunks: &[Chunk],
    vectors: Vec<Vec<f32>>,
) -> Result<Value, CallError> {
    let dimensions = vectors.first().map_or(0, Vec::len);
    if vectors.iter().any(|vector| vector.len() != dimensions) {
        let detail = "vectors of several lengths";
        return Err(CallError::Malformed(detail.to_owned()));
    }
    let described = chunks.iter().zip(vectors).enumerate();
    let described: Vec<Value> = described
        .map(|(index, (chunk, vector))| {
            json!({
                "index": index,
                "start": chunk.start,
                "end": chunk.end,
                "tokens": chunk.tokens,
                "text": text[chunk.start..chunk.end],
                "vector": vector.into_iter().map(answer::short).collect::<Value>(),
            })
        })
        .collect();
    Ok(json!({"model": model, "dimensions": dimensions, "chunks": described}))
}

/// The chunks of each request.
fn requests(chunks: &[Chunk]) -> Vec<Range<usize>> {
    let mut requests: Vec<Range<usize>> = Vec::new();
    let mut tokens = 0;
    for (index, chunk) in chunks.iter().enumerate() {
        tokens += chunk.tokens;
        match requests.last_mut() {
            Some(last) if last.len() < MOST_INPUTS && tokens <= MOST_TOKENS_IN_ALL => {
                last.end = index + 1;
            }
            _ => {
                requests.push(index..index + 1);
                tokens = chunk.tokens;
            }
        }
    }
    requests
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunks(count: usize, tokens: usize) -> Vec<Chunk> {
        let chunk = Chunk {
            start: 0,
            end: 1,
            tokens,
        };
        vec![chunk; count]
    }

    #[test]
    fn requests_keep_every_limit_and_carry_every_chunk_once() {
        assert!(requests(&[]).is_empty());
        assert_eq!(requests(&chunks(3, 400)), vec![0..3; 1]);
        assert_eq!(requests(&chunks(2049, 1)), [0..2048, 2048..2049]);
        assert_eq!(requests(&chunks(751, 400)), [0..750, 750..751]);
        assert_eq!(requests(&chunks(73, 8192)), [0..36, 36..72, 72..73]);
    }
}
