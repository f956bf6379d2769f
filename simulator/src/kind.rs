//! Kinds of service, for counting.

use serde::{Deserialize, Serialize};

use crate::chance;

/// What a request asks for. Counts are kept of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A chat completion.
    Chat,
    /// Vectors of texts.
    Embeddings,
    /// The analysis of an image.
    Vision,
    /// A document to be read (Document Intelligence); paid when it is accepted.
    Ocr,
    /// Asking for the result of reading a document; never paid.
    OcrPoll,
    /// Documents written to a search index.
    SearchIndex,
    /// Queries, lookups and counts of a search index.
    SearchQuery,
    /// Definitions of search indexes; never paid.
    SearchAdmin,
}

impl Kind {
    /// A task as it is known at this kind of service; from its hash another hash.
    pub(crate) fn of_task(self, task: u64) -> u64 {
        chance::mix(task.wrapping_add(self as u64))
    }
}
