//! From a sample to the whole: what every service will have to do.

use std::collections::BTreeMap;

use filefleet_shared::wire::Usage;
use filefleet_worker::Call;

use super::{
    sample::{Census, Sampled},
    trial::Tried,
};

/// Billionths in a unit of money.
const PER_UNIT: f64 = 1e9;

/// What one service will have to do for all files.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Load {
    pub(super) service: String,
    /// Steps that need room: each takes one call, or several after each other.
    pub(super) steps: f64,
    /// Steps whose file was not refused before anything was asked of the service.
    pub(super) sent: f64,
    /// Latencies that all steps wait for, one for each of their requests.
    pub(super) waits: f64,
    /// Requests.
    pub(super) calls: f64,
    pub(super) input_tokens: f64,
    pub(super) output_tokens: f64,
    /// Tokens as quotas count them: prompts, and the most that answers may have.
    pub(super) reserved_tokens: f64,
    pub(super) pages: f64,
    pub(super) cost: f64,
    /// Seconds that steps took in the rehearsal, all together.
    pub(super) busy: f64,
    /// Questions for results of accepted calls, and the seconds they took.
    pub(super) polls: f64,
    pub(super) polling: f64,
    /// Seconds from accepting a call to its result, of one file.
    pub(super) processing: f64,
}

/// The whole directory, by its sample.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Estimate {
    pub(super) loads: Vec<Load>,
    /// Part of all files that would fail, by cause.
    pub(super) failures: BTreeMap<String, f64>,
}

/// Scales what was tried up to all files.
pub(super) fn scale(
    census: Census,
    sample: &[Sampled],
    tried: &[Tried],
    services: &[String],
) -> Estimate {
    Estimate {
        loads: services
            .iter()
            .map(|service| load(census, sample, tried, service))
            .collect(),
        failures: failures(sample, tried),
    }
}

fn failures(sample: &[Sampled], tried: &[Tried]) -> BTreeMap<String, f64> {
    let all: f64 = sample.iter().map(|file| file.weight).sum();
    let mut failures = BTreeMap::new();
    for (file, tried) in sample.iter().zip(tried) {
        if let Some(cause) = &tried.failure {
            *failures.entry(cause.clone()).or_default() += file.weight / all.max(1.0);
        }
    }
    failures
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn load(census: Census, sample: &[Sampled], tried: &[Tried], service: &str) -> Load {
    let total = |value: &dyn Fn(&Tried) -> f64| {
        let points: Vec<Point> = sample
            .iter()
            .zip(tried)
            .map(|(file, tried)| Point {
                weight: file.weight,
                size: file.file.size as f64,
                value: value(tried),
            })
            .collect();
        whole(&points, census.files as f64, census.bytes as f64)
    };
    let nothing = Usage::default();
    let used = |value: fn(&Usage) -> u64| {
        total(&|tried| value(tried.by_service.get(service).unwrap_or(&nothing)) as f64)
    };
    let calls = |continues: bool, value: fn(&Call) -> f64| {
        total(&|tried| {
            let of_service = |call: &&Call| call.service == service && call.continues == continues;
            tried.calls.iter().filter(of_service).map(value).sum()
        })
    };
    let sent = calls(false, |call| f64::from(u8::from(call.sent)));
    let input_tokens = used(|usage| usage.input_tokens);
    Load {
        service: service.to_owned(),
        steps: calls(false, |_| 1.0),
        sent,
        // Files that share a request wait for it, each of them.
        waits: calls(false, |call| match call.sent {
            true => call.usage.calls.max(1) as f64,
            false => 0.0,
        }),
        calls: used(|usage| usage.calls),
        input_tokens,
        output_tokens: used(|usage| usage.output_tokens),
        reserved_tokens: input_tokens * reserved_per_token(tried, service)
            + calls(false, |call| call.reserved_answer as f64),
        pages: used(|usage| usage.pages),
        cost: used(|usage| usage.cost.billionths()) / PER_UNIT,
        busy: calls(false, |call| call.took.as_secs_f64()),
        polls: calls(true, |_| 1.0),
        polling: calls(true, |call| call.took.as_secs_f64()),
        processing: total(&|tried| tried.processing(service)) / sent.max(1.0),
    }
}

/// Prompt tokens that are reserved for each that is counted.
///
/// The estimate learns from answers, so only the later half of the calls tells what it will be.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn reserved_per_token(tried: &[Tried], service: &str) -> f64 {
    let mut calls: Vec<_> = tried
        .iter()
        .flat_map(|tried| &tried.calls)
        .filter(|call| call.service == service && call.usage.input_tokens > 0)
        .collect();
    calls.sort_by_key(|call| call.began);
    let later = &calls[calls.len() / 2..];
    let counted: u64 = later.iter().map(|call| call.usage.input_tokens).sum();
    let reserved = later.iter().map(|call| {
        // What was reserved too little is paid for after the answer.
        let prompt = call.reserved.saturating_sub(call.reserved_answer);
        prompt.max(call.usage.input_tokens)
    });
    reserved.sum::<u64>() as f64 / (counted as f64).max(1.0)
}

/// What was measured of one file.
#[derive(Clone, Copy, Debug)]
struct Point {
    /// Files it stands for.
    weight: f64,
    size: f64,
    value: f64,
}

/// The sum over all files, from so much per file and so much per byte as fits the sample best.
fn whole(points: &[Point], files: f64, bytes: f64) -> f64 {
    let weights: f64 = points.iter().map(|point| point.weight).sum();
    if weights <= 0.0 || files <= 0.0 {
        return 0.0;
    }
    let mean = |value: &dyn Fn(&Point) -> f64| {
        let sum: f64 = points.iter().map(|point| point.weight * value(point)).sum();
        sum / weights
    };
    let (size, value) = (mean(&|point| point.size), mean(&|point| point.value));
    let spread = mean(&|point| (point.size - size).powi(2));
    let together = mean(&|point| (point.size - size) * (point.value - value));
    let per_byte = if spread > 0.0 { together / spread } else { 0.0 };
    (files * (value + per_byte * (bytes / files - size))).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(weight: f64, size: f64, value: f64) -> Point {
        Point {
            weight,
            size,
            value,
        }
    }

    #[test]
    fn so_much_per_file_and_per_byte_is_found() {
        let points: Vec<Point> = [10.0, 40.0, 25.0]
            .iter()
            .map(|size| point(1.0, *size, 7.0 + 3.0 * size))
            .collect();
        let found = whole(&points, 100.0, 5_000.0);
        assert!((found - (700.0 + 15_000.0)).abs() < 1e-6, "{found}");
    }

    #[test]
    fn files_of_one_size_are_counted() {
        let found = whole(
            &[point(50.0, 10.0, 3.0), point(50.0, 10.0, 5.0)],
            100.0,
            1_000.0,
        );
        assert!((found - 400.0).abs() < 1e-6, "{found}");
    }

    #[test]
    fn a_file_counts_as_many_times_as_it_stands_for_files() {
        let points = [point(90.0, 10.0, 1.0), point(10.0, 1_000.0, 101.0)];
        let found = whole(&points, 100.0, 10_900.0);
        assert!((found - 1_100.0).abs() < 1e-6, "{found}");
    }

    #[test]
    fn nothing_is_less_than_nothing() {
        let points = [point(1.0, 10.0, 5.0), point(1.0, 1_000.0, 0.0)];
        assert!(whole(&points, 10.0, 100_000.0) >= 0.0);
        assert!(whole(&[], 10.0, 10.0).abs() < 1e-9);
    }
}
