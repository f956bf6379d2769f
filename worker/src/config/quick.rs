//! Configurations without a file.

use std::{collections::BTreeMap, sync::Arc};

use filefleet_shared::config::{ConfigError, ConfigErrors, Secret, SecretSource};

use super::{
    Action, Config, OpenAiConfig, ServiceConfig, ServiceKind, StepConfig, WorkerConfig,
    service::EXPOSED,
};
use crate::{
    retry::RetryPolicy,
    service::{
        Prompt,
        openai::{ChatConfig, ChatParameters, ContentMode, Detail, Endpoint},
    },
};

/// Where the mistakes of a [`QuickConfig`] are.
const SOURCE: &str = "arguments";

/// One question about every file, as it is asked on a command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuickConfig {
    /// Base URL of the service.
    pub endpoint: String,
    /// Environment variable that has its key; local servers need none.
    pub key_env: Option<String>,
    /// Model, or deployment at Azure.
    pub model: String,
    /// Template of the prompt.
    pub prompt: String,
    /// Most calls at once; found by measuring if absent.
    pub in_flight: Option<usize>,
}

impl Config {
    /// One service `openai`, one pipeline `default` with one step `answer`.
    ///
    /// # Errors
    /// Every mistake in the arguments.
    pub fn quick(quick: QuickConfig) -> Result<Self, ConfigErrors> {
        let mut errors = Vec::new();
        let mut report = |key: &str, message: String| {
            errors.push(ConfigError {
                line: None,
                key: key.to_owned(),
                message,
            });
        };
        let key = quick
            .key_env
            .map(|name| Secret::new("key_env", SecretSource::Env(name)));
        let endpoint = Endpoint::parse(&quick.endpoint, None, None)
            .map_err(|error| report(error.key, error.message))
            .ok();
        if key.is_some() && endpoint.as_ref().is_some_and(Endpoint::is_exposed) {
            report("endpoint", EXPOSED.to_owned());
        }
        if quick.model.is_empty() {
            report("model", "must not be empty".to_owned());
        }
        if quick.in_flight == Some(0) {
            report("in_flight", "must be at least 1".to_owned());
        }
        let prompt = Prompt::compile(&quick.prompt, &[])
            .map_err(|message| report("prompt", message))
            .ok();
        match (endpoint, prompt) {
            (Some(endpoint), Some(prompt)) if errors.is_empty() => {
                let mut service = service_at(endpoint, key);
                if let Some(in_flight) = quick.in_flight {
                    service.fix_in_flight(in_flight);
                }
                Ok(Self::single(
                    ["openai", "default", "answer"],
                    service,
                    quick.model,
                    prompt,
                ))
            }
            _ => Err(ConfigErrors::new(SOURCE, errors)),
        }
    }

    /// One pipeline `describe` on services that only a simulator stands in for, for rehearsals.
    ///
    /// # Errors
    /// None in practice: what it is made of is constant, and tested.
    pub fn rehearsal() -> Result<Self, ConfigErrors> {
        Self::parse("rehearsal", include_str!("rehearsal.toml"))
    }

    fn single(names: [&str; 3], service: ServiceConfig, model: String, prompt: Prompt) -> Self {
        let [service_name, pipeline, step] = names.map(str::to_owned);
        let step = StepConfig {
            name: step,
            service: service_name.clone(),
            when: None,
            timeout: None,
            retry: None,
            journal: None,
            written: None,
            action: Action::Chat(ChatConfig {
                model,
                prompt: Arc::new(prompt),
                system: None,
                parameters: ChatParameters::default(),
                json: false,
                schema: None,
                detail: Detail::default(),
                content: ContentMode::default(),
            }),
        };
        Self {
            source: SOURCE.to_owned(),
            broker: None,
            roots: BTreeMap::new(),
            scratch: None,
            journal: None,
            worker: WorkerConfig::default(),
            retry: RetryPolicy::default(),
            services: BTreeMap::from([(service_name, service)]),
            pipelines: BTreeMap::from([(pipeline, vec![step])]),
        }
    }
}

fn service_at(endpoint: Endpoint, key: Option<Secret>) -> ServiceConfig {
    ServiceConfig::new(ServiceKind::OpenAi(OpenAiConfig {
        endpoint,
        key,
        entra: None,
        organization: None,
        max_tokens_field: None,
    }))
}
