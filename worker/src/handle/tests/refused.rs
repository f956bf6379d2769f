//! Services that refuse one file as if they refused every one.

use super::super::*;
use super::stand::{Stand, fine, outcome};

/// A service that refuses the file `bad` only.
fn picky(refusal: CallError) -> Stand {
    Stand::new("", move |key| match key {
        "bad" => Err(refusal.clone()),
        _ => fine(),
    })
}

#[tokio::test(start_paused = true)]
async fn a_file_that_alone_is_refused_fails_after_its_attempts_and_pauses_nothing() {
    for refusal in [
        CallError::Unauthorized("403".to_owned()),
        CallError::Misconfigured("404".to_owned()),
    ] {
        let stand = picky(refusal);
        stand.handle(&stand.envelope("one")).await;
        let mut bad = stand.put_off(&stand.envelope("bad")).await;
        stand.handle(&stand.envelope("two")).await;
        let ended = loop {
            assert_eq!(stand.paused(), None);
            match stand.handle(&bad).await {
                Verdict::Later(later) => {
                    bad.headers = bad.headers.put_off(&later, UnixMillis::now());
                }
                ended => break ended,
            }
        };
        let outcome = outcome(&ended);
        let failure = outcome.failure.expect("a failure");
        let cause = bad.headers.retry_cause.as_deref();
        assert_eq!(Some(failure.cause.as_str()), cause);
        assert_eq!(outcome.attempts, stand.context.retry.attempts);
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_taken_back_pauses_its_service_and_fails_no_file() {
    let taken_back = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let refuses = taken_back.clone();
    let stand = Stand::new("", move |_| {
        if refuses.load(std::sync::atomic::Ordering::SeqCst) {
            Err(CallError::Unauthorized("401".to_owned()))
        } else {
            fine()
        }
    });
    stand.handle(&stand.envelope("one")).await;
    taken_back.store(true, std::sync::atomic::Ordering::SeqCst);
    let mut files = ["two", "three", "four"].map(|key| stand.envelope(key));
    for file in &mut files {
        *file = stand.put_off(file).await;
    }
    assert_eq!(stand.paused(), Some(PauseKind::Unauthorized));
    // Probes, for an hour.
    for _ in 0..120 {
        tokio::time::advance(Duration::from_secs(30)).await;
        for file in &mut files {
            *file = stand.put_off(file).await;
            assert_eq!(file.headers.attempt, 1);
        }
    }
    taken_back.store(false, std::sync::atomic::Ordering::SeqCst);
    tokio::time::advance(Duration::from_secs(30)).await;
    for file in &files {
        assert_eq!(outcome(&stand.handle(file).await).failure, None);
    }
    assert_eq!(stand.paused(), None);
}

#[tokio::test(start_paused = true)]
async fn an_account_without_money_pauses_its_service_whatever_was_answered() {
    let stand = picky(CallError::QuotaExhausted("402".to_owned()));
    let mut bad = stand.envelope("bad");
    for _ in 0..10 {
        stand.handle(&stand.envelope("one")).await;
        bad = stand.put_off(&bad).await;
        assert_eq!(stand.paused(), Some(PauseKind::QuotaExhausted));
        assert_eq!(bad.headers.attempt, 1);
        tokio::time::advance(Duration::from_secs(30)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_remembered_while_its_step_waits_for_other_reasons() {
    let stand = picky(CallError::Unauthorized("403".to_owned()));
    let first = stand.put_off(&stand.envelope("bad")).await;
    assert_eq!(stand.paused(), Some(PauseKind::Unauthorized));
    let waited = stand.put_off(&first).await;
    assert_eq!(stand.service.calls.lock().unwrap().len(), 1);
    assert_eq!(waited.headers.retry_cause.as_deref(), Some("unauthorized"));
    assert_eq!(waited.headers.first_attempt, first.headers.first_attempt);
}
