//! The deployments of one service: which of them takes a call, and when.
//!
//! Those of the lowest priority number come first, by their weights; one that is throttled, paused
//! or at its quota is passed over. So all of them together are used up before a call waits.

use std::{sync::Arc, time::Duration};

use rand::RngExt;
use tokio::{
    sync::{Mutex, watch},
    time::Instant,
};

use crate::{
    breaker::{Breaker, Circuit},
    governor::{Demand, Governor, Permit, Shared, Try},
    service::{Bounds, DeploymentLimits},
};

/// The deployments of a service, as one lane sees them; one, if it names none.
#[derive(Debug)]
pub(crate) struct Pool {
    members: Vec<Member>,
    /// Whoever holds it is the next that any of them takes.
    turn: Mutex<()>,
    shared: Arc<Shared>,
    breaker: Arc<Breaker>,
}

#[derive(Debug)]
struct Member {
    /// Its name, where the service has several.
    deployment: Option<String>,
    /// The lane's name, with its own where there are several.
    name: String,
    priority: u16,
    weight: u16,
    /// Whoever holds it is the next that it takes, of those that no other can.
    turn: Mutex<()>,
    governor: Governor,
}

/// One deployment of a service, by its place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deployment<'a> {
    pool: &'a Pool,
    member: &'a Member,
    /// Its place among the service's.
    pub(crate) place: usize,
}

/// No deployment may be called before then.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paused {
    pub(crate) until: Instant,
}

enum Found<'a> {
    Taken(Deployment<'a>, Permit<'a>),
    /// Something must change, or so much time must pass.
    Wait(Option<Instant>),
    Paused(Paused),
}

impl Pool {
    /// All deployments of a service, each with its bounds in this lane.
    pub(crate) fn new<'l>(
        lane: &str,
        deployments: impl Iterator<Item = (&'l DeploymentLimits, Bounds)>,
        breaker: Arc<Breaker>,
    ) -> Self {
        let shared = Arc::new(Shared::default());
        let members = deployments.map(|(limits, bounds)| Member {
            deployment: limits.name.clone(),
            name: limits.name_in(lane),
            priority: limits.priority,
            weight: limits.weight,
            turn: Mutex::default(),
            governor: Governor::new(bounds, shared.clone()),
        });
        Self {
            members: members.collect(),
            turn: Mutex::default(),
            shared,
            breaker,
        }
    }

    /// Waits until a deployment takes a call, or only `place` if the call is of an operation that
    /// this one has accepted.
    ///
    /// # Errors
    /// All that could take it are paused.
    pub(crate) async fn acquire(
        &self,
        demand: Demand,
        place: Option<usize>,
    ) -> Result<(Deployment<'_>, Permit<'_>), Paused> {
        let only = place.and_then(|place| self.members.get(place));
        let _turn = only.map_or(&self.turn, |member| &member.turn).lock().await;
        loop {
            let mut changed = std::pin::pin!(self.shared.changed.notified());
            // Before the look at the state, so that no change after it is missed.
            changed.as_mut().enable();
            match self.find(Instant::now(), demand, place) {
                Found::Taken(deployment, permit) => return Ok((deployment, permit)),
                Found::Paused(paused) => return Err(paused),
                Found::Wait(None) => changed.await,
                Found::Wait(Some(at)) => tokio::select! {
                    () = tokio::time::sleep_until(at) => {}
                    () = changed => {}
                },
            }
        }
    }

    fn find(&self, now: Instant, demand: Demand, place: Option<usize>) -> Found<'_> {
        let mut paused: Option<Instant> = None;
        let mut soonest: Option<Instant> = None;
        let mut open = false;
        for deployment in self.ranked(place) {
            let (ready, probes) = deployment.circuit().ready_at();
            if let Some(until) = ready.filter(|until| *until > now) {
                paused = earlier(paused, until);
                continue;
            }
            open = true;
            let governor = &deployment.member.governor;
            // One call is enough to see whether it is back.
            if probes && governor.in_flight() > 0 {
                continue;
            }
            if probes {
                governor.left_alone(now);
            }
            match governor.try_take(now, demand) {
                Try::Taken(permit) => return Found::Taken(deployment, permit),
                Try::Blocked => {}
                Try::NotBefore(at) => soonest = earlier(soonest, at),
            }
        }
        match paused {
            Some(until) if !open => Found::Paused(Paused { until }),
            Some(until) => Found::Wait(earlier(soonest, until)),
            None => Found::Wait(soonest),
        }
    }

    /// The deployments in the order in which they are to be asked this time.
    fn ranked(&self, place: Option<usize>) -> Vec<Deployment<'_>> {
        let wanted =
            |deployment: &Deployment<'_>| place.is_none_or(|only| only == deployment.place);
        let mut ranked: Vec<_> = self
            .deployments()
            .filter(wanted)
            .map(|deployment| (deployment, deployment.member.lot()))
            .collect();
        ranked.sort_by(|(one, lot), (other, its)| {
            let priority = one.member.priority.cmp(&other.member.priority);
            priority.then(lot.total_cmp(its))
        });
        ranked
            .into_iter()
            .map(|(deployment, _)| deployment)
            .collect()
    }

    /// All of them, by their places.
    pub(crate) fn deployments(&self) -> impl Iterator<Item = Deployment<'_>> {
        let members = self.members.iter().enumerate();
        members.map(|(place, member)| Deployment {
            pool: self,
            member,
            place,
        })
    }

    /// The place of the deployment of this name; none if the service has no such. Without a name,
    /// from before the service had several, it is the first.
    pub(crate) fn place_of(&self, deployment: Option<&str>) -> Option<usize> {
        let Some(name) = deployment else {
            return Some(0);
        };
        let named = |member: &Member| member.deployment.as_deref() == Some(name);
        self.members.iter().position(named)
    }

    /// How long until one of several deployments may be called; none if there is only one.
    pub(crate) fn reopens(&self) -> Option<Duration> {
        let now = Instant::now();
        let waits = self.deployments().map(|deployment| {
            let (ready, _) = deployment.circuit().ready_at();
            let at = ready.max(deployment.member.governor.stopped_until());
            at.map_or(Duration::ZERO, |at| at.saturating_duration_since(now))
        });
        waits.min().filter(|_| self.members.len() > 1)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    /// Tokens of calls are counted, so that callers should say what they demand.
    pub(crate) fn counts_tokens(&self) -> bool {
        self.governors().any(Governor::counts_tokens)
    }

    /// A quota is known, so that the fleet's members must share it.
    pub(crate) fn is_shared(&self) -> bool {
        self.governors().any(Governor::is_shared)
    }

    /// How many workers share the quotas, this one included.
    pub(crate) fn share(&self, members: u64) {
        for governor in self.governors() {
            governor.share(members);
        }
    }

    /// How many calls may be in flight, in steps that are worth another prefetch.
    pub(crate) fn tier(&self) -> watch::Receiver<usize> {
        self.shared.tier.subscribe()
    }

    fn governors(&self) -> impl Iterator<Item = &Governor> {
        self.members.iter().map(|member| &member.governor)
    }
}

impl<'a> Deployment<'a> {
    /// The lane's name, with its own where the service has several.
    pub(crate) fn name(self) -> &'a str {
        &self.member.name
    }

    /// Its own name, where the service has several.
    pub(crate) fn own_name(self) -> Option<&'a str> {
        self.member.deployment.as_deref()
    }

    pub(crate) fn governor(self) -> &'a Governor {
        &self.member.governor
    }

    pub(crate) fn circuit(self) -> Circuit<'a> {
        self.pool.breaker.circuit(self.place)
    }
}

impl Member {
    /// Falls so that the lowest lot is each member's in proportion to its weight.
    fn lot(&self) -> f64 {
        let chance: f64 = rand::rng().random_range(f64::MIN_POSITIVE..1.0);
        -chance.ln() / f64::from(self.weight)
    }
}

fn earlier(known: Option<Instant>, other: Instant) -> Option<Instant> {
    Some(known.map_or(other, |known| known.min(other)))
}

#[cfg(test)]
pub(crate) mod tests;
