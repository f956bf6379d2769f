//! The official Python SDKs against the simulator: what they accept, a real service could say.
#![cfg(test)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed; clippy does not see that helpers are tests"
)]

mod docintel;
mod embeddings;
mod python;
mod search;
mod vision;

use std::time::Duration;

use filefleet_simulator::{Kind, Quotas, SimulatorConfig, start};

/// Runs the asserts of a script, which pays for `tasks` tasks, each once.
///
/// The service takes one request a second, so that the second of two is told to wait.
async fn pays_once(script: &str, kind: Kind, tasks: u64) {
    let config = SimulatorConfig {
        require_key: Some("key".to_owned()),
        quotas: Quotas {
            requests_per_minute: Some(60),
            request_window: Duration::from_secs(1),
            rejections_count: false,
            ..Quotas::default()
        },
        ..SimulatorConfig::default()
    };
    let simulator = start(config, ([127, 0, 0, 1], 0).into()).await.unwrap();
    python::run(script, &simulator).await;
    let stats = simulator.stats();
    let of = stats.kinds[&kind];
    assert_eq!((of.paid, of.distinct_tasks, of.repeated), (tasks, tasks, 0));
    assert!(stats.throttled > 0, "nothing was retried");
}
