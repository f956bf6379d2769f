//! `[[service.NAME.deployments]]`: several places that give the same answers.

use std::collections::BTreeMap;

use filefleet_shared::config::{Section, check_name};

use super::{Quotas, ServiceConfig, ServiceKind, knows_kind, read_one};

/// One place where the calls of a service can go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeploymentConfig {
    /// Tells it from the service's others.
    pub name: String,
    /// Calls go to those with the lowest number first.
    pub priority: u16,
    /// Its part of the calls that go to those of its priority.
    pub weight: u16,
    /// What it calls the models that steps name, where it calls them something else.
    pub models: BTreeMap<String, String>,
    /// The service, were it the only place.
    pub service: ServiceConfig,
}

/// Keys that are the service's alone.
const OF_THE_SERVICE: &[&str] = &["kind", "timeout", "connect_timeout", "max_file_bytes"];

/// Reads a service with its deployments, for which all keys of the service hold, too.
pub(super) fn read_all<'d>(
    service: &mut Section<'d>,
    deployments: Vec<Section<'d>>,
) -> Option<ServiceConfig> {
    let found = deployments.len();
    let mut names = Vec::with_capacity(found);
    let mut right = Vec::with_capacity(found);
    for own in deployments {
        let mut whole = service.defaults_of(own);
        right.extend(read(&mut whole, &mut names));
        service.learn(&whole);
        if knows_kind(&mut whole) {
            whole.finish();
        }
    }
    if found == 0 {
        service.error("deployments", "there is none");
    }
    // What is wrong with one is reported; the others alone are not what was meant.
    (right.len() == found).then(|| together(right)).flatten()
}

fn read(section: &mut Section<'_>, names: &mut Vec<String>) -> Option<DeploymentConfig> {
    for key in OF_THE_SERVICE {
        if section.has_own(key) {
            section.error(
                key,
                "is the same for all deployments: write it at the service",
            );
        }
    }
    let name = read_name(section, names);
    let priority = section.opt_integer("priority", 1..=1000).unwrap_or(1);
    let weight = section.opt_integer("weight", 1..=1000).unwrap_or(1);
    let service = read_one(section);
    let models = match service.as_ref().map(|service| &service.kind) {
        Some(ServiceKind::OpenAi(_)) => read_models(section),
        _ => BTreeMap::new(),
    };
    let service = service?;
    match service.kind {
        ServiceKind::OpenAi(_)
        | ServiceKind::DocIntel(_)
        | ServiceKind::Vision(_)
        | ServiceKind::Http(_) => {}
        // What one index has, another has not; and there is only one machine.
        ServiceKind::Search(_) | ServiceKind::Command(_) => {
            let message = format!("has no deployments: kind {:?}", service.kind.word());
            section.error("kind", message);
        }
    }
    Some(DeploymentConfig {
        name: name?,
        priority,
        weight,
        models,
        service,
    })
}

fn read_name(section: &mut Section<'_>, names: &mut Vec<String>) -> Option<String> {
    if !section.has_own("name") {
        section.error("name", "is missing: each deployment has its own");
    }
    let name = section.opt_string("name")?;
    if let Err(message) = check_name(&name) {
        section.error("name", message);
        return None;
    }
    if names.contains(&name) {
        section.error("name", format!("{name:?} is another deployment already"));
        return None;
    }
    names.push(name.clone());
    Some(name)
}

fn read_models(section: &mut Section<'_>) -> BTreeMap<String, String> {
    let mut table = section.section("models");
    let models = table
        .keys()
        .into_iter()
        .filter_map(|model| Some((model.clone(), table.opt_string(&model)?)))
        .collect();
    table.finish();
    models
}

/// The service that several deployments are together.
fn together(deployments: Vec<DeploymentConfig>) -> Option<ServiceConfig> {
    let services = || deployments.iter().map(|deployment| &deployment.service);
    let sum = |of: fn(&Quotas) -> Option<u64>| services().map(|one| of(&one.quotas)).sum();
    let quotas = Quotas {
        requests_per_minute: sum(|quotas| quotas.requests_per_minute),
        tokens_per_minute: sum(|quotas| quotas.tokens_per_minute),
        polls_per_minute: sum(|quotas| quotas.polls_per_minute),
    };
    let together = ServiceConfig {
        in_flight: services().map(|one| one.in_flight).sum(),
        seeking: services().any(|one| one.seeking),
        polls: services().map(|one| one.polls).sum(),
        quotas,
        ..services().next()?.clone()
    };
    Some(ServiceConfig {
        deployments,
        ..together
    })
}
