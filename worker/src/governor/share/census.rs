//! How many workers have a share: those that are counted, less those that do not call yet.

use std::time::Duration;

use filefleet_shared::{
    time::UnixMillis,
    wire::{Change, Members},
};
use tokio::time::Instant;

use super::{SLACK, interval};

/// For so long members must be missing without a word before a share grows: one that only
/// subscribes anew is back by then.
const MISSING: Duration = Duration::from_millis(300);
/// For so long one that has left may still be counted: its consumer is, until what it has in hand
/// is settled.
pub(super) const GONE: Duration = Duration::from_secs(10);
/// For so long after a broker was away or a service paused: they wait up to 5 s between two tries
/// to connect, and up to 4 s between two probes.
const RETURN: Duration = Duration::from_secs(6);
/// Most that come at one time and are not counted until they call; more are counted at once.
const COMING: usize = 1024;

/// News of members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// Nobody knows what has changed.
    Changed,
    /// One will call after `due`, and not before.
    Coming { service: String, due: Instant },
    /// One does not call again.
    Left { service: String },
}

impl News {
    /// What a record means that was heard now.
    ///
    /// Clocks that differ, and records that are late, only make a worker look sooner.
    pub(crate) fn of(members: &Members) -> Self {
        match members.change.clone() {
            None => Self::Changed,
            Some(Change::Left { service }) => Self::Left { service },
            Some(Change::Coming { service, idle_ms }) => {
                let late = UnixMillis::now().since(members.at);
                let idle = Duration::from_millis(idle_ms).saturating_sub(SLACK + late);
                match Instant::now().checked_add(idle) {
                    Some(due) => Self::Coming { service, due },
                    None => Self::Changed,
                }
            }
        }
    }

    /// It is about this service, as far as it says.
    pub(super) fn is_of(&self, lane: &str) -> bool {
        match self {
            Self::Changed => true,
            Self::Coming { service, .. } | Self::Left { service } => service == lane,
        }
    }
}

/// What one worker knows of the members of one service.
#[derive(Debug)]
pub(super) struct Census {
    members: u64,
    looked: Instant,
    /// Nobody was looked for since the first count.
    fresh: bool,
    /// Something has changed that must be looked at now.
    asked: bool,
    /// When those that come must have been counted.
    coming: Vec<Instant>,
    /// Have left, and may still be counted until then.
    gone: (u64, Instant),
    /// Were missed for long enough; until then, who says that it has left may be one of them.
    unsaid: (u64, Instant),
    /// What the last look has counted, if it had an answer.
    counted: Option<u64>,
    /// Were missing at every look since then, without a word.
    missing: Option<(Instant, u64)>,
    /// Until then, who is missing may be on its way back to a broker that was away, or from a
    /// pause of the service.
    away: Instant,
}

/// What was known when a look began: what is heard meanwhile may be of later.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    coming: u64,
    /// Have come, and may call soon.
    due: u64,
}

impl Look {
    /// Somebody calls soon, counted or not.
    pub(super) fn is_due(self) -> bool {
        self.due > 0
    }
}

impl Census {
    /// So many were counted once.
    pub(super) fn new(members: u64, now: Instant) -> Self {
        Self {
            members: members.max(1),
            looked: now,
            fresh: true,
            asked: true,
            coming: Vec::new(),
            gone: (0, now),
            unsaid: (0, now),
            counted: None,
            missing: None,
            away: now,
        }
    }

    /// How many share.
    pub(super) fn members(&self) -> u64 {
        self.members
    }

    pub(super) fn hear(&mut self, news: &News) {
        match news {
            News::Coming { due, .. } if self.coming.len() < COMING => self.coming.push(*due),
            News::Coming { .. } | News::Changed => self.miss(),
            News::Left { .. } => self.leave(Instant::now()),
        }
    }

    fn leave(&mut self, now: Instant) {
        self.asked = true;
        if now < self.unsaid.1 && self.unsaid.0 > 0 {
            self.unsaid.0 -= 1;
        // The first count may have been without it.
        } else if !self.fresh && self.members > 1 {
            self.members -= 1;
            self.gone = (self.gone.0 + 1, now + GONE);
        }
    }

    /// What has changed is not known: whoever is counted has a share.
    pub(super) fn miss(&mut self) {
        self.coming.clear();
        self.gone.0 = 0;
        self.asked = true;
    }

    /// The service is paused or comes back here, and so it may for all: who does not consume in a
    /// pause is missing, and has a share after it.
    pub(super) fn pause(&mut self, now: Instant) {
        if now < self.unsaid.1 {
            // Its pause may only have begun a little earlier.
            self.members += self.unsaid.0;
        }
        self.unsaid.0 = 0;
        self.missing = None;
        self.away = now + RETURN;
        self.asked = true;
    }

    /// When to look again: at the latest so soon that lost news do no harm, and sooner while those
    /// that have gone hide who is missing.
    pub(super) fn next_look(&self) -> Instant {
        if self.asked {
            return self.looked;
        }
        let missing = self.missing.map(|(since, _)| self.gone_at(since));
        let due = self.coming.iter().copied().min();
        let often = if self.gone.0 > 0 { 4 } else { 1 };
        let latest = self.looked + interval(self.members) / often;
        [missing, due]
            .into_iter()
            .flatten()
            .fold(latest, Instant::min)
    }

    /// Begins a look.
    pub(super) fn look(&mut self, now: Instant) -> Look {
        let all = self.coming.len();
        self.coming.retain(|due| *due > now);
        self.looked = now;
        self.fresh = false;
        self.asked = false;
        if now >= self.unsaid.1 {
            self.unsaid.0 = 0;
        }
        if now >= self.gone.1 {
            self.gone.0 = 0;
        }
        Look {
            coming: self.coming.len() as u64,
            due: (all - self.coming.len()) as u64,
        }
    }

    /// Ends a look at which so many were counted; none if the broker did not say.
    pub(super) fn counted(&mut self, look: Look, counted: Option<u64>, now: Instant) {
        let before = std::mem::replace(&mut self.counted, counted);
        let Some(counted) = counted else {
            // What nobody could see was not missing.
            self.missing = None;
            self.away = now + RETURN;
            // Who is about to call gets its share all the same; it was there at the look before.
            let all = before.unwrap_or(self.members + look.due);
            self.members = self.members.max(all);
            return;
        };
        if self.gone.0 > 0 {
            // One of them may be counted no more, and one that came in its place.
            self.members = counted.min(self.members + look.due).max(self.members);
        }
        let Some(more) = counted.checked_sub(self.members) else {
            self.gone.0 = 0;
            return self.miss_some(self.members - counted, now);
        };
        self.missing = None;
        // Those that come have no share yet, and those that have gone none any more. No more are
        // left out: one that said it comes may be gone again.
        let unknown = more.saturating_sub(look.coming);
        self.gone.0 = self.gone.0.min(unknown);
        self.members += unknown - self.gone.0;
    }

    /// When those that are missing since then are not waited for any more.
    fn gone_at(&self, since: Instant) -> Instant {
        (since + MISSING).max(self.away)
    }

    fn miss_some(&mut self, missing: u64, now: Instant) {
        let (since, least) = self.missing.unwrap_or((now, missing));
        let least = least.min(missing);
        self.missing = (least > 0).then_some((since, least));
        if least > 0 && now >= self.gone_at(since) {
            self.members -= least;
            self.missing = None;
            self.unsaid = (self.unsaid.0 + least, now + GONE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn census(members: u64) -> (Census, Instant) {
        let now = Instant::now();
        let mut census = Census::new(members, now);
        look(&mut census, members, now);
        (census, now)
    }

    fn look(census: &mut Census, counted: u64, now: Instant) -> u64 {
        let look = census.look(now);
        census.counted(look, Some(counted), now);
        census.members()
    }

    fn coming(due: Instant) -> News {
        let service = "gpt".to_owned();
        News::Coming { service, due }
    }

    fn left() -> News {
        let service = "gpt".to_owned();
        News::Left { service }
    }

    #[test]
    fn who_comes_is_counted_when_it_is_due_and_others_at_once() {
        let (mut census, now) = census(4);
        let due = now + Duration::from_secs(1);
        census.hear(&coming(due));
        assert_eq!(census.next_look(), due);
        assert_eq!(look(&mut census, 5, now), 4);
        assert_eq!(look(&mut census, 6, now), 5);
        assert_eq!(look(&mut census, 6, due), 6);
    }

    #[test]
    fn who_comes_and_is_gone_again_is_taken_for_nobody_else() {
        let (mut census, now) = census(4);
        census.hear(&coming(now + MISSING * 3));
        for looks in 0..3 {
            assert_eq!(look(&mut census, 4, now + MISSING * looks), 4);
        }
    }

    #[test]
    fn who_comes_in_the_place_of_one_that_left_is_counted() {
        let (mut census, now) = census(4);
        let due = now + Duration::from_secs(1);
        census.hear(&left());
        assert_eq!(look(&mut census, 4, now), 3);
        census.hear(&coming(due));
        assert_eq!(look(&mut census, 5, now), 3);
        // One is settled meanwhile, and seen no more, but the other.
        assert_eq!(look(&mut census, 4, due), 4);
    }

    #[test]
    fn who_has_left_is_not_counted_for_long_though_the_broker_does() {
        let (mut census, now) = census(4);
        census.hear(&left());
        census.hear(&left());
        assert_eq!(look(&mut census, 4, now), 2);
        assert_eq!(look(&mut census, 5, now), 3);
        assert_eq!(look(&mut census, 5, now + GONE + MISSING), 5);
    }

    #[test]
    fn a_pause_takes_nobody_for_gone_neither_while_it_lasts_nor_just_before_it() {
        let (mut census, now) = census(4);
        assert_eq!(look(&mut census, 2, now), 4);
        let paused = now + MISSING;
        assert_eq!(look(&mut census, 2, paused), 2);
        census.pause(paused);
        assert_eq!(census.next_look(), paused, "it would not look at once");
        assert_eq!(look(&mut census, 1, paused), 4);
        let back = now + MISSING * 100;
        census.pause(back);
        assert_eq!(look(&mut census, 5, back), 5);
        assert_eq!(look(&mut census, 1, back + MISSING), 5);
        assert_eq!(look(&mut census, 1, back + RETURN), 1);
    }

    #[test]
    fn nobody_is_given_up_because_the_broker_was_away() {
        let (mut census, now) = census(4);
        assert_eq!(look(&mut census, 3, now), 4);
        let began = census.look(now + MISSING);
        census.counted(began, None, now + MISSING);
        assert!(
            census.next_look() > now + MISSING,
            "it would look without a pause"
        );
        let back = now + MISSING * 2;
        assert_eq!(look(&mut census, 1, back), 4);
        assert_eq!(look(&mut census, 1, back + MISSING), 4);
        assert_eq!(look(&mut census, 1, now + MISSING + RETURN), 1);
    }
}
