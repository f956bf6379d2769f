//! Scans a directory, publishes one task per file, and collects one outcome per task.

pub mod collect;
pub mod durable;
pub mod manifest;
mod patience;
pub mod publish;
pub mod scan;
pub mod sink;
#[cfg(test)]
mod testing;

pub use durable::DiskError;
