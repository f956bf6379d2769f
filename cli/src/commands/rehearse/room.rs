//! How long calls take with so many at once, and how many that are before it is found out.

use std::time::Duration;

/// Room that a worker starts with where it is to be found, and how it grows (`governor/room.rs`).
const FIRST: f64 = 8.0;
const GROWTH: f64 = 1.25;
/// Answers that are compared before it grows.
const ANSWERS: f64 = 24.0;

/// Calls at once of all workers to one service.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Room {
    /// Most of one worker.
    pub(super) most: f64,
    /// A worker finds out how many are good: all of them, if the service is as fast with many.
    pub(super) seeking: bool,
    pub(super) workers: f64,
}

impl Room {
    /// Seconds until `calls` of so many `seconds` each have begun and all but the last have ended,
    /// no more than `rate` of them a second.
    pub(super) fn time(self, calls: f64, seconds: f64, rate: f64) -> f64 {
        if calls <= 0.0 {
            return 0.0;
        }
        let (mut left, mut passed) = (calls, 0.0);
        let mut room = if self.seeking {
            FIRST.min(self.most)
        } else {
            self.most
        };
        while room < self.most {
            let now = self.rate(room, seconds, rate);
            let stays = self.stay(room, seconds);
            // Room that the quota does not let be used does not grow, and need not.
            if now >= rate || left <= now * stays {
                return passed + left / now;
            }
            left -= now * stays;
            passed += stays;
            room = (room * GROWTH).max(room + 1.0).min(self.most);
        }
        passed + left / self.rate(room, seconds, rate)
    }

    /// Seconds with one room. Answers count for it if they were asked for in it, so the first
    /// comes a whole call after it began; only of the very first room are all.
    fn stay(self, room: f64, seconds: f64) -> f64 {
        let rounds = (ANSWERS / room.floor()).max(1.0).ceil();
        let before = if room > FIRST { 1.0 } else { 0.0 };
        seconds * (rounds + before)
    }

    fn rate(self, room: f64, seconds: f64, rate: f64) -> f64 {
        if seconds <= 0.0 {
            return rate;
        }
        (room.floor() * self.workers / seconds).min(rate)
    }
}

/// How long the simulated services take, as `simulate` has it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Latency {
    /// Half of the calls take longer.
    pub(super) median: Duration,
    /// Standard deviation of the logarithm.
    pub(super) sigma: f64,
}

impl Latency {
    pub(super) fn mean(self) -> f64 {
        self.median.as_secs_f64() * (self.sigma * self.sigma / 2.0).exp()
    }

    /// The longest of so many calls.
    pub(super) fn longest(self, calls: f64) -> f64 {
        let likely = if calls > 3.0 {
            let root = (2.0 * calls.ln()).sqrt();
            root - (calls.ln().ln() + (4.0 * std::f64::consts::PI).ln()) / (2.0 * root)
        } else {
            0.5
        };
        self.median.as_secs_f64() * (self.sigma * likely).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(one: f64, other: f64) -> bool {
        (one - other).abs() < 1e-9 * other.abs().max(1.0)
    }

    fn room(most: f64, seeking: bool, workers: f64) -> Room {
        Room {
            most,
            seeking,
            workers,
        }
    }

    #[test]
    fn a_room_that_is_configured_is_full_from_the_start() {
        assert!(close(
            room(10.0, false, 1.0).time(100.0, 2.0, f64::INFINITY),
            20.0
        ));
        assert!(close(
            room(10.0, false, 4.0).time(100.0, 2.0, f64::INFINITY),
            5.0
        ));
    }

    #[test]
    fn no_room_makes_a_quota_larger() {
        assert!(close(room(100.0, false, 9.0).time(100.0, 1.0, 10.0), 10.0));
        assert!(close(room(10.0, false, 1.0).time(100.0, 0.0, 10.0), 10.0));
    }

    #[test]
    fn a_room_that_is_found_out_costs_time_once() {
        let found = room(256.0, true, 1.0);
        let few = found.time(20_000.0, 1.0, f64::INFINITY);
        let many = found.time(40_000.0, 1.0, f64::INFINITY);
        assert!(few > 20_000.0 / 256.0 + 10.0, "{few}");
        assert!(close(many - few, 20_000.0 / 256.0), "{few} and {many}");
        assert!(found.time(24.0, 1.0, f64::INFINITY) <= 3.0);
    }

    #[test]
    fn half_of_the_calls_are_shorter_than_the_median_and_the_mean_is_above_it() {
        let fixed = Latency {
            median: Duration::from_secs(2),
            sigma: 0.0,
        };
        assert!(close(fixed.mean(), 2.0));
        assert!(close(fixed.longest(100.0), 2.0));
        let spread = Latency {
            sigma: 0.5,
            ..fixed
        };
        assert!((2.2..2.3).contains(&spread.mean()));
        assert!((5.0..8.0).contains(&spread.longest(100.0)));
    }
}
