//! The simulator as the official Python SDKs see it.
#![cfg(test)]

mod python;

use std::time::Duration;

use filefleet_simulator::{Kind, KindStats, Quotas, Simulator, SimulatorConfig, Stats, start};

use python::Script;

/// One request a second, so that the second of two is told to wait.
async fn simulator() -> Simulator {
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
    start(config, ([127, 0, 0, 1], 0).into()).await.unwrap()
}

/// Runs the asserts of a script, which pays for the tasks `tasks`, each once.
async fn pays_once(script: Script, kind: Kind, tasks: u64) {
    let simulator = simulator().await;
    script.run(&simulator.base_url()).await;
    let Stats {
        kinds, throttled, ..
    } = simulator.stats();
    let of: KindStats = kinds[&kind];
    assert_eq!((of.paid, of.distinct_tasks, of.repeated), (tasks, tasks, 0));
    assert!(throttled > 0, "nothing was retried");
}

#[tokio::test]
async fn openai_embeds() {
    pays_once(Script("embeddings.py"), Kind::Embeddings, 6).await;
}

#[tokio::test]
async fn azure_ai_vision_analyzes() {
    pays_once(Script("vision.py"), Kind::Vision, 3).await;
}
