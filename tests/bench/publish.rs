//! How fast a directory is published, and whether memory grows with it.

use std::time::Instant;

use filefleet_tests::process::Cost;
use tokio::runtime::Runtime;

use crate::{
    bare,
    stand::{Bound, Stand, broker, finish, megabytes, report},
};

const MANY: usize = 100_000;
const FEW: usize = 10_000;

/// A tenth and all of the files, and the same bytes with a bare loop.
pub(crate) fn measure(runtime: &Runtime) -> bool {
    let (_, few, _) = published(runtime, FEW);
    let (ours, many, bare) = published(runtime, MANY);
    report("publish: files per second", ours, "/s", Bound::None);
    report(
        "publish: messages per second of a bare loop",
        bare,
        "/s",
        Bound::None,
    );
    let fast = report(
        "publish: rate to the bare loop",
        ours / bare,
        "x",
        Bound::AtLeast(0.6),
    );
    let (few, many) = (megabytes(few.peak_bytes), megabytes(many.peak_bytes));
    report(
        "publish: peak memory at 10,000 files",
        few,
        "MB",
        Bound::None,
    );
    report(
        "publish: peak memory at 100,000 files",
        many,
        "MB",
        Bound::None,
    );
    let flat = report(
        "publish: growth of memory",
        many / few,
        "x",
        Bound::AtMost(1.25),
    );
    fast && flat
}

/// Files per second of `publish`, its cost, and messages per second of the bare loop.
#[expect(clippy::cast_precision_loss, reason = "rates for people")]
fn published(runtime: &Runtime, files: usize) -> (f64, Cost, f64) {
    let stand = Stand::with_files(files);
    let config = stand.configure("publish", 1);
    let node = broker(runtime);
    let url = node.url();
    let began = Instant::now();
    let args = ["publish", "files", "-c", &config, "--broker", &url];
    let (ended, cost) = finish(&mut stand.filefleet("publish", &args));
    let ours = files as f64 / (ended - began).as_secs_f64();
    let body = runtime
        .block_on(bare::peek(&url, "filefleet.work.sim"))
        .expect("a published task");
    // A broker of its own, as empty as ours was.
    let node = broker(runtime);
    let took = runtime
        .block_on(bare::publish(&node.url(), &body, files))
        .expect("the bare publish");
    (ours, cost, files as f64 / took.as_secs_f64())
}
