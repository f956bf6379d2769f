//! Deliveries of a step whose service does what the test says.

mod accepted;
mod counted;
mod crowded;
mod paid;
mod refused;
pub(crate) mod stand;
mod throttled;
