//! Two deployments behind one service, each with a quota of its own and a simulator that keeps it.

use tokio::runtime::Runtime;

use crate::{
    quota::{Fleet, Judged, LATENCY_MS, WARM_UP},
    stand::{Bound, Stand, report},
};

/// Requests per second of the first and of the second.
const QUOTAS: [u64; 2] = [60, 40];
const WORKERS: usize = 4;
const SECONDS: u64 = 30;

/// Each alone must be used up, and so their sum.
pub(crate) fn measure(runtime: &Runtime) -> bool {
    let per_minute = QUOTAS.map(|quota| (quota * 60).to_string());
    let [first, second] = per_minute.each_ref();
    let second = Stand::with_limited(0, LATENCY_MS, &["--requests-per-minute", second]);
    let endpoint = second.endpoint();
    let deployments = format!(
        "[[service.sim.deployments]]\n\
         name = \"first\"\n\
         limits = {{ requests_per_second = {} }}\n\
         [[service.sim.deployments]]\n\
         name = \"second\"\n\
         endpoint = \"{endpoint}\"\n\
         limits = {{ requests_per_second = {} }}\n",
        QUOTAS[0], QUOTAS[1],
    );
    let files = QUOTAS.iter().sum::<u64>() * (SECONDS + 15);
    let limited = ["--requests-per-minute", first];
    let fleet = Fleet::new(runtime, files, &limited, &deployments, WORKERS);
    let from = fleet.begun(runtime) + WARM_UP;
    let stands = [&fleet.stand, &second];
    let judged = stands.map(|stand| Judged::of(stand, runtime, from, from + SECONDS));
    let mut good = true;
    for (judged, quota) in judged.iter().zip(QUOTAS) {
        let what = format!("two deployments: the one of {quota}/s");
        #[expect(clippy::cast_precision_loss, reason = "few")]
        let quota = quota as f64;
        good &= judged.report(&what, quota, 0.95, 0.01);
    }
    #[expect(clippy::cast_precision_loss, reason = "few")]
    let possible = (QUOTAS.iter().sum::<u64>() * SECONDS) as f64;
    let accepted: f64 = judged.iter().map(|judged| judged.accepted).sum();
    good & report(
        "two deployments: goodput to the sum of their quotas",
        accepted / possible,
        "",
        Bound::AtLeast(0.95),
    )
}
