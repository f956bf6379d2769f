//! What counts as a call, and as a repeated one.

use super::{
    super::*,
    stand::{Stand, fine, outcome},
};

#[tokio::test(start_paused = true)]
async fn a_file_that_is_refused_without_a_call_counts_none_anywhere() {
    let stand = Stand::new("", |key| {
        let refused = CallError::rejected("not_text", "it is none");
        Err(if key == "sent" {
            refused.called()
        } else {
            refused
        })
    });
    for (key, calls) in [("here", 0), ("sent", 1)] {
        let verdict = stand.handle(&stand.envelope(key)).await;
        let stats = &stand.lane.stats;
        assert_eq!(outcome(&verdict).usage.calls, calls, "{key}");
        assert_eq!(stats.calls.get(), calls, "{key}");
        assert_eq!(stats.answered.get(), calls, "{key}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_step_that_makes_no_call_uses_up_no_leave_to_repeat_one() {
    let stand = Stand::new("", |_| fine());
    let circuit = stand.lane.breaker.circuit(0);
    circuit.throttled(Duration::from_secs(60), "429");
    let mut again = stand.envelope("again");
    again.headers.attempt = 2;
    for _ in 0..1000 {
        again = stand.put_off(&again).await;
        assert_eq!(again.headers.retry_cause.as_deref(), Some("paused"));
    }
}
