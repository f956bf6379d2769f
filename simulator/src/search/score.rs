//! Scores: of words (BM25), of vectors (cosine), and of several rankings together (RRF).

use std::collections::{BTreeMap, HashMap, HashSet};

use super::store::Document;

/// Documents with their scores, best first; of equals the lower key.
pub(super) type Ranking<'a> = Vec<(&'a str, f64)>;

/// Lower-case words.
pub(super) fn words(text: &str) -> Vec<String> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect()
}

/// Ranks the documents that have any (or `all`) of the terms in these fields.
#[expect(
    clippy::cast_precision_loss,
    reason = "counts of words and documents are exact in an f64"
)]
pub(super) fn by_words<'a>(
    documents: &[(&'a str, &Document)],
    terms: &[String],
    fields: &[&str],
    all: bool,
) -> Ranking<'a> {
    const SATURATION: f64 = 1.2;
    const LENGTH_SHARE: f64 = 0.75;
    let terms: HashSet<&str> = terms.iter().map(String::as_str).collect();
    let counted: Vec<_> = documents
        .iter()
        .map(|(key, document)| (*key, count(document, fields, &terms)))
        .collect();
    let total: usize = counted.iter().map(|(_, (_, length))| length).sum();
    let mean = total as f64 / counted.len().max(1) as f64;
    let rarity: HashMap<&str, f64> = terms
        .iter()
        .map(|term| {
            let having = counted
                .iter()
                .filter(|(_, (counts, _))| counts.contains_key(term));
            let having = having.count() as f64;
            let share = (counted.len() as f64 - having + 0.5) / (having + 0.5);
            (*term, share.ln_1p())
        })
        .collect();
    let matching = counted
        .into_iter()
        .filter(|(_, (counts, _))| !counts.is_empty() && (!all || counts.len() == terms.len()));
    let scored = matching.map(|(key, (counts, length))| {
        let length = 1.0 - LENGTH_SHARE + LENGTH_SHARE * length as f64 / mean.max(1.0);
        let score = counts.iter().map(|(term, count)| {
            let count = *count as f64;
            rarity[term] * count * (SATURATION + 1.0) / (count + SATURATION * length)
        });
        (key, score.sum())
    });
    sorted(scored.collect())
}

/// How often each term is in the fields, and how many words they have.
fn count<'t>(
    document: &Document,
    fields: &[&str],
    terms: &HashSet<&'t str>,
) -> (BTreeMap<&'t str, usize>, usize) {
    let mut counts = BTreeMap::new();
    let mut length = 0;
    let values = fields.iter().filter_map(|name| document.fields.get(*name));
    let texts = values.flat_map(|value| match value {
        serde_json::Value::Array(values) => values.iter().collect(),
        value => vec![value],
    });
    for text in texts.filter_map(serde_json::Value::as_str) {
        for word in words(text) {
            length += 1;
            if let Some(term) = terms.get(word.as_str()) {
                *counts.entry(*term).or_default() += 1;
            }
        }
    }
    (counts, length)
}

/// Ranks all documents that have a vector in one of these fields, by the nearest one.
pub(super) fn by_vector<'a>(
    documents: &[(&'a str, &Document)],
    vector: &[f32],
    fields: &[&str],
) -> Ranking<'a> {
    let scored = documents.iter().filter_map(|(key, document)| {
        let vectors = fields.iter().filter_map(|name| document.vectors.get(*name));
        let nearest = vectors
            .map(|other| cosine(vector, other))
            .reduce(f64::max)?;
        // As the service tells it: 1 / (1 + distance).
        Some((*key, 1.0 / (2.0 - nearest)))
    });
    sorted(scored.collect())
}

fn cosine(one: &[f32], other: &[f32]) -> f64 {
    let product = |one: &[f32], other: &[f32]| -> f64 {
        let pairs = one.iter().zip(other);
        pairs.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    };
    let lengths = (product(one, one) * product(other, other)).sqrt();
    if lengths == 0.0 {
        return 0.0;
    }
    (product(one, other) / lengths).clamp(-1.0, 1.0)
}

/// Reciprocal rank fusion of rankings with their weights.
#[expect(clippy::cast_precision_loss, reason = "ranks are exact in an f64")]
pub(super) fn fused<'a>(rankings: &[(f64, Ranking<'a>)]) -> Ranking<'a> {
    const STEADINESS: f64 = 60.0;
    let mut scores: BTreeMap<&str, f64> = BTreeMap::new();
    for (weight, ranking) in rankings {
        for (rank, (key, _)) in ranking.iter().enumerate() {
            *scores.entry(key).or_default() += weight / (STEADINESS + rank as f64 + 1.0);
        }
    }
    sorted(scores.into_iter().collect())
}

fn sorted(mut ranking: Ranking<'_>) -> Ranking<'_> {
    ranking.sort_by(|one, other| other.1.total_cmp(&one.1).then_with(|| one.0.cmp(other.0)));
    ranking
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn document(text: &str, vector: [f32; 2]) -> Document {
        Document {
            fields: json!({"text": text}).as_object().unwrap().clone(),
            vectors: HashMap::from([("v".to_owned(), vector.to_vec())]),
        }
    }

    #[test]
    fn rare_words_and_near_vectors_come_first() {
        let (one, two, three) = (
            document("the red house", [1.0, 0.0]),
            document("the red red car", [0.0, 1.0]),
            document("the tree", [-1.0, 0.0]),
        );
        let documents = [("1", &one), ("2", &two), ("3", &three)];
        let keys = |ranking: Ranking<'_>| -> Vec<String> {
            ranking.into_iter().map(|(key, _)| key.to_owned()).collect()
        };
        let by = |text: &str, all| keys(by_words(&documents, &words(text), &["text"], all));
        assert_eq!(by("red", false), ["2", "1"]);
        assert_eq!(by("The TREE", false)[0], "3");
        assert_eq!(by("the car", true), ["2"]);
        assert!(by("none", false).is_empty());

        let near = by_vector(&documents, &[2.0, 0.0], &["v"]);
        assert_eq!(keys(near.clone()), ["1", "2", "3"]);
        let scores: Vec<f64> = near.iter().map(|(_, score)| *score).collect();
        assert_eq!(scores, [1.0, 0.5, 1.0 / 3.0]);
    }

    #[test]
    fn first_in_two_rankings_is_what_the_service_says_it_is() {
        let ranking = vec![("a", 9.0), ("b", 1.0)];
        let fused = fused(&[(1.0, ranking.clone()), (1.0, ranking)]);
        assert!((fused[0].1 - 2.0 / 61.0).abs() < 1e-12);
        assert_eq!(fused[1].0, "b");
    }
}
