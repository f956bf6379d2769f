//! End-to-end: the real command, real brokers, the simulator over real HTTP.

#![allow(clippy::expect_used, clippy::panic, reason = "helpers of tests")]

mod again;
mod bad_input;
mod choices;
mod collecting;
mod deployments;
mod examples;
mod faults;
mod fleet;
mod journal;
mod knowledge;
mod money;
mod operations;
mod poison;
mod programs;
mod quotas;
mod rehearse;
mod requests;
mod retrieval;
mod run;
mod scratch;
mod stopping;
mod stores;
mod strangers;
mod support;
