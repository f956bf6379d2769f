//! Harness for end-to-end tests and measurements: private brokers, networks that break, real
//! processes, results.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a harness that cannot do its part must fail its test, and say why"
)]

pub mod certificates;
pub mod emulator;
pub mod node;
pub mod pdf;
pub mod process;
pub mod relay;
pub mod results;
