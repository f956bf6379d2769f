//! Consuming: order, prefetch, what comes back and when.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::timeout;

use super::{
    Fixture, Violation, ensure,
    subject::{Subject, done, step, take, take_id, within, work},
};
use crate::broker::{BrokerError, ConsumeOptions, Consumer, Queue};

/// First deliveries keep the order of publishing, within a batch and from batch to batch.
pub async fn first_deliveries_come_in_the_order_of_publishing(
    fixture: &dyn Fixture,
) -> Result<(), Violation> {
    let subject = Subject::start(fixture).await?;
    let ids: Vec<String> = (0..60).map(|n| format!("m{n}")).collect();
    let (batch, single) = ids.split_at(40);
    subject
        .publish(batch.iter().map(|id| step(id)).collect())
        .await?;
    for id in single {
        subject.publish(vec![step(id)]).await?;
    }
    let mut consumer = subject.worker(7).await?;
    for id in &ids {
        done(take_id(&mut consumer, id).await?).await?;
    }
    Ok(())
}

/// With `prefetch` deliveries in hand the next one comes when one of them is settled.
pub async fn no_more_than_prefetch_are_unsettled(fixture: &dyn Fixture) -> Result<(), Violation> {
    let subject = Subject::start(fixture).await?;
    subject.publish_steps(&["a", "b", "c", "d", "e"]).await?;
    let mut consumer = subject.worker(3).await?;
    let first = take_id(&mut consumer, "a").await?;
    let second = take_id(&mut consumer, "b").await?;
    let third = take_id(&mut consumer, "c").await?;
    subject.ready_becomes(&work(), 2).await?;
    let early = timeout(Duration::from_millis(300), consumer.recv()).await;
    ensure(early.is_err(), || {
        format!("a fourth delivery at a prefetch of 3: {early:?}")
    })?;
    done(second).await?;
    let fourth = take_id(&mut consumer, "d").await?;
    subject.ready_becomes(&work(), 1).await?;
    for delivery in [first, third, fourth] {
        done(delivery).await?;
    }
    done(take_id(&mut consumer, "e").await?).await
}

/// Consumers of one queue share its messages: each goes to one of them, once.
pub async fn each_message_goes_to_one_of_many_consumers(
    fixture: &dyn Fixture,
) -> Result<(), Violation> {
    const MESSAGES: usize = 200;
    let subject = Subject::start(fixture).await?;
    let mut first = subject.worker(5).await?;
    let mut second = subject.worker(5).await?;
    let steps = (0..MESSAGES).map(|n| step(&format!("m{n}")));
    subject.publish(steps.collect()).await?;
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    for _ in 0..MESSAGES {
        let delivery = within("receiving", async {
            tokio::select! {
                received = first.recv() => received,
                received = second.recv() => received,
            }
        })
        .await??;
        *seen.entry(delivery.envelope().id.clone()).or_default() += 1;
        done(delivery).await?;
    }
    seen.retain(|_, times| *times > 1);
    ensure(seen.is_empty(), || {
        format!("delivered more than once: {seen:?}")
    })?;
    for consumer in [first, second] {
        within("closing a consumer", consumer.close()).await?;
    }
    subject.nothing_is_left().await
}

/// What a closed consumer had not received is ready at once, in its old order; what it had
/// received stays in hand and is settled as usual.
pub async fn closing_a_consumer_hands_back_what_was_not_received(
    fixture: &dyn Fixture,
) -> Result<(), Violation> {
    let subject = Subject::start(fixture).await?;
    subject.publish_steps(&["a", "b", "c", "d", "e"]).await?;
    let mut consumer = subject.worker(5).await?;
    let first = take_id(&mut consumer, "a").await?;
    let second = take_id(&mut consumer, "b").await?;
    within("closing a consumer", consumer.close()).await?;
    subject.ready_becomes(&work(), 3).await?;
    done(first).await?;
    done(second).await?;
    let mut consumer = subject.worker(5).await?;
    take_all(&mut consumer, &["c", "d", "e"]).await?;
    within("closing a consumer", consumer.close()).await?;
    subject.nothing_is_left().await
}

/// Takes and settles until all of `ids` have come, in any order: what was handed back has none.
async fn take_all(consumer: &mut Consumer, ids: &[&str]) -> Result<(), Violation> {
    let mut missing = ids.to_vec();
    while !missing.is_empty() {
        let delivery = take(consumer).await?;
        missing.retain(|id| *id != delivery.envelope().id);
        done(delivery).await?;
    }
    Ok(())
}

/// A consumer that is dropped together with its deliveries loses nothing.
pub async fn a_lost_consumer_gives_back_everything_unsettled(
    fixture: &dyn Fixture,
) -> Result<(), Violation> {
    let subject = Subject::start(fixture).await?;
    subject.publish_steps(&["a", "b", "c"]).await?;
    let mut consumer = subject.worker(3).await?;
    let held = (
        take_id(&mut consumer, "a").await?,
        take_id(&mut consumer, "b").await?,
    );
    drop(consumer);
    drop(held);
    let mut consumer = subject.worker(3).await?;
    take_all(&mut consumer, &["a", "b", "c"]).await?;
    within("closing a consumer", consumer.close()).await?;
    subject.nothing_is_left().await
}

/// While an exclusive consumer lives, any second one is `Busy`; when it is closed, one more can.
pub async fn an_exclusive_consumer_is_the_only_one(fixture: &dyn Fixture) -> Result<(), Violation> {
    let subject = Subject::start(fixture).await?;
    let exclusive = ConsumeOptions {
        prefetch: 1,
        exclusive: true,
    };
    let first = subject.try_consume(&work(), exclusive).await??;
    for options in [exclusive, ConsumeOptions::shared(1)] {
        busy(subject.try_consume(&work(), options).await?)?;
    }
    within("closing a consumer", first.close()).await?;
    let shared = subject.worker(1).await?;
    busy(subject.try_consume(&work(), exclusive).await?)?;
    within("closing a consumer", shared.close()).await?;
    let mut second = subject.try_consume(&work(), exclusive).await??;
    subject.publish_steps(&["a"]).await?;
    done(take_id(&mut second, "a").await?).await
}

fn busy(second: Result<Consumer, BrokerError>) -> Result<(), Violation> {
    match second {
        Err(BrokerError::Busy(_)) => Ok(()),
        other => Err(Violation(format!(
            "a second consumer of an exclusive queue must be Busy, it was {other:?}"
        ))),
    }
}

/// A queue that was never declared cannot be consumed.
pub async fn consuming_a_missing_queue_is_an_error(fixture: &dyn Fixture) -> Result<(), Violation> {
    let subject = Subject::start(fixture).await?;
    let missing = Queue::Work("nowhere".to_owned());
    let consumed = subject
        .try_consume(&missing, ConsumeOptions::shared(1))
        .await?;
    ensure(matches!(consumed, Err(BrokerError::Unroutable(_))), || {
        format!("consuming a missing queue must be Unroutable, it was {consumed:?}")
    })
}

/// Deliveries in flight at a crash come back, and say that they have been delivered before.
pub async fn a_crash_brings_deliveries_back_and_counts_them(
    fixture: &dyn Fixture,
) -> Result<(), Violation> {
    let mut subject = Subject::start(fixture).await?;
    subject.publish_steps(&["a"]).await?;
    let mut counts = Vec::new();
    for _ in 0..3 {
        let mut consumer = subject.worker(1).await?;
        let delivery = take_id(&mut consumer, "a").await?;
        counts.push(delivery.envelope().deliveries);
        let attempt = delivery.envelope().headers.attempt;
        ensure(attempt == 1, || {
            format!("a crash must cost no attempt, it is {attempt}")
        })?;
        subject = subject.crash().await?;
        drop((consumer, delivery));
    }
    let grows = counts.is_sorted() && counts.first() == Some(&1) && counts.last() > Some(&1);
    ensure(grows, || {
        format!("deliveries must count up over crashes, they were {counts:?}")
    })?;
    let mut consumer = subject.worker(1).await?;
    done(take_id(&mut consumer, "a").await?).await?;
    within("closing a consumer", consumer.close()).await?;
    subject.nothing_is_left().await
}
