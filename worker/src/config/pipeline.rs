//! `[[pipeline.NAME]]`: steps in the order a file goes through them.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use filefleet_shared::config::{Section, check_name};
use serde_json::Value;

use super::{
    action::{self, Action},
    retry,
    service::ServiceConfig,
};
use crate::{
    retry::RetryPolicy,
    service::{Condition, RESERVED_NAMES},
};

/// One step.
#[derive(Clone, Debug)]
pub struct StepConfig {
    /// Its name, by which later steps see its output.
    pub name: String,
    /// Name of its service; such a service exists.
    pub service: String,
    /// Files for which it does not hold are passed over.
    pub when: Option<Arc<Condition>>,
    /// Total deadline of one attempt, if not its service's.
    pub timeout: Option<Duration>,
    /// When to try again, if not as `[retry]` says.
    pub retry: Option<RetryPolicy>,
    /// Whether its answers are kept in the journal, if not as is usual for what it asks.
    pub journal: Option<bool>,
    /// What it asks of it.
    pub action: Action,
    /// The table of the action, as it stands in the configuration.
    pub written: Option<Value>,
}

/// The services that steps can name.
#[derive(Clone, Copy)]
pub(super) struct Services<'a> {
    /// Names that stand in the configuration, right or wrong.
    pub(super) names: &'a [String],
    /// Those that are right.
    pub(super) right: &'a BTreeMap<String, ServiceConfig>,
}

/// Reads every pipeline.
pub(super) fn read_all(
    root: &mut Section<'_>,
    services: Services<'_>,
    retry: &RetryPolicy,
) -> BTreeMap<String, Vec<StepConfig>> {
    let mut section = root.section("pipeline");
    let mut pipelines = BTreeMap::new();
    for pipeline in section.names() {
        let Some(tables) = section.array_of_tables(&pipeline) else {
            continue;
        };
        if tables.is_empty() {
            section.error(&pipeline, "has no steps");
        }
        let mut earlier = Vec::new();
        let mut steps = Vec::new();
        for table in tables {
            steps.extend(read_step(table, services, retry, &mut earlier));
        }
        pipelines.insert(pipeline, steps);
    }
    section.finish();
    pipelines
}

fn read_step(
    mut section: Section<'_>,
    services: Services<'_>,
    retry: &RetryPolicy,
    earlier: &mut Vec<String>,
) -> Option<StepConfig> {
    let name = section.string("name");
    let service = section.string("service");
    if let Some(name) = &name
        && let Err(message) = check_step_name(name, earlier)
    {
        section.error("name", message);
    }
    if let Some(service) = &service
        && !services.names.contains(service)
    {
        let known = services.names.join(", ");
        section.error(
            "service",
            format!("there is no [service.{service}]; there is: {known}"),
        );
    }
    let kind = service.as_ref().and_then(|name| services.right.get(name));
    let kind = kind.map(|service| &service.kind);
    let action = action::read(&mut section, kind, earlier);
    let when = read_when(&mut section, earlier);
    let timeout = section.opt_duration("timeout");
    let retry = section
        .opt_section("retry")
        .map(|own| retry::read(own, retry));
    let journal = read_journal(&mut section, action.as_ref());
    let written = action
        .as_ref()
        .and_then(|action| section.written(action.key()));
    section.finish();
    let new = |name: &&String| !earlier.contains(name) && !RESERVED_NAMES.contains(&name.as_str());
    let new = name.as_ref().filter(new).cloned();
    earlier.extend(new);
    Some(StepConfig {
        name: name?,
        service: service?,
        when,
        timeout,
        retry,
        journal,
        action: action?,
        written,
    })
}

fn read_journal(section: &mut Section<'_>, action: Option<&Action>) -> Option<bool> {
    let journal = section.opt_bool("journal")?;
    if let (true, Some(why)) = (journal, action.and_then(Action::is_never_kept)) {
        section.error("journal", why);
    }
    Some(journal)
}

fn read_when(section: &mut Section<'_>, earlier: &[String]) -> Option<Arc<Condition>> {
    let source = section.opt_string("when")?;
    let earlier: Vec<&str> = earlier.iter().map(String::as_str).collect();
    Condition::compile(&source, &earlier)
        .map_err(|message| section.error("when", message))
        .ok()
        .map(Arc::new)
}

fn check_step_name(name: &str, earlier: &[String]) -> Result<(), String> {
    check_name(name)?;
    if earlier.iter().any(|step| step == name) {
        return Err(format!("{name:?} is the name of a step before it"));
    }
    if RESERVED_NAMES.contains(&name) {
        return Err(format!(
            "{name:?} means something else in prompts; take another name"
        ));
    }
    Ok(())
}
