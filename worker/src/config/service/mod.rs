//! `[service.NAME]`: what is called, with its limits; one file per kind.

mod azure;
mod command;
mod deployment;
mod entra;
mod http;
mod openai;
mod price;

use std::{collections::BTreeMap, num::NonZero, thread, time::Duration};

use filefleet_shared::config::Section;

use crate::service::vision;

pub(super) use self::http::header_name;
pub use self::{
    azure::AzureConfig,
    command::CommandConfig,
    deployment::DeploymentConfig,
    http::HttpConfig,
    openai::OpenAiConfig,
    price::{Price, Prices},
};

/// A service, as the configuration names it.
///
/// One with several deployments is as its first, with the quotas and room of all of them together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceConfig {
    /// Most calls at once from one worker.
    pub in_flight: usize,
    /// `in_flight` is only a bound: how many are good is found by measuring.
    pub seeking: bool,
    /// What the service allows the whole fleet.
    pub quotas: Quotas,
    /// What its calls cost.
    pub prices: Prices,
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
    /// Where its calls can go, if there is more than one such place.
    pub deployments: Vec<DeploymentConfig>,
}

/// What a service allows, all workers together; what is not known is found out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quotas {
    /// Calls; of kinds with polls, submits.
    pub requests_per_minute: Option<u64>,
    /// Tokens, of prompts and of the most that answers can have.
    pub tokens_per_minute: Option<u64>,
    /// Questions for results of accepted operations.
    pub polls_per_minute: Option<u64>,
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
    /// Azure AI Search.
    Search(AzureConfig),
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
    ("search", azure::read_search),
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
            Self::Search(_) => "search",
            Self::Http(_) => "http",
            Self::Command(_) => "command",
        }
    }

    /// The outcome of a file over `max_file_bytes`.
    pub(crate) fn too_large(&self) -> &'static str {
        match self {
            Self::OpenAi(_)
            | Self::DocIntel(_)
            | Self::Search(_)
            | Self::Http(_)
            | Self::Command(_) => "too_large",
            Self::Vision(_) => vision::TOO_LARGE,
        }
    }

    /// How many calls at once are good is found by measuring. Programs share the processors.
    fn seeks(&self) -> bool {
        !matches!(self, Self::Command(_))
    }

    /// Most calls at once, where the configuration does not say.
    fn in_flight(&self) -> usize {
        match self {
            Self::OpenAi(_)
            | Self::DocIntel(_)
            | Self::Vision(_)
            | Self::Search(_)
            | Self::Http(_) => 256,
            Self::Command(_) => thread::available_parallelism().map_or(1, NonZero::get),
        }
    }

    /// Largest file that is sent, where the configuration does not say.
    fn max_file_bytes(&self) -> u64 {
        match self {
            Self::OpenAi(_) | Self::Search(_) | Self::Http(_) | Self::Command(_) => 20_000_000,
            // The service takes 500 MB; more than this at once needs more `bytes_in_flight`.
            Self::DocIntel(_) => 50_000_000,
            Self::Vision(_) => vision::MAX_BYTES,
        }
    }

    /// Questions at once for results, where the configuration does not say.
    fn polls(&self) -> Option<usize> {
        match self {
            Self::OpenAi(_) | Self::Vision(_) | Self::Search(_) | Self::Command(_) => None,
            Self::DocIntel(_) | Self::Http(_) => Some(16),
        }
    }
}

impl ServiceConfig {
    /// So many calls at once, whatever would be found.
    pub fn fix_in_flight(&mut self, in_flight: usize) {
        self.in_flight = in_flight;
        self.seeking = false;
        for deployment in &mut self.deployments {
            deployment.service.fix_in_flight(in_flight);
        }
    }

    /// Takes all deployments for one: a simulator stands in for all of them.
    pub fn merge_deployments(&mut self) {
        self.deployments.clear();
    }

    pub(crate) fn new(kind: ServiceKind) -> Self {
        Self {
            in_flight: kind.in_flight(),
            seeking: kind.seeks(),
            quotas: Quotas::default(),
            prices: Prices::default(),
            polls: kind.polls(),
            timeout: Duration::from_secs(120),
            connect_timeout: Duration::from_secs(10),
            max_file_bytes: kind.max_file_bytes(),
            kind,
            deployments: Vec::new(),
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
    let config = match section.array_of_tables("deployments") {
        Some(deployments) => deployment::read_all(&mut section, deployments),
        None => read_one(&mut section),
    };
    if knows_kind(&mut section) {
        section.finish();
    }
    config
}

/// Without a kind nobody knows which other keys are right.
fn knows_kind(section: &mut Section<'_>) -> bool {
    section.opt_enum("kind", KINDS).is_some()
}

/// Reads a service, or one of its deployments.
fn read_one(section: &mut Section<'_>) -> Option<ServiceConfig> {
    let kind = section
        .opt_enum("kind", KINDS)
        .and_then(|read| read(section));
    let mut limits = section.section("limits");
    let in_flight = limits.opt_integer("in_flight", 1..=10_000);
    let polling = kind.as_ref().is_none_or(|kind| kind.polls().is_some());
    let polls = polling
        .then(|| limits.opt_integer("polls", 1..=10_000))
        .flatten();
    let quotas = read_quotas(&mut limits, polling);
    limits.finish();
    let prices = price::read_all(section);
    let timeout = section.opt_duration("timeout");
    let connect_timeout = section.opt_duration("connect_timeout");
    let max_file_bytes = section.opt_bytes("max_file_bytes");
    let default = ServiceConfig::new(kind?);
    Some(ServiceConfig {
        in_flight: in_flight.unwrap_or(default.in_flight),
        seeking: default.seeking && in_flight.is_none(),
        quotas,
        prices,
        polls: polls.or(default.polls),
        timeout: timeout.unwrap_or(default.timeout),
        connect_timeout: connect_timeout.unwrap_or(default.connect_timeout),
        max_file_bytes: max_file_bytes.unwrap_or(default.max_file_bytes),
        ..default
    })
}

fn read_quotas(limits: &mut Section<'_>, polling: bool) -> Quotas {
    let requests_per_minute = per_minute(limits, "requests");
    let tokens_per_minute = limits.opt_integer("tokens_per_minute", 1..=1_000_000_000_000);
    let polls_per_minute = polling.then(|| per_minute(limits, "polls")).flatten();
    Quotas {
        requests_per_minute,
        tokens_per_minute,
        polls_per_minute,
    }
}

/// A rate that services name by the second or by the minute; of both, the lower one holds.
fn per_minute(limits: &mut Section<'_>, what: &str) -> Option<u64> {
    let by_second = limits.opt_integer(&format!("{what}_per_second"), 1..=1_000_000);
    let by_second = by_second.map(|rate: u64| rate * 60);
    let by_minute = limits.opt_integer(&format!("{what}_per_minute"), 1..=60_000_000);
    match (by_second, by_minute) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// Said of an endpoint that would get its key unencrypted.
pub(super) const EXPOSED: &str =
    "would send the key unencrypted over the network; use https://, or set `insecure = true`";
