//! The steps of a configuration, bound to clients that are ready to call.

use std::{collections::BTreeMap, fmt, sync::Arc};

use filefleet_shared::{broker::polls_of, config::SecretError};
use reqwest::{Client, Url, header::InvalidHeaderValue};

use super::{
    BoundStep, Service, ServiceLimits, azure,
    bound::{Place, bind},
    command, docintel,
    entra::EntraError,
    http,
    openai::{self, EndpointError},
    search, transport, vision,
};
use crate::config::{Action, Config, ServiceConfig, ServiceKind, StepConfig};

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
        let mut accesses: BTreeMap<&str, Vec<Access>> = BTreeMap::new();
        for (name, service) in &config.services {
            let places = Place::all(name, service).into_iter();
            let access = |place: Place<'_>| Access::new(&place.name, place.service, options);
            match places.map(access).collect() {
                Ok(access) => drop(accesses.insert(name, access)),
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

    /// The same, with this in place of every service.
    #[cfg(test)]
    pub(crate) fn calling(mut self, call: &Arc<dyn Service>) -> Self {
        for step in self.pipelines.values_mut().flatten() {
            step.call = call.clone();
        }
        self
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
        let apart = |known: &&ServiceLimits| known.name == service && known.polls().is_some();
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
pub(super) enum Access {
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

    pub(super) fn call(
        &self,
        step: &StepConfig,
        action: &Action,
    ) -> Result<Arc<dyn Service>, BuildError> {
        let unsendable = |source| BuildError::Header {
            service: step.service.clone(),
            source,
        };
        match (self, action) {
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

impl fmt::Display for BuildErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for BuildErrors {}
