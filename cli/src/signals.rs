//! The first SIGTERM, SIGINT or SIGHUP asks to stop; the second one leaves at once.

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
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
        // Listening to it would undo what `nohup` has done.
        let mut hangup = match hangup_is_ignored() {
            true => None,
            false => Some(signal(SignalKind::hangup())?),
        };
        let (count, receiver) = watch::channel(0);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                    () = heard(&mut hangup) => {}
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

async fn heard(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    }
}

/// Whether whoever started this process has it ignore SIGHUP, as the system says.
fn hangup_is_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    // The lowest bit is signal 1.
    ignored.is_some_and(|mask| mask & 1 == 1)
}
