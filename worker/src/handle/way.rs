//! What becomes of a file where a step ends, or is passed over.

use filefleet_shared::{
    broker::{Envelope, Verdict},
    wire::StepMessage,
};

use super::Attempts;
use crate::{
    context::Context,
    outcome::{self, Ended},
    route,
    service::{Answer, BoundStep},
};

/// A first step whose condition does not hold for its file: the next one gets it, without a call.
pub(super) fn passed_over(
    context: &Context,
    envelope: &Envelope,
    message: &StepMessage,
    step: &BoundStep,
) -> Option<Verdict> {
    let headers = &envelope.headers;
    let way = match route::past(&context.catalog, message, step) {
        Ok(way) => way?,
        Err(detail) => {
            let ended = Ended::failure(headers.attempt, route::BAD_CONDITION, detail);
            return Some(outcome::failed(context, message, headers, ended));
        }
    };
    let ended = Ended::untried(way.next.is_none());
    Some(match way.next {
        Some(next) => {
            let mut following = message.clone();
            way.mark(&mut following);
            outcome::go_on(context, message, headers, ended, following, next)
        }
        None => outcome::last(context, message, headers, ended, None),
    })
}

impl Attempts<'_> {
    /// What follows from an answer.
    pub(super) fn succeeded(&self, answer: Answer) -> Verdict {
        let headers = &self.envelope.headers;
        let (context, message, ended) = (self.context, self.message, self.ended());
        let way = match route::after(&context.catalog, message, &answer.output) {
            Ok(way) => way,
            Err(detail) => return self.failed(route::BAD_CONDITION, detail),
        };
        let Some(next) = way.next else {
            return outcome::last(context, message, headers, ended, Some(answer.output));
        };
        let mut following = message.clone();
        following
            .outputs
            .insert(message.step.clone(), answer.output);
        way.mark(&mut following);
        outcome::go_on(context, message, headers, ended, following, next)
    }
}
