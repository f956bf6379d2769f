//! The steps of a configuration, bound to clients that are ready to call.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use filefleet_shared::{broker::polls_of, config::SecretError};
use reqwest::{Client, Url, header::InvalidHeaderValue};

use super::{
    Condition, Identity, Service, azure, command, docintel,
    entra::EntraError,
    http,
    openai::{self, EndpointError},
    search, transport, vision,
};
use crate::{
    config::{Action, Config, Price, ServiceConfig, ServiceKind, StepConfig},
    governor::Bounds,
    retry::RetryPolicy,
};

/// How a catalog is built.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CatalogOptions {
    /// Base URL of a simulator that stands in for every service; then no secret is fetched or sent.
    pub rehearse: Option<String>,
}

/// Every step of every pipeline, ready to call.
#[derive(Debug)]
pub struct Catalog {
    pipelines: BTreeMap<String, Vec<BoundStep>>,
    services: Vec<ServiceLimits>,
}

/// A service with what bounds its consumer.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceLimits {
    /// Name of the service, and of its queue.
    pub name: String,
    /// Bounds of its calls.
    pub calls: Bounds,
    /// Bounds of the questions for results of accepted operations; none if it has no such.
    pub polls: Option<Bounds>,
}

impl ServiceLimits {
    fn new((name, service): (&String, &ServiceConfig)) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "quotas are far below 2^52")]
        let per_second = |per_minute: Option<u64>| per_minute.map(|count| count as f64 / 60.0);
        let quotas = service.quotas;
        Self {
            name: name.clone(),
            calls: Bounds {
                in_flight: service.in_flight,
                seeking: service.seeking,
                requests: per_second(quotas.requests_per_minute),
                tokens: per_second(quotas.tokens_per_minute),
            },
            polls: service.polls.map(|polls| Bounds {
                in_flight: polls,
                seeking: false,
                requests: per_second(quotas.polls_per_minute),
                tokens: None,
            }),
        }
    }
}

/// A step with the service that carries it out.
#[derive(Clone)]
pub struct BoundStep {
    /// Name of its pipeline.
    pub pipeline: String,
    /// Name of the step.
    pub name: String,
    /// Name of the service.
    pub service: String,
    /// Files for which it does not hold are passed over.
    pub when: Option<Arc<Condition>>,
    /// Total deadline of one attempt.
    pub timeout: Duration,
    /// When to try again, if not as the worker always does.
    pub retry: Option<RetryPolicy>,
    /// Larger files are refused before they are read.
    pub max_file_bytes: u64,
    /// The word for that.
    pub too_large: &'static str,
    /// What it costs.
    pub price: Price,
    /// What its answers are found by in a journal, beside each file's request; none if they are
    /// not kept.
    pub identity: Option<Identity>,
    /// What to call.
    pub call: Arc<dyn Service>,
}

/// Every reason why a catalog cannot be built. Never empty.
#[derive(Debug)]
pub struct BuildErrors(pub Vec<BuildError>);

/// Why a service cannot be called.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// Its key cannot be had.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// Nobody can be asked for its tokens.
    #[error(transparent)]
    Entra(#[from] EntraError),
    /// Its key or organization has characters that no header can have.
    #[error("service.{service}: the key or organization cannot be sent in a header: {source}")]
    Header {
        /// Name of the service.
        service: String,
        /// Never shows the value.
        source: InvalidHeaderValue,
    },
    /// No simulator stands in for a service that nobody here knows.
    #[error(
        "step {step}: a rehearsal cannot call service {service:?}: give the step \
         `rehearse = ...`, the answer to assume"
    )]
    Rehearsal {
        /// Name of the step.
        step: String,
        /// Name of the service.
        service: String,
    },
    /// The step asks for what its service does not offer.
    #[error("step {step}: service {service:?} does not offer this")]
    NotOffered {
        /// Name of the step.
        step: String,
        /// Name of the service.
        service: String,
    },
    /// TLS or the proxy settings of this machine do not work.
    #[error("service.{service}: cannot make an HTTP client: {source}")]
    Client {
        /// Name of the service.
        service: String,
        /// Why.
        source: reqwest::Error,
    },
    /// What it asks has no text; none in practice.
    #[error("a step's question cannot be written: {0}")]
    Encoding(serde_json::Error),
    /// The simulator's address is none.
    #[error("service.{service}: the simulator's address {source}")]
    Simulator {
        /// Name of the service.
        service: String,
        /// Why.
        source: EndpointError,
    },
}

impl Catalog {
    /// Fetches secrets, makes one client per service, and binds every step.
    ///
    /// # Errors
    /// All services that cannot be called, at once.
    pub fn build(config: &Config, options: &CatalogOptions) -> Result<Self, BuildErrors> {
        let mut errors = Vec::new();
        let mut accesses = BTreeMap::new();
        for (name, service) in &config.services {
            match Access::new(name, service, options) {
                Ok(access) => drop(accesses.insert(name.as_str(), access)),
                Err(error) => errors.push(error),
            }
        }
        let mut pipelines = BTreeMap::new();
        for (pipeline, steps) in &config.pipelines {
            let mut bound = Vec::with_capacity(steps.len());
            for step in steps {
                let service = config.services.get(&step.service);
                // A service without access is among the errors already.
                let (Some(service), Some(access)) = (service, accesses.get(step.service.as_str()))
                else {
                    continue;
                };
                match bind(pipeline, step, service, access) {
                    Ok(step) => bound.push(step),
                    Err(error) => errors.push(error),
                }
            }
            pipelines.insert(pipeline.clone(), bound);
        }
        if !errors.is_empty() {
            return Err(BuildErrors(errors));
        }
        Ok(Self {
            pipelines,
            services: config.services.iter().map(ServiceLimits::new).collect(),
        })
    }

    /// The step of this name, if the configuration has it.
    #[must_use]
    pub fn step(&self, pipeline: &str, step: &str) -> Option<&BoundStep> {
        self.steps(pipeline)?
            .iter()
            .find(|bound| bound.name == step)
    }

    /// Where a file enters the pipeline.
    #[must_use]
    pub fn first_step(&self, pipeline: &str) -> Option<&BoundStep> {
        self.steps(pipeline)?.first()
    }

    /// The steps of a pipeline in their order.
    #[must_use]
    pub fn steps(&self, pipeline: &str) -> Option<&[BoundStep]> {
        self.pipelines.get(pipeline).map(Vec::as_slice)
    }

    /// The steps after the one of this name; none if it is unknown.
    pub(crate) fn after(&self, pipeline: &str, step: &str) -> &[BoundStep] {
        let steps = self.steps(pipeline).unwrap_or_default();
        let at = steps.iter().position(|bound| bound.name == step);
        at.and_then(|at| steps.get(at + 1..)).unwrap_or_default()
    }

    /// Names of the pipelines.
    pub fn pipelines(&self) -> impl Iterator<Item = &str> {
        self.pipelines.keys().map(String::as_str)
    }

    /// Where accepted operations of a service go on: apart from its steps, if it has room for it.
    pub(crate) fn continues_in(&self, service: &str) -> String {
        let apart = |known: &&ServiceLimits| known.name == service && known.polls.is_some();
        match self.services.iter().find(apart) {
            Some(_) => polls_of(service),
            None => service.to_owned(),
        }
    }

    /// The services, in the order of their names.
    pub fn services(&self) -> impl Iterator<Item = &ServiceLimits> {
        self.services.iter()
    }
}

/// The client of a service: with a connection for every call, and for every question of a poll.
///
/// # Errors
/// [`BuildError::Client`].
pub(super) fn client(
    name: &str,
    service: &ServiceConfig,
    base: &Url,
) -> Result<Client, BuildError> {
    let calls = service.in_flight + service.polls.unwrap_or_default();
    transport::client(base, calls, service.connect_timeout).map_err(|source| BuildError::Client {
        service: name.to_owned(),
        source,
    })
}

/// A service that can be called.
#[derive(Clone)]
enum Access {
    OpenAi(openai::Access),
    DocIntel(azure::Access),
    Vision(azure::Access),
    Search(search::Access),
    Http(http::Access),
    Command(Arc<command::Program>),
}

impl Access {
    fn new(
        name: &str,
        service: &ServiceConfig,
        options: &CatalogOptions,
    ) -> Result<Self, BuildError> {
        match &service.kind {
            ServiceKind::OpenAi(config) => {
                openai::Access::new(name, service, config, options).map(Self::OpenAi)
            }
            ServiceKind::DocIntel(config) => {
                azure::Access::new(name, service, config, options).map(Self::DocIntel)
            }
            ServiceKind::Vision(config) => {
                azure::Access::new(name, service, config, options).map(Self::Vision)
            }
            ServiceKind::Search(config) => {
                search::Access::new(name, service, config, options).map(Self::Search)
            }
            ServiceKind::Http(config) => {
                http::Access::new(name, service, config, options).map(Self::Http)
            }
            // In a rehearsal too: a program costs nothing, and later steps need what it gives.
            ServiceKind::Command(config) => {
                Ok(Self::Command(Arc::new(command::Program::new(config))))
            }
        }
    }

    fn call(&self, step: &StepConfig) -> Result<Arc<dyn Service>, BuildError> {
        let unsendable = |source| BuildError::Header {
            service: step.service.clone(),
            source,
        };
        match (self, &step.action) {
            (Self::OpenAi(access), Action::Chat(chat)) => {
                let chat = openai::Chat::new(access, chat.clone()).map_err(unsendable)?;
                Ok(Arc::new(chat))
            }
            (Self::OpenAi(access), Action::Embed(embed)) => {
                let embed = openai::Embed::new(access, embed.clone()).map_err(unsendable)?;
                Ok(Arc::new(embed))
            }
            (Self::DocIntel(access), Action::Read(config)) => Ok(Arc::new(docintel::Read::new(
                access.clone(),
                config.clone(),
            ))),
            (Self::Vision(access), Action::Look(config)) => {
                Ok(Arc::new(vision::Look::new(access.clone(), config)))
            }
            (Self::Search(access), Action::Index(config)) => {
                let index = search::Index::new(access.clone(), (**config).clone());
                Ok(Arc::new(index))
            }
            (Self::Search(access), Action::Query(config)) => {
                let query = search::Query::new(access.clone(), (**config).clone());
                Ok(Arc::new(query))
            }
            (Self::Http(access), Action::Request(config)) => {
                let request = http::Request::new(access, (**config).clone());
                let request = request.ok_or_else(|| BuildError::Rehearsal {
                    step: step.name.clone(),
                    service: step.service.clone(),
                })?;
                Ok(Arc::new(request))
            }
            (Self::Command(program), Action::Run(config)) => {
                Ok(Arc::new(command::Run::new(program.clone(), config.clone())))
            }
            (
                Self::OpenAi(_)
                | Self::DocIntel(_)
                | Self::Vision(_)
                | Self::Search(_)
                | Self::Http(_)
                | Self::Command(_),
                _,
            ) => Err(BuildError::NotOffered {
                step: step.name.clone(),
                service: step.service.clone(),
            }),
        }
    }
}

fn bind(
    pipeline: &str,
    step: &StepConfig,
    service: &ServiceConfig,
    access: &Access,
) -> Result<BoundStep, BuildError> {
    Ok(BoundStep {
        pipeline: pipeline.to_owned(),
        name: step.name.clone(),
        service: step.service.clone(),
        when: step.when.clone(),
        timeout: step.timeout.unwrap_or(service.timeout),
        retry: step.retry.clone(),
        max_file_bytes: service.max_file_bytes,
        too_large: service.kind.too_large(),
        price: service.prices.of(step.action.model()),
        identity: step.identity(service).map_err(BuildError::Encoding)?,
        call: access.call(step)?,
    })
}

impl fmt::Debug for BoundStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoundStep")
            .field("pipeline", &self.pipeline)
            .field("name", &self.name)
            .field("service", &self.service)
            .field("when", &self.when)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for BuildErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for BuildErrors {}
