//! One governor, in paused time.

use filefleet_shared::wire::Usage;

use super::*;
use crate::pool::{Pool, tests::pool};

const OPEN: Bounds = Bounds {
    in_flight: 8,
    seeking: false,
    requests: None,
    tokens: None,
};

fn governor(bounds: Bounds) -> Pool {
    pool(&[(1, 1, bounds)])
}

async fn acquire(governor: &Pool, demand: Demand) -> Permit<'_> {
    let let_through = governor.acquire(demand, None).await;
    let_through.expect("the service is not paused").1
}

async fn within<T>(seconds: u64, future: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(Duration::from_secs(seconds), future)
        .await
        .ok()
}

#[tokio::test(start_paused = true)]
async fn no_more_than_the_room_are_in_flight_and_each_that_ends_lets_one_in() {
    let governor = governor(Bounds {
        in_flight: 2,
        ..OPEN
    });
    let first = acquire(&governor, Demand::default()).await;
    let _second = acquire(&governor, Demand::default()).await;
    let mut third = std::pin::pin!(acquire(&governor, Demand::default()));
    assert!(within(1, &mut third).await.is_none(), "there was no room");
    drop(first);
    assert!(within(1, third).await.is_some(), "there was room");
}

#[tokio::test(start_paused = true)]
async fn a_service_is_left_alone_until_the_time_it_asked_for() {
    let governor = governor(OPEN);
    let begun = Instant::now();
    let (one, other) = (
        acquire(&governor, Demand::default()).await,
        acquire(&governor, Demand::default()).await,
    );
    one.throttled(Some(Duration::from_secs(3)));
    other.throttled(Some(Duration::from_secs(1)));
    let _permit = acquire(&governor, Demand::default()).await;
    let waited = begun.elapsed();
    assert!(waited >= Duration::from_secs(3) && waited < Duration::from_millis(3_301));
}

#[tokio::test(start_paused = true)]
async fn what_a_service_asks_for_is_bounded_and_zero_is_nothing_said() {
    for (asked, least, most) in [
        (Duration::from_secs(86_400), 20, 23),
        (Duration::MAX, 20, 23),
        (Duration::ZERO, 1, 2),
    ] {
        let governor = governor(OPEN);
        let begun = Instant::now();
        acquire(&governor, Demand::default())
            .await
            .throttled(Some(asked));
        let _permit = acquire(&governor, Demand::default()).await;
        let waited = begun.elapsed().as_secs();
        assert!((least..most).contains(&waited), "{waited} s for {asked:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_before_the_share_is_known_and_then_only_the_share() {
    let governor = governor(Bounds {
        requests: Some(100.0),
        ..OPEN
    });
    assert!(
        within(10, acquire(&governor, Demand::default()))
            .await
            .is_none()
    );
    governor.share(4);
    let begun = Instant::now();
    let mut calls = 0u32;
    while begun.elapsed() < Duration::from_secs(10) {
        drop(acquire(&governor, Demand::default()).await);
        calls += 1;
    }
    assert!((235..=250).contains(&calls), "{calls} of 250 in 10 s");
}

#[tokio::test(start_paused = true)]
async fn tokens_are_reserved_before_and_the_estimate_learns_from_what_was_counted() {
    let governor = governor(Bounds {
        tokens: Some(1_000.0),
        ..OPEN
    });
    governor.share(1);
    let demand = Demand {
        prompt: 50,
        answer: 0,
    };
    let counted = Usage {
        input_tokens: 100,
        ..Usage::default()
    };
    let begun = Instant::now();
    let mut calls = 0u32;
    while begun.elapsed() < Duration::from_secs(60) {
        acquire(&governor, demand).await.answered(&counted);
        calls += 1;
    }
    assert!(
        (570..=600).contains(&calls),
        "{calls} of 600 that fit in a minute"
    );
}

#[tokio::test(start_paused = true)]
async fn a_large_call_is_not_overtaken_by_small_ones_for_ever() {
    let governor = Arc::new(governor(Bounds {
        tokens: Some(100.0),
        ..OPEN
    }));
    governor.share(1);
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut tasks = tokio::task::JoinSet::new();
    for tokens in [10, 500, 1, 1, 1] {
        let (governor, order) = (governor.clone(), order.clone());
        tasks.spawn(async move {
            let demand = Demand {
                prompt: 0,
                answer: tokens,
            };
            let _permit = acquire(&governor, demand).await;
            order.lock().unwrap().push(tokens);
        });
        tokio::task::yield_now().await;
    }
    while tasks.join_next().await.is_some() {}
    assert_eq!(*order.lock().unwrap(), [10, 500, 1, 1, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_the_service_names_counts_once_it_has_refused_a_call() {
    let governor = governor(Bounds {
        requests: Some(100.0),
        ..OPEN
    });
    governor.share(1);
    let heard = Heard::default();
    let name = reqwest::header::HeaderName::from_static("x-ratelimit-limit-requests");
    let value = reqwest::header::HeaderValue::from_static("3000");
    heard.read(&[(name, value)].into_iter().collect());
    acquire(&governor, Demand::default()).await.hear(&heard);
    let rate = async |seconds: u32| {
        let begun = Instant::now();
        let mut calls = 0u32;
        while begun.elapsed() < Duration::from_secs(seconds.into()) {
            drop(acquire(&governor, Demand::default()).await);
            calls += 1;
        }
        calls / seconds
    };
    assert!((97..=98).contains(&rate(10).await));
    acquire(&governor, Demand::default())
        .await
        .throttled(Some(Duration::from_millis(50)));
    let halved = rate(10).await;
    assert!((46..=50).contains(&halved), "{halved}");
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_nobody_names_is_found_and_kept_to() {
    let governor = governor(Bounds {
        in_flight: 64,
        ..OPEN
    });
    governor.share(1);
    let begun = Instant::now();
    let (mut accepted, mut refused) = (std::collections::VecDeque::new(), 0u32);
    let (mut late_accepted, mut late_refused) = (0u32, 0u32);
    while begun.elapsed() < Duration::from_secs(120) {
        let permit = acquire(&governor, Demand::default()).await;
        let now = Instant::now();
        while accepted
            .front()
            .is_some_and(|at| *at + Duration::from_secs(1) <= now)
        {
            accepted.pop_front();
        }
        let late = begun.elapsed() > Duration::from_secs(20);
        if accepted.len() < 20 {
            accepted.push_back(now);
            late_accepted += u32::from(late);
            tokio::time::sleep(Duration::from_millis(5)).await;
            permit.answered(&Usage::default());
        } else {
            refused += 1;
            late_refused += u32::from(late);
            permit.throttled(Some(Duration::from_millis(50)));
        }
    }
    assert!(refused > 0);
    assert!(late_accepted >= 1_800, "{late_accepted} of 2000");
    assert!(late_refused * 10 <= late_accepted, "{late_refused} refused");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_says_nothing_about_the_time_in_which_nobody_called() {
    for pause in [3, 600] {
        for answers in [0, 1, 5] {
            let governor = governor(OPEN);
            let call = async || {
                let permit = acquire(&governor, Demand::default()).await;
                tokio::time::sleep(Duration::from_millis(100)).await;
                permit
            };
            for _ in 0..5 {
                call().await.answered(&Usage::default());
                tokio::time::sleep(Duration::from_secs(pause)).await;
            }
            for _ in 0..answers {
                call().await.answered(&Usage::default());
            }
            call().await.throttled(Some(Duration::from_millis(50)));
            let begun = Instant::now();
            let mut calls = 0;
            while begun.elapsed() < Duration::from_secs(10) {
                call().await.answered(&Usage::default());
                calls += 1;
            }
            assert!(calls > 80, "{calls} of 100, {answers} after {pause} s");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_sent_uses_up_neither_requests_nor_tokens() {
    let demand = Demand {
        prompt: 0,
        answer: 100,
    };
    for (requests, tokens) in [(100.0, None), (1_000.0, Some(10_000.0))] {
        let governor = governor(Bounds {
            requests: Some(requests),
            tokens,
            ..OPEN
        });
        governor.share(1);
        let begun = Instant::now();
        let mut sent = 0;
        while begun.elapsed() < Duration::from_secs(70) {
            acquire(&governor, demand).await.unused();
            let permit = acquire(&governor, demand).await;
            tokio::time::sleep(Duration::from_millis(1)).await;
            permit.answered(&Usage::default());
            sent += 1;
        }
        assert!((6_800..=7_000).contains(&sent), "{sent} of 7000");
    }
}

#[tokio::test(start_paused = true)]
async fn a_count_that_cannot_be_stops_nothing_for_long() {
    for counted in [10_000_000_000, u64::MAX] {
        let governor = governor(Bounds {
            tokens: Some(1_000_000.0 / 60.0),
            ..OPEN
        });
        governor.share(1);
        let demand = Demand {
            prompt: 800,
            answer: 200,
        };
        let answer = async |input_tokens| {
            let permit = acquire(&governor, demand).await;
            permit.answered(&Usage {
                input_tokens,
                ..Usage::default()
            })
        };
        let begun = Instant::now();
        let told = [
            answer(counted).await,
            answer(counted).await,
            answer(800).await,
        ];
        assert_eq!(told, [true, false, false]);
        let waited = begun.elapsed().as_secs();
        assert!(waited < 180, "{waited} s");
        let begun = Instant::now();
        let mut calls = 0;
        while begun.elapsed() < Duration::from_secs(240) {
            answer(800).await;
            calls += 1;
        }
        assert!(calls > 3 * 960, "{calls} in four minutes");
    }
}

#[tokio::test(start_paused = true)]
async fn every_request_of_a_call_counts_for_the_quota_however_the_call_ends() {
    let bounds = Bounds {
        requests: Some(100.0),
        ..OPEN
    };
    for fails in [false, true] {
        let governor = governor(bounds);
        governor.share(1);
        let begun = Instant::now();
        let mut requests = 0;
        while begun.elapsed() < Duration::from_secs(20) {
            let mut permit = acquire(&governor, Demand::default()).await;
            let heard = Heard::default();
            for _ in 0..5 {
                heard.read(&reqwest::header::HeaderMap::new());
            }
            permit.hear(&heard);
            if !fails {
                permit.answered(&Usage::default());
            }
            requests += 5;
        }
        assert!((1_900..=2_000).contains(&requests), "{requests} of 2000");
    }
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_nobody_names_is_found_in_requests_not_in_calls() {
    let governor = governor(Bounds {
        in_flight: 64,
        ..OPEN
    });
    let heard = Heard::default();
    for _ in 0..4 {
        heard.read(&reqwest::header::HeaderMap::new());
    }
    // 40 requests a second.
    for _ in 0..100 {
        let mut permit = acquire(&governor, Demand::default()).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        permit.hear(&heard);
        permit.answered(&Usage::default());
    }
    let mut permit = acquire(&governor, Demand::default()).await;
    permit.hear(&heard);
    permit.throttled(Some(Duration::from_millis(50)));
    let begun = Instant::now();
    let mut requests = 0;
    while begun.elapsed() < Duration::from_secs(10) {
        let mut permit = acquire(&governor, Demand::default()).await;
        permit.hear(&heard);
        permit.answered(&Usage::default());
        requests += 4;
    }
    assert!((350..=450).contains(&requests), "{requests} of 400");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_no_minute_has_room_for_waits_for_an_empty_one_and_not_longer() {
    let governor = governor(Bounds {
        tokens: Some(20_000.0 / 60.0),
        ..OPEN
    });
    governor.share(1);
    let demand = Demand {
        prompt: 45_000,
        answer: 50,
    };
    let begun = Instant::now();
    let permit = acquire(&governor, demand).await;
    assert_eq!(permit.too_large(), Some((45_050, 20_000)));
    assert!(
        begun.elapsed() <= Duration::from_secs(62),
        "{:?}",
        begun.elapsed()
    );
    permit.unused();
    let small = Demand {
        prompt: 100,
        answer: 0,
    };
    let next = within(10, acquire(&governor, small)).await.expect("room");
    assert_eq!(next.too_large(), None);
}
