//! `azure-ai-vision-imageanalysis`.

use filefleet_simulator::Kind;

use super::pays_once;

#[tokio::test]
async fn image_analysis_is_understood_by_its_sdk() {
    pays_once("vision.py", Kind::Vision, 3).await;
}
