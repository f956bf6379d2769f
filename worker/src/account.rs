//! What the end of a call says about the service, and what it used.

use std::time::Duration;

use filefleet_shared::{
    time::UnixMillis,
    wire::{ControlRecord, Throttled, Usage, VERSION},
};
use tokio::time::Instant;

use crate::{
    context::{Context, Lane},
    governor::{Heard, LONGEST, Permit},
    pool::Deployment,
    service::{Answer, CallError, Reply},
};

/// A call that has ended.
#[derive(Debug)]
pub(crate) struct Ending<'a> {
    /// Where it went.
    pub(crate) deployment: Deployment<'a>,
    pub(crate) permit: Permit<'a>,
    pub(crate) began: Instant,
    /// It asked for the result of a call that was counted when it was made.
    pub(crate) continues: bool,
}

/// Tells the deployment's breaker and governor, and the lane's counters, how a call ended; what it
/// used.
///
/// `heard` is what answers said, and what those that were not the last of the call have cost.
pub(crate) fn account(
    context: &Context,
    lane: &Lane,
    mut ending: Ending<'_>,
    result: &Result<Reply, CallError>,
    heard: &Heard,
) -> Usage {
    ending.permit.hear(heard);
    let used = used(result, ending.continues, &heard.was_paid());
    let sent = !refused_here(result);
    if sent
        && matches!(
            result,
            Ok(Reply::Answered(_)) | Err(CallError::Rejected { .. })
        )
    {
        lane.stats.answered.add(1);
        lane.retries.succeeded();
    }
    if matches!(result, Err(CallError::RateLimited { .. })) {
        lane.stats.throttled.add(1);
    }
    lane.stats.calls.add(match result {
        // Nothing may have had to be sent.
        Ok(Reply::Answered(_)) if !ending.continues => used.calls,
        _ if sent => used.calls.max(1),
        _ => 0,
    });
    if !ending.continues && heard.answers() == 0 && is_unsent(result) {
        ending.permit.unused();
    } else {
        judge(context, ending, result, &used);
    }
    lane.stats.input_tokens.add(used.input_tokens);
    lane.stats.output_tokens.add(used.output_tokens);
    used
}

/// The file was refused without a call.
pub(crate) fn refused_here(result: &Result<Reply, CallError>) -> bool {
    matches!(result, Err(CallError::Rejected { usage, .. }) if usage.calls == 0)
}

fn used(result: &Result<Reply, CallError>, continues: bool, paid: &Usage) -> Usage {
    let one = Usage {
        calls: u64::from(!continues),
        ..Usage::default()
    };
    let mut used = match result {
        // More than one if there were questions about an answer.
        Ok(Reply::Answered(answer)) => Usage {
            // A step may take several requests, or none where it has nothing to send.
            calls: if continues { 0 } else { answer.usage.calls },
            ..answer.usage
        },
        Ok(Reply::Accepted(accepted)) => Usage {
            calls: one.calls,
            ..accepted.usage
        },
        // Refused here, it counts no call.
        Err(CallError::Rejected { usage, .. }) => Usage {
            calls: if continues { 0 } else { usage.calls },
            ..*usage
        },
        Err(CallError::Pending { .. }) => Usage::default(),
        Err(
            CallError::RateLimited { .. }
            | CallError::Overloaded { .. }
            | CallError::Malformed(_)
            | CallError::Timeout(_),
        ) => one,
        Err(
            CallError::Unreachable(_)
            | CallError::Unauthorized(_)
            | CallError::Misconfigured(_)
            | CallError::QuotaExhausted(_),
        ) => Usage::default(),
    };
    // Other results have it in them.
    if let Err(error) = result
        && !matches!(error, CallError::Rejected { .. })
    {
        used.add(paid);
    }
    used
}

/// The file was refused here, or there was nothing to send of it.
fn is_unsent(result: &Result<Reply, CallError>) -> bool {
    match result {
        Ok(Reply::Answered(Answer { usage, .. })) => usage.calls == 0,
        result => refused_here(result),
    }
}

fn judge(context: &Context, ending: Ending<'_>, result: &Result<Reply, CallError>, used: &Usage) {
    let deployment = ending.deployment;
    let circuit = deployment.circuit();
    match result {
        Err(CallError::RateLimited {
            retry_after,
            detail,
        }) => {
            let asked = retry_after.map(|asked| asked.min(context.retry.cap));
            throttled(context, ending, asked, detail);
        }
        // Nothing was sent: the continuation names no operation.
        Err(CallError::Rejected { usage, .. }) if usage.calls == 0 => {}
        Ok(_) | Err(CallError::Rejected { .. } | CallError::Pending { .. }) => {
            // Before the permit lets another call in.
            circuit.answered(ending.began);
            if ending.permit.answered(used) {
                tracing::warn!(
                    service = deployment.name(),
                    input_tokens = used.input_tokens,
                    "the service counts more tokens than can be; its quota is not kept by that",
                );
            }
        }
        Err(CallError::Unreachable(detail)) => circuit.unreachable(detail),
        Err(
            error
            @ (CallError::Overloaded { .. } | CallError::Malformed(_) | CallError::Timeout(_)),
        ) => circuit.failed(&error.to_string()),
        // The verdict trips the breaker.
        Err(
            CallError::Unauthorized(_) | CallError::Misconfigured(_) | CallError::QuotaExhausted(_),
        ) => {}
    }
}

/// The service wants to be left alone: all workers should know if it is for long.
fn throttled(context: &Context, ending: Ending<'_>, asked: Option<Duration>, detail: &str) {
    let Ending {
        deployment,
        permit,
        began,
        ..
    } = ending;
    if let Some(wait) = permit.throttled(asked) {
        let now = UnixMillis::now();
        let record = ControlRecord::Throttled(Throttled {
            v: VERSION,
            service: deployment.name().to_owned(),
            until: now.after(wait),
            by: context.worker.clone(),
            at: now,
        });
        // A full queue of them has told enough.
        if context.announce.try_send(record).is_err() {
            tracing::debug!(
                service = deployment.name(),
                "other workers are not told of a throttling"
            );
        }
    }
    match asked.filter(|asked| *asked > LONGEST) {
        Some(wait) => deployment.circuit().throttled(wait, detail),
        None => deployment.circuit().answered(began),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn only_what_was_decided_here_was_not_sent() {
        let answer = |calls| {
            let usage = Usage {
                calls,
                ..Usage::default()
            };
            let output = Value::Null;
            Ok(Answer { output, usage }.into())
        };
        let refused = || CallError::rejected("unsupported_file", "");
        for unsent in [answer(0), Err(refused())] {
            assert!(is_unsent(&unsent), "{unsent:?}");
        }
        let slow = CallError::Timeout("slow".to_owned());
        for sent in [answer(1), Err(refused().called()), Err(slow)] {
            assert!(!is_unsent(&sent), "{sent:?}");
        }
    }

    #[test]
    fn an_answer_that_was_paid_counts_whatever_becomes_of_the_question_about_it() {
        let tokens = |calls| Usage {
            calls,
            input_tokens: 10 * calls,
            ..Usage::default()
        };
        let paid = tokens(1);
        let calls = |result| used(&result, false, &paid);
        let slow = calls(Err(CallError::Timeout("slow".to_owned())));
        assert_eq!((slow.calls, slow.input_tokens), (2, 10));
        let gone = calls(Err(CallError::Unreachable("gone".to_owned())));
        assert_eq!(gone, paid);
        let both = Answer {
            output: Value::Null,
            usage: tokens(2),
        };
        assert_eq!(calls(Ok(Reply::Answered(both))), tokens(2));
        let refused = CallError::rejected("invalid_output", "").after(&tokens(2));
        assert_eq!(calls(Err(refused)), tokens(2));
    }
}
