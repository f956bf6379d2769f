//! Long operations: accepted at once, asked for until they are finished.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use filefleet_shared::wire::StepMessage;
use reqwest::{Url, header::HeaderName};
use serde_json::{Value, json};

use super::{Received, Rendering, Request};
use crate::service::{Accepted, CallError, Prompt, Reply, prompt::Inputs, transport::retry_after};

/// When the result is asked for first, where neither service nor configuration say.
const FIRST: Duration = Duration::from_secs(1);

/// The key of a continuation's state.
const OPERATION: &str = "operation";

/// How the result of a long operation is asked for.
#[derive(Clone, Debug)]
pub struct Poll {
    /// Where the first answer names the operation.
    pub operation: Operation,
    /// Path below the endpoint, of `operation`; if none, the operation is an address itself.
    pub path: Option<Arc<Prompt>>,
    /// The query beside the path.
    pub query: Vec<(String, Arc<Prompt>)>,
    /// Between two questions, where the service does not say; from 1 s growing if none.
    pub interval: Option<Duration>,
    /// JSON pointer to how far it is.
    pub status: String,
    /// What stands there when it is done.
    pub success: Vec<String>,
    /// What stands there when it has failed.
    pub failure: Vec<String>,
    /// JSON pointer to the output; all of the answer if none.
    pub result: Option<String>,
}

/// Where an answer names the operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// In a header.
    Header(HeaderName),
    /// At a JSON pointer.
    Pointer(String),
}

enum Progress {
    Done,
    Failed,
    Running,
}

impl Poll {
    fn progress(&self, received: &Received) -> Option<Progress> {
        let status = match received.at(&self.status)? {
            Value::String(status) => status.clone(),
            other => other.to_string(),
        };
        let is = |words: &[String]| words.iter().any(|word| word.eq_ignore_ascii_case(&status));
        Some(if is(&self.success) {
            Progress::Done
        } else if is(&self.failure) {
            Progress::Failed
        } else {
            Progress::Running
        })
    }

    fn named_in<'a>(&self, received: &'a Received) -> Option<std::borrow::Cow<'a, str>> {
        match &self.operation {
            Operation::Header(name) => received.headers.get(name)?.to_str().ok().map(Into::into),
            Operation::Pointer(pointer) => match received.at(pointer)? {
                Value::String(id) => Some(id.as_str().into()),
                Value::Number(id) => Some(id.to_string().into()),
                _ => None,
            },
        }
    }

    fn wait(&self, received: &Received) -> Option<Duration> {
        retry_after(&received.headers, SystemTime::now()).or(self.interval)
    }
}

impl Request {
    /// What a message keeps of an operation: an id or a path, so that whoever can write messages
    /// cannot send the key elsewhere.
    pub(super) fn accepted(
        &self,
        poll: &Poll,
        request: &Url,
        received: &Received,
    ) -> Result<Reply, CallError> {
        // Some services answer short work at once.
        if let Some(progress @ (Progress::Done | Progress::Failed)) = poll.progress(received) {
            return self.finished(poll, &progress, received);
        }
        let misplaced = |detail: &str| CallError::Misconfigured(format!("the operation: {detail}"));
        let named = poll
            .named_in(received)
            .filter(|named| !named.is_empty())
            .ok_or_else(|| misplaced("the answer does not name it where `poll` says"))?;
        let operation = if poll.path.is_none() {
            let address = &self.access.address;
            address.relative(request, &named).map_err(misplaced)?
        } else if named.contains("://") {
            return Err(misplaced("it is an address, not an id; remove `poll.path`"));
        } else {
            named.into_owned()
        };
        Ok(Reply::Accepted(Accepted {
            state: json!({ OPERATION: operation }),
            usage: self.config.reading.used(received),
            check_after: poll.wait(received).unwrap_or(FIRST),
        }))
    }

    /// Asks for the result of an operation.
    pub(super) async fn ask(
        &self,
        poll: &Poll,
        state: &Value,
        message: &StepMessage,
    ) -> Result<Reply, CallError> {
        let url = self.operation_url(poll, state, message)?;
        let headers = self.access.headers.clone();
        let request = self.access.client.get(url);
        let response = self.signed(request, headers, message).await?;
        let received = Received::read(response).await?;
        let reading = &self.config.reading;
        let key = self.access.signer.secret();
        match received.status {
            200..=299 => {}
            // The path was right for the operation, so what is missing is the operation.
            404 | 410 => {
                let detail = received.detail(key);
                return Err(CallError::rejected("operation_lost", detail).called());
            }
            _ => return Err(received.refusal(reading, key)),
        }
        match poll.progress(&received) {
            Some(Progress::Running) => {}
            Some(ended) => return self.finished(poll, &ended, &received),
            // Nothing to read yet.
            None if received.status != 200 => {}
            None => {
                reading.need_json(&received)?;
                let detail = format!("200: no status at {:?}", poll.status);
                return Err(CallError::Malformed(detail));
            }
        }
        Err(CallError::Pending {
            retry_after: poll.wait(&received),
        })
    }

    fn finished(
        &self,
        poll: &Poll,
        progress: &Progress,
        received: &Received,
    ) -> Result<Reply, CallError> {
        let reading = &self.config.reading;
        if let Progress::Failed = progress {
            let detail = received.detail(self.access.signer.secret());
            return Err(reading.rejected("operation_failed", detail, received));
        }
        let answer = reading.answer_at(poll.result.as_deref(), received)?;
        Ok(Reply::Answered(answer))
    }

    fn operation_url(
        &self,
        poll: &Poll,
        state: &Value,
        message: &StepMessage,
    ) -> Result<Url, CallError> {
        let bad = || CallError::rejected("bad_continuation", "it names no operation of this step");
        let operation = state.get(OPERATION).and_then(Value::as_str);
        let operation = operation.ok_or_else(bad)?;
        if poll.path.is_none() {
            return self.access.address.absolute(operation).ok_or_else(bad);
        }
        let with = Rendering {
            message,
            content: &[],
            inputs: Inputs {
                operation: Some(operation),
                ..Inputs::default()
            },
        };
        self.url(poll.path.as_deref(), &poll.query, &with)
    }
}
