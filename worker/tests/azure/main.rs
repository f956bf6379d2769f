//! The Azure AI clients over real HTTP, against a server that checks requests against the
//! services' published specifications.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod docintel;
mod entra;
mod spec;
mod stand;
mod vision;
