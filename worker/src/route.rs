//! Where a file goes after a step, and past steps whose condition does not hold for it.

use filefleet_shared::{
    broker::{Headers, Verdict},
    wire::StepMessage,
};
use serde_json::Value;

use crate::{
    context::Context,
    outcome::{self, Ended},
    service::{Answer, BoundStep},
};

/// The outcome of a file whose last step has ended, or the message of its next one.
pub(crate) fn after(
    context: &Context,
    message: &StepMessage,
    headers: &Headers,
    ended: Ended,
    answer: Answer,
) -> Verdict {
    let later = context.catalog.after(&message.pipeline, &message.step);
    if later.is_empty() {
        return outcome::last(context, message, headers, ended, Some(answer.output));
    }
    let mut following = message.clone();
    following
        .outputs
        .insert(message.step.clone(), answer.output);
    following.continuation = None;
    following.usage = ended.usage;
    match choose(later, &mut following) {
        Ok(Some(next)) => outcome::go_on(context, message, headers, ended, following, next),
        Ok(None) => {
            let output = following.outputs.remove(&message.step);
            outcome::last(context, message, headers, ended, output)
        }
        Err(detail) => bad_condition(context, message, headers, ended, detail),
    }
}

/// What becomes of a step whose condition does not hold: none if it does.
///
/// The steps after one that ended were chosen then; a producer knows no conditions and sends every
/// file to the first step.
pub(crate) fn past(
    context: &Context,
    message: &StepMessage,
    headers: &Headers,
    step: &BoundStep,
) -> Option<Verdict> {
    // What a service has accepted is finished, whatever a new configuration says.
    if message.continuation.is_some() || step.when.is_none() {
        return None;
    }
    let ended = || Ended::untried(message.usage);
    let mut following = message.clone();
    let later = context.catalog.after(&message.pipeline, &message.step);
    let verdict = match holds(step, &following) {
        Ok(true) => return None,
        Ok(false) => {
            following.outputs.insert(step.name.clone(), Value::Null);
            match choose(later, &mut following) {
                Ok(Some(next)) => {
                    outcome::go_on(context, message, headers, ended(), following, next)
                }
                Ok(None) => {
                    let output = latest(context, &following);
                    let ended = Ended {
                        unmatched: output.is_none(),
                        ..ended()
                    };
                    outcome::last(context, message, headers, ended, output)
                }
                Err(detail) => bad_condition(context, message, headers, ended(), detail),
            }
        }
        Err(detail) => bad_condition(context, message, headers, ended(), detail),
    };
    Some(verdict)
}

/// The first of some steps whose condition holds; the outputs of those before it become `null`.
fn choose<'a>(
    later: &'a [BoundStep],
    following: &mut StepMessage,
) -> Result<Option<&'a BoundStep>, String> {
    for step in later {
        if holds(step, following)? {
            return Ok(Some(step));
        }
        following.outputs.insert(step.name.clone(), Value::Null);
    }
    Ok(None)
}

fn holds(step: &BoundStep, message: &StepMessage) -> Result<bool, String> {
    let Some(when) = &step.when else {
        return Ok(true);
    };
    when.holds(message)
        .map_err(|why| format!("`when` of step {:?}: {why}", step.name))
}

/// What the last step gave that was not passed over.
fn latest(context: &Context, message: &StepMessage) -> Option<Value> {
    let steps = context.catalog.steps(&message.pipeline)?.iter().rev();
    let mut outputs = steps.filter_map(|step| message.outputs.get(&step.name));
    outputs.find(|output| !output.is_null()).cloned()
}

fn bad_condition(
    context: &Context,
    message: &StepMessage,
    headers: &Headers,
    ended: Ended,
    detail: String,
) -> Verdict {
    let failure = Some(("bad_condition".to_owned(), detail));
    outcome::failed(context, message, headers, Ended { failure, ..ended })
}

#[cfg(test)]
mod tests;
