//! Judging requests and tokens against a quota, exactly.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

use crate::config::Quotas;

/// Requests that are judged together, apart from all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Bucket {
    Chat,
    Embeddings,
    Vision,
    OcrPosts,
    OcrGets,
    Search,
}

/// What a quota limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limited {
    Requests,
    Tokens,
}

/// Over the quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exceeded {
    pub(crate) what: Limited,
    /// After this, the same request has room, if nothing else arrives.
    pub(crate) wait: Duration,
    /// What the quota was, per minute.
    pub(crate) limit: u64,
    /// What was used of it in its window.
    pub(crate) used: u64,
    /// What this request asked for.
    pub(crate) requested: u64,
}

/// A limit and what is left of it, for the `x-ratelimit-*` headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Level {
    /// Per minute.
    pub(crate) limit: u64,
    /// Left in the window.
    pub(crate) remaining: u64,
    /// Until nothing of the window is used.
    pub(crate) reset: Duration,
}

/// Levels after a request was judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Levels {
    pub(crate) requests: Option<Level>,
    pub(crate) tokens: Option<Level>,
}

/// What was used so far. Holds at most as many instants as requests fit in a window.
#[derive(Debug, Default)]
pub(crate) struct Quota {
    arrivals: VecDeque<Instant>,
    tokens_since: Option<Instant>,
    tokens_used: u64,
}

impl Quota {
    /// Judges a request that asks for `tokens`, and counts it.
    pub(crate) fn admit(
        &mut self,
        now: Instant,
        quotas: &Quotas,
        tokens: u64,
    ) -> (Result<(), Exceeded>, Levels) {
        let judged = self.judge(now, quotas, tokens);
        (judged, self.levels(now, quotas))
    }

    /// What is left, without asking for anything.
    fn levels(&self, now: Instant, quotas: &Quotas) -> Levels {
        let requests = quotas.requests_per_minute.map(|per_minute| {
            let (room, window) = window(per_minute, quotas.request_window);
            let over = self
                .arrivals
                .partition_point(|&arrival| now >= arrival + window);
            let fresh = self.arrivals.len() - over;
            Level {
                limit: per_minute,
                remaining: room.saturating_sub(fresh) as u64,
                reset: self.arrivals.back().map_or(Duration::ZERO, |&newest| {
                    (newest + window).saturating_duration_since(now)
                }),
            }
        });
        let tokens = quotas.tokens_per_minute.map(|per_minute| {
            let room = token_room(per_minute, quotas.token_window);
            Level {
                limit: per_minute,
                remaining: room.saturating_sub(self.tokens_used),
                reset: self.tokens_since.map_or(Duration::ZERO, |since| {
                    (since + quotas.token_window).saturating_duration_since(now)
                }),
            }
        });
        Levels { requests, tokens }
    }

    fn judge(&mut self, now: Instant, quotas: &Quotas, tokens: u64) -> Result<(), Exceeded> {
        let requests = self.judge_request(now, quotas);
        let judged = requests.and_then(|()| self.judge_tokens(now, quotas, tokens));
        if let Some(per_minute) = quotas.requests_per_minute
            && (judged.is_ok() || quotas.rejections_count)
        {
            let (room, _) = window(per_minute, quotas.request_window);
            self.arrivals.push_back(now);
            while self.arrivals.len() > room {
                self.arrivals.pop_front();
            }
        }
        judged
    }

    fn judge_request(&mut self, now: Instant, quotas: &Quotas) -> Result<(), Exceeded> {
        let Some(per_minute) = quotas.requests_per_minute else {
            self.arrivals.clear();
            return Ok(());
        };
        let (room, window) = window(per_minute, quotas.request_window);
        while self
            .arrivals
            .front()
            .is_some_and(|&oldest| now >= oldest + window)
        {
            self.arrivals.pop_front();
        }
        let used = self.arrivals.len();
        if used < room {
            return Ok(());
        }
        // A refused request that counts takes the place of the oldest, so the next one to go
        // is what a retry waits for.
        let first = used - room + usize::from(quotas.rejections_count);
        let frees = self.arrivals.get(first).map_or(now, |&arrival| arrival);
        Err(Exceeded {
            what: Limited::Requests,
            wait: (frees + window).saturating_duration_since(now),
            limit: per_minute,
            used: used as u64,
            requested: 1,
        })
    }

    fn judge_tokens(&mut self, now: Instant, quotas: &Quotas, tokens: u64) -> Result<(), Exceeded> {
        let Some(per_minute) = quotas.tokens_per_minute else {
            (self.tokens_since, self.tokens_used) = (None, 0);
            return Ok(());
        };
        let since = match self.tokens_since {
            Some(since) if now < since + quotas.token_window => since,
            _ => {
                self.tokens_used = 0;
                now
            }
        };
        self.tokens_since = Some(since);
        let room = token_room(per_minute, quotas.token_window);
        if self.tokens_used.saturating_add(tokens) > room {
            return Err(Exceeded {
                what: Limited::Tokens,
                wait: (since + quotas.token_window).saturating_duration_since(now),
                limit: per_minute,
                used: self.tokens_used,
                requested: tokens,
            });
        }
        self.tokens_used += tokens;
        Ok(())
    }
}

/// How many requests fit in a window, and its length.
///
/// The length is cut or stretched so that whole requests at exactly the rate fit in it: 90 a
/// minute judged over 1 s is one in every 0.667 s, not one in every second.
fn window(per_minute: u64, asked: Duration) -> (usize, Duration) {
    const MINUTE_NS: u128 = 60_000_000_000;
    let per_minute = u128::from(per_minute.max(1));
    let room = (per_minute * asked.as_nanos() / MINUTE_NS).max(1);
    let nanos = (room * MINUTE_NS).div_ceil(per_minute);
    (
        usize::try_from(room).unwrap_or(usize::MAX),
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)),
    )
}

/// How many tokens fit in a window, at least one.
fn token_room(per_minute: u64, window: Duration) -> u64 {
    let room = u128::from(per_minute) * window.as_millis() / 60_000;
    u64::try_from(room).unwrap_or(u64::MAX).max(1)
}

#[cfg(test)]
mod tests;
