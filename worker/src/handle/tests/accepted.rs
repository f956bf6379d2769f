//! Operations that a service has accepted.

use serde_json::json;

use super::{super::*, stand::Stand};
use crate::service::Accepted;

#[tokio::test(start_paused = true)]
async fn the_first_question_is_neither_at_once_nor_years_later() {
    for (said, expected) in [(0, 1), (3, 3), (1_000_000_000_000, 60)] {
        let stand = Stand::new("", move |_| {
            Ok(Reply::Accepted(Accepted {
                state: json!({}),
                usage: Usage::default(),
                check_after: Duration::from_secs(said),
            }))
        });
        let before = UnixMillis::now();
        let Verdict::Done(next) = stand.handle(&stand.envelope("one")).await else {
            panic!("not accepted")
        };
        let first = next[0].headers.not_before.expect("a time");
        let expected = Duration::from_secs(expected);
        assert!(first >= before.after(expected));
        assert!(first <= UnixMillis::now().after(expected));
    }
}
