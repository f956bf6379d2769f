//! Waiting for a broker that is away: for ever, until told to stop.

use std::{future::Future, time::Duration};

use filefleet_shared::broker::BrokerError;
use tokio::sync::watch;

const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// Tries again after transient errors; `None` if told to stop meanwhile.
///
/// `waiting` hears why it waits, and `None` when it no longer does.
pub(crate) async fn persist<T, F>(
    stop: &mut watch::Receiver<bool>,
    mut waiting: impl FnMut(Option<String>),
    mut call: impl FnMut() -> F,
) -> Result<Option<T>, BrokerError>
where
    F: Future<Output = Result<T, BrokerError>>,
{
    let mut wait = FIRST_WAIT;
    let mut waited = false;
    loop {
        match call().await {
            Ok(done) => {
                if waited {
                    tracing::info!("broker is back");
                    waiting(None);
                }
                return Ok(Some(done));
            }
            Err(error) if error.is_transient() => {
                if !waited {
                    tracing::warn!(%error, "waiting for the broker");
                }
                waited = true;
                waiting(Some(error.to_string()));
            }
            Err(error) => return Err(error),
        }
        // Between half and all of it, so that a fleet does not come back in step.
        let jittered = wait.mul_f64(rand::random_range(0.5..1.0));
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    fn away() -> BrokerError {
        BrokerError::Unavailable("away".to_owned())
    }

    #[tokio::test(start_paused = true)]
    async fn a_transient_error_is_waited_out_and_said() {
        let (_tell, mut stop) = watch::channel(false);
        let calls = AtomicU32::new(0);
        let mut said = Vec::new();
        let done = persist(
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
        let none = persist(&mut stop, |_| {}, || async { Err::<(), _>(away()) }).await;
        assert!(none.unwrap().is_none());
        let refused = || async { Err::<(), _>(BrokerError::Refused("no".to_owned())) };
        let error = persist(&mut stop, |_| {}, refused).await.unwrap_err();
        assert!(matches!(error, BrokerError::Refused(_)));
    }
}
