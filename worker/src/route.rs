//! Where a file goes after a step, and past steps whose condition does not hold for it.

use filefleet_shared::wire::StepMessage;
use serde_json::Value;

use crate::service::{BoundStep, Catalog};

/// The word for a file whose way cannot be decided.
pub(crate) const BAD_CONDITION: &str = "bad_condition";

/// The way of a file from where it is.
#[derive(Debug)]
pub(crate) struct Way<'a> {
    /// The next step; none if it has none left.
    pub(crate) next: Option<&'a BoundStep>,
    /// Names of the steps before it whose condition does not hold.
    pub(crate) passed: Vec<&'a str>,
}

impl Way<'_> {
    /// Steps that were passed over gave nothing, and later conditions and templates see that.
    pub(crate) fn mark(&self, following: &mut StepMessage) {
        for step in &self.passed {
            following.outputs.insert((*step).to_owned(), Value::Null);
        }
    }
}

/// The way after the step of a message, which gave `output`; `message` has all outputs before it.
///
/// # Errors
/// Which condition cannot be decided, and why.
pub(crate) fn after<'a>(
    catalog: &'a Catalog,
    message: &StepMessage,
    output: &Value,
) -> Result<Way<'a>, String> {
    let later = catalog.after(&message.pipeline, &message.step);
    if later.iter().all(|step| step.when.is_none()) {
        let next = later.first();
        return Ok(Way {
            next,
            passed: Vec::new(),
        });
    }
    let mut seen = message.clone();
    seen.outputs.insert(message.step.clone(), output.clone());
    choose(later, seen)
}

/// The way past a step that a producer has sent a file to; none if the file is to go through it.
///
/// A producer knows no conditions. Those of later steps were decided when the step before ended,
/// and what a service has accepted is finished, whatever a new configuration says.
///
/// # Errors
/// Which condition cannot be decided, and why.
pub(crate) fn past<'a>(
    catalog: &'a Catalog,
    message: &StepMessage,
    step: &'a BoundStep,
) -> Result<Option<Way<'a>>, String> {
    let decided = message.continuation.is_some() || !message.outputs.is_empty();
    if decided || holds(step, message)? {
        return Ok(None);
    }
    let mut seen = message.clone();
    seen.outputs.insert(step.name.clone(), Value::Null);
    let mut way = choose(catalog.after(&message.pipeline, &message.step), seen)?;
    way.passed.insert(0, &step.name);
    Ok(Some(way))
}

/// The first of some steps whose condition holds.
fn choose(later: &[BoundStep], mut seen: StepMessage) -> Result<Way<'_>, String> {
    let mut passed = Vec::new();
    for step in later {
        if holds(step, &seen)? {
            let next = Some(step);
            return Ok(Way { next, passed });
        }
        seen.outputs.insert(step.name.clone(), Value::Null);
        passed.push(step.name.as_str());
    }
    Ok(Way { next: None, passed })
}

fn holds(step: &BoundStep, message: &StepMessage) -> Result<bool, String> {
    let Some(when) = &step.when else {
        return Ok(true);
    };
    when.holds(message)
        .map_err(|why| format!("`when` of step {:?}: {why}", step.name))
}

#[cfg(test)]
mod tests;
