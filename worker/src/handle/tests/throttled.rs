//! Services that ask to be left alone.

use super::{
    super::*,
    stand::{Stand, fine, outcome},
};

#[tokio::test(start_paused = true)]
async fn a_time_that_a_service_asked_for_is_kept_whatever_comes_of_calls_from_before() {
    let long = CallError::RateLimited {
        retry_after: Some(Duration::from_secs(60)),
        detail: "429".to_owned(),
    };
    let stand = Stand::new("", move |key| match key {
        "first" => Err(long.clone()),
        "slow and refused" => Err(CallError::RateLimited {
            retry_after: None,
            detail: "429".to_owned(),
        }),
        _ => fine(),
    });
    let begun = Instant::now();
    let [slow, refused, first] =
        ["slow", "slow and refused", "first"].map(|key| stand.envelope(key));
    let (slow, _, _) = tokio::join!(
        stand.handle(&slow),
        stand.handle(&refused),
        stand.put_off(&first)
    );
    assert_eq!(outcome(&slow).failure, None);
    assert_eq!(stand.paused(), Some(PauseKind::Throttled));
    tokio::time::sleep_until(begun + Duration::from_secs(59)).await;
    stand.put_off(&stand.envelope("next")).await;
    tokio::time::sleep_until(begun + Duration::from_secs(61)).await;
    assert_eq!(
        outcome(&stand.handle(&stand.envelope("next")).await).failure,
        None
    );
    assert_eq!(stand.paused(), None);
}

#[tokio::test(start_paused = true)]
async fn a_step_that_lay_in_its_queue_for_long_is_tried_once_more() {
    let stand = Stand::new("", |_| {
        Err(CallError::RateLimited {
            retry_after: Some(Duration::from_secs(60)),
            detail: "429".to_owned(),
        })
    });
    let day = Duration::from_secs(86_400);
    let mut step = stand.put_off(&stand.envelope("one")).await;
    let headers = &mut step.headers;
    for at in [&mut headers.first_attempt, &mut headers.not_before] {
        *at = at.map(|at| UnixMillis(at.0 - filefleet_shared::time::millis(day)));
    }
    tokio::time::sleep(Duration::from_secs(61)).await;
    let again = stand.put_off(&step).await;
    tokio::time::sleep(Duration::from_secs(61)).await;
    let ended = outcome(&stand.handle(&again).await);
    assert_eq!(ended.failure.expect("a failure").cause, "rate_limited");
}
