//! Documents on their way into an index, and who waits for them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use reqwest::header::HeaderValue;
use tokio::sync::oneshot;

use crate::service::CallError;

/// One document in a batch.
#[derive(Debug)]
pub(super) struct Entry {
    /// Its key, by which the service names it.
    pub(super) key: String,
    /// It with its action, as JSON.
    pub(super) json: Vec<u8>,
    /// Whose it is.
    pub(super) ticket: Arc<Ticket>,
}

/// What one step has in batches.
#[derive(Debug)]
pub(super) struct Ticket {
    state: Mutex<State>,
    /// The step's name in requests.
    pub(super) task: Option<HeaderValue>,
}

#[derive(Debug)]
struct State {
    /// Documents without a result.
    left: usize,
    /// Requests that carried any of its documents.
    calls: u64,
    error: Option<CallError>,
    /// None when it was told.
    waiting: Option<oneshot::Sender<Result<u64, CallError>>>,
}

impl Ticket {
    /// A ticket for so many documents, and where its end is told: the requests that carried them.
    pub(super) fn new(
        documents: usize,
        task: Option<HeaderValue>,
    ) -> (Arc<Self>, oneshot::Receiver<Result<u64, CallError>>) {
        let (waiting, told) = oneshot::channel();
        let state = Mutex::new(State {
            left: documents,
            calls: 0,
            error: None,
            waiting: Some(waiting),
        });
        (Arc::new(Self { state, task }), told)
    }

    /// Nobody waits for it any more: what is not sent need not be.
    pub(super) fn is_given_up(&self) -> bool {
        self.state()
            .waiting
            .as_ref()
            .is_none_or(oneshot::Sender::is_closed)
    }

    /// A request carries some of its documents.
    pub(super) fn called(&self) {
        self.state().calls += 1;
    }

    /// One of its documents is written, or never will be.
    pub(super) fn done(&self, result: Result<(), CallError>) {
        let mut state = self.state();
        state.left = state.left.saturating_sub(1);
        if let Err(error) = result
            && state
                .error
                .as_ref()
                .is_none_or(|before| weight(before) < weight(&error))
        {
            state.error = Some(error);
        }
        if state.left > 0 {
            return;
        }
        let result = match state.error.take() {
            Some(CallError::Rejected {
                cause,
                detail,
                mut usage,
            }) => {
                usage.calls = state.calls;
                Err(CallError::Rejected {
                    cause,
                    detail,
                    usage,
                })
            }
            Some(error) => Err(error),
            None => Ok(state.calls),
        };
        if let Some(waiting) = state.waiting.take()
            && waiting.send(result).is_err()
        {
            tracing::debug!("a step was given up while its documents were written");
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Of several errors of one file the heaviest is told: what no other try can mend.
fn weight(error: &CallError) -> u8 {
    match error {
        CallError::Unauthorized(_) | CallError::Misconfigured(_) | CallError::QuotaExhausted(_) => {
            3
        }
        CallError::Rejected { .. } => 2,
        CallError::RateLimited { .. }
        | CallError::Overloaded { .. }
        | CallError::Unreachable(_)
        | CallError::Timeout(_)
        | CallError::Malformed(_)
        | CallError::Pending { .. } => 1,
    }
}
