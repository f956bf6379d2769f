//! The control log: retained, in order, for those that join late.

use super::{
    Fixture, Violation, ensure,
    subject::{Subject, within},
};
use crate::{
    broker::{Broker, ControlLog},
    time::UnixMillis,
    wire::{
        Collecting, CollectionId, ControlRecord, FleetState, OutputPlace, PillMode, RunId, VERSION,
    },
};

/// Records that can be told apart and have an order.
fn records(count: u64) -> Vec<ControlRecord> {
    (1..=count)
        .map(|epoch| match epoch % 4 {
            0 => collecting(),
            2 => FleetState::pill(epoch, PillMode::Drain),
            _ => FleetState {
                epoch,
                ..FleetState::default()
            }
            .open(RunId::mint(), "invoices", &["ocr".to_owned()]),
        })
        .collect()
}

fn collecting() -> ControlRecord {
    ControlRecord::Collecting(Collecting {
        v: VERSION,
        run: RunId::mint(),
        into: OutputPlace {
            id: CollectionId::mint(),
            host: "archive".to_owned(),
            directory: "/data/out".to_owned(),
        },
        at: UnixMillis::now(),
    })
}

async fn append(broker: &dyn Broker, records: &[ControlRecord]) -> Result<(), Violation> {
    for record in records {
        within("appending", broker.append_control(record.clone())).await??;
    }
    Ok(())
}

async fn follow(broker: &dyn Broker) -> Result<ControlLog, Violation> {
    Ok(within("following", broker.follow_control()).await??)
}

async fn expect(log: &mut ControlLog, wanted: &[ControlRecord]) -> Result<(), Violation> {
    for record in wanted {
        let update = within("following the control log", log.updates.recv()).await?;
        ensure(update.as_ref() == Some(record), || {
            format!("the next control record must be {record:?}, it was {update:?}")
        })?;
    }
    Ok(())
}

/// Who joins late, or after a crash, reads every record in order.
pub async fn late_joiners_read_the_control_log_from_its_start(
    fixture: &dyn Fixture,
) -> Result<(), Violation> {
    let subject = Subject::start(fixture).await?;
    let empty = follow(&*subject.broker).await?;
    ensure(empty.history.is_empty(), || {
        format!("a new control log holds {:?}", empty.history)
    })?;
    drop(empty);
    let records = records(5);
    append(&*subject.broker, &records).await?;
    let log = follow(&*subject.broker).await?;
    ensure(log.history == records, || {
        format!(
            "the control log must hold {records:?}, it holds {:?}",
            log.history
        )
    })?;
    let subject = subject.crash().await?;
    drop(log);
    let log = follow(&*subject.broker).await?;
    ensure(log.history == records, || {
        format!(
            "after a crash the log must hold {records:?}, it holds {:?}",
            log.history
        )
    })
}

/// Every follower sees every record appended after it joined, in order.
pub async fn followers_see_control_records_as_they_are_appended(
    fixture: &dyn Fixture,
) -> Result<(), Violation> {
    let subject = Subject::start(fixture).await?;
    let records = records(6);
    let (first, rest) = records.split_at(2);
    let (second, third) = rest.split_at(2);
    let mut early = follow(&*subject.broker).await?;
    append(&*subject.broker, first).await?;
    expect(&mut early, first).await?;
    let mut late = follow(&*subject.broker).await?;
    ensure(late.history == first, || {
        format!(
            "a late follower must find {first:?}, it found {:?}",
            late.history
        )
    })?;
    append(&*subject.broker, second).await?;
    append(&*subject.broker, third).await?;
    expect(&mut late, rest).await?;
    expect(&mut early, rest).await
}

/// History and updates together are the whole log, whenever the follower joins.
pub async fn a_follower_that_joins_amid_appends_misses_and_repeats_nothing(
    fixture: &dyn Fixture,
) -> Result<(), Violation> {
    let subject = Subject::start(fixture).await?;
    let records = records(40);
    let broker = &*subject.broker;
    let (appended, followed) = tokio::join!(append(broker, &records), async {
        let mut logs = Vec::new();
        for _ in 0..5 {
            logs.push(follow(broker).await?);
        }
        Ok::<_, Violation>(logs)
    });
    appended?;
    for mut log in followed? {
        let missing = records
            .strip_prefix(&*log.history)
            .ok_or_else(|| Violation(format!("history is out of order: {:?}", log.history)))?;
        expect(&mut log, missing).await?;
    }
    Ok(())
}
