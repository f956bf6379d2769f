//! `[service.NAME]`: an endpoint with its key and limits.

use std::{collections::BTreeMap, time::Duration};

use filefleet_shared::config::{Secret, Section};

use crate::service::openai::{Dialect, Endpoint, EndpointError, MaxTokensField};

/// A service, as the configuration names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceConfig {
    /// Most calls at once from one worker.
    pub in_flight: usize,
    /// Total deadline of one attempt.
    pub timeout: Duration,
    /// Longest wait for a connection.
    pub connect_timeout: Duration,
    /// Larger files are refused.
    pub max_file_bytes: u64,
    /// `kind = "openai"`.
    pub openai: OpenAiConfig,
}

/// What a service of kind `openai` has besides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenAiConfig {
    /// Where it is and which dialect it speaks.
    pub endpoint: Endpoint,
    /// Its key; local servers need none.
    pub key: Option<Secret>,
    /// The organization that pays, where a key is of several.
    pub organization: Option<String>,
    /// Overrides the parameter that bounds an answer.
    pub max_tokens_field: Option<MaxTokensField>,
}

impl ServiceConfig {
    pub(crate) fn new(openai: OpenAiConfig) -> Self {
        Self {
            in_flight: 16,
            timeout: Duration::from_secs(120),
            connect_timeout: Duration::from_secs(10),
            max_file_bytes: 20_000_000,
            openai,
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
    let kind = section.opt_enum("kind", &[("openai", ())]);
    let openai = read_openai(&mut section);
    let mut limits = section.section("limits");
    let in_flight = limits.opt_integer("in_flight", 1..=10_000);
    limits.finish();
    let timeout = section.opt_duration("timeout");
    let connect_timeout = section.opt_duration("connect_timeout");
    let max_file_bytes = section.opt_bytes("max_file_bytes");
    section.finish();
    kind?;
    let default = ServiceConfig::new(openai?);
    Some(ServiceConfig {
        in_flight: in_flight.unwrap_or(default.in_flight),
        timeout: timeout.unwrap_or(default.timeout),
        connect_timeout: connect_timeout.unwrap_or(default.connect_timeout),
        max_file_bytes: max_file_bytes.unwrap_or(default.max_file_bytes),
        openai: default.openai,
    })
}

fn read_openai(section: &mut Section<'_>) -> Option<OpenAiConfig> {
    const DIALECTS: &[(&str, Option<Dialect>)] = &[
        ("auto", None),
        ("openai", Some(Dialect::OpenAi)),
        ("azure", Some(Dialect::Azure)),
        ("azure-v1", Some(Dialect::AzureV1)),
    ];
    const FIELDS: &[(&str, MaxTokensField)] = &[
        ("max_tokens", MaxTokensField::MaxTokens),
        ("max_completion_tokens", MaxTokensField::MaxCompletionTokens),
    ];
    let address = section.string("endpoint");
    let dialect = section.opt_enum("dialect", DIALECTS).flatten();
    let api_version = section.opt_string("api_version");
    let key = section.opt_secret("key");
    let organization = section.opt_string("organization");
    let max_tokens_field = section.opt_enum("max_tokens_field", FIELDS);
    let insecure = section.opt_bool("insecure").unwrap_or(false);
    let endpoint = match Endpoint::parse(&address?, dialect, api_version.as_deref()) {
        Ok(endpoint) => endpoint,
        Err(EndpointError { key, message }) => {
            section.error(key, message);
            return None;
        }
    };
    if key.is_some() && !insecure && endpoint.is_exposed() {
        section.error("endpoint", EXPOSED);
    }
    Some(OpenAiConfig {
        endpoint,
        key,
        organization,
        max_tokens_field,
    })
}

/// Said of an endpoint that would get its key unencrypted.
pub(super) const EXPOSED: &str =
    "would send the key unencrypted over the network; use https://, or set `insecure = true`";
