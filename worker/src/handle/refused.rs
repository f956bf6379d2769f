//! Refusals that could be every file's: a step remembers its first one, wherever it goes next.

use filefleet_shared::broker::Headers;

use super::Attempts;
use crate::{
    blame::{Blame, Record},
    breaker::PauseKind,
    service::{CallError, Reply},
};

/// What the step was refused with in an earlier delivery.
pub(super) fn before(headers: &Headers) -> Option<PauseKind> {
    let cause = headers.retry_cause.as_deref()?;
    [PauseKind::Unauthorized, PauseKind::Misconfigured]
        .into_iter()
        .find(|kind| kind.as_str() == cause)
}

impl Attempts<'_> {
    /// Whose fault a failed call is. The time of a step counts anew from its first refusal, which
    /// may have been the service's for long.
    pub(super) fn blame(&mut self, error: &CallError) -> Blame {
        let kind = match error {
            CallError::Unauthorized(_) => PauseKind::Unauthorized,
            CallError::Misconfigured(_) => PauseKind::Misconfigured,
            _ => return Blame::Service,
        };
        let before = self.refused.replace(kind).is_some();
        if !before {
            self.started = self.began;
        }
        self.record().map_or(Blame::Service, |record| {
            record.refused(self.started, before)
        })
    }

    /// Notes that the service works, if the last call says so.
    pub(super) fn note(&self, result: &Result<Reply, CallError>) {
        if let Ok(_) | Err(CallError::Pending { .. }) = result
            && let Some(record) = self.record()
        {
            record.answered(self.began);
        }
    }

    fn record(&self) -> Option<&Record> {
        let continues = self.message.continuation.is_some();
        self.step.record(self.called?.place, continues)
    }
}
