//! Steps that others are before.

use std::sync::atomic::Ordering;

use super::{
    super::*,
    stand::{Stand, fine, outcome},
};

/// A delivery may wait for 10 s until its call begins.
fn held_for_a_minute(limits: &str) -> Stand {
    let limits = format!("timeout = \"50s\"\n{limits}");
    let mut stand = Stand::new(&limits, |_| fine());
    stand.context.hold_budget = Duration::from_secs(60);
    stand
}

#[tokio::test(start_paused = true)]
async fn a_step_waits_for_its_turn_no_longer_than_it_may_be_held() {
    let stand = held_for_a_minute("limits = { requests_per_minute = 1 }");
    let [one, two] = ["one", "two"].map(|key| stand.envelope(key));
    stand.handle(&one).await;
    let begun = Instant::now();
    let mut two = stand.put_off(&two).await;
    assert_eq!(begun.elapsed().as_secs(), 10);
    assert_eq!(two.headers.retry_cause.as_deref(), Some("crowded"));
    for _ in 0..4 {
        two = stand.put_off(&two).await;
    }
    assert_eq!(two.headers.attempt, 1);
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(outcome(&stand.handle(&two).await).failure, None);
    assert_eq!(*stand.service.calls.lock().unwrap(), ["one", "two"]);
}

#[tokio::test(start_paused = true)]
async fn a_step_waits_for_memory_no_longer_than_it_may_be_held() {
    let stand = held_for_a_minute("");
    stand.service.needs_files.store(true, Ordering::SeqCst);
    let all = stand.context.bytes.acquire_many(stand.context.bytes_total);
    let _all = all.await.expect("open");
    let begun = Instant::now();
    let one = stand.put_off(&stand.envelope("one")).await;
    assert_eq!(begun.elapsed().as_secs(), 10);
    assert_eq!(one.headers.retry_cause.as_deref(), Some("crowded"));
    assert_eq!(one.headers.attempt, 1);
}
