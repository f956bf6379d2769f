//! Opens a run: its queues, and its epoch in the control log.

use filefleet_shared::{
    broker::{Broker, BrokerError, Queue},
    wire::{ControlRecord, FleetState},
};

use crate::manifest::Header;

/// Declares the queues and appends `RunOpened` unless the run is open; returns its epoch.
///
/// A run that is resumed after a pill ended its epoch is opened again, or workers would leave
/// at once. Safe to call again after an error.
pub(super) async fn open_run(
    broker: &dyn Broker,
    header: &Header,
    services: &[String],
    known: Option<u64>,
) -> Result<u64, BrokerError> {
    let run = header.run;
    let work = services
        .iter()
        .chain([&header.service])
        .cloned()
        .map(Queue::Work);
    let queues: Vec<Queue> = work.chain([Queue::Results(run)]).collect();
    broker.declare(&queues).await?;
    let history = broker.follow_control().await?.history;
    let state: FleetState = history.iter().collect();
    let opened = history.iter().rev().find_map(|record| match record {
        ControlRecord::RunOpened(opened) if opened.run == run => Some(opened.epoch),
        _ => None,
    });
    match opened.or(known) {
        Some(epoch) if state.pill.is_none() => Ok(epoch),
        _ => {
            let record = state.open(run, &header.pipeline, services);
            broker.append_control(record).await?;
            Ok(state.epoch.saturating_add(1))
        }
    }
}
