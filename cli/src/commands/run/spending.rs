//! `--budget`: what a run may cost.

use std::sync::Arc;

use filefleet_producer::{collect::CollectProgress, sink::Recorded};
use filefleet_shared::{
    broker::{Queue, embedded::EmbeddedControl},
    wire::{Cost, RunId, Usage},
};
use filefleet_worker::Budget;
use serde::Deserialize;
use tokio::sync::watch;

use crate::{
    commands::collect::collect_failed,
    exit::{CommandError, Exit},
    place::OutDir,
};

/// What a run has spent, in this process and before.
#[derive(Debug)]
pub(super) struct Spending {
    most: Option<Cost>,
    worker: Arc<Budget>,
}

impl Spending {
    /// Without a bound.
    pub(super) fn unbounded(worker: Arc<Budget>) -> Self {
        Self { most: None, worker }
    }

    /// Bounded, all that was spent before included. Blocks: it reads what there is of the run.
    ///
    /// # Errors
    /// The output directory or its queue cannot be read.
    pub(super) fn bounded(
        most: Cost,
        worker: Arc<Budget>,
        before: &Before,
    ) -> Result<Self, CommandError> {
        worker.spend(before.cost()?);
        worker.limit(most);
        Ok(Self {
            most: Some(most),
            worker,
        })
    }

    /// Why the run stops, if its budget is spent.
    pub(super) fn check(
        &self,
        collected: &watch::Receiver<CollectProgress>,
    ) -> Option<CommandError> {
        let most = self.most?;
        // On a RabbitMQ there may be outcomes of other workers.
        let spent = self.worker.spent().max(collected.borrow().usage.cost);
        (spent >= most).then(|| over(most, &format!("{spent} so far, with unfinished files")))
    }
}

/// What there is of a run when it goes on.
#[derive(Clone, Debug)]
pub(super) struct Before {
    pub(super) out: OutDir,
    pub(super) run: RunId,
    /// Its steps are queued in the output directory.
    pub(super) embedded: bool,
}

/// What a queued step or outcome says of its file's cost.
#[derive(Deserialize)]
struct Paid {
    run: RunId,
    seq: u64,
    #[serde(default)]
    usage: Usage,
}

impl Before {
    /// What its files have cost: those with an outcome, and where its queue can be read, those
    /// that are not finished too.
    fn cost(&self) -> Result<Cost, CommandError> {
        let recorded = Recorded::read(self.out.path(), self.run)
            .map_err(|error| collect_failed(error.into()))?;
        let mut cost = recorded.cost();
        if !self.embedded {
            return Ok(cost);
        }
        let (results, dead) = (
            Queue::Results(self.run).to_string(),
            Queue::Dead.to_string(),
        );
        EmbeddedControl::open(&self.out.queue())?.each_body(|queue, body| {
            // What cannot be read begins no call, and a sentinel is of no file.
            let Ok(paid) = serde_json::from_slice::<Paid>(body) else {
                return;
            };
            // A dead letter has an outcome that says the same; an outcome may be in the files too,
            // if a kill came before it was acknowledged.
            let counted = queue == dead || (queue == results && recorded.has(paid.seq));
            if paid.run == self.run && !counted {
                cost = cost.plus(paid.usage.cost);
            }
        })?;
        Ok(cost)
    }
}

/// The budget is spent; `spent` says how much, and of what.
pub(crate) fn over(most: Cost, spent: &str) -> CommandError {
    CommandError {
        exit: Exit::OverBudget,
        message: format!(
            "the budget of {most} is spent ({spent}): no further call was begun; nothing is lost, and \
             the same command with a larger --budget goes on"
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, time::Duration};

    use filefleet_shared::{
        broker::{
            Broker, ConsumeOptions, Headers, Later, Message, ResultKey, Route, Verdict,
            embedded::EmbeddedBroker,
        },
        wire::Status,
    };

    use super::*;

    /// A message of a file that has cost so much.
    fn paid(run: RunId, seq: u64, cost: u64, route: Route) -> Message {
        let json = serde_json::json!({"run": run, "seq": seq, "usage": usage(cost)});
        Message {
            id: format!("{seq}"),
            route,
            headers: Headers::default(),
            body: json.to_string().into(),
        }
    }

    fn usage(cost: u64) -> serde_json::Value {
        serde_json::json!({"calls": 1, "input_tokens": 0, "output_tokens": 0, "cost": cost})
    }

    /// The directory of a run of which task 0 is collected, for 1.
    fn collected(out: &OutDir, run: RunId) {
        fs::create_dir(out.state()).unwrap();
        let state = serde_json::json!({"v": 1, "run": run, "sentinel": null, "duplicates": 0});
        fs::write(out.path().join("collect.json"), state.to_string()).unwrap();
        let line = serde_json::json!({
            "run": run, "seq": 0, "status": "succeeded", "usage": usage(1), "finished": 0,
            "call_ms": 0,
        });
        fs::write(out.path().join("results.jsonl"), format!("{line}\n")).unwrap();
    }

    #[tokio::test]
    async fn every_file_of_a_run_counts_once_wherever_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let (out, run) = (OutDir::new(dir.path()), RunId::mint());
        collected(&out, run);
        let broker = EmbeddedBroker::open(&out.queue()).unwrap();
        let service = || "gpt".to_owned();
        let work = || Route::Work { service: service() };
        let outcome = || Route::Result {
            run,
            key: ResultKey::Outcome(Status::Succeeded),
        };
        let apart = Route::Quarantine { service: service() };
        let queues = [work(), apart.clone(), outcome()].map(|route| route.queue());
        broker.declare(&queues).await.unwrap();
        broker
            .publish(vec![paid(run, 3, 100, work())])
            .await
            .unwrap();
        let options = ConsumeOptions::shared(1);
        let mut worker = broker.consume(&queues[0], options).await.unwrap();
        let later = Later {
            delay: Duration::from_secs(3600),
            attempts: 1,
            cause: "overloaded".to_owned(),
            first_attempt: None,
            body: None,
        };
        let put_off = worker.recv().await.unwrap();
        put_off.settle(Verdict::Later(later)).await.unwrap();
        let messages = vec![
            // Written, but a kill came before its message was gone.
            paid(run, 0, 1, outcome()),
            paid(run, 1, 10, outcome()),
            paid(run, 2, 1000, apart),
            paid(run, 4, 10_000, work()),
            paid(RunId::mint(), 4, 7, work()),
        ];
        broker.publish(messages).await.unwrap();
        let in_hand = worker.recv().await.unwrap();
        let cost = |embedded| {
            let out = out.clone();
            Before { out, run, embedded }.cost().unwrap().to_string()
        };
        assert_eq!(cost(true), "11111.00");
        assert_eq!(cost(false), "1.00");
        drop(in_hand);
    }
}
