//! A token that is held, and got anew before it ends, by one question at a time.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use reqwest::header::HeaderValue;
use secrecy::SecretString;
use tokio::{
    sync::{Mutex as Turn, OwnedMutexGuard},
    time::Instant,
};

use super::Authority;
use crate::service::CallError;

/// Nobody asks again sooner after a question that failed.
const PAUSE: Duration = Duration::from_secs(2);
/// A token is not used in the last of its time: a request takes a while to arrive.
const MARGIN: Duration = Duration::from_secs(30);

/// A token, as long as it is good.
pub(crate) struct Token {
    value: SecretString,
    header: HeaderValue,
    /// When another one is asked for.
    renew: Instant,
    /// When it is used no longer.
    ends: Instant,
}

/// The token of one service; it is asked for when it is needed first.
#[derive(Debug)]
pub(crate) struct Tokens {
    authority: Authority,
    held: Mutex<Held>,
    /// Held by who asks.
    turn: Arc<Turn<()>>,
}

#[derive(Debug, Default)]
struct Held {
    token: Option<Arc<Token>>,
    failed: Option<(Instant, CallError)>,
}

impl Token {
    /// A token that is good for `life` from `asked`; `renew` is the authority's wish.
    ///
    /// # Errors
    /// It cannot be sent in a header.
    pub(super) fn new(
        value: String,
        asked: Instant,
        life: Duration,
        renew: Option<Duration>,
    ) -> Result<Self, CallError> {
        let header = HeaderValue::try_from(format!("Bearer {value}"));
        let mut header = header.map_err(|_| {
            CallError::Misconfigured("the authority's token cannot be sent in a header".to_owned())
        })?;
        header.set_sensitive(true);
        let usual = life / 5 * 4;
        Ok(Self {
            value: SecretString::from(value),
            header,
            renew: asked + renew.unwrap_or(usual).min(usual),
            ends: asked + life.saturating_sub(MARGIN.min(life / 20)),
        })
    }

    /// The value of the header `authorization`.
    pub(crate) fn header(&self) -> &HeaderValue {
        &self.header
    }

    /// What must not be repeated.
    pub(crate) fn value(&self) -> &SecretString {
        &self.value
    }
}

#[cfg(test)]
impl Token {
    pub(super) fn renews(&self) -> Instant {
        self.renew
    }
}

#[cfg(test)]
impl Tokens {
    pub(super) fn held_is_not(&self, token: &Arc<Token>) -> bool {
        self.good().is_some_and(|held| !Arc::ptr_eq(&held, token))
    }
}

impl Tokens {
    pub(crate) fn new(authority: Authority) -> Arc<Self> {
        Arc::new(Self {
            authority,
            held: Mutex::default(),
            turn: Arc::default(),
        })
    }

    /// A token that is good now: the one that is held, or a new one.
    ///
    /// Shortly before the end of one, a new one is asked for beside the calls, which go on with the
    /// old one. Without a good one, calls wait for the same question.
    ///
    /// # Errors
    /// There is none to be had.
    pub(crate) async fn get(self: &Arc<Self>) -> Result<Arc<Token>, CallError> {
        if let Some(token) = self.good() {
            let due = token.renew <= Instant::now() && self.recent_failure().is_none();
            if due && let Ok(turn) = self.turn.clone().try_lock_owned() {
                // It notes how it went, and nobody waits for it.
                drop(self.ask(turn));
            }
            return Ok(token);
        }
        let turn = self.turn.clone().lock_owned().await;
        // Another call may have asked meanwhile.
        if let Some(token) = self.good() {
            return Ok(token);
        }
        if let Some(error) = self.recent_failure() {
            return Err(error);
        }
        // A task of its own: the call may end before its answer, which others wait for.
        let asked = self.ask(turn).await;
        asked.unwrap_or_else(|panic| {
            Err(CallError::Unreachable(format!(
                "asking for a token ended badly: {panic}"
            )))
        })
    }

    /// The service refused this token: it is used no longer.
    pub(crate) fn refused(&self, token: &Arc<Token>) {
        let mut held = self.lock();
        if held
            .token
            .as_ref()
            .is_some_and(|now| Arc::ptr_eq(now, token))
        {
            held.token = None;
        }
    }

    fn ask(
        self: &Arc<Self>,
        turn: OwnedMutexGuard<()>,
    ) -> tokio::task::JoinHandle<Result<Arc<Token>, CallError>> {
        let tokens = self.clone();
        tokio::spawn(async move {
            let answer = tokens.authority.ask().await.map(Arc::new);
            tokens.note(&answer);
            // Only now may the next one ask: it finds the answer.
            drop(turn);
            answer
        })
    }

    fn note(&self, answer: &Result<Arc<Token>, CallError>) {
        match answer {
            Ok(token) => {
                let mut held = self.lock();
                held.token = Some(token.clone());
                held.failed = None;
                drop(held);
                tracing::debug!(identity = %self.authority, "new token");
            }
            Err(error) => {
                if self.good().is_some() {
                    // Nobody else hears of it: calls go on with the old one.
                    tracing::warn!(identity = %self.authority, %error, "no new token yet");
                }
                self.lock().failed = Some((Instant::now(), error.clone()));
            }
        }
    }

    fn good(&self) -> Option<Arc<Token>> {
        let held = self.lock();
        let token = held.token.as_ref()?;
        (Instant::now() < token.ends).then(|| token.clone())
    }

    fn recent_failure(&self) -> Option<CallError> {
        let held = self.lock();
        let (at, error) = held.failed.as_ref()?;
        (at.elapsed() < PAUSE).then(|| error.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        // Whole after every statement.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("renew", &self.renew)
            .field("ends", &self.ends)
            .finish_non_exhaustive()
    }
}
