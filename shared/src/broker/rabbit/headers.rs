//! Our headers as AMQP headers, and back.

use std::{collections::BTreeMap, fmt::Write, str::FromStr};

use lapin::{
    BasicProperties,
    types::{AMQPValue, FieldTable, ShortString},
};
use sha2::{Digest, Sha256};

use crate::{
    broker::{BrokerError, Death, Headers, Queue, topology::header, topology::short},
    time::UnixMillis,
};

const PERSISTENT: u8 = 2;

/// Properties of a message of ours.
pub(super) fn properties(id: &str, headers: &Headers) -> Result<BasicProperties, BrokerError> {
    Ok(BasicProperties::default()
        .with_message_id(short(id)?)
        .with_content_type("application/json".into())
        .with_delivery_mode(PERSISTENT)
        .with_headers(to_table(headers)))
}

fn to_table(headers: &Headers) -> FieldTable {
    let mut table = BTreeMap::new();
    let mut put = |name: &'static str, value: Option<AMQPValue>| {
        if let Some(value) = value {
            table.insert(ShortString::from(name), value);
        }
    };
    put(header::ATTEMPT, Some(count(headers.attempt)));
    put(
        header::DEFERRED,
        Some(headers.deferred).filter(|n| *n > 0).map(count),
    );
    put(header::FIRST_ATTEMPT, headers.first_attempt.map(instant));
    put(header::NOT_BEFORE, headers.not_before.map(instant));
    put(
        header::RETRY_CAUSE,
        headers.retry_cause.as_deref().map(text),
    );
    put(
        header::TRACEPARENT,
        headers.trace.map(|trace| text(&trace.to_string())),
    );
    if let Some(death) = &headers.death {
        put(header::DEATH_REASON, Some(text(&death.reason)));
        put(header::DEATH_DETAIL, Some(text(&death.detail)));
        put(header::DEATH_FROM, Some(text(&death.from)));
        put(header::DEATH_BY, Some(text(&death.by)));
        put(header::DEATH_AT, Some(instant(death.at)));
    }
    FieldTable::from(table)
}

/// Headers of a delivery; what a foreign producer left out has its default.
pub(super) fn headers(properties: &BasicProperties, queue: &Queue) -> Headers {
    let Some(table) = properties.headers() else {
        return Headers::default();
    };
    let number = |name| get(table, name).and_then(as_u64);
    let string = |name| get(table, name).and_then(as_text);
    let small = |name| number(name).map(|n| u32::try_from(n).unwrap_or(u32::MAX));
    Headers {
        attempt: small(header::ATTEMPT).unwrap_or(1),
        deferred: small(header::DEFERRED).unwrap_or(0),
        first_attempt: number(header::FIRST_ATTEMPT).map(UnixMillis),
        retry_cause: string(header::RETRY_CAUSE),
        not_before: number(header::NOT_BEFORE).map(UnixMillis),
        trace: string(header::TRACEPARENT).and_then(|text| FromStr::from_str(&text).ok()),
        death: our_death(table).or_else(|| broker_death(table, queue)),
    }
}

fn our_death(table: &FieldTable) -> Option<Death> {
    let string = |name| get(table, name).and_then(as_text);
    Some(Death {
        reason: string(header::DEATH_REASON)?,
        detail: string(header::DEATH_DETAIL).unwrap_or_default(),
        from: string(header::DEATH_FROM).unwrap_or_default(),
        by: string(header::DEATH_BY).unwrap_or_default(),
        at: UnixMillis(
            get(table, header::DEATH_AT)
                .and_then(as_u64)
                .unwrap_or_default(),
        ),
    })
}

/// What the broker itself gave up, as after too many deliveries.
fn broker_death(table: &FieldTable, queue: &Queue) -> Option<Death> {
    // Elsewhere it only says that the message has waited.
    if *queue != Queue::Dead {
        return None;
    }
    let Some(AMQPValue::FieldArray(deaths)) = get(table, header::BROKER_DEATH) else {
        return None;
    };
    let Some(AMQPValue::FieldTable(last)) = deaths.as_slice().first() else {
        return None;
    };
    let seconds = get(last, "time").and_then(as_u64).unwrap_or_default();
    Some(Death {
        reason: get(last, "reason").and_then(as_text)?,
        detail: "dead-lettered by the broker".to_owned(),
        from: get(last, "queue").and_then(as_text).unwrap_or_default(),
        by: "broker".to_owned(),
        at: UnixMillis(seconds.saturating_mul(1000)),
    })
}

/// The message's id; for a foreign message without one, a digest of its body.
pub(super) fn id(properties: &BasicProperties, body: &[u8]) -> String {
    if let Some(id) = properties
        .message_id()
        .as_ref()
        .filter(|id| !id.as_str().is_empty())
    {
        return id.as_str().to_owned();
    }
    let mut id = "sha256-".to_owned();
    for byte in Sha256::digest(body) {
        // Writing to a string cannot fail.
        if write!(id, "{byte:02x}").is_err() {
            break;
        }
    }
    id
}

/// Times delivered, this one included.
pub(super) fn deliveries(properties: &BasicProperties, redelivered: bool) -> u32 {
    let count = properties
        .headers()
        .as_ref()
        .and_then(|table| get(table, header::DELIVERY_COUNT))
        .and_then(as_u64);
    let before = count.unwrap_or(u64::from(redelivered));
    u32::try_from(before.saturating_add(1)).unwrap_or(u32::MAX)
}

/// A header of a stream's delivery.
pub(super) fn offset(properties: &BasicProperties) -> Option<u64> {
    properties
        .headers()
        .as_ref()
        .and_then(|table| get(table, header::STREAM_OFFSET))
        .and_then(as_u64)
}

fn get<'a>(table: &'a FieldTable, name: &str) -> Option<&'a AMQPValue> {
    table.inner().get(name)
}

fn count(value: u32) -> AMQPValue {
    AMQPValue::LongLongInt(i64::from(value))
}

fn instant(value: UnixMillis) -> AMQPValue {
    AMQPValue::LongLongInt(i64::try_from(value.0).unwrap_or(i64::MAX))
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

/// Producers in other languages choose the width, and some send numbers as text.
fn as_u64(value: &AMQPValue) -> Option<u64> {
    match value {
        AMQPValue::ShortShortInt(n) => u64::try_from(*n).ok(),
        AMQPValue::ShortShortUInt(n) => Some(u64::from(*n)),
        AMQPValue::ShortInt(n) => u64::try_from(*n).ok(),
        AMQPValue::ShortUInt(n) => Some(u64::from(*n)),
        AMQPValue::LongInt(n) => u64::try_from(*n).ok(),
        AMQPValue::LongUInt(n) => Some(u64::from(*n)),
        AMQPValue::LongLongInt(n) => u64::try_from(*n).ok(),
        AMQPValue::Timestamp(n) => Some(*n),
        AMQPValue::ShortString(_) | AMQPValue::LongString(_) => as_text(value)?.parse().ok(),
        _ => None,
    }
}

fn as_text(value: &AMQPValue) -> Option<String> {
    match value {
        AMQPValue::LongString(text) => Some(text.to_string()),
        AMQPValue::ShortString(text) => Some(text.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::TraceContext;

    #[test]
    fn headers_come_back_as_they_were_written() {
        let written = Headers {
            attempt: 3,
            deferred: 2,
            first_attempt: Some(UnixMillis(17)),
            retry_cause: Some("rate_limited".into()),
            not_before: Some(UnixMillis(18)),
            trace: Some(TraceContext::root()),
            death: Some(Death {
                reason: "unknown_version".into(),
                detail: "message version 2".into(),
                from: "work.gpt".into(),
                by: "worker-1".into(),
                at: UnixMillis(19),
            }),
        };
        let properties = properties("id", &written).unwrap();
        assert_eq!(headers(&properties, &Queue::Dead), written);
        assert_eq!(id(&properties, b""), "id");
    }

    #[test]
    fn a_message_without_headers_is_a_first_attempt_with_an_id_of_its_body() {
        let bare = BasicProperties::default();
        assert_eq!(headers(&bare, &Queue::Dead), Headers::default());
        assert_eq!(id(&bare, b"a"), id(&bare, b"a"));
        assert_ne!(id(&bare, b"a"), id(&bare, b"b"));
        assert_eq!(deliveries(&bare, false), 1);
        assert_eq!(deliveries(&bare, true), 2);
    }

    #[test]
    fn numbers_of_any_width_and_text_of_both_kinds_are_read() {
        let mut table = FieldTable::default();
        table.insert(header::ATTEMPT.into(), AMQPValue::ShortInt(7));
        table.insert(header::NOT_BEFORE.into(), AMQPValue::LongString("9".into()));
        table.insert(
            header::RETRY_CAUSE.into(),
            AMQPValue::ShortString("overloaded".into()),
        );
        let read = headers(
            &BasicProperties::default().with_headers(table),
            &Queue::Dead,
        );
        assert_eq!(read.attempt, 7);
        assert_eq!(read.not_before, Some(UnixMillis(9)));
        assert_eq!(read.retry_cause.as_deref(), Some("overloaded"));
    }
}
