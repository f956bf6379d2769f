//! What is counted.

use std::time::Duration;

use filefleet_simulator::{Latency, SimulatorConfig};

use super::{Service, chat};

async fn tagged(service: &Service, task: &str) {
    let request = service.request("/v1/chat/completions", &chat("Hello"));
    let reply = request
        .header("x-filefleet-task", task)
        .send()
        .await
        .unwrap();
    assert_eq!(reply.status(), 200);
}

#[tokio::test]
async fn tasks_paid_twice_are_counted() {
    let service = Service::start(SimulatorConfig::default()).await;
    for task in ["run/0", "run/1", "run/0", "run/2", "run/0"] {
        tagged(&service, task).await;
    }
    service.chat("without a task").await;
    let stats = service.stats().await;
    assert_eq!((stats.requests, stats.paid), (6, 6));
    assert_eq!((stats.distinct_tasks, stats.repeated), (3, 2));
    assert_eq!(stats.untagged, 1);
    assert!(!stats.tasks_overflowed);
    assert!(stats.input_tokens > 6 && stats.output_tokens > 6);
    assert!(stats.first_request_ms.unwrap() <= stats.last_request_ms.unwrap());
    let accepted: u64 = stats.seconds.iter().map(|second| second.accepted).sum();
    assert_eq!(accepted, 6);
    assert_eq!(stats, service.simulator.stats());
}

#[tokio::test]
async fn a_reset_starts_counting_again() {
    let service = Service::start(SimulatorConfig::default()).await;
    tagged(&service, "run/0").await;
    assert_eq!(service.post("/_reset", &chat("")).await.status, 204);
    let stats = service.stats().await;
    assert_eq!(
        (stats.requests, stats.paid, stats.distinct_tasks),
        (0, 0, 0)
    );
    tagged(&service, "run/0").await;
    assert_eq!(service.stats().await.repeated, 0);
}

#[tokio::test]
async fn a_client_that_leaves_before_the_answer_has_not_paid() {
    let service = Service::start(SimulatorConfig {
        latency: Latency::Fixed(Duration::from_secs(600)),
        ..SimulatorConfig::default()
    })
    .await;
    let request = service.request("/v1/chat/completions", &chat("x"));
    let error = request
        .timeout(Duration::from_millis(200))
        .send()
        .await
        .unwrap_err();
    assert!(error.is_timeout());
    // The server learns of it when the connection is closed, a moment later.
    let gone = async {
        while service.stats().await.abandoned == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), gone)
        .await
        .unwrap();
    let stats = service.stats().await;
    assert_eq!((stats.paid, stats.in_flight, stats.requests), (0, 0, 1));
}
