//! What becomes of a file where its first step is passed over.

use filefleet_shared::{
    broker::{Envelope, Verdict},
    wire::StepMessage,
};

use crate::{
    context::Context,
    outcome::{self, Ended},
    route,
    service::BoundStep,
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
    let written = match way.next {
        Some(next) => {
            let following = outcome::following(message, &ended, None, &way, next);
            outcome::go_on(&following, next, headers)
        }
        None => {
            let outcome = outcome::last(context, message, &ended, None);
            outcome::publishable(&outcome, headers).map(|message| Verdict::Done(vec![message]))
        }
    };
    Some(
        written
            .unwrap_or_else(|error| outcome::unwritable(context, message, headers, ended, &error)),
    )
}
