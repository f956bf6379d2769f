//! What crosses the wire, and what both the producer and the worker need.
//!
//! Read first: [`broker`] (the contract every queue obeys), then [`wire`] (the messages).

pub mod broker;
pub mod config;
pub mod files;
pub mod scratch;
pub mod store;
pub mod telemetry;
pub mod time;
pub mod wire;
