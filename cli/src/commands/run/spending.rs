//! `--budget`: what a run may cost.

use std::{fs, path::Path, sync::Arc};

use filefleet_producer::{collect::CollectProgress, sink::Summary};
use filefleet_shared::wire::{Cost, RunId};
use filefleet_worker::Budget;
use tokio::sync::watch;

use crate::exit::{CommandError, Exit};

/// What a run has spent, in this process and before.
#[derive(Debug)]
pub(super) struct Spending {
    most: Option<Cost>,
    worker: Arc<Budget>,
    /// Spent before, as far as the summary says.
    before: Cost,
    /// What it does not say, after a crash, is counted too.
    begun: bool,
}

impl Spending {
    /// `out` is the output directory of the run.
    pub(super) fn new(most: Option<Cost>, worker: Arc<Budget>, out: &Path, run: RunId) -> Self {
        let before = summed(out, run);
        worker.spend(before);
        if let Some(most) = most {
            worker.limit(most);
        }
        Self {
            most,
            worker,
            before,
            begun: false,
        }
    }

    /// Why the run stops, if its budget is spent.
    pub(super) fn check(
        &mut self,
        collected: &watch::Receiver<CollectProgress>,
    ) -> Option<CommandError> {
        let most = self.most?;
        if !self.begun && collected.has_changed().unwrap_or(true) {
            self.begun = true;
            // What was finished meanwhile counts twice: rather too little is spent than too much.
            let known = self.before.billionths();
            let found = collected.borrow().usage.cost.billionths();
            self.worker
                .spend(Cost::from_billionths(found.saturating_sub(known)));
        }
        self.worker
            .is_over()
            .then(|| over(most, self.worker.spent()))
    }
}

/// What the finished files of a run have cost; nothing where there is no summary of it.
fn summed(out: &Path, run: RunId) -> Cost {
    let summary = fs::read(out.join("run.json"))
        .ok()
        .and_then(|json| serde_json::from_slice::<Summary>(&json).ok());
    summary
        .filter(|summary| summary.run == run)
        .map_or(Cost::default(), |summary| summary.usage.cost)
}

/// The budget is spent.
pub(crate) fn over(most: Cost, spent: Cost) -> CommandError {
    CommandError {
        exit: Exit::OverBudget,
        message: format!(
            "the budget of {most} is spent ({spent} so far): no further call was begun; nothing is \
             lost, and the same command with a larger --budget goes on"
        ),
    }
}
