//! Reading the configuration: every mistake in one report, before anything connects.
//!
//! [`Document`] parses TOML with the position of each key. A [`Section`] hands out typed values and
//! writes what is wrong with them, and every key nobody asked for, into the document's list.
//! [`Document::finish`] gives the result only if that list is empty.
//!
//! Here are the reader and the sections that both sides need; services and pipelines are the
//! worker's.

mod broker;
mod document;
mod errors;
mod root;
mod secret;
mod section;
mod store;
mod suggest;
mod units;
mod value;

pub use broker::{BrokerConfig, BrokerUrl, ClientIdentity, DEFAULT_NAMESPACE, DEFAULT_OUTAGE};
pub use document::Document;
pub use errors::{ConfigError, ConfigErrors};
pub use root::{RootConfig, read_roots};
pub use secret::{Secret, SecretError, SecretSource};
pub use section::Section;
pub use store::{StoreConfig, StoreSecrets};
pub use units::{check_name, parse_bytes, parse_duration};

#[cfg(test)]
mod tests;
