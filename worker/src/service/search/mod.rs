//! Azure AI Search: documents into an index, and questions to it.

mod access;
mod batch;
mod definition;
mod delivery;
mod document;
mod index;
mod query;
mod refusal;
mod ticket;

pub(crate) use access::Access;
pub use batch::BatchConfig;
pub use document::Node;
pub(crate) use index::Index;
pub use index::{IndexConfig, Verb};
pub(crate) use query::Query;
pub use query::{QueryConfig, VectorQuery};

/// The version of the interface that is spoken unless another is configured.
pub const API_VERSION: &str = "2024-07-01";
