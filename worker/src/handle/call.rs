//! One call of a step: where it goes, and what it used.

use std::time::Duration;

use bytes::Bytes;
use filefleet_shared::{broker::Verdict, time::UnixMillis, wire::Usage};
use tokio::time::Instant;

use super::{Attempts, SOON, in_time, told::Made};
use crate::{
    account::{Ending, account},
    pool::Paused,
    service::{CallError, Demand, Heard, Reply, StepInput},
};

/// Longest time for which the result of an operation is not asked for, because the deployment that
/// has it is paused.
const LONGEST: Duration = Duration::from_secs(30);

/// Refusals of a request that has too many tokens before it is given up: the count is an estimate.
const REFUSALS: u32 = 2;

pub(super) enum Called {
    Answered(Result<Reply, CallError>),
    /// A drain came first.
    NotStarted,
    /// All that could be called is paused: to be tried again after so long.
    Paused(Duration),
    /// Others go before it, for this cause.
    Crowded(&'static str),
}

pub(super) enum Rerouted {
    /// Another deployment takes the call at once.
    AtOnce,
    /// The call has failed.
    No(CallError),
}

impl Attempts<'_> {
    /// Finds the deployment that has accepted the step. It is paid, so one that this configuration
    /// does not have is waited for: it may come back, or another worker may know it.
    pub(super) fn find_place(&mut self) -> Result<(), Box<Verdict>> {
        let Some(accepted) = &self.message.continuation else {
            return Ok(());
        };
        self.place = self.lane.calls.place_of(accepted.deployment.as_deref());
        if self.place.is_some() {
            return Ok(());
        }
        let name = accepted.deployment.as_deref().unwrap_or_default();
        let detail = format!(
            "service {:?} has no deployment {name:?} in this worker's configuration, which has \
             accepted the file",
            self.step.service
        );
        let (run, seq) = (self.message.run, self.message.seq);
        tracing::warn!(%run, seq, detail, "put off");
        Err(Box::new(self.until_back("unknown_deployment", detail)))
    }

    /// One call, when the service has room for it and it may be repeated, if it is.
    pub(super) async fn call(&mut self, content: Bytes) -> Called {
        let uncounted = std::mem::take(&mut self.uncounted);
        let repeats = self.is_repeated() && !uncounted;
        if repeats && !self.lane.retries.take() {
            return Called::Crowded("retry_budget");
        }
        let called = self.call_once(content).await;
        if repeats && !matches!(called, Called::Answered(_)) {
            self.lane.retries.give_back();
        }
        called
    }

    async fn call_once(&mut self, content: Bytes) -> Called {
        let heard = Heard::default();
        let input = StepInput {
            message: &self.input,
            content,
            heard: &heard,
        };
        let demand = match self.lane.calls.counts_tokens() {
            true => self.step.call.demand(&input),
            false => Demand::default(),
        };
        let waiting = in_time(self.latest(), self.lane.calls.acquire(demand, self.place));
        let let_through = tokio::select! {
            biased;
            _ = self.draining.wait_for(|draining| *draining) => return Called::NotStarted,
            let_through = waiting => let_through,
        };
        let (deployment, permit) = match let_through {
            Some(Ok(let_through)) => let_through,
            Some(Err(paused)) => return Called::Paused(self.pause(paused)),
            None => return Called::Crowded("crowded"),
        };
        if self.context.budget.is_over() {
            permit.unused();
            return Called::Paused(SOON);
        }
        self.called = Some(deployment);
        self.forgives = deployment.circuit().forgives();
        let (begun, reserved) = (Instant::now(), permit.reserved());
        self.began = UnixMillis::now();
        let (service, price) = self.step.at(deployment.place);
        let result = tokio::time::timeout(self.step.timeout, service.call(input))
            .await
            .unwrap_or_else(|_| {
                let limit = humantime::format_duration(self.step.timeout);
                Err(CallError::Timeout(format!("no answer within {limit}")))
            });
        let result = match permit.too_large() {
            Some(tokens) => self.too_large(result, tokens),
            None => result,
        };
        let took = begun.elapsed();
        self.call_ms = filefleet_shared::time::millis(took);
        let continues = self.message.continuation.is_some();
        self.note(&result);
        let ending = Ending {
            deployment,
            permit,
            began: begun,
            continues,
        };
        let mut used = account(self.context, self.lane, ending, &result, &heard);
        if result.is_ok() && self.is_repeated() {
            self.lane.retries.give_back();
        }
        used = self.own(used, &result);
        used.cost = used.cost.plus(price.of(&used));
        self.uses(&used);
        let made = Made {
            began: begun,
            took,
            reserved,
            reserved_answer: demand.answer,
        };
        self.tell(made, &result, used).await;
        Called::Answered(result)
    }

    /// A request with more tokens than its quota has in a minute, as far as can be told, and that is
    /// refused again and again is never taken.
    fn too_large(
        &self,
        result: Result<Reply, CallError>,
        (estimated, most): (u64, u64),
    ) -> Result<Reply, CallError> {
        let earlier = self.envelope.headers.deferred;
        let before = earlier.saturating_add(self.deferred);
        match result {
            Err(CallError::RateLimited { detail, .. }) if before >= REFUSALS => {
                let detail = format!(
                    "about {estimated} tokens, and the quota of a minute is {most}: {detail}"
                );
                Err(CallError::rejected("request_too_large", detail).called())
            }
            result => result,
        }
    }

    /// Counts what was used for the step, and spends what it cost.
    pub(super) fn uses(&mut self, used: &Usage) {
        self.context.budget.spend(used.cost);
        self.usage.add(used);
        self.used.add(used);
    }

    /// How long to leave a paused service alone. While another of its deployments works, nothing
    /// but the delay holds back what waits for this one.
    fn pause(&self, paused: Paused) -> Duration {
        match self.place {
            Some(_) => {
                let rest = paused.until.saturating_duration_since(Instant::now());
                rest.clamp(SOON, LONGEST)
            }
            None => SOON,
        }
    }

    /// A call that was one too many for its deployment goes to another, or waits for the first
    /// that takes calls again.
    pub(super) fn reroute(&mut self, error: CallError) -> Rerouted {
        let reopens = match self.place {
            Some(_) => None,
            None => self.lane.calls.reopens(),
        };
        let (
            Some(reopens),
            CallError::RateLimited {
                retry_after,
                detail,
            },
        ) = (reopens, &error)
        else {
            return Rerouted::No(error);
        };
        if reopens.is_zero() && self.rerouted < self.lane.calls.len() {
            self.rerouted += 1;
            self.defer();
            return Rerouted::AtOnce;
        }
        Rerouted::No(CallError::RateLimited {
            retry_after: retry_after.map(|asked| asked.min(reopens)),
            detail: detail.clone(),
        })
    }
}
