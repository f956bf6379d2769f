//! The first SIGTERM or SIGINT asks to stop; the second one leaves at once.

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

use crate::progress::tell;

/// Signals received: 0, 1 (stop) or 2 (leave at once).
#[derive(Clone, Debug)]
pub(crate) struct Signals(watch::Receiver<u8>);

impl Signals {
    /// Starts listening.
    ///
    /// # Errors
    /// The operating system refuses a handler.
    pub(crate) fn listen() -> std::io::Result<Self> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let (count, receiver) = watch::channel(0);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                    () = count.closed() => return,
                }
                count.send_modify(|count: &mut u8| *count = count.saturating_add(1));
                if *count.borrow() == 1 {
                    tell("stopping: finishing what is in hand; once more leaves at once");
                }
            }
        });
        Ok(Self(receiver))
    }

    /// Waits for the first signal.
    pub(crate) async fn stop(&mut self) {
        if self.0.wait_for(|count| *count >= 1).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Waits for the second signal.
    pub(crate) async fn leave(&mut self) {
        if self.0.wait_for(|count| *count >= 2).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
