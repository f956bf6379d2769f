//! `openai`.

use filefleet_simulator::Kind;

use super::pays_once;

#[tokio::test]
async fn embeddings_are_understood_by_the_sdk_of_openai() {
    pays_once("embeddings.py", Kind::Embeddings, 6).await;
}
