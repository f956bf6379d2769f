//! A step's way to and from the journal: what was paid once is not paid again.
//!
//! It is asked before the service is: an answer from it takes no quota, no call and no money.

use std::time::Duration;

use filefleet_shared::{
    broker::Verdict,
    store::StoreError,
    time::UnixMillis,
    wire::{StepMessage, Usage},
};
use tokio::time::{Instant, sleep_until};

use super::{Attempts, CROWDED, SOON};
use crate::{
    input::Loaded,
    journal::{Ahead, Begun, Entry, Flight, Journal, Request},
    outcome::{self, Operation},
    pool::Deployment,
    service::{Accepted, Answer, CallError, Heard, Reply, StepInput},
};

/// How old an operation may be that another file joins: services forget theirs after some hours.
const JOINABLE: Duration = Duration::from_secs(3600);

/// What a step asks for its file, and so may keep in the journal.
#[derive(Debug)]
pub(super) struct Asking {
    request: Request,
    /// Of a call that others wait for.
    flight: Option<Flight>,
    /// Its operation was begun for another file.
    joined: bool,
}

impl<'a> Attempts<'a> {
    /// The file, if the call has to be made; else the verdict of a step that needs none, or that
    /// cannot make it yet.
    pub(super) async fn recall(&mut self) -> Result<Loaded<'a>, Box<Verdict>> {
        let mut loaded = self.load().await?;
        let Some(journal) = &self.context.journal else {
            return Ok(loaded);
        };
        if let Some(continuation) = &self.message.continuation {
            self.asking = continuation.asked.as_ref().and_then(|asked| {
                Some(Asking {
                    request: Request::known(self.step, asked)?,
                    flight: None,
                    joined: asked.joined,
                })
            });
            return Ok(loaded);
        }
        let until = Instant::now() + self.retry().hold.min(self.context.hold_budget / 2);
        loop {
            let Some(request) = self.request(&loaded) else {
                return Ok(loaded);
            };
            match journal.begin(request.key()) {
                Begun::First(flight) => {
                    self.look_up(journal, request).await?;
                    self.asking = Some(Asking {
                        request,
                        flight: Some(flight),
                        joined: false,
                    });
                    return Ok(loaded);
                }
                Begun::After(ahead) => {
                    // Its memory is for others meanwhile.
                    drop(loaded);
                    self.wait_for(ahead, until).await?;
                    self.look_up(journal, request).await?;
                    loaded = self.load().await?;
                }
            }
        }
    }

    async fn load(&mut self) -> Result<Loaded<'a>, Box<Verdict>> {
        let loaded = self.read_file().await?;
        self.input_changed = loaded.changed;
        Ok(loaded)
    }

    fn request(&self, loaded: &Loaded<'_>) -> Option<Request> {
        let heard = Heard::default();
        let input = StepInput {
            message: &self.input,
            content: loaded.content.clone(),
            heard: &heard,
        };
        Request::of(self.step, &input)
    }

    /// Waits until somebody else has made the same request.
    async fn wait_for(&mut self, ahead: Ahead, until: Instant) -> Result<(), Box<Verdict>> {
        let mut paused = self.lane.breaker.watch();
        let (delay, cause) = tokio::select! {
            biased;
            // Nothing was tried.
            _ = self.draining.wait_for(|draining| *draining) => {
                return Err(Box::new(Verdict::Release));
            }
            () = ahead.ended() => return Ok(()),
            _ = paused.wait_for(Option::is_some) => (SOON, "paused"),
            () = sleep_until(until) => (CROWDED, "same_request"),
        };
        Err(Box::new(self.later(delay, cause)))
    }

    /// The verdict of a step that the journal knows, as an error.
    async fn look_up(&mut self, journal: &Journal, request: Request) -> Result<(), Box<Verdict>> {
        let found = tokio::select! {
            biased;
            found = journal.find(request.key()) => found,
            // A store may take its time to be away.
            _ = self.draining.wait_for(|draining| *draining) => {
                return Err(Box::new(Verdict::Release));
            }
        };
        let verdict = match found {
            Ok(Some(Entry::Answer { output, .. })) => {
                self.lane.stats.from_journal.add(1);
                let usage = Usage {
                    from_journal: 1,
                    ..Usage::default()
                };
                self.uses(&usage);
                self.succeeded(Answer { output, usage }).await
            }
            Ok(Some(Entry::Accepted {
                state,
                deployment,
                owner,
                at,
            })) if self.can_join(deployment.as_deref(), at) => {
                let joined = owner != owner_of(self.message);
                self.asking = Some(Asking {
                    request,
                    flight: None,
                    joined,
                });
                if !joined {
                    self.pay(deployment.as_deref());
                }
                let accepted = Accepted {
                    state,
                    usage: Usage::default(),
                    check_after: SOON,
                };
                self.continued(&accepted, deployment.as_deref())
            }
            Ok(_) => return Ok(()),
            Err(error) => self.without_journal(&error),
        };
        Err(Box::new(verdict))
    }

    /// Counts the call of an own operation, whose worker died before it could.
    fn pay(&mut self, deployment: Option<&str>) {
        let mut used = Usage {
            calls: 1,
            ..Usage::default()
        };
        let place = self.lane.calls.place_of(deployment).unwrap_or_default();
        used.cost = self.step.at(place).1.of(&used);
        self.uses(&used);
    }

    /// Its result is probably still there, at a deployment that is known here.
    fn can_join(&self, deployment: Option<&str>, accepted: UnixMillis) -> bool {
        self.lane.calls.place_of(deployment).is_some()
            && UnixMillis::now().since(accepted) < JOINABLE
    }

    /// Puts the step off: without the journal, it might be paid again.
    fn without_journal(&self, error: &StoreError) -> Verdict {
        let (run, seq) = (self.message.run, self.message.seq);
        tracing::debug!(%run, seq, error = error.explain(), "put off: the journal is away");
        self.until_back("journal_unreachable", format!("journal: {error}"))
    }

    /// Keeps what was paid, before anything is decided about the step.
    pub(super) async fn keep(&mut self, reply: &mut Reply) {
        let (Some(journal), Some(asking)) = (&self.context.journal, &mut self.asking) else {
            return;
        };
        // Who has begun the operation writes its answer.
        if asking.joined {
            return;
        }
        let at = UnixMillis::now();
        let entry = match reply {
            // Moved, not copied: it may be large.
            Reply::Answered(Answer { output, usage }) => Entry::Answer {
                output: std::mem::take(output),
                usage: *usage,
                at,
            },
            Reply::Accepted(accepted) => Entry::Accepted {
                state: accepted.state.clone(),
                deployment: self
                    .called
                    .and_then(Deployment::own_name)
                    .map(str::to_owned),
                owner: owner_of(self.message),
                at,
            },
        };
        journal.keep(asking.request.key(), &entry).await;
        if let (Reply::Answered(answer), Entry::Answer { output, .. }) = (reply, entry) {
            answer.output = output;
        }
        // Those who wait find it from here on.
        asking.flight = None;
    }

    /// An operation has come to nothing, so that nobody joins it any more. Who had joined it asks
    /// anew: what failed was not asked for its file.
    pub(super) async fn lost(&mut self) -> Option<Verdict> {
        let operation = &self.message.continuation.as_ref()?.state;
        let (journal, asking) = (self.context.journal.as_ref()?, self.asking.as_ref()?);
        let key = asking.request.key();
        let found = journal.find(key).await;
        // By now, another one may be on its way, or answered.
        if matches!(found, Ok(Some(Entry::Accepted { state, .. })) if state == *operation) {
            let at = UnixMillis::now();
            journal.keep(key, &Entry::Lost { at }).await;
        }
        // What it has failed with is another file's, but for its time.
        let late = self.age() >= self.retry().total;
        if !asking.joined || late || self.attempt() > self.retry().attempts {
            return None;
        }
        let (headers, ended) = (&self.envelope.headers, self.ended());
        Some(outcome::anew(self.context, self.message, headers, ended))
    }

    /// What the call of a joined operation used was paid where it was begun.
    pub(super) fn own(&self, used: Usage, result: &Result<Reply, CallError>) -> Usage {
        if !self.asking.as_ref().is_some_and(|asking| asking.joined) {
            return used;
        }
        let answered = matches!(result, Ok(Reply::Answered(_)));
        self.lane.stats.from_journal.add(u64::from(answered));
        Usage {
            from_journal: u64::from(answered),
            ..Usage::default()
        }
    }

    /// What was accepted is kept before its result is asked for, so that it is never paid again.
    pub(super) fn continued(&self, accepted: &Accepted, deployment: Option<&str>) -> Verdict {
        let headers = &self.envelope.headers;
        let asking = self.asking.as_ref();
        let asked = asking.map(|asking| asking.request.asked(asking.joined));
        let operation = Operation {
            accepted,
            deployment,
            asked,
        };
        outcome::continued(self.context, self.message, headers, self.ended(), operation)
    }
}

/// Which step of which file this is, in any delivery.
fn owner_of(message: &StepMessage) -> String {
    format!("{}/{}", message.task(), message.step)
}
