//! What the end of a call says about the service, and what it used.

use filefleet_shared::wire::Usage;

use crate::{
    context::Lane,
    service::{CallError, Reply},
};

/// Tells the lane's breaker, limiter and counters how a call ended; what it used.
///
/// `continues` is true of a question for the result of a call that was counted when it was made.
pub(crate) fn account(lane: &Lane, result: &Result<Reply, CallError>, continues: bool) -> Usage {
    let one = Usage {
        calls: u64::from(!continues),
        ..Usage::default()
    };
    let used = match result {
        // More than one if there were questions about an answer.
        Ok(Reply::Answered(answer)) => Usage {
            calls: if continues {
                0
            } else {
                answer.usage.calls.max(1)
            },
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
    if matches!(
        result,
        Ok(Reply::Answered(_)) | Err(CallError::Rejected { .. })
    ) {
        lane.stats.answered.add(1);
    }
    judge(lane, result);
    // The one was counted when it was made.
    lane.stats.calls.add(used.calls.saturating_sub(1));
    lane.stats.input_tokens.add(used.input_tokens);
    lane.stats.output_tokens.add(used.output_tokens);
    used
}

fn judge(lane: &Lane, result: &Result<Reply, CallError>) {
    match result {
        Ok(_) => {
            lane.calls.answered();
            lane.breaker.answered();
        }
        Err(CallError::RateLimited { retry_after, .. }) => {
            lane.stats.throttled.add(1);
            lane.calls.throttled(*retry_after);
            lane.breaker.answered();
        }
        // Nothing was sent.
        Err(CallError::Rejected { usage, .. }) if usage.calls == 0 => {}
        Err(CallError::Rejected { .. } | CallError::Pending { .. }) => lane.breaker.answered(),
        Err(CallError::Unreachable(detail)) => lane.breaker.unreachable(detail),
        Err(
            error
            @ (CallError::Overloaded { .. } | CallError::Malformed(_) | CallError::Timeout(_)),
        ) => lane.breaker.failed(&error.to_string()),
        // The verdict trips the breaker.
        Err(
            CallError::Unauthorized(_) | CallError::Misconfigured(_) | CallError::QuotaExhausted(_),
        ) => {}
    }
}
