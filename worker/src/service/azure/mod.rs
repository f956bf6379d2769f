//! What the services of Azure AI have in common: addresses, keys, errors.

mod access;
mod classify;
mod endpoint;

pub(crate) use access::Access;
pub(crate) use classify::cause_of;
pub use endpoint::Endpoint;
