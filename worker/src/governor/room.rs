//! How many calls may be in flight, found by measuring: as many as the service answers without
//! slowing down.
//!
//! Room grows while more calls at once are answered as quickly as fewer were, and shrinks when
//! they are not. What a service takes for a call depends on the call too, so means of many are
//! compared, with their spread; and a slowness that does not go away with less room was not made
//! by it.

use std::{collections::VecDeque, time::Duration};

/// Room to begin with, where it is to be found.
const FIRST: f64 = 8.0;
/// Room after a refusal for one call too many.
const CUT: f64 = 0.5;
/// Growth by rounds until the first slowness, and after it.
const QUICK: f64 = 1.25;
const SLOW: f64 = 1.03;
/// Part of the room that was the last good one, once it is known where slowness begins.
const BELOW: f64 = 0.97;
/// Part of it to go down to until calls are as quick as before: a service that has become slow is
/// slow at a room, too, at which it was not.
const DIP: f64 = 0.9;
/// Part of a room that was slow which is near it.
const NEAR: f64 = 0.97;
/// A mean latency so much over the best is slow.
const SLOWER: f64 = 1.2;
/// Fewest answers that are compared.
const ANSWERS: u32 = 24;
/// So few are enough where they are as slow as this.
const FEW: u32 = 8;
const MUCH_SLOWER: f64 = 1.5;
/// Rounds whose best mean counts.
const MEMORY: usize = 64;
/// Rounds to stay at a known place before trying beyond it: at first, and at most.
const STAY: u32 = 64;
const LONGEST_STAY: u32 = 256;

/// Room for calls.
#[derive(Debug)]
pub(super) struct Room {
    most: f64,
    room: f64,
    used: usize,
    /// Whether the room is to be found, or is what the configuration says.
    seeking: bool,
    round: Round,
    /// Mean latencies of rounds that were not slow, in seconds.
    best: VecDeque<f64>,
    /// Slowness was met, so growth is slow.
    met: bool,
    /// The last room that was not slow.
    good: f64,
    /// The mean that was slow, until a round with less room has said whether room was to blame.
    slow: Option<f64>,
    /// The room to go back to after that round.
    back: Option<f64>,
    /// Where small steps have met slowness, until it is tried again.
    slow_at: f64,
    /// Where it was fine for long.
    home: Option<f64>,
    /// Rounds to stay, and how many the next time.
    stay: u32,
    patience: u32,
    /// Room at the last refusal.
    lost_at: f64,
}

/// Answers to calls that were made since the room is what it is.
#[derive(Debug)]
struct Round {
    number: u32,
    begun: bool,
    answers: u32,
    sum: f64,
    squares: f64,
    fullest: usize,
}

impl Room {
    /// Room for at most so many calls: all of it at once, or `seeking`.
    pub(super) fn new(most: usize, seeking: bool) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "calls in flight are few")]
        let most = most.max(1) as f64;
        let room = if seeking { FIRST.min(most) } else { most };
        Self {
            most,
            room,
            used: 0,
            seeking,
            round: Round::new(0),
            best: VecDeque::new(),
            met: false,
            good: room,
            slow: None,
            back: None,
            slow_at: f64::INFINITY,
            home: None,
            stay: 0,
            patience: STAY,
            lost_at: most,
        }
    }

    /// Calls that may be made now.
    pub(super) fn free(&self) -> usize {
        self.size().saturating_sub(self.used)
    }

    /// Calls that have not ended.
    pub(super) fn taken(&self) -> usize {
        self.used
    }

    pub(super) fn size(&self) -> usize {
        whole(self.room)
    }

    pub(super) fn most(&self) -> usize {
        whole(self.most)
    }

    /// Takes room for a call; the round it is made in.
    pub(super) fn take(&mut self) -> u32 {
        self.used += 1;
        // What is in flight from before would be measured as if it belonged to this room.
        if !self.round.begun && self.used <= self.size() {
            self.round.begun = true;
            self.round.number = self.round.number.wrapping_add(1);
        }
        self.round.fullest = self.round.fullest.max(self.used);
        self.round.number
    }

    pub(super) fn leave(&mut self) {
        self.used = self.used.saturating_sub(1);
    }

    /// The service refused a call as one too many.
    pub(super) fn refused(&mut self) {
        self.lost_at = self.room;
        self.met = true;
        self.good = (self.room * CUT).max(1.0);
        self.back = None;
        self.home = None;
        self.change(self.good);
    }

    /// The service answered a call that was made in `round`.
    pub(super) fn answered(&mut self, round: u32, latency: Duration) {
        if !self.seeking {
            return self.win_back();
        }
        if round != self.round.number || !self.round.begun {
            return;
        }
        let size = u32::try_from(self.size()).unwrap_or(u32::MAX);
        let enough = ANSWERS.max(size);
        let answers = self.round.add(latency);
        let (mean, spread) = self.round.mean();
        let best = self.best.iter().copied().fold(f64::INFINITY, f64::min);
        if answers >= FEW && mean - 3.0 * spread > best * MUCH_SLOWER {
            self.too_much(mean);
        } else if answers >= enough {
            // Beyond what chance does to a mean of so many, or to the best of many means.
            let slow = self.met && mean > best * SLOWER && mean - 3.0 * spread > self.usual();
            if slow || mean - 2.0 * spread > best * SLOWER {
                self.too_much(mean);
            } else {
                self.fine(mean);
            }
        } else if !self.met && answers >= FEW.max(size) {
            // Nothing was slow yet, and this is not: more answers would only take their time. They
            // are too few to compare others with.
            let full = self.round.fullest >= self.size();
            if full && best.is_finite() && mean < best * SLOWER {
                self.grow();
            }
        }
    }

    /// Quickly up to near where room was lost, slowly beyond.
    fn win_back(&mut self) {
        if self.room < self.most {
            let quick = self.room < self.lost_at * 0.9;
            let pace = if quick { 4.0 } else { 0.05 };
            self.room = (self.room + pace / self.room).min(self.most);
        }
    }

    /// This room is slow.
    fn too_much(&mut self, mean: f64) {
        if self.slow.take().is_some_and(|before| mean > before * 0.85) {
            // Less room has not helped: the calls are slower by themselves.
            self.best.clear();
            let room = self.back.take().unwrap_or(self.room);
            return self.change(room);
        }
        self.slow = Some(mean);
        self.back = Some(self.place());
        self.met = true;
        self.change((self.good * DIP).max(1.0));
    }

    /// Where to stay instead of a room that is slow.
    fn place(&mut self) -> f64 {
        if let Some(home) = self.home.filter(|home| *home < self.room) {
            self.good = home;
            self.rest();
            return home;
        }
        if self.room <= self.good {
            // It was fine for a while, or the service has changed.
            if self.home.take().is_some() {
                self.patience = STAY;
            }
            self.good = (self.room * 0.9).max(1.0);
            self.stay = 0;
            self.slow_at = self.room;
        } else if self.met {
            self.slow_at = self.room;
        }
        (self.good * BELOW).max(1.0)
    }

    /// Stays where it is for a while, the longer the more often it came back.
    fn rest(&mut self) {
        self.stay = self.patience;
        self.patience = (self.patience * 2).min(LONGEST_STAY);
    }

    /// This room is not slow.
    fn fine(&mut self, mean: f64) {
        self.slow = None;
        self.remember(mean);
        match self.back.take() {
            Some(room) => self.change(room),
            None => self.grow(),
        }
    }

    fn grow(&mut self) {
        // Room that nobody used says nothing about more of it.
        if self.round.fullest < self.size() {
            return self.change(self.room);
        }
        self.good = self.good.max(self.room);
        if self.stay > 0 {
            self.stay -= 1;
            if self.stay == 0 {
                self.home = Some(self.room);
                self.slow_at = f64::INFINITY;
            }
            return self.change(self.room);
        }
        let by = if self.met { SLOW } else { QUICK };
        let next = (self.room * by).max(self.room + 1.0);
        if next > self.slow_at * NEAR {
            self.rest();
            return self.change(self.room);
        }
        self.change(next);
    }

    /// A mean that is not slow: the lower quartile of them.
    fn usual(&self) -> f64 {
        let mut means: Vec<f64> = self.best.iter().copied().collect();
        means.sort_by(f64::total_cmp);
        means.get(means.len() / 4).copied().unwrap_or(f64::INFINITY)
    }

    fn remember(&mut self, mean: f64) {
        self.best.push_back(mean);
        if self.best.len() > MEMORY {
            self.best.pop_front();
        }
    }

    fn change(&mut self, room: f64) {
        self.room = room.clamp(1.0, self.most);
        self.round = Round::new(self.round.number);
    }
}

impl Round {
    fn new(number: u32) -> Self {
        Self {
            number,
            begun: false,
            answers: 0,
            sum: 0.0,
            squares: 0.0,
            fullest: 0,
        }
    }

    fn add(&mut self, latency: Duration) -> u32 {
        let seconds = latency.as_secs_f64();
        self.answers += 1;
        self.sum += seconds;
        self.squares += seconds * seconds;
        self.answers
    }

    /// The mean latency, and how far chance moves it.
    fn mean(&self) -> (f64, f64) {
        let count = f64::from(self.answers.max(1));
        let mean = self.sum / count;
        let variance = (self.squares / count - mean * mean).max(0.0);
        (mean, (variance / count).sqrt())
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a positive number of calls, rounded down"
)]
fn whole(room: f64) -> usize {
    room as usize
}

#[cfg(test)]
mod tests;
