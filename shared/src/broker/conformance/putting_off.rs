//! `Later`: a wait is a message in the broker.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::{
    Fixture, Violation, ensure,
    subject::{Subject, done, settle, step, take_id, within, work},
};
use crate::{
    broker::{Consumer, Delivery, Later, Verdict},
    time::UnixMillis,
};

const DELAY: Duration = Duration::from_millis(1200);

fn later(counted: bool) -> Later {
    Later {
        delay: DELAY,
        attempts: u32::from(counted),
        cause: "overloaded".to_owned(),
        first_attempt: None,
        body: None,
    }
}

/// Puts a delivery off and waits until it comes back, which must not be before its delay.
async fn comes_back(
    delivery: Delivery,
    verdict: Later,
    consumer: &mut Consumer,
) -> Result<Delivery, Violation> {
    let (id, delay) = (delivery.envelope().id.clone(), verdict.delay);
    let asked = Instant::now();
    settle(delivery, Verdict::Later(verdict)).await?;
    let back = take_id(consumer, &id).await?;
    not_early(asked, delay)?;
    Ok(back)
}

fn not_early(asked: Instant, delay: Duration) -> Result<(), Violation> {
    // Instants on the wire are whole milliseconds, rounded down.
    let (waited, least) = (
        asked.elapsed(),
        delay.saturating_sub(Duration::from_millis(2)),
    );
    ensure(waited >= least, || {
        format!("put off by {delay:?}, it was back after {waited:?}")
    })
}

/// After its delay, not before, the same id, body and trace come back at the next attempt.
pub async fn later_comes_back_after_its_delay_as_the_same_message(
    fixture: &dyn Fixture,
) -> Result<(), Violation> {
    let subject = Subject::start(fixture).await?;
    let message = step("a");
    subject.publish(vec![message.clone()]).await?;
    let mut consumer = subject.worker(1).await?;
    let delivery = take_id(&mut consumer, "a").await?;
    let back = comes_back(delivery, later(true), &mut consumer).await?;
    let seen = back.envelope();
    ensure(
        seen.body == message.body && seen.headers.trace == message.headers.trace,
        || format!("body and trace of {message:?} must stay, they are {seen:?}"),
    )?;
    ensure(
        (seen.headers.attempt, seen.headers.deferred, seen.deliveries) == (2, 0, 1),
        || format!("a counted retry is attempt 2, deferred 0, delivery 1: {seen:?}"),
    )?;
    ensure(
        seen.headers.retry_cause.as_deref() == Some("overloaded"),
        || format!("the cause of the retry must travel: {seen:?}"),
    )?;
    done(back).await?;
    within("closing a consumer", consumer.close()).await?;
    subject.nothing_is_left().await
}

/// Being throttled is no attempt: it is counted apart.
pub async fn later_that_is_not_counted_costs_no_attempt(
    fixture: &dyn Fixture,
) -> Result<(), Violation> {
    let subject = Subject::start(fixture).await?;
    subject.publish_steps(&["a"]).await?;
    let mut consumer = subject.worker(1).await?;
    let delivery = take_id(&mut consumer, "a").await?;
    let back = comes_back(delivery, later(false), &mut consumer).await?;
    let headers = &back.envelope().headers;
    ensure((headers.attempt, headers.deferred) == (1, 1), || {
        format!("not counted is attempt 1, deferred 1: {headers:?}")
    })?;
    done(back).await
}

/// Attempts add up over several waits, and the first attempt's instant stays the first.
pub async fn later_keeps_the_first_attempt_and_counts_every_one(
    fixture: &dyn Fixture,
) -> Result<(), Violation> {
    let subject = Subject::start(fixture).await?;
    subject.publish_steps(&["a"]).await?;
    let mut consumer = subject.worker(1).await?;
    let began = UnixMillis(1_700_000_000_123);
    let mut delivery = take_id(&mut consumer, "a").await?;
    for (first_attempt, counted) in [(Some(began), true), (None, false), (None, true)] {
        let verdict = Later {
            delay: Duration::from_millis(10),
            first_attempt,
            ..later(counted)
        };
        delivery = comes_back(delivery, verdict, &mut consumer).await?;
    }
    let headers = &delivery.envelope().headers;
    ensure(
        (headers.attempt, headers.deferred, headers.first_attempt) == (3, 1, Some(began)),
        || format!("attempt 3, deferred 1, begun at {began:?}: {headers:?}"),
    )?;
    done(delivery).await
}

/// What a verdict carries replaces the body, once; the id stays.
pub async fn later_may_change_what_the_message_carries(
    fixture: &dyn Fixture,
) -> Result<(), Violation> {
    let subject = Subject::start(fixture).await?;
    subject.publish_steps(&["a"]).await?;
    let mut consumer = subject.worker(1).await?;
    let mut delivery = take_id(&mut consumer, "a").await?;
    let carried = Bytes::from_static(b"another body");
    for body in [Some(carried.clone()), None] {
        let verdict = Later {
            delay: Duration::from_millis(10),
            body,
            ..later(true)
        };
        delivery = comes_back(delivery, verdict, &mut consumer).await?;
        let seen = &delivery.envelope().body;
        ensure(*seen == carried, || {
            format!("the message must carry {carried:?}, it carries {seen:?}")
        })?;
    }
    done(delivery).await
}

/// A waiting message blocks nobody: it is not held, and the next one is delivered.
pub async fn later_lets_others_overtake_it(fixture: &dyn Fixture) -> Result<(), Violation> {
    let subject = Subject::start(fixture).await?;
    subject.publish_steps(&["a", "b"]).await?;
    let mut consumer = subject.worker(1).await?;
    let first = take_id(&mut consumer, "a").await?;
    settle(first, Verdict::Later(later(true))).await?;
    done(take_id(&mut consumer, "b").await?).await?;
    done(take_id(&mut consumer, "a").await?).await
}

/// A wait is durable, and a restart does not cut it short.
pub async fn later_survives_a_crash_and_is_not_early(
    fixture: &dyn Fixture,
) -> Result<(), Violation> {
    let subject = Subject::start(fixture).await?;
    subject.publish_steps(&["a"]).await?;
    let mut consumer = subject.worker(1).await?;
    let delivery = take_id(&mut consumer, "a").await?;
    let asked = Instant::now();
    settle(delivery, Verdict::Later(later(true))).await?;
    let subject = subject.crash_after(consumer).await?;
    let mut consumer = subject.worker(1).await?;
    let back = take_id(&mut consumer, "a").await?;
    not_early(asked, DELAY)?;
    let attempt = back.envelope().headers.attempt;
    ensure(attempt == 2, || {
        format!("the attempt must survive the crash as 2, it is {attempt}")
    })?;
    done(back).await?;
    subject.ready_becomes(&work(), 0).await
}

/// What was put off is ready nowhere, and counted until it is again.
pub async fn what_waits_is_counted_until_it_comes_back(
    fixture: &dyn Fixture,
) -> Result<(), Violation> {
    let subject = Subject::start(fixture).await?;
    subject.waiting_becomes(0).await?;
    subject.publish_steps(&["a", "b"]).await?;
    let mut consumer = subject.worker(1).await?;
    let verdict = Later {
        delay: Duration::from_secs(5),
        ..later(true)
    };
    let first = take_id(&mut consumer, "a").await?;
    settle(first, Verdict::Later(verdict)).await?;
    let other = take_id(&mut consumer, "b").await?;
    subject.waiting_becomes(1).await?;
    done(other).await?;
    let back = take_id(&mut consumer, "a").await?;
    subject.waiting_becomes(0).await?;
    done(back).await
}
