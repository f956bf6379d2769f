//! A histogram of durations with bounded memory and bounded relative error.

/// Buckets per doubling: the error of a quantile is at most 1/32.
const STEPS: u64 = 32;
const BUCKETS: usize = 32 * 60;

/// Counts of whole milliseconds.
#[derive(Clone, Debug)]
pub(super) struct Histogram {
    counts: Vec<u64>,
    len: u64,
    greatest: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: vec![0; BUCKETS],
            len: 0,
            greatest: 0,
        }
    }
}

impl Histogram {
    pub(super) fn add(&mut self, value: u64) {
        self.counts[bucket(value)] += 1;
        self.len += 1;
        self.greatest = self.greatest.max(value);
    }

    pub(super) fn greatest(&self) -> Option<u64> {
        (self.len > 0).then_some(self.greatest)
    }

    /// The value that `per_cent` of all are not greater than, rounded up by at most 1/32.
    pub(super) fn quantile(&self, per_cent: u64) -> Option<u64> {
        let rank = (u128::from(self.len) * u128::from(per_cent)).div_ceil(100);
        let mut below = 0_u128;
        for (bucket, count) in self.counts.iter().enumerate() {
            below += u128::from(*count);
            if *count > 0 && below >= rank {
                return Some(top(bucket).min(self.greatest));
            }
        }
        None
    }
}

/// Values below 32 have a bucket each; then every doubling has 32.
#[expect(clippy::cast_possible_truncation, reason = "capped to BUCKETS")]
fn bucket(value: u64) -> usize {
    let doublings = u64::from(value.max(1).ilog2()).saturating_sub(u64::from(STEPS.ilog2()));
    let place = doublings * STEPS + (value >> doublings);
    place.min(BUCKETS as u64 - 1) as usize
}

/// The greatest value of a bucket.
fn top(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    let doublings = (bucket / STEPS).saturating_sub(1);
    let step = bucket - doublings * STEPS;
    ((step + 1) << doublings) - 1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nothing_has_no_quantiles() {
        assert_eq!(Histogram::default().quantile(50), None);
        assert_eq!(Histogram::default().greatest(), None);
    }

    proptest! {
        #[test]
        fn quantiles_are_within_a_thirtysecond(mut values in prop::collection::vec(0_u64..100_000_000, 1..200)) {
            let mut histogram = Histogram::default();
            for value in &values {
                histogram.add(*value);
            }
            values.sort_unstable();
            for per_cent in [1, 50, 95, 100] {
                let rank = usize::try_from((values.len() as u64 * per_cent).div_ceil(100)).unwrap();
                let exact = values[rank - 1];
                let found = histogram.quantile(per_cent).unwrap();
                prop_assert!(found >= exact && found <= exact + exact / 32 + 1, "{found} for {exact}");
            }
            prop_assert_eq!(histogram.greatest(), values.last().copied());
        }

        #[test]
        fn every_value_is_in_the_bucket_that_ends_at_or_above_it(value in any::<u64>()) {
            let place = bucket(value);
            prop_assert!(place == BUCKETS - 1 || top(place) >= value);
            prop_assert!(place == 0 || top(place - 1) < value);
        }
    }
}
