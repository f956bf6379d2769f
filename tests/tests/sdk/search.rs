//! `azure-search-documents`.

use filefleet_simulator::{Kind, SimulatorConfig, start};

use crate::python;

#[tokio::test(flavor = "multi_thread")]
async fn search_is_understood_by_its_sdk() {
    let config = SimulatorConfig {
        require_key: Some("key".to_owned()),
        ..SimulatorConfig::default()
    };
    let simulator = start(config, ([127, 0, 0, 1], 0).into())
        .await
        .expect("the simulator starts");
    python::run("search.py", &simulator).await;
    let stats = simulator.stats();
    assert_eq!(stats.malformed + stats.reset + stats.abandoned, 0);
    assert!(stats.kinds[&Kind::SearchIndex].paid > 0, "{stats:?}");
    let buffered = simulator.index("buffered").expect("the sender's index");
    assert_eq!(buffered.documents, 200);
    // What failed was sent again, and what did not was not.
    assert!(buffered.writes.values().all(|count| *count == 1));
}
