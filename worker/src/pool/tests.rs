//! Pools of several deployments, in paused time.

use std::collections::BTreeMap;

use filefleet_shared::wire::Usage;

use super::*;

const OPEN: Bounds = Bounds {
    in_flight: 8,
    seeking: false,
    requests: None,
    tokens: None,
};

/// A pool of deployments with these priorities, weights and bounds, named `a`, `b`, and so on.
pub(crate) fn pool(deployments: &[(u16, u16, Bounds)]) -> Pool {
    let limits: Vec<DeploymentLimits> = ('a'..)
        .zip(deployments)
        .map(|(name, (priority, weight, calls))| DeploymentLimits {
            name: Some(name.to_string()),
            priority: *priority,
            weight: *weight,
            calls: *calls,
            polls: None,
        })
        .collect();
    let names = limits.iter().map(|limits| limits.name_in("gpt")).collect();
    let bounds = limits.iter().map(|limits| (limits, limits.calls));
    Pool::new("gpt", bounds, Arc::new(Breaker::new(names)))
}

pub(crate) fn breaker_of(pool: &Pool) -> Arc<Breaker> {
    pool.breaker.clone()
}

fn per_second(requests: f64) -> Bounds {
    Bounds {
        requests: Some(requests),
        ..OPEN
    }
}

/// Which deployments took calls that end at once, for so long.
async fn spread(pool: &Pool, seconds: u64) -> BTreeMap<&str, u32> {
    let begun = Instant::now();
    let mut calls = BTreeMap::new();
    while begun.elapsed() < Duration::from_secs(seconds) {
        let (deployment, permit) = pool.acquire(Demand::default(), None).await.expect("open");
        *calls.entry(deployment.name()).or_default() += 1;
        permit.answered(&Usage::default());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    calls
}

#[tokio::test(start_paused = true)]
async fn calls_go_to_the_first_priority_alone_while_it_has_room_and_by_weight_within_it() {
    let pool = pool(&[(2, 9, OPEN), (1, 3, OPEN), (1, 1, OPEN)]);
    let calls = spread(&pool, 10).await;
    assert_eq!(calls.get("gpt/a"), None);
    let (heavy, light) = (calls["gpt/b"], calls["gpt/c"]);
    assert!(
        (2 * light..4 * light).contains(&heavy),
        "{heavy} and {light}"
    );
}

#[tokio::test(start_paused = true)]
async fn the_quotas_of_all_are_used_up_at_the_same_time() {
    let pool = pool(&[
        (1, 1, per_second(50.0)),
        (1, 1, per_second(30.0)),
        (2, 1, per_second(20.0)),
    ]);
    pool.share(1);
    let calls = spread(&pool, 20).await;
    let per_second = |name| calls[name] / 20;
    assert!((47..=50).contains(&per_second("gpt/a")), "{calls:?}");
    assert!((28..=30).contains(&per_second("gpt/b")), "{calls:?}");
    assert!((18..=20).contains(&per_second("gpt/c")), "{calls:?}");
}

#[tokio::test(start_paused = true)]
async fn one_that_is_throttled_is_passed_over_until_the_time_it_asked_for() {
    let pool = pool(&[(1, 1, OPEN), (2, 1, OPEN)]);
    let begun = Instant::now();
    let (first, permit) = pool.acquire(Demand::default(), None).await.expect("open");
    assert_eq!(first.name(), "gpt/a");
    permit.throttled(Some(Duration::from_secs(5)));
    assert_eq!(pool.reopens(), Some(Duration::ZERO));
    assert_eq!(
        spread(&pool, 5).await.keys().collect::<Vec<_>>(),
        [&"gpt/b"]
    );
    tokio::time::sleep_until(begun + Duration::from_millis(5_600)).await;
    assert_eq!(
        spread(&pool, 1).await.keys().collect::<Vec<_>>(),
        [&"gpt/a"]
    );
}

#[tokio::test(start_paused = true)]
async fn where_all_are_throttled_the_first_that_reopens_takes_the_call() {
    let pool = pool(&[(1, 1, OPEN), (2, 1, OPEN)]);
    let begun = Instant::now();
    for asked in [8, 2] {
        let (_, permit) = pool.acquire(Demand::default(), None).await.expect("open");
        permit.throttled(Some(Duration::from_secs(asked)));
    }
    let reopens = pool.reopens().expect("there are several");
    assert!(reopens >= Duration::from_secs(2) && reopens < Duration::from_secs(3));
    let (next, _permit) = pool.acquire(Demand::default(), None).await.expect("open");
    assert_eq!((next.name(), begun.elapsed().as_secs()), ("gpt/b", 2));
}

#[tokio::test(start_paused = true)]
async fn a_paused_deployment_gets_one_call_to_see_whether_it_is_back() {
    let pool = pool(&[(1, 1, OPEN), (2, 1, OPEN)]);
    let broken = pool.deployments().next().expect("the first");
    broken
        .circuit()
        .trip(crate::breaker::PauseKind::Unauthorized, "401");
    assert_eq!(
        spread(&pool, 5).await.keys().collect::<Vec<_>>(),
        [&"gpt/b"]
    );
    tokio::time::sleep(Duration::from_secs(30)).await;
    let (first, probe) = pool.acquire(Demand::default(), None).await.expect("open");
    assert_eq!(first.name(), "gpt/a");
    let (second, _permit) = pool.acquire(Demand::default(), None).await.expect("open");
    assert_eq!(second.name(), "gpt/b");
    first.circuit().answered(Instant::now());
    drop(probe);
    assert_eq!(
        spread(&pool, 1).await.keys().collect::<Vec<_>>(),
        [&"gpt/a"]
    );
}

#[tokio::test(start_paused = true)]
async fn what_one_has_accepted_waits_for_it_and_holds_nobody_else_back() {
    let pool = pool(&[(1, 1, OPEN), (1, 1, OPEN)]);
    let demand = Demand::default();
    let (_, permit) = pool.acquire(demand, Some(1)).await.expect("open");
    permit.throttled(Some(Duration::from_secs(5)));
    let begun = Instant::now();
    let mut waits = std::pin::pin!(pool.acquire(demand, Some(1)));
    assert!(futures_util::poll!(&mut waits).is_pending());
    let (other, _permit) = pool.acquire(demand, Some(0)).await.expect("open");
    assert_eq!((other.name(), begun.elapsed()), ("gpt/a", Duration::ZERO));
    let (same, _permit) = waits.await.expect("open");
    assert_eq!((same.name(), begun.elapsed().as_secs()), ("gpt/b", 5));
    assert_eq!(pool.place_of(Some("b")), Some(1));
    assert_eq!(pool.place_of(Some("gone")), None);
    assert_eq!(
        pool.place_of(None),
        Some(0),
        "accepted before there were several"
    );
}

#[tokio::test(start_paused = true)]
async fn where_all_are_paused_nobody_waits() {
    let pool = pool(&[(1, 1, OPEN), (1, 1, OPEN)]);
    for deployment in pool.deployments() {
        deployment
            .circuit()
            .throttled(Duration::from_secs(60), "429");
    }
    let now = Instant::now();
    let paused = pool
        .acquire(Demand::default(), None)
        .await
        .expect_err("all are paused");
    assert_eq!(
        (paused.until, Instant::now()),
        (now + Duration::from_secs(60), now)
    );
}

#[tokio::test(start_paused = true)]
async fn what_was_not_called_in_a_pause_is_not_made_up_for_after_it() {
    let pool = pool(&[(1, 1, per_second(100.0))]);
    pool.share(1);
    let circuit = pool.deployments().next().expect("it has one").circuit();
    circuit.throttled(Duration::from_secs(60), "429");
    tokio::time::sleep(Duration::from_secs(60)).await;
    let begun = Instant::now();
    let mut calls = 0;
    while begun.elapsed() < Duration::from_millis(100) {
        let (deployment, permit) = pool.acquire(Demand::default(), None).await.expect("open");
        deployment.circuit().answered(Instant::now());
        permit.answered(&Usage::default());
        calls += 1;
    }
    assert!(calls <= 11, "{calls} in a tenth of a second");
}
