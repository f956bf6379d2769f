//! What bounds the calls of each service, as the worker needs it.

use crate::{
    config::{DeploymentConfig, ServiceConfig},
    governor::Bounds,
};

/// A service with what bounds its consumers.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceLimits {
    /// Name of the service, and of its queue.
    pub name: String,
    /// Where its calls can go; one without a name, if the configuration names none.
    pub deployments: Vec<DeploymentLimits>,
}

/// What bounds the calls that go to one deployment.
#[derive(Clone, Debug, PartialEq)]
pub struct DeploymentLimits {
    /// Its name, where the service has several.
    pub name: Option<String>,
    /// Calls go to those with the lowest number first.
    pub priority: u16,
    /// Its part of the calls that go to those of its priority.
    pub weight: u16,
    /// Bounds of its calls.
    pub calls: Bounds,
    /// Bounds of the questions for results of accepted operations; none if it has no such.
    pub polls: Option<Bounds>,
}

impl ServiceLimits {
    pub(super) fn new((name, service): (&String, &ServiceConfig)) -> Self {
        let deployments = match service.deployments.as_slice() {
            [] => vec![DeploymentLimits::new(service, None)],
            several => several
                .iter()
                .map(|deployment| DeploymentLimits::new(&deployment.service, Some(deployment)))
                .collect(),
        };
        Self {
            name: name.clone(),
            deployments,
        }
    }

    /// Bounds of the questions for results, by deployment; none if the service has no such.
    #[must_use]
    pub fn polls(&self) -> Option<Vec<Bounds>> {
        self.deployments.iter().map(|limits| limits.polls).collect()
    }
}

impl DeploymentLimits {
    fn new(service: &ServiceConfig, deployment: Option<&DeploymentConfig>) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "quotas are far below 2^52")]
        let per_second = |per_minute: Option<u64>| per_minute.map(|count| count as f64 / 60.0);
        let quotas = service.quotas;
        Self {
            name: deployment.map(|deployment| deployment.name.clone()),
            priority: deployment.map_or(1, |deployment| deployment.priority),
            weight: deployment.map_or(1, |deployment| deployment.weight),
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

    /// What a person knows it by in this lane.
    pub(crate) fn name_in(&self, lane: &str) -> String {
        match &self.name {
            Some(name) => format!("{lane}/{name}"),
            None => lane.to_owned(),
        }
    }
}
