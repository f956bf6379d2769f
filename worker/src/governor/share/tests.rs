//! Members that come, leave and die, in paused time.

mod fleet;

use std::sync::atomic::Ordering;

use self::fleet::Fleet;
use super::*;

const MISSED: Duration = Duration::from_secs(1);

async fn seconds(seconds: f64) {
    sleep(Duration::from_secs_f64(seconds)).await;
}

/// Four at work, for long enough.
async fn four() -> Fleet {
    let mut fleet = Fleet::new();
    for _ in 0..4 {
        fleet.come();
    }
    seconds(5.0).await;
    fleet
}

#[tokio::test(start_paused = true)]
async fn the_share_of_who_comes_is_used_until_it_calls() {
    for apart in [0.0, 0.013, 0.11, 0.37, 0.9] {
        let mut fleet = four().await;
        let begun = Instant::now();
        for _ in 0..12 {
            fleet.come();
            seconds(apart).await;
        }
        seconds(2.0).await;
        let part = fleet.goodput(begun);
        assert!(part > 0.75, "{part} with {apart} s between them");
        fleet.keeps_to_the_quota(&format!("{apart} s apart"));
    }
}

#[tokio::test(start_paused = true)]
async fn who_comes_without_saying_so_is_counted_before_it_calls() {
    let mut fleet = four().await;
    fleet.broker.mute.store(true, Ordering::SeqCst);
    for _ in 0..8 {
        fleet.come();
        seconds(0.3).await;
    }
    seconds(3.0).await;
    fleet.keeps_to_the_quota("unannounced");
}

#[tokio::test(start_paused = true)]
async fn who_comes_is_counted_before_it_calls_though_the_broker_answers_late() {
    for fails in [false, true] {
        let mut fleet = four().await;
        fleet.come();
        seconds(0.5).await;
        fleet.broker.silent.store(fails, Ordering::SeqCst);
        seconds(0.62).await;
        fleet.broker.silent.store(false, Ordering::SeqCst);
        seconds(3.0).await;
        fleet.keeps_to_the_quota(&format!("the broker is late: {fails}"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_share_that_is_left_is_taken_at_once_and_that_of_the_dead_soon() {
    for settling in [0, 300, 60_000].map(Duration::from_millis) {
        let mut fleet = Fleet::new();
        for _ in 0..16 {
            fleet.come();
            // Not all in step.
            seconds(0.037).await;
        }
        seconds(5.0).await;
        let begun = Instant::now();
        // Who is counted for long hides who is missing.
        if settling < MISSED {
            fleet.die().await;
            fleet.die().await;
        }
        for _ in 0..12 {
            fleet.leave(settling).await;
            seconds(0.02).await;
        }
        seconds(3.0).await;
        let part = fleet.goodput(begun);
        assert!(part > 0.8, "{part}, counted for {settling:?}");
        fleet.keeps_to_the_quota("some leave");
    }
}

#[tokio::test(start_paused = true)]
async fn who_comes_and_is_gone_before_its_time_leaves_no_more_than_the_quota_to_the_others() {
    for dies in [false, true] {
        let mut fleet = four().await;
        fleet.come();
        seconds(0.4).await;
        fleet.members.rotate_right(1);
        match dies {
            true => fleet.die().await,
            false => fleet.leave(Duration::ZERO).await,
        }
        let begun = Instant::now();
        seconds(4.0).await;
        assert!(fleet.goodput(begun) > 0.95, "{}", fleet.goodput(begun));
        fleet.keeps_to_the_quota(&format!("gone early, dead: {dies}"));
    }
}

#[tokio::test(start_paused = true)]
async fn who_only_subscribes_anew_keeps_its_share() {
    for gap in [0.01, 0.1, 0.25] {
        let fleet = four().await;
        for _ in 0..20 {
            fleet.broker.consumers.fetch_sub(1, Ordering::SeqCst);
            seconds(gap).await;
            fleet.broker.consumers.fetch_add(1, Ordering::SeqCst);
            seconds(0.77).await;
        }
        fleet.keeps_to_the_quota(&format!("{gap} s away"));
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_pause_of_all_each_has_the_share_from_before_it() {
    for apart in [0.0, 0.05, 0.9] {
        let mut fleet = Fleet::new();
        for _ in 0..8 {
            fleet.come();
        }
        seconds(5.0).await;
        let until = Instant::now() + Duration::from_secs(30);
        fleet.pause(until, Duration::from_secs_f64(apart)).await;
        sleep_until(until).await;
        let begun = Instant::now();
        seconds(10.0).await;
        let part = fleet.goodput(begun);
        assert!(part > 0.9, "{part}, paused {apart} s apart");
        fleet.keeps_to_the_quota(&format!("paused {apart} s apart"));
    }
}

#[tokio::test(start_paused = true)]
async fn who_has_died_in_a_pause_is_found_out_after_it() {
    let mut fleet = four().await;
    let until = Instant::now() + Duration::from_secs(30);
    fleet.pause(until, Duration::ZERO).await;
    sleep_until(until).await;
    seconds(0.5).await;
    fleet.die().await;
    seconds(8.0).await;
    let begun = Instant::now();
    seconds(4.0).await;
    assert!(fleet.goodput(begun) > 0.95, "{}", fleet.goodput(begun));
    fleet.keeps_to_the_quota("one dead after a pause");
}

#[tokio::test(start_paused = true)]
async fn who_takes_the_place_of_one_that_leaves_is_counted_before_it_calls() {
    for settling in [0, 200, 700, 60_000].map(Duration::from_millis) {
        for between in [0, 50, 130, 400, 1200].map(Duration::from_millis) {
            let mut fleet = four().await;
            for _ in 0..4 {
                fleet.leave(settling).await;
                sleep(between).await;
                fleet.come();
                seconds(0.31).await;
            }
            seconds(3.0).await;
            fleet.keeps_to_the_quota(&format!("{settling:?}, {between:?}"));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_says_late_that_it_has_left_is_not_taken_for_another() {
    let mut fleet = four().await;
    fleet.die().await;
    seconds(2.0).await;
    let service = "gpt".to_owned();
    drop(fleet.broker.news.send(News::Left { service }));
    seconds(5.0).await;
    fleet.keeps_to_the_quota("late news");
}

#[tokio::test(start_paused = true)]
async fn members_of_other_services_change_nothing() {
    let fleet = four().await;
    let begun = Instant::now();
    for _ in 0..40 {
        let service = "ocr".to_owned();
        let due = Instant::now() + Duration::from_millis(50);
        let coming = News::Coming {
            service: service.clone(),
            due,
        };
        for news in [coming, News::Left { service }] {
            drop(fleet.broker.news.send(news));
        }
        seconds(0.1).await;
    }
    assert!(fleet.goodput(begun) > 0.97, "{}", fleet.goodput(begun));
    fleet.keeps_to_the_quota("other services");
}

#[tokio::test(start_paused = true)]
async fn whoever_comes_leaves_and_dies_in_whatever_order_no_second_is_over_the_quota() {
    for seed in 0..12u64 {
        let mut chance = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut draw = |of: u64| {
            chance ^= chance << 13;
            chance ^= chance >> 7;
            chance ^= chance << 17;
            chance % of
        };
        let mut fleet = four().await;
        for _ in 0..40 {
            match draw(4) {
                0 if fleet.members.len() > 2 => {
                    fleet
                        .leave(Duration::from_millis(draw(2) * draw(5000)))
                        .await;
                }
                1 if fleet.members.len() > 2 => fleet.die().await,
                _ if fleet.members.len() < 16 => fleet.come(),
                _ => {}
            }
            sleep(Duration::from_millis(draw(900))).await;
        }
        fleet.keeps_to_the_quota(&format!("seed {seed}"));
    }
}
