//! `[service.NAME]`: what is called, with its limits; one file per kind.

mod azure;
mod command;
mod entra;
mod http;
mod openai;

use std::{collections::BTreeMap, num::NonZero, thread, time::Duration};

use filefleet_shared::config::Section;

use crate::service::vision;

pub(super) use self::http::header_name;
pub use self::{
    azure::AzureConfig, command::CommandConfig, http::HttpConfig, openai::OpenAiConfig,
};

/// A service, as the configuration names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceConfig {
    /// Most calls at once from one worker.
    pub in_flight: usize,
    /// Most questions at once for results of accepted operations; none for kinds without such.
    pub polls: Option<usize>,
    /// Total deadline of one attempt.
    pub timeout: Duration,
    /// Longest wait for a connection.
    pub connect_timeout: Duration,
    /// Larger files are refused.
    pub max_file_bytes: u64,
    /// What only services of its kind have.
    pub kind: ServiceKind,
}

/// What kind of service it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServiceKind {
    /// OpenAI and the servers that speak like it.
    OpenAi(OpenAiConfig),
    /// Azure AI Document Intelligence.
    DocIntel(AzureConfig),
    /// Azure AI Vision Image Analysis.
    Vision(AzureConfig),
    /// Any HTTP service.
    Http(HttpConfig),
    /// A program on this machine.
    Command(CommandConfig),
}

type Reader = fn(&mut Section<'_>) -> Option<ServiceKind>;

const KINDS: &[(&str, Reader)] = &[
    ("openai", openai::read),
    ("docintel", azure::read_docintel),
    ("vision", azure::read_vision),
    ("http", http::read),
    ("command", command::read),
];

impl ServiceKind {
    /// Its word in the configuration.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::OpenAi(_) => "openai",
            Self::DocIntel(_) => "docintel",
            Self::Vision(_) => "vision",
            Self::Http(_) => "http",
            Self::Command(_) => "command",
        }
    }

    /// The outcome of a file over `max_file_bytes`.
    pub(crate) fn too_large(&self) -> &'static str {
        match self {
            Self::OpenAi(_) | Self::DocIntel(_) | Self::Http(_) | Self::Command(_) => "too_large",
            Self::Vision(_) => vision::TOO_LARGE,
        }
    }

    /// Most calls at once, where the configuration does not say: programs share the processors.
    fn in_flight(&self) -> usize {
        match self {
            Self::OpenAi(_) | Self::DocIntel(_) | Self::Vision(_) | Self::Http(_) => 16,
            Self::Command(_) => thread::available_parallelism().map_or(1, NonZero::get),
        }
    }

    /// Largest file that is sent, where the configuration does not say.
    fn max_file_bytes(&self) -> u64 {
        match self {
            Self::OpenAi(_) | Self::Http(_) | Self::Command(_) => 20_000_000,
            // The service takes 500 MB; more than this at once needs more `bytes_in_flight`.
            Self::DocIntel(_) => 50_000_000,
            Self::Vision(_) => vision::MAX_BYTES,
        }
    }

    /// Questions at once for results, where the configuration does not say.
    fn polls(&self) -> Option<usize> {
        match self {
            Self::OpenAi(_) | Self::Vision(_) | Self::Command(_) => None,
            Self::DocIntel(_) | Self::Http(_) => Some(16),
        }
    }
}

impl ServiceConfig {
    pub(crate) fn new(kind: ServiceKind) -> Self {
        Self {
            in_flight: kind.in_flight(),
            polls: kind.polls(),
            timeout: Duration::from_secs(120),
            connect_timeout: Duration::from_secs(10),
            max_file_bytes: kind.max_file_bytes(),
            kind,
        }
    }
}

/// The names that stand there, and the services that are right.
pub(super) fn read_all(root: &mut Section<'_>) -> (Vec<String>, BTreeMap<String, ServiceConfig>) {
    let mut section = root.section("service");
    let names = section.names();
    let services = names
        .iter()
        .filter_map(|name| Some((name.clone(), read(section.opt_section(name)?)?)))
        .collect();
    section.finish();
    (names, services)
}

fn read(mut section: Section<'_>) -> Option<ServiceConfig> {
    section.require("kind");
    let reader = section.opt_enum("kind", KINDS);
    let kind = reader.and_then(|read| read(&mut section));
    let mut limits = section.section("limits");
    let in_flight = limits.opt_integer("in_flight", 1..=10_000);
    let polling = kind.as_ref().is_none_or(|kind| kind.polls().is_some());
    let polls = polling
        .then(|| limits.opt_integer("polls", 1..=10_000))
        .flatten();
    limits.finish();
    let timeout = section.opt_duration("timeout");
    let connect_timeout = section.opt_duration("connect_timeout");
    let max_file_bytes = section.opt_bytes("max_file_bytes");
    // Without a kind nobody knows which other keys are right.
    if reader.is_some() {
        section.finish();
    }
    let default = ServiceConfig::new(kind?);
    Some(ServiceConfig {
        in_flight: in_flight.unwrap_or(default.in_flight),
        polls: polls.or(default.polls),
        timeout: timeout.unwrap_or(default.timeout),
        connect_timeout: connect_timeout.unwrap_or(default.connect_timeout),
        max_file_bytes: max_file_bytes.unwrap_or(default.max_file_bytes),
        kind: default.kind,
    })
}

/// Said of an endpoint that would get its key unencrypted.
pub(super) const EXPOSED: &str =
    "would send the key unencrypted over the network; use https://, or set `insecure = true`";
