//! Publishing, declaring, inspecting, deleting.

use bytes::Bytes;

use super::{
    Fixture, Violation, ensure,
    subject::{Subject, done, step, step_for, take, take_id, within, work},
};
use crate::{
    broker::{BrokerError, Depth, Headers, MAX_BODY_BYTES, Message, Queue, ResultKey, Route},
    telemetry::TraceContext,
    time::UnixMillis,
    wire::{RunId, Status},
};

/// What `publish` confirmed is there after a crash, in order.
pub async fn a_publish_survives_a_crash_after_it_returned(
    fixture: &dyn Fixture,
) -> Result<(), Violation> {
    let subject = Subject::start(fixture).await?;
    subject.publish_steps(&["a", "b", "c"]).await?;
    let subject = subject.crash().await?;
    let mut consumer = subject.worker(3).await?;
    for id in ["a", "b", "c"] {
        done(take_id(&mut consumer, id).await?).await?;
    }
    Ok(())
}

/// A queue that does not exist is named by the error; what was and is published stays.
pub async fn publishing_to_a_missing_queue_is_an_error_and_loses_nothing_else(
    fixture: &dyn Fixture,
) -> Result<(), Violation> {
    let subject = Subject::start(fixture).await?;
    subject.publish_steps(&["before"]).await?;
    let batch = vec![step("a"), step_for("nowhere", "lost"), step("b")];
    match subject.try_publish(batch).await? {
        Err(BrokerError::Unroutable(name)) => ensure(name.contains("nowhere"), || {
            format!("the error must name the missing queue, it names {name:?}")
        })?,
        other => {
            return Err(Violation(format!(
                "publishing to a missing queue must be Unroutable, it was {other:?}"
            )));
        }
    }
    subject.publish_steps(&["a", "b"]).await?;
    let mut missing = vec!["before", "a", "b"];
    let mut consumer = subject.worker(10).await?;
    // The batch that failed may have left copies of `a` and `b`: under the same ids.
    while !missing.is_empty() {
        let delivery = take(&mut consumer).await?;
        missing.retain(|id| *id != delivery.envelope().id);
        done(delivery).await?;
    }
    Ok(())
}

/// `TooLarge` names message, size and limit, and nothing of its batch is published.
pub async fn a_message_over_the_limit_is_refused_with_its_whole_batch(
    fixture: &dyn Fixture,
) -> Result<(), Violation> {
    let subject = Subject::start(fixture).await?;
    let large = Message {
        body: Bytes::from(vec![b'x'; MAX_BODY_BYTES + 1]),
        ..step("large")
    };
    let batch = vec![step("a"), large, step("b")];
    match subject.try_publish(batch).await? {
        Err(BrokerError::TooLarge { id, bytes, limit }) => ensure(
            id == "large" && bytes == MAX_BODY_BYTES + 1 && limit == MAX_BODY_BYTES,
            || format!("TooLarge must say what is too large, it says {id:?} {bytes} {limit}"),
        )?,
        other => {
            return Err(Violation(format!(
                "a body over the limit must be TooLarge, it was {other:?}"
            )));
        }
    }
    subject.nothing_is_left().await
}

/// Headers, id and body cross the broker unchanged, on every route.
pub async fn id_body_and_headers_arrive_as_published(
    fixture: &dyn Fixture,
) -> Result<(), Violation> {
    let subject = Subject::start(fixture).await?;
    let (run, service) = (RunId::mint(), "alpha".to_owned());
    let headers = Headers {
        attempt: 3,
        deferred: 2,
        first_attempt: Some(UnixMillis(1_700_000_000_000)),
        retry_cause: Some("rate_limited: „später“".to_owned()),
        trace: Some(TraceContext::root()),
        ..Headers::default()
    };
    let key = ResultKey::Outcome(Status::Failed);
    for route in [
        Route::Work {
            service: service.clone(),
        },
        Route::Quarantine { service },
        Route::Result { run, key },
    ] {
        let queue = route.queue();
        subject.declare(std::slice::from_ref(&queue)).await?;
        let message = Message {
            id: format!("{run}:7:read"),
            headers: headers.clone(),
            route,
            ..step("")
        };
        subject.publish(vec![message.clone()]).await?;
        let mut consumer = subject.consume(&queue, 1).await?;
        let delivery = take_id(&mut consumer, &message.id).await?;
        let seen = delivery.envelope();
        ensure(seen.headers == headers, || {
            format!("headers must be {headers:?}, are {:?}", seen.headers)
        })?;
        ensure(seen.body == message.body, || {
            format!("body must be {:?}, is {:?}", message.body, seen.body)
        })?;
        ensure(seen.queue == queue && seen.deliveries == 1, || {
            format!("a first delivery of {queue}, seen as {seen:?}")
        })?;
        done(delivery).await?;
    }
    Ok(())
}

/// The broker does not look into bodies: empty, binary and broken ones arrive as they are.
pub async fn bytes_that_are_not_a_message_pass_through_untouched(
    fixture: &dyn Fixture,
) -> Result<(), Violation> {
    let subject = Subject::start(fixture).await?;
    let every_byte = (0..=u8::MAX).collect::<Vec<u8>>();
    let bodies: [&[u8]; 3] = [b"", b"{\"v\":1,", &every_byte];
    for body in bodies {
        let body = Bytes::copy_from_slice(body);
        let message = Message {
            body: body.clone(),
            ..step("bytes")
        };
        subject.publish(vec![message]).await?;
        let mut consumer = subject.worker(1).await?;
        let delivery = take_id(&mut consumer, "bytes").await?;
        ensure(delivery.envelope().body == body, || {
            format!("body {body:?} came as {:?}", delivery.envelope().body)
        })?;
        done(delivery).await?;
        within("closing a consumer", consumer.close()).await?;
    }
    Ok(())
}

/// Declaring what exists keeps what is in it.
pub async fn declaring_twice_changes_nothing(fixture: &dyn Fixture) -> Result<(), Violation> {
    let subject = Subject::start(fixture).await?;
    let run = Queue::Results(RunId::mint());
    subject.publish_steps(&["a"]).await?;
    let again = [work(), Queue::Dead, Queue::Unroutable, run];
    subject.declare(&again).await?;
    subject.declare(&again).await?;
    let mut consumer = subject.worker(1).await?;
    done(take_id(&mut consumer, "a").await?).await
}

/// Queues of other services, runs and purposes do not mix.
pub async fn queues_are_apart(fixture: &dyn Fixture) -> Result<(), Violation> {
    let subject = Subject::start(fixture).await?;
    let (first, second) = (RunId::mint(), RunId::mint());
    let result = |run| Route::Result {
        run,
        key: ResultKey::Closed,
    };
    let service = |name: &str| name.to_owned();
    let routes = [
        Route::Work {
            service: service("alpha"),
        },
        Route::Work {
            service: service("beta"),
        },
        Route::Quarantine {
            service: service("alpha"),
        },
        result(first),
        result(second),
    ];
    let queues: Vec<Queue> = routes.iter().map(Route::queue).collect();
    subject.declare(&queues).await?;
    let messages = routes.iter().map(|route| Message {
        route: route.clone(),
        ..step(&route.queue().to_string())
    });
    subject.publish(messages.collect()).await?;
    for queue in &queues {
        subject.ready_becomes(queue, 1).await?;
        let mut consumer = subject.consume(queue, 5).await?;
        done(take_id(&mut consumer, &queue.to_string()).await?).await?;
    }
    subject.ready_becomes(&Queue::Dead, 0).await
}

/// `inspect` counts ready messages and consumers, and gives `None` for a missing queue.
pub async fn inspecting_counts_what_is_ready_and_who_consumes(
    fixture: &dyn Fixture,
) -> Result<(), Violation> {
    let subject = Subject::start(fixture).await?;
    let depth = |ready, consumers| Some(Depth { ready, consumers });
    let missing = Queue::Work("nowhere".to_owned());
    subject.depth_becomes(&missing, None).await?;
    subject.depth_becomes(&work(), depth(0, 0)).await?;
    subject.publish_steps(&["a", "b", "c"]).await?;
    subject.depth_becomes(&work(), depth(3, 0)).await?;
    let mut consumer = subject.worker(1).await?;
    let delivery = take_id(&mut consumer, "a").await?;
    subject.depth_becomes(&work(), depth(2, 1)).await?;
    done(delivery).await?;
    subject.depth_becomes(&work(), depth(1, 1)).await?;
    within("closing a consumer", consumer.close()).await?;
    subject.depth_becomes(&work(), depth(2, 0)).await
}

/// A deleted queue is gone with its messages; deleting it again is no error.
pub async fn deleting_a_queue_removes_what_is_in_it(
    fixture: &dyn Fixture,
) -> Result<(), Violation> {
    let subject = Subject::start(fixture).await?;
    let run = RunId::mint();
    let queue = Queue::Results(run);
    let message = Message {
        route: Route::Result {
            run,
            key: ResultKey::Closed,
        },
        ..step("a")
    };
    subject.declare(std::slice::from_ref(&queue)).await?;
    subject.publish(vec![message.clone()]).await?;
    for _ in 0..2 {
        within("deleting", subject.broker.delete(&queue)).await??;
        subject.depth_becomes(&queue, None).await?;
    }
    let published = subject.try_publish(vec![message]).await?;
    ensure(matches!(published, Err(BrokerError::Unroutable(_))), || {
        format!("publishing to a deleted queue must be Unroutable, it was {published:?}")
    })?;
    subject.declare(std::slice::from_ref(&queue)).await?;
    subject.ready_becomes(&queue, 0).await
}

/// A consumer of a deleted queue ends with an error instead of waiting for ever.
pub async fn a_deleted_queue_ends_its_consumer(fixture: &dyn Fixture) -> Result<(), Violation> {
    let subject = Subject::start(fixture).await?;
    let mut consumer = subject.worker(1).await?;
    within("deleting", subject.broker.delete(&work())).await??;
    let received = within("ending the consumer", consumer.recv()).await?;
    ensure(received.is_err(), || {
        format!("the consumer of a deleted queue received {received:?}")
    })
}

/// Publishing after `close` is an error.
pub async fn a_closed_broker_refuses_to_publish(fixture: &dyn Fixture) -> Result<(), Violation> {
    let subject = Subject::start(fixture).await?;
    within("closing", subject.broker.close()).await?;
    let published = subject.try_publish(vec![step("a")]).await?;
    ensure(published.is_err(), || {
        "a closed broker confirmed a publish".to_owned()
    })
}
