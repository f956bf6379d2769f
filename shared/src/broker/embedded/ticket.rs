//! A delivery's way back: settles it, or gives it back when it is dropped.

use async_trait::async_trait;

use super::{
    super::{
        BrokerError, Dead, Death, Envelope, Later, Message, Settle, SettleError, Verdict,
        check_sizes,
    },
    job::Handle,
    session::Hand,
    store::{Record, encode_headers, stored},
    turn::Settlement,
};
use crate::time::UnixMillis;

/// Settles one delivery.
#[derive(Debug)]
pub(super) struct Ticket {
    handle: Handle,
    hand: Hand,
    settled: bool,
}

impl Ticket {
    pub(super) fn new(handle: Handle, hand: Hand) -> Self {
        Self {
            handle,
            hand,
            settled: false,
        }
    }
}

#[async_trait]
impl Settle for Ticket {
    async fn settle(
        mut self: Box<Self>,
        envelope: Envelope,
        verdict: Verdict,
    ) -> Result<(), SettleError> {
        let settlement = settlement(&envelope, verdict)?;
        // The body is on disk; it is not needed while the settlement waits for its turn.
        drop(envelope);
        let hand = self.hand;
        let settled = self
            .handle
            .call(move |turn| turn.settle(hand, &settlement))
            .await;
        // Otherwise it is still in hand, and dropping gives it back.
        self.settled = matches!(settled, Ok(()) | Err(SettleError::Lost));
        settled
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.settled {
            self.handle.give_back(self.hand);
        }
    }
}

fn settlement(envelope: &Envelope, verdict: Verdict) -> Result<Settlement, BrokerError> {
    Ok(match verdict {
        Verdict::Done(publish) => Settlement::Done(records(publish)?),
        Verdict::Later(later) => put_off(envelope, later)?,
        Verdict::Dead(dead) => bury(envelope, dead)?,
        Verdict::Release => Settlement::Release,
    })
}

/// Checks a batch and brings it into the form in which it is stored.
pub(super) fn records(messages: Vec<Message>) -> Result<Vec<Record>, BrokerError> {
    check_sizes(&messages)?;
    messages.into_iter().map(Record::try_from).collect()
}

fn put_off(envelope: &Envelope, later: Later) -> Result<Settlement, BrokerError> {
    let now = UnixMillis::now();
    Ok(Settlement::Later {
        headers: encode_headers(&envelope.headers.put_off(&later, now))?,
        // Rounded up: `now` was rounded down, and coming back early breaks a `Retry-After`.
        due: stored(now.after(later.delay).0.saturating_add(1)),
        body: later.body,
    })
}

fn bury(envelope: &Envelope, dead: Dead) -> Result<Settlement, BrokerError> {
    let headers = envelope.headers.dead(Death {
        reason: dead.reason,
        detail: dead.detail,
        from: envelope.queue.to_string(),
        by: dead.by,
        at: UnixMillis::now(),
    });
    Ok(Settlement::Dead {
        headers: encode_headers(&headers)?,
        publish: records(dead.publish)?,
    })
}
