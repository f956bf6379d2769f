//! Services that slow down with too many calls, in a time of their own.

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
