//! Takes steps from the broker, calls AI services, and settles each delivery with a verdict.
//!
//! Read first: [`consume`](self) (the loop), `handle` (one delivery), [`verdict`] (the table).

mod account;
mod blame;
pub mod breaker;
mod budget;
mod call;
pub mod config;
mod consume;
mod context;
mod fleet;
mod governor;
mod handle;
mod inflight;
mod input;
mod journal;
mod outcome;
mod pool;
pub mod retry;
mod route;
pub mod service;
mod spill;
pub mod verdict;
mod worker;

pub use blame::Blame;
pub use budget::Budget;
pub use call::Call;
pub use context::{Counter, Stats, Throttles};
pub use worker::{Left, Phase, Report, Worker, WorkerError, WorkerSettings};
