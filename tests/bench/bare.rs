//! The least code that does the same calls: what filefleet is measured against.

use std::{
    error::Error,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties,
    message::Delivery,
    options::{
        BasicAckOptions, BasicConsumeOptions, BasicGetOptions, BasicPublishOptions,
        BasicQosOptions, ConfirmSelectOptions, QueueDeclareOptions,
    },
    types::{AMQPValue, FieldTable},
};
use serde::{Deserialize, Serialize};
use tokio::{sync::Mutex, task::JoinSet};

/// Most publishes without a confirm.
const WINDOW: usize = 1000;
const TASKS: &str = "bare.tasks";
const OUTCOMES: &str = "bare.outcomes";

type Failure = Box<dyn Error + Send + Sync>;

async fn confirming(url: &str) -> Result<Channel, lapin::Error> {
    let connection = Connection::connect(url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await?;
    for queue in [TASKS, OUTCOMES] {
        let mut arguments = FieldTable::default();
        let quorum = AMQPValue::LongString("quorum".into());
        arguments.insert("x-queue-type".into(), quorum);
        channel
            .queue_declare(queue.into(), QueueDeclareOptions::durable(), arguments)
            .await?;
    }
    Ok(channel)
}

/// Publishes `count` bodies to a quorum queue with pipelined confirms; how long it took.
pub(crate) async fn publish(url: &str, body: &[u8], count: usize) -> Result<Duration, Failure> {
    let channel = confirming(url).await?;
    let began = Instant::now();
    let mut confirms = FuturesUnordered::new();
    for number in 0..count {
        let properties = BasicProperties::default()
            .with_delivery_mode(2)
            .with_message_id(number.to_string().into());
        let options = BasicPublishOptions {
            mandatory: true,
            immediate: false,
        };
        let sent = channel.basic_publish("".into(), TASKS.into(), options, body, properties);
        confirms.push(sent.await?);
        if confirms.len() >= WINDOW
            && let Some(confirm) = confirms.next().await
        {
            safe(confirm?)?;
        }
    }
    while let Some(confirm) = confirms.next().await {
        safe(confirm?)?;
    }
    Ok(began.elapsed())
}

fn safe(confirm: Confirmation) -> Result<(), Failure> {
    match confirm {
        Confirmation::Ack(None) => Ok(()),
        other => Err(format!("not confirmed: {other:?}").into()),
    }
}

/// The body of a message that waits in a queue; it stays there.
pub(crate) async fn peek(url: &str, queue: &str) -> Result<Vec<u8>, Failure> {
    let connection = Connection::connect(url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    let got = channel
        .basic_get(queue.into(), BasicGetOptions::default())
        .await?
        .ok_or_else(|| format!("{queue} is empty"))?;
    let body = got.delivery.data.clone();
    connection.close(200, "OK".into()).await?;
    Ok(body)
}

/// What the bare worker does.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Work {
    pub(crate) broker: String,
    /// Where each call is posted.
    pub(crate) endpoint: String,
    /// Body of each call.
    pub(crate) request: String,
    /// Body of each published outcome.
    pub(crate) outcome: String,
    pub(crate) in_flight: u16,
    /// Tasks to do.
    pub(crate) total: usize,
}

/// Consumes `total` messages: one call, one confirmed publish, one ack each.
pub(crate) async fn work(work: Work) -> Result<(), Failure> {
    let connection = Connection::connect(&work.broker, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    let options = BasicQosOptions::default();
    channel.basic_qos(work.in_flight, options).await?;
    let mut consumer = channel
        .basic_consume(
            TASKS.into(),
            "".into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        )
        .await?;
    let session = Arc::new(Session {
        publisher: confirming(&work.broker).await?,
        turn: Mutex::new(()),
        http: reqwest::Client::builder()
            .pool_max_idle_per_host(usize::from(work.in_flight))
            .build()?,
        work,
    });
    let mut tasks: JoinSet<Result<(), Failure>> = JoinSet::new();
    let mut done = 0;
    while done < session.work.total {
        tokio::select! {
            Some(joined) = tasks.join_next() => {
                joined??;
                done += 1;
            }
            Some(delivery) = consumer.next() => {
                let (session, delivery) = (Arc::clone(&session), delivery?);
                tasks.spawn(async move { session.handle(delivery).await });
            }
        }
    }
    Ok(())
}

struct Session {
    publisher: Channel,
    /// A confirm channel must have one publishing task at a time.
    turn: Mutex<()>,
    http: reqwest::Client,
    work: Work,
}

impl Session {
    async fn handle(&self, delivery: Delivery) -> Result<(), Failure> {
        let answer = self
            .http
            .post(&self.work.endpoint)
            .header("content-type", "application/json")
            .body(self.work.request.clone())
            .send()
            .await?
            .error_for_status()?;
        answer.bytes().await?;
        let confirm = {
            let _mine = self.turn.lock().await;
            let sent = self.publisher.basic_publish(
                "".into(),
                OUTCOMES.into(),
                BasicPublishOptions::default(),
                self.work.outcome.as_bytes(),
                BasicProperties::default().with_delivery_mode(2),
            );
            sent.await?
        };
        safe(confirm.await?)?;
        delivery.ack(BasicAckOptions::default()).await?;
        Ok(())
    }
}
