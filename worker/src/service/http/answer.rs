//! What an answer gives.

use std::time::SystemTime;

use bytes::Bytes;
use filefleet_shared::wire::{Cost, Usage};
use reqwest::{Response, header::HeaderMap};
use secrecy::SecretString;
use serde_json::{Value, json};

use super::classify::{Statuses, classify};
use crate::service::{
    Answer, CallError,
    detail::{message, shortened},
    text,
    transport::{read_body, without_key},
};

/// How an answer is read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    /// What makes it a success.
    pub success: Success,
    /// JSON pointer to the output; all of the answer if none.
    pub result: Option<String>,
    /// JSON pointers to what was used.
    pub usage: UsagePointers,
    /// Statuses that mean something else here.
    pub statuses: Statuses,
}

/// What makes an answer a success.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Success {
    /// Its status is one of these; any from 200 to 299 if there are none.
    pub statuses: Vec<u16>,
    /// At this JSON pointer it has this value.
    pub equals: Option<(String, Value)>,
}

/// JSON pointers to what was used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UsagePointers {
    /// Tokens of the input.
    pub input_tokens: Option<String>,
    /// Tokens of the output.
    pub output_tokens: Option<String>,
    /// Pages.
    pub pages: Option<String>,
    /// What the service says the call has cost, beside what prices say.
    pub cost: Option<String>,
}

/// An answer as it came.
pub(crate) struct Received {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// The body, if it is JSON.
    pub(crate) json: Option<Value>,
}

impl Received {
    /// # Errors
    /// The body of a success does not come or is too long. Of the others the status says enough.
    pub(crate) async fn read(response: Response) -> Result<Self, CallError> {
        let status = response.status();
        let headers = response.headers().clone();
        let body = match read_body(response).await {
            Err(error) if status.is_success() => return Err(error),
            body => body.unwrap_or_default(),
        };
        Ok(Self {
            status: status.as_u16(),
            headers,
            json: serde_json::from_slice(&body).ok(),
            body,
        })
    }

    pub(crate) fn at(&self, pointer: &str) -> Option<&Value> {
        self.json.as_ref()?.pointer(pointer)
    }

    /// The status with the service's words, without the key, which they can repeat.
    pub(crate) fn detail(&self, key: Option<&SecretString>) -> String {
        // Before it is shortened: half a key is a key that nothing finds.
        let body = without_key(&self.body, key);
        let said = match serde_json::from_str(&body) {
            Ok(json) => message(&json),
            Err(_) => shortened(&body),
        };
        if said.is_empty() {
            self.status.to_string()
        } else {
            format!("{}: {said}", self.status)
        }
    }

    /// What a status that is no success means.
    pub(crate) fn refusal(&self, reading: &Reading, key: Option<&SecretString>) -> CallError {
        let mut detail = self.detail(key);
        if (300..400).contains(&self.status) {
            detail = format!("{}: redirected; correct the endpoint or path", self.status);
        }
        let now = SystemTime::now();
        classify(self.status, &self.headers, &reading.statuses, detail, now)
    }
}

impl Reading {
    /// Whether the answer to the first request is a success.
    ///
    /// # Errors
    /// What it means if it is none.
    pub(crate) fn check(
        &self,
        received: &Received,
        key: Option<&SecretString>,
    ) -> Result<(), CallError> {
        let statuses = &self.success.statuses;
        let fits = if statuses.is_empty() {
            (200..300).contains(&received.status)
        } else {
            statuses.contains(&received.status)
        };
        if !fits {
            return Err(received.refusal(self, key));
        }
        match &self.success.equals {
            Some((pointer, value)) if received.at(pointer) != Some(value) => {
                self.need_json(received)?;
                Err(self.rejected("unsuccessful", received.detail(key), received))
            }
            _ => Ok(()),
        }
    }

    /// The output.
    ///
    /// # Errors
    /// There is none where it should be.
    pub(crate) fn answer(&self, received: &Received) -> Result<Answer, CallError> {
        self.answer_at(self.result.as_deref(), received)
    }

    /// The output, at another place than that of the first answer.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn answer_at(
        &self,
        result: Option<&str>,
        received: &Received,
    ) -> Result<Answer, CallError> {
        let output = match (result, &received.json) {
            (None, Some(json)) => json.clone(),
            (None, None) if received.body.is_empty() => Value::Null,
            (None, None) => {
                let text = text::decode(&received.body);
                let text = text.ok_or_else(|| CallError::Malformed("not text".to_owned()))?;
                json!({ "text": text })
            }
            (Some(pointer), _) => {
                self.need_json(received)?;
                received.at(pointer).cloned().ok_or_else(|| {
                    let detail = format!("the answer has nothing at {pointer:?}");
                    self.rejected("no_result", detail, received)
                })?
            }
        };
        Ok(Answer {
            output,
            usage: self.used(received),
        })
    }

    /// A refusal that was paid.
    pub(crate) fn rejected(
        &self,
        cause: &'static str,
        detail: String,
        received: &Received,
    ) -> CallError {
        CallError::Rejected {
            cause: cause.into(),
            detail,
            usage: self.used(received),
        }
    }

    /// # Errors
    /// The answer is no JSON: a success that something on the way has garbled.
    pub(crate) fn need_json(&self, received: &Received) -> Result<(), CallError> {
        match received.json {
            Some(_) => Ok(()),
            None => Err(CallError::Malformed(format!(
                "{}: no JSON",
                received.status
            ))),
        }
    }

    /// What was used for it.
    /// Nothing where the service says none, or no amount.
    fn cost(&self, received: &Received) -> Cost {
        let said = self.usage.cost.as_deref().and_then(|at| received.at(at));
        said.and_then(Value::as_f64)
            .and_then(Cost::from_number)
            .unwrap_or_default()
    }

    pub(crate) fn used(&self, received: &Received) -> Usage {
        let count = |pointer: &Option<String>| {
            let value = pointer.as_deref().and_then(|at| received.at(at));
            value.and_then(Value::as_u64).unwrap_or_default()
        };
        Usage {
            calls: 1,
            input_tokens: count(&self.usage.input_tokens),
            output_tokens: count(&self.usage.output_tokens),
            pages: count(&self.usage.pages),
            cost: self.cost(received),
            ..Usage::default()
        }
    }
}
