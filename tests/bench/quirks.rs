//! Services that say of a refusal what is no use: a quota that the configuration does not know, and
//! each way of naming the time to wait that was seen in the field.

use serde_json::Value;
use tokio::runtime::Runtime;

use crate::stand::{Bound, Stand, finish, report};

const QUIRKS: [&str; 7] = [
    "retry-after-ms-zero",
    "retry-after-24h",
    "retry-after-negative",
    "retry-after-missing",
    "retry-after-date",
    "ratelimit-negative",
    "remaining-lies",
];
/// A second.
const QUOTA: u64 = 50;
const LATENCY_MS: u64 = 100;
const FILES: usize = 1_000;
/// Of every wait that is asked for, else one for a day would be all there is to see.
const CAP: &str = "\n[retry]\ncap = \"5s\"\nhold = \"5s\"\n";
/// Most time, to a run in which a service says what is true.
const SLOWER: f64 = 2.0;

/// The same run with each, and with none; all must end with every file done.
pub(crate) fn measure(runtime: &Runtime) -> bool {
    let plain = run(runtime, &[]);
    let mut good = plain.report("no quirk", plain.seconds);
    for quirk in QUIRKS {
        good &= run(runtime, &["--quirk", quirk]).report(quirk, plain.seconds);
    }
    good
}

/// What a run came to.
struct Ended {
    succeeded: f64,
    throttled: f64,
    seconds: f64,
}

fn run(runtime: &Runtime, quirk: &[&str]) -> Ended {
    let per_minute = (QUOTA * 60).to_string();
    let limits = ["--requests-per-minute", &per_minute];
    let stand = Stand::with_limited(FILES, LATENCY_MS, &[&limits, quirk].concat());
    let config = stand.configure_limits("run", CAP);
    let mut run = stand.filefleet("run", &["run", "files", "-c", &config, "-o", "out"]);
    finish(&mut run);
    let summary = filefleet_tests::results::summary(&stand.out());
    let count = |of: &Value, key: &str| of[key].as_f64().expect("a count");
    Ended {
        succeeded: count(&summary, "succeeded"),
        throttled: count(&stand.stats(runtime), "throttled"),
        seconds: count(&summary, "wall_seconds"),
    }
}

impl Ended {
    /// Its lines; false if files failed, or a service was stormed, or left alone for long.
    fn report(&self, what: &str, plain: f64) -> bool {
        let name = |figure: &str| format!("{what}: {figure}");
        #[expect(clippy::cast_precision_loss, reason = "few")]
        let failed = FILES as f64 - self.succeeded;
        let mut good = report(&name("failed files"), failed, "", Bound::AtMost(0.0));
        let refused = self.throttled / self.succeeded;
        good &= report(&name("429s per success"), refused, "", Bound::AtMost(0.1));
        let slower = self.seconds / plain;
        good & report(
            &name("time to no quirk"),
            slower,
            "x",
            Bound::AtMost(SLOWER),
        )
    }
}
