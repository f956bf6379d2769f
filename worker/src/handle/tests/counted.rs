//! What counts as a call, and as a repeated one.

use super::{
    super::*,
    stand::{Stand, outcome},
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
