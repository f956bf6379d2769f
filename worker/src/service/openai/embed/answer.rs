//! The answer of an embedding model, checked.

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{
    Deserialize, Deserializer,
    de::{Error, SeqAccess, Visitor},
};
use serde_json::{Number, Value};

use super::{EmbedConfig, Encoding, MOST_DIMENSIONS};
use crate::service::{CallError, detail};

#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    model: Option<String>,
    #[serde(default)]
    data: Vec<Item>,
    #[serde(default)]
    usage: Option<Counted>,
    #[serde(default)]
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Item {
    #[serde(default)]
    index: Option<usize>,
    embedding: Vector,
}

#[derive(Deserialize)]
struct Counted {
    #[serde(default)]
    prompt_tokens: Option<u64>,
}

/// Base64 or numbers: servers exist that know only one of them, whatever they are asked for.
struct Vector(Vec<f32>);

/// What one request gave.
#[derive(Debug, PartialEq)]
pub(super) struct Embedded {
    /// The model that answered.
    pub(super) model: Option<String>,
    /// One for each text, in their order.
    pub(super) vectors: Vec<Vec<f32>>,
    /// Tokens as the service counted them.
    pub(super) tokens: u64,
}

/// The longest answer that `inputs` texts can have.
pub(super) fn most_bytes(inputs: usize, config: &EmbedConfig) -> usize {
    // Four thirds of four bytes, or the longest way to write a number, with white space.
    let number = match config.encoding {
        Encoding::Base64 => 6,
        Encoding::Float => 32,
    };
    let dimensions = config.dimensions.unwrap_or(MOST_DIMENSIONS / 4);
    let vector = dimensions * number + 1024;
    inputs.saturating_mul(vector).max(1 << 20)
}

/// Reads the body of a 200.
///
/// # Errors
/// `Malformed` if it does not have one vector of the wanted length for each text.
pub(super) fn interpret(
    body: &[u8],
    inputs: usize,
    dimensions: Option<usize>,
) -> Result<Embedded, CallError> {
    let malformed = |detail: String| CallError::Malformed(detail);
    let body: Body = serde_json::from_slice(body)
        .map_err(|error| malformed(format!("not an answer with embeddings: {error}")))?;
    if let Some(error) = body.error.filter(|_| body.data.is_empty()) {
        return Err(malformed(detail::message(&error)));
    }
    let given = body.data.len();
    if given != inputs {
        return Err(malformed(format!("{given} vectors for {inputs} texts")));
    }
    let mut vectors = vec![Vec::new(); inputs];
    for (position, item) in body.data.into_iter().enumerate() {
        let index = item.index.unwrap_or(position);
        let Vector(vector) = item.embedding;
        let right = match dimensions {
            Some(dimensions) => vector.len() == dimensions,
            None => (1..=MOST_DIMENSIONS).contains(&vector.len()),
        };
        if !right {
            let detail = format!("a vector of {} numbers", vector.len());
            return Err(malformed(detail));
        }
        if !vector.iter().all(|number| number.is_finite()) {
            return Err(malformed("a vector with what is no number".to_owned()));
        }
        match vectors.get_mut(index) {
            Some(place) if place.is_empty() => *place = vector,
            _ => return Err(malformed(format!("index {index} is wrong or there twice"))),
        }
    }
    Ok(Embedded {
        model: body.model,
        vectors,
        tokens: body.usage.and_then(|u| u.prompt_tokens).unwrap_or_default(),
    })
}

/// A number with as many digits as single precision has: as a double it would have ten more.
pub(super) fn short(number: f32) -> Value {
    let short = number.to_string().parse().ok();
    let number = short.and_then(Number::from_f64);
    number.map_or(Value::Null, Value::Number)
}

impl<'de> Deserialize<'de> for Vector {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyForm)
    }
}

struct AnyForm;

impl<'de> Visitor<'de> for AnyForm {
    type Value = Vector;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("numbers, or base64 of little-endian single-precision numbers")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Vector, E> {
        let bytes = STANDARD.decode(text).map_err(E::custom)?;
        let (numbers, rest) = bytes.as_chunks::<4>();
        if !rest.is_empty() {
            return Err(E::custom(format!("{} bytes are no vector", bytes.len())));
        }
        let numbers = numbers.iter().copied().map(f32::from_le_bytes);
        Ok(Vector(numbers.collect()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vector, A::Error> {
        let mut numbers = Vec::with_capacity(items.size_hint().unwrap_or_default());
        while let Some(number) = items.next_element()? {
            numbers.push(number);
        }
        Ok(Vector(numbers))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn read(body: &Value, inputs: usize, dimensions: Option<usize>) -> Result<Embedded, String> {
        match interpret(body.to_string().as_bytes(), inputs, dimensions) {
            Err(CallError::Malformed(detail)) => Err(detail),
            other => Ok(other.unwrap()),
        }
    }

    #[test]
    fn both_encodings_say_the_same_and_indexes_decide_the_order() {
        // 1.0 and -2.5 as little-endian bytes.
        let base64 = STANDARD.encode([0, 0, 0x80, 0x3f, 0, 0, 0x20, 0xc0]);
        let body = json!({
            "object": "list",
            "model": "m-1",
            "data": [
                {"object": "embedding", "index": 1, "embedding": [3, 0.5]},
                {"object": "embedding", "index": 0, "embedding": base64},
            ],
            "usage": {"prompt_tokens": 7, "total_tokens": 7},
        });
        let embedded = read(&body, 2, Some(2)).unwrap();
        assert_eq!(embedded.vectors, [[1.0, -2.5], [3.0, 0.5]]);
        assert_eq!(embedded.model.as_deref(), Some("m-1"));
        assert_eq!(embedded.tokens, 7);
    }

    #[test]
    fn an_answer_that_does_not_fit_its_question_is_malformed() {
        let of = |data: Value| json!({"data": data});
        let one = |index: usize, embedding: Value| json!({"index": index, "embedding": embedding});
        for (body, said) in [
            (of(json!([])), "0 vectors for 2 texts"),
            (
                of(json!([one(0, json!([1])), one(0, json!([1]))])),
                "index 0",
            ),
            (
                of(json!([one(0, json!([1])), one(2, json!([1]))])),
                "index 2",
            ),
            (
                of(json!([one(0, json!([])), one(1, json!([1]))])),
                "a vector of 0",
            ),
            (of(json!([one(0, json!("AAA="))])), "2 bytes"),
            (of(json!([one(0, json!("!"))])), "not an answer"),
            (
                of(json!([one(0, json!("AADAfw==")), one(1, json!([1]))])),
                "no number",
            ),
            (json!({"error": {"message": "later"}}), "later"),
            (json!("a"), "not an answer"),
        ] {
            let detail = read(&body, 2, None).unwrap_err();
            assert!(detail.contains(said), "{detail}");
        }
        let short = of(json!([one(0, json!([1, 2]))]));
        assert_eq!(
            read(&short, 1, Some(3)).unwrap_err(),
            "a vector of 2 numbers"
        );
    }

    #[test]
    fn vectors_are_written_with_the_digits_they_have() {
        let written = |number: f32| short(number).to_string();
        assert_eq!(written(0.1), "0.1");
        assert_eq!(written(-0.023_456_79), "-0.02345679");
        assert_eq!(written(0.0), "0.0");
        assert_eq!(written(1e-12), "1e-12");
    }

    proptest! {
        #[test]
        #[expect(clippy::cast_possible_truncation, reason = "back to what it was")]
        fn a_number_written_and_read_is_the_same(bits: u32) {
            let number = f32::from_bits(bits);
            prop_assume!(number.is_finite());
            let read: f64 = short(number).to_string().parse().unwrap();
            prop_assert_eq!((read as f32).to_bits(), bits);
        }
    }
}
