//! Vectors of texts: hashed bags of words.

use super::Input;
use crate::chance::{hash, mix, pick};

/// Every feature has one place in each block, so that a vector of fewer dimensions is the begin
/// of a longer one, as of the real models.
const BLOCK: usize = 16;
/// Words up to this length say little of what a text is about.
const SHORT: usize = 3;
/// A word's begin of this length stands for its other forms.
const STEM: usize = 5;

/// A vector of length 1; texts that share words have similar ones.
pub(super) fn vector(input: &Input, dimensions: usize, seed: u64) -> Vec<f32> {
    let mut vector = vec![0.0; dimensions];
    let mut add = |feature: u64, weight: f32| {
        put(&mut vector, mix(feature ^ mix(seed)), weight);
    };
    match input {
        Input::Text(text) => words(text, &mut add),
        Input::Tokens(ids) => ids.iter().for_each(|id| add(mix(*id), 1.0)),
    }
    if !normalized(&mut vector) {
        // Nothing but punctuation, or too few dimensions for the words.
        vector.fill(0.0);
        let whole = match input {
            Input::Text(text) => hash(text.as_bytes()),
            Input::Tokens(ids) => ids.iter().fold(0, |all, id| mix(all ^ id)),
        };
        let at = pick(mix(whole ^ mix(seed)), dimensions);
        vector[at] = 1.0;
    }
    vector
}

fn words(text: &str, add: &mut impl FnMut(u64, f32)) {
    let words = text.split(|character: char| !character.is_alphanumeric());
    for word in words.filter(|word| !word.is_empty()) {
        let word = word.to_lowercase();
        let weight = if word.len() <= SHORT { 0.3 } else { 1.0 };
        add(hash(word.as_bytes()), weight);
        if let Some((end, _)) = word.char_indices().nth(STEM) {
            // Told from the word that is no longer than its stem.
            add(!hash(&word.as_bytes()[..end]), 0.5 * weight);
        }
    }
}

fn put(vector: &mut [f32], feature: u64, weight: f32) {
    let mut bits = feature;
    for block in vector.chunks_mut(BLOCK) {
        bits = mix(bits);
        let sign = if bits & 1 == 0 { weight } else { -weight };
        if let Some(place) = block.get_mut(pick(bits >> 1, BLOCK)) {
            *place += sign;
        }
    }
}

/// Brings it to length 1, if it has any.
fn normalized(vector: &mut [f32]) -> bool {
    let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
    if length > 0.0 {
        vector.iter_mut().for_each(|x| *x /= length);
    }
    length > 0.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str, dimensions: usize) -> Vec<f32> {
        vector(&Input::Text(text.to_owned()), dimensions, 7)
    }

    fn dot(one: &[f32], other: &[f32]) -> f32 {
        one.iter().zip(other).map(|(x, y)| x * y).sum()
    }

    #[test]
    fn every_vector_has_length_1() {
        for text in ["Hello", "an invoice of 12 March", "…", " "] {
            for dimensions in [1, 2, 5, 17, 256, 1536, 3072] {
                let vector = of(text, dimensions);
                assert_eq!(vector.len(), dimensions);
                let length = dot(&vector, &vector);
                assert!((length - 1.0).abs() < 1e-4, "{text} {dimensions} {length}");
            }
        }
    }

    #[test]
    fn texts_that_share_words_are_nearer() {
        let question = of("Which invoices are overdue?", 1536);
        let near = of("The invoice of Miller Ltd is overdue since March.", 1536);
        let far = of("The cat sleeps on a warm roof and dreams of fish.", 1536);
        assert!(dot(&question, &near) > 0.25, "{}", dot(&question, &near));
        assert!(dot(&question, &far) < 0.15, "{}", dot(&question, &far));
    }

    #[test]
    fn fewer_dimensions_are_the_begin_of_more() {
        let (short, mut long) = (of("a letter to Tom", 256), of("a letter to Tom", 1536));
        long.truncate(256);
        assert!(normalized(&mut long));
        assert!(dot(&short, &long) > 0.999);
    }

    #[test]
    fn the_seed_decides() {
        let text = Input::Text("Hello there".to_owned());
        assert_eq!(vector(&text, 64, 1), vector(&text, 64, 1));
        assert_ne!(vector(&text, 64, 1), vector(&text, 64, 2));
    }
}
