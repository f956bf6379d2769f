//! The sample documents of the repository, as a first rehearsal shows them.

use std::path::Path;

use base64::{Engine, prelude::BASE64_STANDARD};
use filefleet_simulator::SimulatorConfig;
use serde_json::json;

use super::Service;

#[tokio::test]
async fn every_sample_is_recognised_for_what_it_is() {
    let service = Service::start(SimulatorConfig::default()).await;
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../samples");
    for (directory, count, kind) in [
        ("invoices", 3, "Probably invoice"),
        ("letters", 3, "Probably letter"),
        ("minutes", 2, "Probably minutes"),
        ("tables", 1, "Table"),
    ] {
        let mut seen = 0;
        for entry in std::fs::read_dir(samples.join(directory)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|name| name == "pdf") {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            assert!(!text.contains("SIM_"), "{} has a marker", path.display());
            let answer = service.chat(&text).await.content();
            let start = format!("[rehearsal] {kind}");
            assert!(answer.starts_with(&start), "{}: {answer}", path.display());
            assert!(
                answer.contains("Dates: 2026-"),
                "{}: {answer}",
                path.display()
            );
            if directory == "invoices" {
                assert!(answer.contains("total probably"), "{answer}");
            }
            seen += 1;
        }
        assert_eq!(seen, count, "{directory}");
    }
}

#[tokio::test]
async fn the_scanned_sample_is_an_image() {
    let service = Service::start(SimulatorConfig::default()).await;
    let scan = Path::new(env!("CARGO_MANIFEST_DIR")).join("../samples/scans/beleg-cafe.png");
    let url = format!(
        "data:image/png;base64,{}",
        BASE64_STANDARD.encode(std::fs::read(scan).unwrap())
    );
    let content = json!([{"type": "image_url", "image_url": {"url": url}}]);
    let body = json!({"model": "m", "messages": [{"role": "user", "content": content}]});
    let answer = service.post("/v1/chat/completions", &body).await.content();
    assert!(answer.contains("380 x 560 pixels"), "{answer}");
}
