//! The official Python SDKs against the simulator: what they accept, a real service could say.
#![cfg(test)]
#![allow(clippy::expect_used, clippy::panic, reason = "helpers of tests")]

mod docintel;
mod python;
mod search;
