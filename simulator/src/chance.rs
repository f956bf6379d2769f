//! Chance that a seed decides: the same on every machine and with every version of a library.

use std::time::Duration;

use crate::config::{Faults, Knee, Latency};

/// A hash of bytes that is spread over all 64 bits. Not for secrets.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    let mut state = bytes.len() as u64;
    let mut words = bytes.chunks_exact(8);
    for word in words.by_ref() {
        let mut eight = [0; 8];
        eight.copy_from_slice(word);
        state = (state ^ u64::from_le_bytes(eight)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        state ^= state >> 32;
    }
    let mut rest = [0; 8];
    for (to, from) in rest.iter_mut().zip(words.remainder()) {
        *to = *from;
    }
    mix(state ^ u64::from_le_bytes(rest))
}

/// One step of splitmix64.
pub(crate) fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// One of `0..count`; 0 of none.
pub(crate) fn pick(bits: u64, count: usize) -> usize {
    let at = bits.checked_rem(count as u64).unwrap_or_default();
    // Below `count`, so it fits.
    usize::try_from(at).unwrap_or_default()
}

/// From 0 to below 1.
#[expect(
    clippy::cast_precision_loss,
    reason = "53 bits are what an f64 holds exactly"
)]
pub(crate) fn unit(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}

/// How long the answer to a request takes, decided by the seed and the request's body.
pub(crate) fn latency(seed: u64, body: u64, latency: Latency) -> Duration {
    match latency {
        Latency::Fixed(fixed) => fixed,
        Latency::LogNormal { median, sigma } => {
            let first = mix(seed ^ mix(body));
            // Box-Muller; the radius needs a number above 0.
            let radius = (-2.0 * (1.0 - unit(first)).ln()).sqrt();
            let normal = radius * (std::f64::consts::TAU * unit(mix(first))).cos();
            scale(median, (sigma * normal).exp())
        }
    }
}

/// What load makes of a latency.
pub(crate) fn under_load(latency: Duration, knee: Option<Knee>, in_flight: usize) -> Duration {
    match knee {
        Some(knee) if in_flight > knee.above => scale(latency, knee.factor),
        _ => latency,
    }
}

/// An hour is longer than any client waits, and no overflow.
fn scale(time: Duration, factor: f64) -> Duration {
    const LONGEST: f64 = 3600.0;
    Duration::from_secs_f64((time.as_secs_f64() * factor).clamp(0.0, LONGEST))
}

/// How a request fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Throttled,
    Internal,
    Overloaded,
    Reset,
    Malformed,
}

/// Whether a request fails, decided by the seed and the request's number.
///
/// By number and not by body, so that a retry has a new chance.
pub(crate) fn fault(seed: u64, number: u64, faults: &Faults) -> Option<Fault> {
    let mut chance = unit(mix(mix(seed).wrapping_add(number)));
    for (rate, fault) in [
        (faults.error_429, Fault::Throttled),
        (faults.error_500, Fault::Internal),
        (faults.error_503, Fault::Overloaded),
        (faults.reset, Fault::Reset),
        (faults.malformed, Fault::Malformed),
    ] {
        if chance < rate {
            return Some(fault);
        }
        chance -= rate;
    }
    None
}

/// Whether a part of a request is struck by something that happens to this share of them.
pub(crate) fn strikes(seed: u64, number: u64, part: u64, share: f64) -> bool {
    unit(mix(mix(mix(seed).wrapping_add(number)).wrapping_add(part))) < share
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_latencies_are_above_the_median() {
        let spread = Latency::LogNormal {
            median: Duration::from_secs(2),
            sigma: 0.5,
        };
        let times: Vec<_> = (0..10_000)
            .map(|body| latency(7, body, spread).as_secs_f64())
            .collect();
        let above = times.iter().filter(|time| **time > 2.0).count();
        assert!((4_800..5_200).contains(&above), "{above}");
        // 68 % within one sigma, as of every normal.
        let near = times
            .iter()
            .filter(|time| ((*time / 2.0).ln() / 0.5).abs() < 1.0)
            .count();
        assert!((6_600..7_050).contains(&near), "{near}");
    }

    #[test]
    fn faults_come_as_often_as_asked_for() {
        let faults = Faults {
            error_500: 0.1,
            error_503: 0.2,
            reset: 0.05,
            ..Faults::default()
        };
        let count = |wanted| {
            (0..20_000)
                .filter(|&n| fault(3, n, &faults) == wanted)
                .count()
        };
        assert!((1_800..2_200).contains(&count(Some(Fault::Internal))));
        assert!((3_700..4_300).contains(&count(Some(Fault::Overloaded))));
        assert!((850..1_150).contains(&count(Some(Fault::Reset))));
        assert_eq!(count(Some(Fault::Malformed)), 0);
    }

    #[test]
    fn hashes_tell_texts_apart_by_any_byte() {
        let texts = ["", "a", "b", "12345678", "123456789", "12345678\0"];
        let hashes: std::collections::BTreeSet<_> =
            texts.iter().map(|text| hash(text.as_bytes())).collect();
        assert_eq!(hashes.len(), texts.len());
    }

    #[test]
    fn a_knee_slows_only_above_itself() {
        let knee = Some(Knee {
            above: 2,
            factor: 3.0,
        });
        let second = Duration::from_secs(1);
        assert_eq!(under_load(second, knee, 2), second);
        assert_eq!(under_load(second, knee, 3), 3 * second);
    }
}
