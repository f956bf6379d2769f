//! Which tasks have their outcome: a bit each.

use std::collections::BTreeMap;

const WORDS: usize = 64;
const CHUNK: u64 = 64 * 64;

/// A set of sequence numbers. Ten million of a run take 1.3 MB; a stray number takes one chunk
/// of 512 bytes and not all that would be before it.
#[derive(Debug, Default)]
pub(super) struct Seen {
    chunks: BTreeMap<u64, Box<[u64; WORDS]>>,
    len: u64,
    greatest: Option<u64>,
}

impl Seen {
    /// `true` if it was not in the set.
    pub(super) fn insert(&mut self, seq: u64) -> bool {
        let chunk = self
            .chunks
            .entry(seq / CHUNK)
            .or_insert_with(|| Box::new([0; WORDS]));
        let bit = 1_u64 << (seq % 64);
        let word = &mut chunk[word_of(seq)];
        if *word & bit != 0 {
            return false;
        }
        *word |= bit;
        self.len += 1;
        self.greatest = self.greatest.max(Some(seq));
        true
    }

    /// It is in the set.
    pub(super) fn has(&self, seq: u64) -> bool {
        let words = self.chunks.get(&(seq / CHUNK));
        words.is_some_and(|words| words[word_of(seq)] & (1 << (seq % 64)) != 0)
    }

    /// How many are in the set that are less than `total`.
    pub(super) fn len_below(&self, total: u64) -> u64 {
        if self.greatest.is_none_or(|greatest| greatest < total) {
            return self.len;
        }
        let full: u64 = self
            .chunks
            .range(..total / CHUNK)
            .flat_map(|(_, words)| words.iter())
            .map(|word| u64::from(word.count_ones()))
            .sum();
        let last: u64 = self.chunks.get(&(total / CHUNK)).map_or(0, |words| {
            let below = word_of(total);
            let part = words[below] & ((1 << (total % 64)) - 1);
            let whole = words[..below].iter().map(|word| word.count_ones());
            u64::from(whole.sum::<u32>() + part.count_ones())
        });
        full + last
    }
}

fn word_of(seq: u64) -> usize {
    ((seq % CHUNK) / 64) as usize
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_stray_number_does_not_take_the_memory_of_all_before_it() {
        let mut seen = Seen::default();
        assert!(seen.insert(u64::MAX));
        assert!(!seen.insert(u64::MAX));
        assert_eq!(seen.chunks.len(), 1);
        assert_eq!(seen.len_below(10), 0);
    }

    #[test]
    fn ten_million_tasks_fit_into_less_than_two_megabytes() {
        let mut seen = Seen::default();
        for seq in (0..10_000_000).rev() {
            seen.insert(seq);
        }
        assert_eq!(seen.len_below(10_000_000), 10_000_000);
        let bytes = seen.chunks.len() * (WORDS * 8 + 32);
        assert!(bytes < 2_000_000, "{bytes}");
    }

    proptest! {
        #[test]
        fn it_is_a_set(numbers in prop::collection::vec(0_u64..10_000, 0..300), total in 0_u64..10_000) {
            let (mut seen, mut model) = (Seen::default(), BTreeSet::new());
            for number in numbers {
                prop_assert_eq!(seen.insert(number), model.insert(number));
            }
            prop_assert_eq!(seen.len_below(total), model.range(..total).count() as u64);
        }
    }
}
