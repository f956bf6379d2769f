//! How long a message waits in one go.

use std::time::Duration;

/// One wait queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rung {
    /// In names.
    pub(crate) name: &'static str,
    /// How long it holds a message.
    pub(crate) delay: Duration,
}

const fn rung(name: &'static str, seconds: u64) -> Rung {
    Rung {
        name,
        delay: Duration::from_secs(seconds),
    }
}

/// A fixed delay per queue: with a delay per message, one at the head holds back shorter ones.
pub(crate) const RUNGS: [Rung; 7] = [
    rung("1s", 1),
    rung("5s", 5),
    rung("15s", 15),
    rung("60s", 60),
    rung("5min", 5 * 60),
    rung("15min", 15 * 60),
    rung("1h", 60 * 60),
];

impl Rung {
    /// The next wait of a message that is due in `rest`.
    ///
    /// The shortest that is not too early, if it is at most a quarter late; or else the longest
    /// that is not too late, after which the message waits again for what is left.
    pub(crate) fn towards(rest: Duration) -> Self {
        let late = rest + rest / 4;
        let covers = |rung: &&Self| rung.delay >= rest && rung.delay <= late;
        let within = |rung: &&Self| rung.delay <= rest;
        RUNGS
            .iter()
            .find(covers)
            .or_else(|| RUNGS.iter().rev().find(within))
            .copied()
            .unwrap_or(RUNGS[0])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(rest: f64) -> u64 {
        Rung::towards(Duration::from_secs_f64(rest)).delay.as_secs()
    }

    #[test]
    fn a_wait_is_a_little_late_or_split_and_never_shorter_than_the_first_rung() {
        let table = [
            (0.0, 1),
            (0.3, 1),
            (1.0, 1),
            (3.9, 1),
            (4.0, 5),
            (5.0, 5),
            (11.0, 5),
            (12.0, 15),
            (299.0, 300),
            (3599.0, 3600),
            (86_400.0, 3600),
        ];
        for (rest, wanted) in table {
            assert_eq!(seconds(rest), wanted, "{rest} s");
        }
    }
}
