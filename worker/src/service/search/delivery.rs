//! One batch, until each of its documents is written or refused.

use std::{collections::HashMap, sync::Arc, time::Duration};

use rand::RngExt;
use reqwest::{StatusCode, Url, header::HeaderValue};
use serde::Deserialize;

use super::{
    access::Access,
    ticket::{Entry, Ticket},
};
use crate::service::{CallError, detail::shortened, transport::read_body};

/// Times that what failed of a batch is sent again, as the service's own clients do: each time
/// it is less, where a file of many documents would never have all of them written at once.
const ROUNDS: u32 = 3;
/// Wait before the first of them; then it doubles.
const PAUSE: Duration = Duration::from_millis(200);

/// Carries batches to one index.
#[derive(Debug)]
pub(super) struct Delivery {
    access: Access,
    url: Url,
}

/// What is still to send.
struct Part {
    entries: Vec<Entry>,
    round: u32,
}

/// What became of a request.
enum Sent {
    /// Each document by itself.
    Told(Vec<Fate>),
    /// Too large: split.
    TooLarge(CallError),
    /// A document is wrong, so that none was taken.
    Wrong(CallError),
    /// Nothing is wrong with any of them.
    Failed(CallError),
}

/// What became of a document.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fate {
    key: String,
    status: bool,
    #[serde(default)]
    error_message: Option<String>,
    #[serde(default)]
    status_code: u16,
}

#[derive(Deserialize)]
struct Told {
    value: Vec<Fate>,
}

impl Delivery {
    pub(super) fn new(access: Access, index: &str) -> Self {
        let url = access.url(index, "search.index");
        Self { access, url }
    }

    /// Sends until every document has its end, which its ticket is told.
    pub(super) async fn deliver(&self, entries: Vec<Entry>) {
        let mut parts = vec![Part { entries, round: 0 }];
        while let Some(Part { mut entries, round }) = parts.pop() {
            entries.retain(|entry| !entry.ticket.is_given_up());
            if entries.is_empty() {
                continue;
            }
            if round > 0 {
                tokio::time::sleep(pause(round)).await;
            }
            match self.send(&entries).await {
                Sent::Told(fates) => {
                    let entries = settle(entries, fates, round);
                    let round = round + 1;
                    parts.push(Part { entries, round });
                }
                Sent::TooLarge(error) if entries.len() == 1 => fail(&entries, &error),
                Sent::Wrong(error) if of_one(&entries) => fail(&entries, &error),
                Sent::TooLarge(_) => {
                    let at = entries.len() / 2;
                    parts.extend(halves(entries, at, round));
                }
                Sent::Wrong(_) => {
                    let at = between_tickets(&entries);
                    parts.extend(halves(entries, at, round));
                }
                // One answer that many files wait for: told to each, it would count as many.
                Sent::Failed(error) if passes(&error) && round < ROUNDS => {
                    let round = round + 1;
                    parts.push(Part { entries, round });
                }
                Sent::Failed(error) => {
                    fail(&entries, &error);
                    for part in parts.drain(..) {
                        fail(&part.entries, &error);
                    }
                }
            }
        }
    }

    async fn send(&self, entries: &[Entry]) -> Sent {
        let tickets = tickets(entries);
        for ticket in &tickets {
            ticket.called();
        }
        let task: Option<HeaderValue> = match tickets.as_slice() {
            [one] => one.task.clone(),
            _ => None,
        };
        let url = self.url.clone();
        let response = match self.access.post(url, body(entries), task).await {
            Ok(response) => response,
            Err(error) => return Sent::Failed(error),
        };
        let status = response.status();
        if !status.is_success() {
            return match self.access.refused(response).await {
                error if status == StatusCode::PAYLOAD_TOO_LARGE => Sent::TooLarge(error),
                error @ CallError::Rejected { .. } => Sent::Wrong(error),
                error => Sent::Failed(error),
            };
        }
        let read = read_body(response).await;
        let told = read.and_then(|body| {
            serde_json::from_slice::<Told>(&body)
                .map_err(|error| CallError::Malformed(format!("not results of a batch: {error}")))
        });
        match told {
            Ok(told) => Sent::Told(told.value),
            Err(error) => Sent::Failed(error),
        }
    }
}

fn body(entries: &[Entry]) -> Vec<u8> {
    let length: usize = entries.iter().map(|entry| entry.json.len() + 1).sum();
    let mut body = Vec::with_capacity(length + 12);
    body.extend_from_slice(b"{\"value\":[");
    for (index, entry) in entries.iter().enumerate() {
        if index > 0 {
            body.push(b',');
        }
        body.extend_from_slice(&entry.json);
    }
    body.extend_from_slice(b"]}");
    body
}

/// Tells the tickets what became of their documents; gives back what is worth another try.
fn settle(entries: Vec<Entry>, fates: Vec<Fate>, round: u32) -> Vec<Entry> {
    // The service promises no order, and a key may be there twice.
    let mut by_key: HashMap<String, Vec<Fate>> = HashMap::with_capacity(fates.len());
    for fate in fates.into_iter().rev() {
        by_key.entry(fate.key.clone()).or_default().push(fate);
    }
    let mut again = Vec::new();
    for entry in entries {
        let Some(fate) = by_key.get_mut(&entry.key).and_then(Vec::pop) else {
            let detail = format!("nothing is said about document {}", entry.key);
            entry.ticket.done(Err(CallError::Malformed(detail)));
            continue;
        };
        let passes = matches!(fate.status_code, 408 | 409 | 422 | 429 | 500..=599);
        match fate.status {
            true => entry.ticket.done(Ok(())),
            false if passes && round < ROUNDS => again.push(entry),
            false => entry.ticket.done(Err(fate.error(passes))),
        }
    }
    again
}

impl Fate {
    fn error(&self, passes: bool) -> CallError {
        let said = shortened(self.error_message.as_deref().unwrap_or_default());
        let detail = format!("document {}: {}: {said}", self.key, self.status_code);
        if passes {
            return CallError::Overloaded {
                retry_after: None,
                detail,
            };
        }
        let cause = match self.status_code {
            404 => "document_not_found",
            _ => "invalid_document",
        };
        CallError::rejected(cause, detail).called()
    }
}

/// Writing again does no harm, and the service names no time.
fn passes(error: &CallError) -> bool {
    matches!(
        error,
        CallError::Overloaded {
            retry_after: None,
            ..
        } | CallError::Timeout(_)
            | CallError::Malformed(_)
    )
}

fn fail(entries: &[Entry], error: &CallError) {
    for entry in entries {
        entry.ticket.done(Err(error.clone()));
    }
}

/// Two parts, of which that from `at` on is the second to be sent.
fn halves(mut entries: Vec<Entry>, at: usize, round: u32) -> [Part; 2] {
    let second = entries.split_off(at);
    [second, entries].map(|entries| Part { entries, round })
}

/// The tickets of entries that stand together by ticket.
fn tickets(entries: &[Entry]) -> Vec<Arc<Ticket>> {
    let mut tickets: Vec<Arc<Ticket>> = Vec::new();
    for entry in entries {
        if tickets
            .last()
            .is_none_or(|last| !Arc::ptr_eq(last, &entry.ticket))
        {
            tickets.push(entry.ticket.clone());
        }
    }
    tickets
}

fn of_one(entries: &[Entry]) -> bool {
    tickets(entries).len() == 1
}

/// Where one file's documents end, as near to the middle as that is.
fn between_tickets(entries: &[Entry]) -> usize {
    let middle = entries.len() / 2;
    (1..entries.len())
        .filter(|at| !Arc::ptr_eq(&entries[at - 1].ticket, &entries[*at].ticket))
        .min_by_key(|at| at.abs_diff(middle))
        .unwrap_or(middle)
}

/// Somewhere in the second half of the round's wait, so that workers do not come back together.
fn pause(round: u32) -> Duration {
    let whole = PAUSE * 2_u32.pow(round.min(ROUNDS) - 1);
    whole.mul_f64(rand::rng().random_range(0.5..1.0))
}
