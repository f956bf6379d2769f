//! Documents that are being read, or were and are kept for a day.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, UNIX_EPOCH},
};

use serde_json::{Value, json};

use super::{
    options::Options,
    result::result,
    source::{Shape, Sheet},
};

/// How long results are kept.
const KEPT: Duration = Duration::from_secs(24 * 3600);
/// Text that is kept at most; beyond it the oldest results are forgotten earlier.
const MOST_BYTES: usize = 1 << 30;

/// All operations of a service.
#[derive(Debug, Default)]
pub(crate) struct Operations(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    by_id: HashMap<String, Arc<Operation>>,
    /// In the order of their begin.
    ids: VecDeque<String>,
    bytes: usize,
}

/// One document.
#[derive(Debug)]
pub(super) struct Operation {
    model: String,
    outcome: Outcome,
    begun_ms: u64,
    bytes: usize,
}

/// What becomes of a document. Results are written when they are asked for, as they are many
/// times larger than the text.
#[derive(Debug)]
pub(super) enum Outcome {
    Read(Wanted),
    Failed,
}

/// A document, and what is wanted of it.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) model: String,
    pub(super) options: Options,
    pub(super) shape: Shape,
    pub(super) sheets: Vec<Sheet>,
}

impl Operations {
    pub(super) fn begin(&self, id: &str, model: &str, outcome: Outcome, now_ms: u64) {
        let bytes = match &outcome {
            Outcome::Read(wanted) => {
                let lines = wanted.sheets.iter().flat_map(|sheet| &sheet.lines);
                lines.map(|line| line.len() + size_of::<String>()).sum()
            }
            Outcome::Failed => 0,
        };
        let operation = Operation {
            model: model.to_owned(),
            outcome,
            begun_ms: now_ms,
            bytes,
        };
        let mut kept = self.lock();
        kept.bytes += bytes;
        kept.ids.push_back(id.to_owned());
        kept.by_id.insert(id.to_owned(), Arc::new(operation));
        kept.forget(now_ms);
    }

    pub(super) fn get(&self, id: &str, model: &str) -> Option<Arc<Operation>> {
        let kept = self.lock();
        let operation = kept.by_id.get(id);
        operation
            .filter(|operation| operation.model == model)
            .cloned()
    }

    /// Whether there was one to remove.
    pub(super) fn remove(&self, id: &str, model: &str) -> bool {
        let known = self.get(id, model).is_some();
        self.lock().remove(id);
        known
    }

    pub(crate) fn clear(&self) {
        *self.lock() = Kept::default();
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        // An operation is whole before it is put in.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn forget(&mut self, now_ms: u64) {
        while let Some(id) = self.ids.front() {
            let old = self.by_id.get(id).is_none_or(|operation| {
                Duration::from_millis(now_ms.saturating_sub(operation.begun_ms)) > KEPT
            });
            if !old && self.bytes <= MOST_BYTES {
                return;
            }
            if let Some(id) = self.ids.pop_front() {
                self.remove(&id);
            }
        }
    }

    fn remove(&mut self, id: &str) {
        if let Some(operation) = self.by_id.remove(id) {
            self.bytes -= operation.bytes;
        }
    }
}

impl Operation {
    /// The operation as it is told, and whether it is over.
    pub(super) fn tell(&self, processing: Duration, now_ms: u64) -> (Value, bool) {
        let since = Duration::from_millis(now_ms.saturating_sub(self.begun_ms));
        if since < processing {
            let waits = since < processing / 10;
            let status = if waits { "notStarted" } else { "running" };
            return (self.told(status, since), false);
        }
        let told = match &self.outcome {
            Outcome::Read(wanted) => {
                let mut told = self.told("succeeded", processing);
                told["analyzeResult"] = result(wanted);
                told
            }
            Outcome::Failed => {
                let mut told = self.told("failed", processing);
                told["error"] = failure();
                told
            }
        };
        (told, true)
    }

    fn told(&self, status: &str, updated: Duration) -> Value {
        let begun = UNIX_EPOCH + Duration::from_millis(self.begun_ms);
        let time = |time| humantime::format_rfc3339_seconds(time).to_string();
        json!({
            "status": status,
            "createdDateTime": time(begun),
            "lastUpdatedDateTime": time(begun + updated),
        })
    }
}

fn failure() -> Value {
    json!({
        "code": "InternalServerError",
        "message": "An unexpected error occurred.",
        "details": [{
            "code": "InvalidContent",
            "message": "The file is corrupted or format is unsupported. Refer to documentation \
                        for the list of supported formats.",
            "target": "1",
        }],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_forgotten_after_a_day() {
        let operations = Operations::default();
        operations.begin("old", "m", Outcome::Failed, 0);
        operations.begin("new", "m", Outcome::Failed, 24 * 3_600_000 + 1);
        assert!(operations.get("old", "m").is_none());
        assert!(operations.get("new", "m").is_some());
        assert!(operations.get("new", "other").is_none());
    }
}
