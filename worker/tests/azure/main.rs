//! The clients of OpenAI and Azure AI over real HTTP, against a server that checks requests against the
//! services' published specifications.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod docintel;
mod entra;
mod openai;
mod search;
mod simulated;
mod spec;
mod stand;
mod vision;
