//! Embeddings: requests validated as OpenAI does, and their answers.

use std::borrow::Cow;

use axum::body::Bytes;
use base64::{Engine, prelude::BASE64_STANDARD};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    Kind,
    exchange::{Answer, Call, Service, Setting},
    quota::Bucket,
    refusal::Invalid,
    request::{integer, invalid, missing, open, tokens, unsupported},
};

mod vector;

use vector::vector;

/// Texts in one request, and token ids in a flat array.
const MOST_INPUTS: usize = 2048;
/// Tokens of one input.
const MOST_TOKENS: u64 = 8192;
/// Tokens of all inputs of one request.
const MOST_TOKENS_IN_ALL: u64 = 300_000;
/// More than any model of today has; models with other names may have up to as many.
const MOST_DIMENSIONS: u64 = 4096;

/// What the simulated model embeds.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct EmbeddingsRequest {
    model: String,
    inputs: Vec<Input>,
    dimensions: usize,
    base64: bool,
    /// Of all inputs, and of the longest.
    tokens: u64,
    longest: u64,
}

/// One text, or what a tokenizer made of it.
#[derive(Clone, Debug, PartialEq)]
enum Input {
    Text(String),
    Tokens(Vec<u64>),
}

#[derive(Serialize)]
struct Body<'a> {
    object: &'static str,
    data: Vec<Embedding>,
    model: &'a str,
    usage: Usage,
}

#[derive(Serialize)]
struct Embedding {
    object: &'static str,
    index: usize,
    embedding: Encoded,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Encoded {
    Floats(Vec<f32>),
    Base64(String),
}

#[derive(Serialize)]
struct Usage {
    prompt_tokens: u64,
    total_tokens: u64,
}

impl EmbeddingsRequest {
    fn parse(body: &[u8], deployment: Option<&str>) -> Result<Self, Invalid> {
        let (mut body, model) = open(body, deployment)?;
        let (inputs, flat) = inputs(body.remove("input"))?;
        let (mut sum, mut longest) = (0, 0);
        for (index, input) in inputs.iter().enumerate() {
            let tokens = input.tokens();
            if tokens > MOST_TOKENS {
                return Err(too_long(index, flat));
            }
            sum += tokens;
            longest = longest.max(tokens);
        }
        if sum > MOST_TOKENS_IN_ALL {
            return Err(too_long_in_all(sum));
        }
        Ok(Self {
            dimensions: dimensions(&body, &model)?,
            base64: encoding(&body)?,
            model,
            inputs,
            tokens: sum,
            longest,
        })
    }
}

impl Service for EmbeddingsRequest {
    const KIND: Kind = Kind::Embeddings;
    const BUCKET: Bucket = Bucket::Embeddings;

    fn read(call: &Call, body: &Bytes) -> Result<Self, Invalid> {
        Self::parse(body, call.deployment.as_deref())
    }

    fn model(&self) -> Option<&str> {
        Some(&self.model)
    }

    fn text(&self) -> Cow<'_, str> {
        let texts = self.inputs.iter().filter_map(|input| match input {
            Input::Text(text) => Some(text.as_str()),
            Input::Tokens(_) => None,
        });
        Cow::Owned(texts.collect::<Vec<_>>().join("\n"))
    }

    fn quota_tokens(&self) -> u64 {
        self.tokens
    }

    /// Inputs are embedded one by one.
    fn prompt_tokens(&self) -> u64 {
        self.longest
    }

    fn answer(&self, setting: Setting<'_>) -> Result<Answer, serde_json::Error> {
        let embed = |(index, input): (usize, &Input)| {
            let vector = vector(input, self.dimensions, setting.seed);
            Embedding {
                object: "embedding",
                index,
                embedding: if self.base64 {
                    let bytes: Vec<u8> = vector.into_iter().flat_map(f32::to_le_bytes).collect();
                    Encoded::Base64(BASE64_STANDARD.encode(bytes))
                } else {
                    Encoded::Floats(vector)
                },
            }
        };
        let body = Body {
            object: "list",
            data: self.inputs.iter().enumerate().map(embed).collect(),
            model: &self.model,
            usage: Usage {
                prompt_tokens: self.tokens,
                total_tokens: self.tokens,
            },
        };
        Ok(Answer {
            body: serde_json::to_vec(&body)?,
            input_tokens: self.tokens,
            output_tokens: 0,
        })
    }
}

impl Input {
    fn tokens(&self) -> u64 {
        match self {
            Self::Text(text) => tokens(text.chars().count()).max(1),
            Self::Tokens(ids) => ids.len() as u64,
        }
    }
}

/// The inputs, and whether they are a single one without an array around it.
fn inputs(input: Option<Value>) -> Result<(Vec<Input>, bool), Invalid> {
    let items = match input {
        None | Some(Value::Null) => return Err(missing("input")),
        Some(Value::String(text)) => {
            let text = one(Value::String(text)).ok_or_else(not_embeddable)?;
            return Ok((vec![text], true));
        }
        Some(Value::Array(items)) if !items.is_empty() => items,
        Some(_) => return Err(not_embeddable()),
    };
    if items.len() > MOST_INPUTS {
        return Err(too_many(items.len()));
    }
    if items.iter().all(Value::is_u64) {
        let ids = one(Value::Array(items)).ok_or_else(not_embeddable)?;
        return Ok((vec![ids], true));
    }
    let alike = items.iter().all(Value::is_string) || items.iter().all(Value::is_array);
    let inputs: Option<Vec<_>> = items.into_iter().map(one).collect();
    let inputs = inputs.filter(|_| alike).ok_or_else(not_embeddable)?;
    Ok((inputs, false))
}

fn one(item: Value) -> Option<Input> {
    match item {
        Value::String(text) => (!text.is_empty()).then_some(Input::Text(text)),
        Value::Array(ids) if !ids.is_empty() => {
            let ids: Option<_> = ids.iter().map(Value::as_u64).collect();
            ids.map(Input::Tokens)
        }
        _ => None,
    }
}

/// Models with fewer dimensions of their own give only as many.
fn dimensions(body: &Map<String, Value>, model: &str) -> Result<usize, Invalid> {
    let (own, most) = if model.contains("text-embedding-3-large") {
        (3072, 3072)
    } else if model.contains("text-embedding-3-small") {
        (1536, 1536)
    } else {
        (1536, MOST_DIMENSIONS)
    };
    let Some(asked) = integer(body, "dimensions", 1..=u64::MAX)? else {
        return Ok(own);
    };
    if model.contains("text-embedding-ada-002") {
        let message = "This model does not support specifying dimensions.";
        return Err(invalid(message, None, None));
    }
    match usize::try_from(asked) {
        Ok(dimensions) if asked <= most => Ok(dimensions),
        _ => Err(invalid(
            format!(
                "Invalid value for 'dimensions' = {asked}. Must be less than or equal to {most}."
            ),
            None,
            None,
        )),
    }
}

fn encoding(body: &Map<String, Value>) -> Result<bool, Invalid> {
    let known = "'float' and 'base64'";
    match body.get("encoding_format") {
        None | Some(Value::Null) => Ok(false),
        Some(Value::String(format)) if format == "float" => Ok(false),
        Some(Value::String(format)) if format == "base64" => Ok(true),
        Some(Value::String(other)) => Err(unsupported("encoding_format", other, known)),
        Some(other) => Err(unsupported("encoding_format", &other.to_string(), known)),
    }
}

/// What the service says to anything empty or of a wrong type.
fn not_embeddable() -> Invalid {
    invalid(
        "'$.input' is invalid. Please check the API reference: \
         https://platform.openai.com/docs/api-reference.",
        None,
        None,
    )
}

fn too_many(given: usize) -> Invalid {
    invalid(
        format!(
            "Invalid 'input': array too long. Expected an array with maximum length \
             {MOST_INPUTS}, but got an array with length {given} instead."
        ),
        Some("input"),
        Some("array_above_max_length"),
    )
}

fn too_long(index: usize, flat: bool) -> Invalid {
    let at = if flat {
        "input".to_owned()
    } else {
        format!("input[{index}]")
    };
    invalid(
        format!("Invalid '{at}': maximum input length is {MOST_TOKENS} tokens."),
        None,
        None,
    )
}

fn too_long_in_all(tokens: u64) -> Invalid {
    const CODE: &str = "max_tokens_per_request";
    let message = format!("Requested {tokens} tokens, max {MOST_TOKENS_IN_ALL} tokens per request");
    Invalid {
        kind: CODE,
        ..invalid(message, None, Some(CODE))
    }
}
