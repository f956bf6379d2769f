//! Steps, bound to the places where their calls go.

use std::{fmt, sync::Arc, time::Duration};

use super::{BuildError, Condition, Identity, Service, catalog::Access};
use crate::{
    blame::Record,
    config::{DeploymentConfig, Price, ServiceConfig, StepConfig},
    retry::RetryPolicy,
};

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
    /// What its answers are found by in a journal, beside each file's request; none if they are
    /// not kept.
    pub identity: Option<Identity>,
    /// What to call.
    pub call: Arc<dyn Service>,
    /// What that costs.
    pub price: Price,
    /// What else can be called, by the places of the service's deployments after the first.
    pub(crate) others: Vec<(Arc<dyn Service>, Price)>,
    /// What calls and questions for results came to at each place.
    pub(crate) records: Arc<[[Record; 2]]>,
}

impl BoundStep {
    /// What to call at a deployment of its service, and what that costs.
    pub(crate) fn at(&self, place: usize) -> (&dyn Service, &Price) {
        let other = place
            .checked_sub(1)
            .and_then(|other| self.others.get(other));
        other.map_or((&*self.call, &self.price), |(call, price)| (&**call, price))
    }

    /// What its calls, or its questions for results, came to at a deployment of its service.
    pub(crate) fn record(&self, place: usize, continues: bool) -> Option<&Record> {
        let [calls, questions] = self.records.get(place)?;
        Some(if continues { questions } else { calls })
    }
}

/// One place where calls of a service go.
pub(super) struct Place<'c> {
    /// What a person knows it by.
    pub(super) name: String,
    pub(super) service: &'c ServiceConfig,
    deployment: Option<&'c DeploymentConfig>,
}

impl<'c> Place<'c> {
    pub(super) fn all(name: &str, service: &'c ServiceConfig) -> Vec<Self> {
        let several = service.deployments.iter().map(|deployment| Self {
            name: format!("{name}/{}", deployment.name),
            service: &deployment.service,
            deployment: Some(deployment),
        });
        let alone = service.deployments.is_empty().then(|| Self {
            name: name.to_owned(),
            service,
            deployment: None,
        });
        alone.into_iter().chain(several).collect()
    }

    /// What a step asks there, and what that costs.
    fn bind(
        &self,
        step: &StepConfig,
        access: &Access,
    ) -> Result<(Arc<dyn Service>, Price), BuildError> {
        let price = self.service.prices.of(step.action.model());
        let models = self.deployment.map(|deployment| &deployment.models);
        let model = step.action.model().and_then(|model| models?.get(model));
        let call = match model {
            Some(model) => access.call(step, &step.action.with_model(model))?,
            None => access.call(step, &step.action)?,
        };
        Ok((call, price))
    }
}

/// Binds a step to all places where its calls go.
pub(super) fn bind(
    pipeline: &str,
    step: &StepConfig,
    service: &ServiceConfig,
    accesses: &[Access],
) -> Result<BoundStep, BuildError> {
    let places = Place::all(&step.service, service);
    let calls = places.iter().zip(accesses);
    let calls = calls.map(|(place, access)| place.bind(step, access));
    let mut calls = calls.collect::<Result<Vec<_>, _>>()?.into_iter();
    let (call, price) = calls.next().ok_or_else(|| BuildError::NotOffered {
        step: step.name.clone(),
        service: step.service.clone(),
    })?;
    Ok(BoundStep {
        pipeline: pipeline.to_owned(),
        name: step.name.clone(),
        service: step.service.clone(),
        when: step.when.clone(),
        timeout: step.timeout.unwrap_or(service.timeout),
        retry: step.retry.clone(),
        max_file_bytes: service.max_file_bytes,
        too_large: service.kind.too_large(),
        identity: step.identity(service).map_err(BuildError::Encoding)?,
        call,
        price,
        others: calls.collect(),
        records: places.iter().map(|_| Default::default()).collect(),
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
