//! What one call was, for who watches a worker.

use std::time::Duration;

use filefleet_shared::wire::Usage;
use tokio::{sync::mpsc, time::Instant};

/// One call of a service, or one question for the result of an accepted one.
#[derive(Clone, Debug)]
pub struct Call {
    /// The file's place in its run.
    pub seq: u64,
    /// Name of the service.
    pub service: String,
    /// It asked for the result of a call that was made before.
    pub continues: bool,
    /// Something was asked of the service; false where the file was refused here.
    pub sent: bool,
    /// When it began.
    pub began: Instant,
    /// How long it took.
    pub took: Duration,
    /// Tokens reserved before it: of the prompt as estimated, and of the answer.
    pub reserved: u64,
    /// Of them, those of the answer.
    pub reserved_answer: u64,
    /// What it used.
    pub usage: Usage,
}

impl Call {
    /// Who has left is not waited for.
    pub(crate) async fn tell(self, watcher: &mpsc::Sender<Self>) {
        if watcher.send(self).await.is_err() {
            tracing::debug!("nobody watches the calls any more");
        }
    }
}
