//! Tells who watches a worker of the calls it makes.

use std::time::Duration;

use filefleet_shared::wire::Usage;
use tokio::time::Instant;

use super::Attempts;
use crate::{
    account::refused_here,
    call::Call,
    service::{CallError, Reply},
};

/// When a call was made, and what was reserved for it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Made {
    pub(super) began: Instant,
    pub(super) took: Duration,
    pub(super) reserved: u64,
    pub(super) reserved_answer: u64,
}

impl Attempts<'_> {
    /// Does nothing where nobody watches.
    pub(super) async fn tell(&self, made: Made, result: &Result<Reply, CallError>, usage: Usage) {
        let Some(calls) = &self.context.calls else {
            return;
        };
        let call = Call {
            seq: self.message.seq,
            service: self.step.service.clone(),
            continues: self.message.continuation.is_some(),
            sent: !refused_here(result),
            began: made.began,
            took: made.took,
            reserved: made.reserved,
            reserved_answer: made.reserved_answer,
            usage,
        };
        call.tell(calls).await;
    }
}
