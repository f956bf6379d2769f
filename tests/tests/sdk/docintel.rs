//! `azure-ai-documentintelligence`.

use std::{collections::BTreeSet, time::Duration};

use filefleet_simulator::{Kind, OcrConfig, Quirk, SimulatorConfig, start};

use crate::python;

#[tokio::test(flavor = "multi_thread")]
async fn document_intelligence_is_understood_by_its_sdk() {
    let config = SimulatorConfig {
        require_key: Some("key".to_owned()),
        quirks: BTreeSet::from([Quirk::Markers]),
        ocr: OcrConfig {
            processing: Duration::from_millis(500),
            ..OcrConfig::default()
        },
        ..SimulatorConfig::default()
    };
    let simulator = start(config, ([127, 0, 0, 1], 0).into())
        .await
        .expect("the simulator starts");
    python::run("docintel.py", &simulator).await;
    let stats = simulator.stats();
    assert_eq!(stats.malformed + stats.reset + stats.abandoned, 0);
    let ocr = stats.kinds[&Kind::Ocr];
    assert_eq!((ocr.repeated, ocr.distinct_tasks), (0, 1), "{stats:?}");
}
