//! Services that are left alone for now, in words.

use std::{collections::BTreeMap, time::Duration};

use filefleet_worker::breaker::{Pause, PauseKind};
use tokio::{sync::watch, time::Instant};

/// Services that are paused, or have asked to be left alone for so long; each throttled one once.
pub(super) fn troubles(
    pauses: &[(String, watch::Receiver<Option<Pause>>)],
    throttled: &[(&str, Duration)],
    now: Instant,
) -> Vec<String> {
    let mut words = Vec::new();
    let mut left: BTreeMap<&str, Duration> = throttled.iter().copied().collect();
    for (service, pause) in pauses {
        match pause.borrow().as_ref() {
            Some(Pause {
                kind: PauseKind::Throttled,
                until,
                ..
            }) => {
                let paused = until.saturating_duration_since(now);
                let left = left.entry(service.as_str()).or_default();
                *left = paused.max(*left);
            }
            Some(pause) => words.push(format!("{service}: {}", pause.kind.as_str())),
            None => {}
        }
    }
    let seconds = |(service, left): (&str, Duration)| {
        format!("{service}: throttled for {:.1} s", left.as_secs_f64())
    };
    words.extend(left.into_iter().map(seconds));
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paused(
        service: &str,
        kind: PauseKind,
        seconds: u64,
        now: Instant,
    ) -> (String, Option<Pause>) {
        let pause = Pause {
            kind,
            detail: String::new(),
            since: now,
            until: now + Duration::from_secs(seconds),
            answered_before: true,
        };
        (service.to_owned(), Some(pause))
    }

    #[test]
    fn a_service_that_throttles_is_named_once_with_the_longer_time() {
        let now = Instant::now();
        let pauses = [
            paused("gpt", PauseKind::Throttled, 55, now),
            paused("ocr", PauseKind::Throttled, 5, now),
            paused("eyes", PauseKind::Unauthorized, 60, now),
        ];
        let pauses = pauses.map(|(service, pause)| (service, watch::channel(pause).1));
        let throttled = ["gpt", "ocr", "docs"].map(|service| (service, Duration::from_secs(16)));
        assert_eq!(
            troubles(&pauses, &throttled, now),
            [
                "eyes: unauthorized",
                "docs: throttled for 16.0 s",
                "gpt: throttled for 55.0 s",
                "ocr: throttled for 16.0 s",
            ]
        );
    }
}
