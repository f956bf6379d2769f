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
const STAY: u32 = 24;
const LONGEST_STAY: u32 = 96;

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
            // Beyond what chance does to a mean of so many.
            if mean - 2.0 * spread > best * SLOWER {
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
            return self.change(self.room);
        }
        self.slow = Some(mean);
        if self.room <= self.good {
            // It was fine before, so the service has changed.
            self.good = (self.room * 0.8).max(1.0);
        } else if self.met {
            // Found by small steps, it is known well enough to stay there.
            self.stay = self.patience;
            self.patience = (self.patience * 2).min(LONGEST_STAY);
        }
        self.met = true;
        self.change((self.good * BELOW).max(1.0));
    }

    /// This room is not slow.
    fn fine(&mut self, mean: f64) {
        self.slow = None;
        self.remember(mean);
        self.grow();
    }

    fn grow(&mut self) {
        // Room that nobody used says nothing about more of it.
        if self.round.fullest < self.size() {
            return self.change(self.room);
        }
        self.good = self.good.max(self.room);
        if self.stay > 0 {
            self.stay -= 1;
            return self.change(self.room);
        }
        let by = if self.met { SLOW } else { QUICK };
        self.change((self.room * by).max(self.room + 1.0));
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
mod tests {
    use std::collections::BinaryHeap;

    use super::*;

    /// A service that answers after `latency` of how many are in flight, asked for as long as
    /// `answers` last; how many it answered per second after the first half of them.
    fn serve(room: &mut Room, answers: usize, latency: impl Fn(usize, usize) -> f64) -> f64 {
        let mut in_flight: BinaryHeap<(std::cmp::Reverse<u64>, u32, u64)> = BinaryHeap::new();
        let (mut now, mut half_at) = (0u64, 0u64);
        for number in 0..answers {
            while room.free() > 0 {
                let round = room.take();
                let seconds = latency(in_flight.len() + 1, number);
                let micros = u64::try_from(Duration::from_secs_f64(seconds).as_micros()).unwrap();
                in_flight.push((std::cmp::Reverse(now + micros), round, micros));
            }
            let Some((std::cmp::Reverse(at), round, micros)) = in_flight.pop() else {
                panic!("no room at all");
            };
            now = at;
            room.leave();
            room.answered(round, Duration::from_micros(micros));
            if number == answers / 2 {
                half_at = now;
            }
        }
        (answers / 2) as f64 / ((now - half_at) as f64 / 1e6)
    }

    /// From 0.5 to 1.5 in an order that looks like chance.
    fn spread(number: usize) -> f64 {
        0.5 + ((number * 7919) % 1000) as f64 / 1000.0
    }

    #[test]
    fn a_knee_is_found_and_kept_to_whatever_calls_take() {
        for (knee, factor) in [(40, 3.0), (12, 2.0), (90, 6.0)] {
            for even in [true, false] {
                let mut room = Room::new(256, true);
                let each = |number| if even { 1.0 } else { spread(number) };
                let rate = serve(&mut room, 20_000, |in_flight, number| {
                    let slow = if in_flight > knee { factor } else { 1.0 };
                    each(number) * slow
                });
                let best = knee as f64;
                assert!(rate > best * 0.9, "{rate} of {best}, even: {even}");
            }
        }
    }

    #[test]
    fn a_service_that_only_queues_is_not_given_ever_more() {
        let mut room = Room::new(256, true);
        let rate = serve(&mut room, 20_000, |in_flight, _| {
            (in_flight as f64 / 40.0).max(1.0)
        });
        assert!(rate > 36.0, "{rate}");
        assert!(room.size() < 80, "{}", room.size());
    }

    #[test]
    fn without_a_knee_the_room_grows_to_the_most() {
        let mut room = Room::new(256, true);
        serve(&mut room, 20_000, |_, number| spread(number));
        assert_eq!(room.size(), 256);
    }

    #[test]
    fn calls_that_become_longer_by_themselves_cost_no_room() {
        let mut room = Room::new(64, true);
        serve(
            &mut room,
            20_000,
            |_, number| {
                if number > 8000 { 4.0 } else { 1.0 }
            },
        );
        assert!(room.size() > 50, "{}", room.size());
    }

    #[test]
    fn few_answers_are_enough_to_grow_but_not_to_call_a_service_slow() {
        let mut room = Room::new(256, true);
        let mut sizes = vec![room.size()];
        for number in 0..200 {
            let rounds: Vec<u32> = (0..room.size()).map(|_| room.take()).collect();
            for round in rounds {
                room.leave();
                // A machine that starts is slow for a moment.
                let hiccup = number == 4;
                let millis = if hiccup { 430 } else { 300 };
                room.answered(round, Duration::from_millis(millis));
            }
            sizes.push(room.size());
        }
        let grown = sizes.iter().position(|size| *size >= 24);
        assert!(grown.is_some_and(|rounds| rounds <= 12), "{sizes:?}");
        assert_eq!(room.size(), 256);
    }

    #[test]
    fn room_that_nobody_uses_does_not_grow() {
        let mut room = Room::new(256, true);
        for _ in 0..1000 {
            let round = room.take();
            room.leave();
            room.answered(round, Duration::from_millis(10));
        }
        assert_eq!(room.size(), 8);
    }

    #[test]
    fn refusals_halve_the_room_never_to_nothing_and_answers_win_it_back() {
        let mut room = Room::new(100, false);
        room.refused();
        assert_eq!(room.size(), 50);
        let mut answers = 0;
        while room.size() < 90 {
            room.answered(0, Duration::ZERO);
            answers += 1;
        }
        assert!(answers < 1000, "{answers} to 90");
        (0..1000).for_each(|_| room.answered(0, Duration::ZERO));
        assert!(room.size() < 92, "{} where 100 was too much", room.size());
        (0..20).for_each(|_| room.refused());
        assert_eq!(room.size(), 1);
    }
}
