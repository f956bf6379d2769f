//! Takes steps from the broker, calls AI services, and settles each delivery with a verdict.

pub mod retry;
pub mod service;
