//! The SQL, one function per statement; what is called within a transaction commits with it.

use std::sync::Arc;

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::super::{BrokerError, Message};

/// A message as it is stored.
#[derive(Clone, Debug)]
pub(super) struct Record {
    /// Name of its queue.
    pub(super) queue: Arc<str>,
    /// Not to be delivered before, in milliseconds since 1970.
    pub(super) due: i64,
    pub(super) id: String,
    pub(super) headers: String,
    pub(super) body: Bytes,
}

impl TryFrom<Message> for Record {
    type Error = BrokerError;

    fn try_from(message: Message) -> Result<Self, BrokerError> {
        Ok(Self {
            queue: message.route.queue().to_string().into(),
            due: message.headers.not_before.map_or(0, |due| stored(due.0)),
            headers: encode_headers(&message.headers)?,
            id: message.id,
            body: message.body,
        })
    }
}

pub(super) fn encode_headers(headers: &super::super::Headers) -> Result<String, BrokerError> {
    // Cannot fail for these fields; if it ever does, no second try will mend it.
    serde_json::to_string(headers)
        .map_err(|error| BrokerError::Refused(format!("headers cannot be stored: {error}")))
}

/// An unsigned number as SQLite keeps it: signed, saturating.
pub(super) fn stored(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn counted(row: &Row<'_>) -> rusqlite::Result<u64> {
    // Counts are never negative.
    row.get(0).map(|count: i64| count.unsigned_abs())
}

/// A ready message, on its way to a consumer.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) seq: i64,
    pub(super) deliveries: u32,
    pub(super) id: String,
    pub(super) headers: String,
    pub(super) body: Bytes,
}

/// The statements.
#[derive(Clone, Copy, Debug)]
pub(super) struct Store<'a>(pub(super) &'a Connection);

impl Store<'_> {
    pub(super) fn queue(self, name: &str) -> rusqlite::Result<Option<i64>> {
        self.0
            .prepare_cached("SELECT id FROM queue WHERE name = ?1")?
            .query_row([name], |row| row.get(0))
            .optional()
    }

    pub(super) fn declare(self, name: &str) -> rusqlite::Result<()> {
        self.0
            .prepare_cached("INSERT INTO queue (name) VALUES (?1) ON CONFLICT DO NOTHING")?
            .execute([name])?;
        Ok(())
    }

    pub(super) fn delete(self, queue: i64) -> rusqlite::Result<()> {
        self.0
            .prepare_cached("DELETE FROM message WHERE queue = ?1")?
            .execute([queue])?;
        self.0
            .prepare_cached("DELETE FROM queue WHERE id = ?1")?
            .execute([queue])?;
        Ok(())
    }

    /// The greatest place in the order of delivery that is taken.
    pub(super) fn last_seq(self) -> rusqlite::Result<i64> {
        self.0
            .prepare_cached("SELECT coalesce(max(seq), 0) FROM message")?
            .query_row((), |row| row.get(0))
    }

    /// Inserts a message, waiting if its time has not come.
    pub(super) fn insert(
        self,
        seq: i64,
        queue: i64,
        record: &Record,
        now: i64,
    ) -> rusqlite::Result<()> {
        let state = if record.due > now { 2 } else { 0 };
        self.0
            .prepare_cached(
                "INSERT INTO message (seq, queue, state, deliveries, due, id, headers, body)
                 VALUES (?1, ?2, ?3, 0, ?4, ?5, ?6, ?7)",
            )?
            .execute(params![
                seq,
                queue,
                state,
                record.due,
                record.id,
                record.headers,
                &*record.body
            ])?;
        Ok(())
    }

    /// The first ready messages of a queue.
    pub(super) fn ready(self, queue: i64, limit: usize) -> rusqlite::Result<Vec<Ready>> {
        self.0
            .prepare_cached(
                "SELECT seq, deliveries, id, headers, body FROM message
                 WHERE queue = ?1 AND state = 0 ORDER BY seq LIMIT ?2",
            )?
            .query_map(
                params![queue, i64::try_from(limit).unwrap_or(i64::MAX)],
                |row| {
                    Ok(Ready {
                        seq: row.get(0)?,
                        deliveries: row.get(1)?,
                        id: row.get(2)?,
                        headers: row.get(3)?,
                        body: Bytes::from(row.get::<_, Vec<u8>>(4)?),
                    })
                },
            )?
            .collect()
    }

    /// Marks a ready message as delivered once more.
    pub(super) fn deliver(self, seq: i64) -> rusqlite::Result<()> {
        self.0
            .prepare_cached(
                "UPDATE message SET state = 1, deliveries = deliveries + 1 WHERE seq = ?1",
            )?
            .execute([seq])?;
        Ok(())
    }

    /// Makes a delivered message ready at its old place, as if it had not been delivered.
    ///
    /// So `deliveries` counts only the processes that died with the message in hand.
    pub(super) fn release(self, seq: i64) -> rusqlite::Result<bool> {
        let changed = self
            .0
            .prepare_cached(
                "UPDATE message SET state = 0, deliveries = deliveries - 1
                 WHERE seq = ?1 AND state = 1",
            )?
            .execute([seq])?;
        Ok(changed == 1)
    }

    /// Removes a delivered message; false if it is gone already.
    pub(super) fn remove(self, seq: i64) -> rusqlite::Result<bool> {
        let changed = self
            .0
            .prepare_cached("DELETE FROM message WHERE seq = ?1 AND state = 1")?
            .execute([seq])?;
        Ok(changed == 1)
    }

    /// Puts a delivered message off, as a new one at the end of its queue.
    pub(super) fn put_off(
        self,
        seq: i64,
        new_seq: i64,
        headers: &str,
        due: i64,
        body: Option<&[u8]>,
    ) -> rusqlite::Result<bool> {
        let changed = self
            .0
            .prepare_cached(
                "UPDATE message SET seq = ?2, state = 2, deliveries = 0, headers = ?3, due = ?4,
                     body = coalesce(?5, body)
                 WHERE seq = ?1 AND state = 1",
            )?
            .execute(params![seq, new_seq, headers, due, body])?;
        Ok(changed == 1)
    }

    /// Moves a delivered or ready message to the end of another queue, ready.
    pub(super) fn redirect(
        self,
        seq: i64,
        new_seq: i64,
        queue: i64,
        headers: &str,
    ) -> rusqlite::Result<bool> {
        let changed = self
            .0
            .prepare_cached(
                "UPDATE message SET seq = ?2, queue = ?3, state = 0, deliveries = 0, headers = ?4
                 WHERE seq = ?1",
            )?
            .execute(params![seq, new_seq, queue, headers])?;
        Ok(changed == 1)
    }

    /// Makes waiting messages ready whose time has come; at most `limit`.
    pub(super) fn wake(self, now: i64, limit: i64) -> rusqlite::Result<usize> {
        self.0
            .prepare_cached(
                "UPDATE message SET state = 0 WHERE seq IN (
                    SELECT seq FROM message WHERE state = 2 AND due <= ?1 ORDER BY due LIMIT ?2)",
            )?
            .execute(params![now, limit])
    }

    /// When the next waiting message is due.
    pub(super) fn next_due(self) -> rusqlite::Result<Option<i64>> {
        self.0
            .prepare_cached("SELECT min(due) FROM message WHERE state = 2")?
            .query_row((), |row| row.get(0))
    }

    pub(super) fn count_ready(self, queue: i64) -> rusqlite::Result<u64> {
        self.0
            .prepare_cached("SELECT count(*) FROM message WHERE queue = ?1 AND state = 0")?
            .query_row([queue], counted)
    }

    pub(super) fn count_delivered(self, queue: i64) -> rusqlite::Result<u64> {
        self.0
            .prepare_cached("SELECT count(*) FROM message WHERE queue = ?1 AND state = 1")?
            .query_row([queue], counted)
    }

    pub(super) fn count_waiting(self, queue: i64) -> rusqlite::Result<u64> {
        self.0
            .prepare_cached("SELECT count(*) FROM message WHERE queue = ?1 AND state = 2")?
            .query_row([queue], counted)
    }

    /// Of all queues together.
    pub(super) fn count_all_waiting(self) -> rusqlite::Result<u64> {
        self.0
            .prepare_cached("SELECT count(*) FROM message WHERE state = 2")?
            .query_row((), counted)
    }

    pub(super) fn queues(self) -> rusqlite::Result<Vec<(i64, String)>> {
        self.0
            .prepare_cached("SELECT id, name FROM queue ORDER BY name")?
            .query_map((), |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect()
    }

    /// Shows every message, in any state: the name of its queue, and its body.
    pub(super) fn each_body(self, mut show: impl FnMut(&str, &[u8])) -> rusqlite::Result<()> {
        let mut statement = self.0.prepare_cached(
            "SELECT queue.name, message.body FROM message JOIN queue ON queue.id = message.queue",
        )?;
        let mut rows = statement.query(())?;
        while let Some(row) = rows.next()? {
            show(row.get_ref(0)?.as_str()?, row.get_ref(1)?.as_blob()?);
        }
        Ok(())
    }

    pub(super) fn append_control(self, record: &[u8]) -> rusqlite::Result<()> {
        self.0
            .prepare_cached("INSERT INTO control (record) VALUES (?1)")?
            .execute([record])?;
        Ok(())
    }

    /// Control records after a place in the log, with their places.
    pub(super) fn control_after(
        self,
        seq: i64,
        limit: i64,
    ) -> rusqlite::Result<Vec<(i64, Vec<u8>)>> {
        self.0
            .prepare_cached("SELECT seq, record FROM control WHERE seq > ?1 ORDER BY seq LIMIT ?2")?
            .query_map([seq, limit], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect()
    }

    /// A number that changes when another process has written.
    pub(super) fn foreign_writes(self) -> rusqlite::Result<i64> {
        self.0
            .prepare_cached("PRAGMA data_version")?
            .query_row((), |row| row.get(0))
    }
}
