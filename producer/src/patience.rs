//! Waiting for a broker that is away: as long as it may be, or until told to stop.

use std::{future::Future, time::Duration};

use filefleet_shared::broker::BrokerError;
use tokio::{sync::watch, time::Instant};

const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// How long a call may still take when told to stop. What it published counts as not published
/// then, and is published again later: a broker that is there must get the time to confirm it.
const LAST_CALL: Duration = Duration::from_secs(10);

/// Tries again after transient errors for as long as an `outage` may take; `None` if told to stop
/// meanwhile.
///
/// `waiting` hears why it waits, and `None` when it no longer does.
pub(crate) async fn persist<T, F>(
    outage: Duration,
    stop: &mut watch::Receiver<bool>,
    mut waiting: impl FnMut(Option<String>),
    mut call: impl FnMut() -> F,
) -> Result<Option<T>, BrokerError>
where
    F: Future<Output = Result<T, BrokerError>>,
{
    let mut wait = FIRST_WAIT;
    let mut waited = false;
    let began = Instant::now();
    loop {
        let called = tokio::select! {
            biased;
            called = call() => called,
            () = stopped_for(stop, LAST_CALL) => return Ok(None),
        };
        match called {
            Ok(done) => {
                if waited {
                    tracing::info!("broker is back");
                    waiting(None);
                }
                return Ok(Some(done));
            }
            Err(error) if error.is_transient() && began.elapsed() < outage => {
                if !waited {
                    tracing::warn!(%error, "waiting for the broker");
                }
                waited = true;
                waiting(Some(error.to_string()));
            }
            Err(error) => return Err(error.after(outage)),
        }
        // Between half and all of it, so that a fleet does not come back in step.
        let jittered = wait.mul_f64(rand::random_range(0.5..1.0));
        let jittered = jittered.min(outage.saturating_sub(began.elapsed()));
        tokio::select! {
            () = tokio::time::sleep(jittered) => {}
            () = stopped(stop) => return Ok(None),
        }
        wait = wait.saturating_mul(2).min(LONGEST_WAIT);
    }
}

/// Resolves when told to stop; never if nobody can tell any more.
pub(crate) async fn stopped(stop: &mut watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Resolves some time after being told to stop.
async fn stopped_for(stop: &mut watch::Receiver<bool>, time: Duration) {
    stopped(stop).await;
    tokio::time::sleep(time).await;
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    const OUTAGE: Duration = Duration::from_secs(15 * 60);

    fn away() -> BrokerError {
        BrokerError::Unavailable("away".to_owned())
    }

    #[tokio::test(start_paused = true)]
    async fn a_transient_error_is_waited_out_and_said() {
        let (_tell, mut stop) = watch::channel(false);
        let calls = AtomicU32::new(0);
        let mut said = Vec::new();
        let done = persist(
            OUTAGE,
            &mut stop,
            |why| said.push(why.is_some()),
            || async {
                match calls.fetch_add(1, Ordering::SeqCst) {
                    0..3 => Err(away()),
                    _ => Ok("done"),
                }
            },
        )
        .await
        .unwrap();
        assert_eq!(done, Some("done"));
        assert_eq!(said, [true, true, true, false]);
    }

    #[tokio::test(start_paused = true)]
    async fn stopping_ends_the_wait_and_a_refusal_is_not_waited_out() {
        let (tell, mut stop) = watch::channel(false);
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(60)).await;
            tell.send(true).unwrap();
            tell.closed().await;
        });
        let call = || async { Err::<(), _>(away()) };
        let none = persist(OUTAGE, &mut stop, |_| {}, call).await;
        assert!(none.unwrap().is_none());
        let refused = || async { Err::<(), _>(BrokerError::Refused("no".to_owned())) };
        let error = persist(OUTAGE, &mut stop, |_| {}, refused)
            .await
            .unwrap_err();
        assert!(matches!(error, BrokerError::Refused(_)));
    }
    #[tokio::test(start_paused = true)]
    async fn a_broker_that_stays_away_is_given_up_after_the_outage() {
        let (_tell, mut stop) = watch::channel(false);
        let call = || async { Err::<(), _>(away()) };
        let began = Instant::now();
        let error = persist(OUTAGE, &mut stop, |_| {}, call).await.unwrap_err();
        assert_eq!(began.elapsed().as_secs(), OUTAGE.as_secs());
        let told = error.to_string();
        assert_eq!(told, "broker away for longer than 15m: away");
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_under_way_gets_a_moment_when_told_to_stop_and_no_more() {
        let (tell, mut stop) = watch::channel(false);
        tell.send(true).unwrap();
        for (takes, done) in [(LAST_CALL / 2, Some(())), (LAST_CALL * 2, None)] {
            let call = || async move {
                tokio::time::sleep(takes).await;
                Ok(())
            };
            let began = Instant::now();
            let called = persist(OUTAGE, &mut stop, |_| {}, call).await;
            assert_eq!(called.unwrap(), done);
            assert!(began.elapsed() <= LAST_CALL + Duration::from_secs(1));
        }
    }
}
