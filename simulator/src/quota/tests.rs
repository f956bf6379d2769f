use super::*;

const MS: Duration = Duration::from_millis(1);

fn requests(per_minute: u64) -> Quotas {
    Quotas {
        requests_per_minute: Some(per_minute),
        rejections_count: false,
        ..Quotas::default()
    }
}

/// Sends one request every `step` and gives the times of those that were admitted.
fn admitted(quotas: &Quotas, step: Duration, for_: Duration, tokens: u64) -> Vec<Duration> {
    let start = Instant::now();
    let mut quota = Quota::default();
    let mut at = Duration::ZERO;
    let mut times = Vec::new();
    while at < for_ {
        if quota.admit(start + at, quotas, tokens).0.is_ok() {
            times.push(at);
        }
        at += step;
    }
    times
}

#[test]
fn six_hundred_a_minute_are_ten_in_every_second() {
    let times = admitted(&requests(600), MS, Duration::from_secs(60), 0);
    assert_eq!(times.len(), 600);
    for pair in times.windows(11) {
        assert!(pair[10] - pair[0] >= Duration::from_secs(1), "{pair:?}");
    }
}

#[test]
fn rates_that_do_not_divide_a_window_are_still_exact() {
    for per_minute in [7, 30, 90, 100, 1000] {
        let times = admitted(&requests(per_minute), MS, Duration::from_secs(60), 0);
        let close = per_minute.abs_diff(times.len() as u64);
        assert!(
            close <= per_minute / 50 + 1,
            "{per_minute}: {}",
            times.len()
        );
        // The last window has begun, but is not over.
        assert!(times.len() as u64 <= per_minute + per_minute / 60 + 1);
    }
}

#[test]
fn a_longer_window_allows_a_longer_burst() {
    let quotas = Quotas {
        request_window: Duration::from_secs(10),
        ..requests(600)
    };
    let times = admitted(&quotas, MS, Duration::from_secs(20), 0);
    assert_eq!(times.len(), 200);
    assert!(times[99] < Duration::from_millis(100));
    assert!(times[100] >= Duration::from_secs(10));
}

#[test]
fn refused_requests_that_count_starve_a_client_that_does_not_wait() {
    let quotas = Quotas {
        rejections_count: true,
        ..requests(600)
    };
    assert_eq!(admitted(&quotas, MS, Duration::from_secs(60), 0).len(), 10);
}

#[test]
fn waiting_as_told_is_enough_and_not_too_long() {
    for rejections_count in [false, true] {
        let quotas = Quotas {
            rejections_count,
            ..requests(600)
        };
        let start = Instant::now();
        let mut quota = Quota::default();
        for n in 0..10 {
            assert!(quota.admit(start + n * MS, &quotas, 0).0.is_ok());
        }
        let now = start + 500 * MS;
        let refused = quota.admit(now, &quotas, 0).0.unwrap_err();
        assert_eq!(refused.what, Limited::Requests);
        assert_eq!((refused.limit, refused.used), (600, 10));
        let mut early = Quota {
            arrivals: quota.arrivals.clone(),
            ..Quota::default()
        };
        assert!(early.admit(now + refused.wait - MS, &quotas, 0).0.is_err());
        assert!(quota.admit(now + refused.wait, &quotas, 0).0.is_ok());
    }
}

#[test]
fn a_quota_halved_while_it_is_used_is_kept_at_once() {
    let start = Instant::now();
    let mut quota = Quota::default();
    for n in 0..10 {
        assert!(quota.admit(start + n * MS, &requests(600), 0).0.is_ok());
    }
    let halved = requests(300);
    assert!(quota.admit(start + 999 * MS, &halved, 0).0.is_err());
    // Five of the ten are over after 1.004 s.
    assert!(quota.admit(start + 1004 * MS, &halved, 0).0.is_err());
    assert!(quota.admit(start + 1005 * MS, &halved, 0).0.is_ok());
}

#[test]
fn tokens_are_counted_at_arrival_and_start_again_after_the_window() {
    let quotas = Quotas {
        tokens_per_minute: Some(1000),
        ..Quotas::default()
    };
    let start = Instant::now();
    let mut quota = Quota::default();
    assert!(quota.admit(start, &quotas, 600).0.is_ok());
    let later = start + Duration::from_secs(20);
    let (refused, levels) = quota.admit(later, &quotas, 401);
    let refused = refused.unwrap_err();
    assert_eq!(refused.what, Limited::Tokens);
    assert_eq!(refused.wait, Duration::from_secs(40));
    assert_eq!(levels.tokens.unwrap().remaining, 400);
    assert!(quota.admit(later, &quotas, 400).0.is_ok());
    assert!(quota.admit(later, &quotas, 1).0.is_err());
    let next = start + Duration::from_secs(60);
    assert!(quota.admit(next, &quotas, 1000).0.is_ok());
}

#[test]
fn levels_tell_what_is_left() {
    let quotas = requests(600);
    let start = Instant::now();
    let mut quota = Quota::default();
    for _ in 0..4 {
        assert!(quota.admit(start, &quotas, 0).0.is_ok());
    }
    let level = quota.levels(start + 400 * MS, &quotas).requests.unwrap();
    assert_eq!((level.limit, level.remaining), (600, 6));
    assert_eq!(level.reset, 600 * MS);
    let level = quota.levels(start + 1000 * MS, &quotas).requests.unwrap();
    assert_eq!((level.remaining, level.reset), (10, Duration::ZERO));
}
