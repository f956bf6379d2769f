//! Which steps have no price, and which prices have no step.

use std::{collections::BTreeSet, fmt};

use super::{Action, Config, ServiceConfig, ServiceKind, StepConfig};

/// Calls of which nobody knows what they cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unpriced {
    /// The first step that makes them.
    pub step: String,
    /// Name of the service, with that of the deployment where it has several.
    pub service: String,
    /// What the step names, if it names one.
    pub model: Option<String>,
}

impl fmt::Display for Unpriced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "service {}", self.service)?;
        match &self.model {
            Some(model) => write!(f, ", model {model}"),
            None => Ok(()),
        }
    }
}

/// A price of a model that no step of its service names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnusedPrice {
    /// Name of the service, with that of the deployment where it has several.
    pub service: String,
    /// Which model.
    pub model: String,
    /// Those that steps name.
    pub named: Vec<String>,
}

impl Config {
    /// What a pipeline calls without a price, each service and model once; nothing of a pipeline
    /// that is not there. Programs have none, and some services say it themselves.
    #[must_use]
    pub fn unpriced(&self, pipeline: &str) -> Vec<Unpriced> {
        let mut found: Vec<Unpriced> = Vec::new();
        for step in self.pipelines.get(pipeline).into_iter().flatten() {
            let service = self.services.get(&step.service);
            let service = service.filter(|service| costs(step, service));
            for (name, place) in service
                .into_iter()
                .flat_map(|one| places(&step.service, one))
            {
                let model = step.action.model();
                let known = found
                    .iter()
                    .any(|other| other.service == name && other.model.as_deref() == model);
                if !known && !place.prices.has(model) {
                    found.push(Unpriced {
                        step: step.name.clone(),
                        service: name,
                        model: model.map(str::to_owned),
                    });
                }
            }
        }
        found
    }

    /// Prices of models that no step names, of services that steps use: slips of the hand, perhaps.
    #[must_use]
    pub fn unused_prices(&self) -> Vec<UnusedPrice> {
        let mut unused = Vec::new();
        for (service, config) in &self.services {
            let steps = self.pipelines.values().flatten();
            let steps = steps.filter(|step| step.service == *service);
            let named: BTreeSet<&str> = steps.filter_map(|step| step.action.model()).collect();
            if named.is_empty() {
                continue;
            }
            for (name, place) in places(service, config) {
                let models = place.prices.models.keys();
                let models = models.filter(|model| !named.contains(model.as_str()));
                unused.extend(models.map(|model| UnusedPrice {
                    service: name.clone(),
                    model: model.clone(),
                    named: named.iter().map(|&model| model.to_owned()).collect(),
                }));
            }
        }
        unused
    }
}

/// Whether prices decide what the step costs.
fn costs(step: &StepConfig, service: &ServiceConfig) -> bool {
    let says_itself =
        matches!(&step.action, Action::Request(request) if request.reading.usage.cost.is_some());
    !matches!(service.kind, ServiceKind::Command(_)) && !says_itself
}

/// Where the calls of a service go, each by its name.
fn places<'c>(name: &str, service: &'c ServiceConfig) -> Vec<(String, &'c ServiceConfig)> {
    if service.deployments.is_empty() {
        return vec![(name.to_owned(), service)];
    }
    let deployments = service.deployments.iter();
    deployments
        .map(|one| (format!("{name}/{}", one.name), &one.service))
        .collect()
}
