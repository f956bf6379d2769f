//! Settling: once, last, and with what follows.

use super::{
    Fixture, Violation, ensure,
    subject::{Subject, done, settle, step, step_for, take_id, try_settle, within, work},
};
use crate::broker::{BrokerError, Dead, Message, Queue, ResultKey, Route, SettleError, Verdict};
use crate::wire::{RunId, Status};

fn outcome(run: RunId, id: &str) -> Message {
    Message {
        route: Route::Result {
            run,
            key: ResultKey::Outcome(Status::Succeeded),
        },
        ..step(id)
    }
}

/// A settled delivery is gone, over crashes too.
pub async fn done_is_settled_for_ever(fixture: &dyn Fixture) -> Result<(), Violation> {
    let subject = Subject::start(fixture).await?;
    subject.publish_steps(&["a"]).await?;
    let mut consumer = subject.worker(2).await?;
    done(take_id(&mut consumer, "a").await?).await?;
    subject.ready_becomes(&work(), 0).await?;
    let subject = subject.crash_after(consumer).await?;
    subject.ready_becomes(&work(), 0).await?;
    subject.nothing_is_left().await
}

/// After `Done` a crash finds what follows, and not the delivery.
pub async fn done_publishes_what_follows_before_the_delivery_is_gone(
    fixture: &dyn Fixture,
) -> Result<(), Violation> {
    let subject = Subject::start(fixture).await?;
    let run = RunId::mint();
    let (next, results) = (Queue::Work("next".to_owned()), Queue::Results(run));
    subject.declare(&[next.clone(), results.clone()]).await?;
    subject.publish_steps(&["a"]).await?;
    let mut consumer = subject.worker(1).await?;
    let delivery = take_id(&mut consumer, "a").await?;
    let follows = vec![step_for("next", "b"), outcome(run, "a:outcome")];
    settle(delivery, Verdict::Done(follows)).await?;
    let subject = subject.crash_after(consumer).await?;
    for (queue, id) in [(next, "b"), (results, "a:outcome")] {
        subject.ready_becomes(&queue, 1).await?;
        let mut consumer = subject.consume(&queue, 1).await?;
        done(take_id(&mut consumer, id).await?).await?;
    }
    subject.nothing_is_left().await
}

/// What was not settled before a crash comes again, and nothing has followed from it.
pub async fn a_crash_before_settling_publishes_nothing_and_delivers_again(
    fixture: &dyn Fixture,
) -> Result<(), Violation> {
    let subject = Subject::start(fixture).await?;
    let run = RunId::mint();
    let results = Queue::Results(run);
    subject.declare(std::slice::from_ref(&results)).await?;
    subject.publish_steps(&["a"]).await?;
    let mut consumer = subject.worker(1).await?;
    let delivery = take_id(&mut consumer, "a").await?;
    let subject = subject.crash().await?;
    drop((consumer, delivery));
    let mut consumer = subject.worker(1).await?;
    let again = take_id(&mut consumer, "a").await?;
    settle(again, Verdict::Done(vec![outcome(run, "second")])).await?;
    let mut collector = subject.consume(&results, 2).await?;
    done(take_id(&mut collector, "second").await?).await
}

/// If what follows cannot be published the delivery is not settled, and comes again.
pub async fn done_that_cannot_publish_delivers_again(
    fixture: &dyn Fixture,
) -> Result<(), Violation> {
    let subject = Subject::start(fixture).await?;
    subject.publish_steps(&["a"]).await?;
    let mut consumer = subject.worker(1).await?;
    let delivery = take_id(&mut consumer, "a").await?;
    let follows = vec![step_for("nowhere", "lost")];
    let settled = try_settle(delivery, Verdict::Done(follows)).await?;
    ensure(
        matches!(
            settled,
            Err(SettleError::Publish(BrokerError::Unroutable(_)))
        ),
        || format!("a follow-up to a missing queue must be Unroutable, it was {settled:?}"),
    )?;
    done(take_id(&mut consumer, "a").await?).await?;
    within("closing a consumer", consumer.close()).await?;
    subject.nothing_is_left().await
}

/// A settlement after the session was lost is an error, never a success.
pub async fn a_delivery_of_a_lost_session_cannot_be_settled(
    fixture: &dyn Fixture,
) -> Result<(), Violation> {
    let subject = Subject::start(fixture).await?;
    subject.publish_steps(&["a"]).await?;
    let mut consumer = subject.worker(1).await?;
    let delivery = take_id(&mut consumer, "a").await?;
    let subject = subject.crash().await?;
    let settled = try_settle(delivery, Verdict::Done(Vec::new())).await?;
    ensure(settled.is_err(), || {
        "a delivery of a lost session was settled".to_owned()
    })?;
    drop(consumer);
    let mut consumer = subject.worker(1).await?;
    done(take_id(&mut consumer, "a").await?).await
}

/// A released delivery comes again unchanged, at no attempt.
pub async fn release_delivers_again_and_costs_no_attempt(
    fixture: &dyn Fixture,
) -> Result<(), Violation> {
    let subject = Subject::start(fixture).await?;
    let message = step("a");
    subject.publish(vec![message.clone()]).await?;
    let mut consumer = subject.worker(1).await?;
    for _ in 0..3 {
        settle(take_id(&mut consumer, "a").await?, Verdict::Release).await?;
    }
    let again = take_id(&mut consumer, "a").await?;
    let seen = again.envelope();
    ensure(
        seen.headers == message.headers && seen.body == message.body && seen.deliveries >= 1,
        || format!("a released message must come back as {message:?}, it is {seen:?}"),
    )?;
    done(again).await?;
    within("closing a consumer", consumer.close()).await?;
    subject.nothing_is_left().await
}

/// A delivery that nobody settles is handed back when it is dropped.
pub async fn a_dropped_delivery_comes_back(fixture: &dyn Fixture) -> Result<(), Violation> {
    let subject = Subject::start(fixture).await?;
    subject.publish_steps(&["a"]).await?;
    let mut consumer = subject.worker(1).await?;
    drop(take_id(&mut consumer, "a").await?);
    let again = take_id(&mut consumer, "a").await?;
    let attempt = again.envelope().headers.attempt;
    ensure(attempt == 1, || {
        format!("a dropped delivery must cost no attempt, it is {attempt}")
    })?;
    done(again).await?;
    within("closing a consumer", consumer.close()).await?;
    subject.nothing_is_left().await
}

/// A dead letter keeps id, body and headers, and says why, where from and by whom; what is
/// published with it arrives.
pub async fn dead_keeps_the_body_and_says_why(fixture: &dyn Fixture) -> Result<(), Violation> {
    let subject = Subject::start(fixture).await?;
    let run = RunId::mint();
    let results = Queue::Results(run);
    subject.declare(std::slice::from_ref(&results)).await?;
    let message = Message {
        body: bytes::Bytes::from_static(&[0xff, 0x00, 0xfe]),
        ..step("a")
    };
    subject.publish(vec![message.clone()]).await?;
    let mut consumer = subject.worker(1).await?;
    let verdict = Verdict::Dead(Dead {
        reason: "undecodable".to_owned(),
        detail: "byte 0 is not JSON".to_owned(),
        by: "worker-7".to_owned(),
        publish: vec![outcome(run, "a:outcome")],
    });
    settle(take_id(&mut consumer, "a").await?, verdict).await?;
    let subject = subject.crash_after(consumer).await?;
    let mut letters = subject.consume(&Queue::Dead, 1).await?;
    let letter = take_id(&mut letters, "a").await?;
    let seen = letter.envelope();
    let Some(death) = &seen.headers.death else {
        return Err(Violation(format!("a dead letter says no reason: {seen:?}")));
    };
    ensure(
        (&*death.reason, &*death.detail, &*death.by)
            == ("undecodable", "byte 0 is not JSON", "worker-7")
            && death.from == work().to_string()
            && death.at.0 > 0,
        || format!("a dead letter must say why, where from, by whom and when: {death:?}"),
    )?;
    ensure(
        seen.body == message.body
            && seen.headers.trace == message.headers.trace
            && seen.headers.attempt == 1,
        || format!("a dead letter must keep body, trace and attempt: {seen:?}"),
    )?;
    done(letter).await?;
    let mut collector = subject.consume(&results, 1).await?;
    done(take_id(&mut collector, "a:outcome").await?).await?;
    subject.nothing_is_left().await
}
