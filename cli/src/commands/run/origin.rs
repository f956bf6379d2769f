//! What the answers in an output directory come from: answers of two pipelines or
//! directories are never mixed.

use std::{
    fs::{self, File},
    path::Path,
};

use filefleet_producer::{
    durable,
    manifest::Header,
    sink::{self, SinkError},
};
use filefleet_shared::wire::RunId;
use serde::{Deserialize, Serialize};

use crate::{
    commands::{collect::collect_failed, publish::publish_failed},
    exit::{CommandError, Exit},
    place::{OutDir, of_run},
};

const VERSION: u16 = 1;

/// What decides the answers of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Answers {
    /// The files' directory: files of two can have the same name, size and time.
    pub(crate) directory: String,
    /// Name of the pipeline.
    pub(crate) pipeline: String,
    /// A simulator makes them up.
    pub(crate) rehearsal: bool,
    /// Of the pipeline's steps.
    pub(crate) digest: String,
}

/// What an output directory holds; in its state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Origin {
    v: u16,
    /// None where nothing was answered, so that any pipeline may go on.
    answers: Option<Answers>,
    /// The RabbitMQ that has the steps of its run; none for the embedded queue.
    broker: Option<String>,
    /// A redo has begun to set aside what is there, and has to end before anything else.
    clearing: bool,
}

/// An output directory, of this process alone.
#[derive(Debug)]
pub(crate) struct Claim {
    out: OutDir,
    found: Option<Origin>,
    asked: Answers,
    broker: Option<String>,
    _lock: File,
}

impl Claim {
    /// Takes the directory for answers that are `asked` for, over `broker`; with `redo` after
    /// setting aside all that it holds.
    ///
    /// # Errors
    /// Another process has it, it has other answers, or a run in it is elsewhere.
    pub(crate) fn take(
        out: &OutDir,
        asked: Answers,
        broker: Option<String>,
        redo: bool,
    ) -> Result<Self, CommandError> {
        let mut claim = Self {
            _lock: lock(out)?,
            found: read(&out.origin())?,
            out: out.clone(),
            asked,
            broker,
        };
        if claim.found.as_ref().is_some_and(|found| found.clearing) {
            claim.clear()?;
        }
        if redo {
            claim.check_redo()?;
            claim.clear()?;
        } else {
            claim.check()?;
        }
        Ok(claim)
    }

    /// Writes down what the answers will come from; before the first of them.
    pub(crate) fn record(&self) -> Result<(), CommandError> {
        self.write(Some(self.asked.clone()), false)
    }

    /// Takes it back where nothing was answered: whatever is mended then, the run can go on.
    pub(crate) fn withdraw(&self) -> Result<(), CommandError> {
        self.write(None, false)
    }

    /// Nothing was answered before this claim.
    pub(crate) fn is_fresh(&self) -> bool {
        let answers = self.found.as_ref().and_then(|found| found.answers.as_ref());
        answers.is_none() && !self.has_results()
    }

    fn write(&self, answers: Option<Answers>, clearing: bool) -> Result<(), CommandError> {
        let origin = Origin {
            v: VERSION,
            answers,
            broker: self.broker.clone(),
            clearing,
        };
        let text = serde_json::to_vec(&origin).map_err(CommandError::local)?;
        durable::replace(&self.out.origin(), &text).map_err(CommandError::local)
    }

    fn check(&self) -> Result<(), CommandError> {
        let Some(found) = &self.found else {
            return Ok(());
        };
        let others = found.answers.as_ref().filter(|found| **found != self.asked);
        let elsewhere = found.broker != self.broker;
        if others.is_none() && !elsewhere {
            return Ok(());
        }
        let unfinished = self.unfinished()?;
        if let Some(others) = others
            && (unfinished.is_some() || self.has_results())
        {
            return Err(self.other_answers(others, unfinished));
        }
        match unfinished {
            Some(run) if elsewhere => Err(CommandError::usage(format!(
                "run {run} in {} is not finished, and its steps are on {}, not on {}: go on with \
                 it there, or give another directory with -o",
                self.out.path().display(),
                named(found.broker.as_deref()),
                named(self.broker.as_deref()),
            ))),
            _ => Ok(()),
        }
    }

    fn check_redo(&self) -> Result<(), CommandError> {
        let found = self.found.as_ref();
        let Some(broker) = found.map_or(&self.broker, |found| &found.broker) else {
            return Ok(());
        };
        let Some(run) = self.unfinished()? else {
            return Ok(());
        };
        Err(CommandError::usage(format!(
            "run {run} in {} is not finished, and its steps are queued on RabbitMQ ({broker}), \
             where --redo cannot take them back: they would be paid for too. Finish it with the \
             pipeline it was begun with, or give another --namespace and another directory with -o",
            self.out.path().display(),
        )))
    }

    fn other_answers(&self, found: &Answers, unfinished: Option<RunId>) -> CommandError {
        let asked = &self.asked;
        let holds = match (found.rehearsal, asked.rehearsal) {
            (true, false) => "answers of a rehearsal, which a simulator made up".to_owned(),
            (false, true) => "real answers, and those of a rehearsal are made up".to_owned(),
            _ if found.directory != asked.directory => format!(
                "answers for the files of {}, not of {}",
                found.directory, asked.directory
            ),
            _ if found.pipeline != asked.pipeline => {
                format!(
                    "answers of pipeline {:?}, not {:?}",
                    found.pipeline, asked.pipeline
                )
            }
            _ => format!(
                "answers of pipeline {:?} as it was before its steps changed (model, prompt, \
                 parameters or endpoint)",
                found.pipeline
            ),
        };
        let (unfinished, given_up) = match unfinished {
            Some(run) => (
                format!(" Run {run} in it is not finished."),
                ", and gives up the run that is not finished",
            ),
            None => (String::new(), ""),
        };
        let out = self.out.path().display();
        CommandError::usage(format!(
            "{out} has {holds}.{unfinished} Nothing was started.\n  Give another directory with \
             -o. Or give --redo: it does all files again{given_up}; what is in {out} moves to \
             {out}/runs.",
        ))
    }

    /// Sets aside all that the directory holds; ended by the next claim if a crash comes between.
    fn clear(&mut self) -> Result<(), CommandError> {
        self.write(None, true)?;
        let journal = self.out.manifest();
        let begun = Header::read(&journal).map_err(|error| publish_failed(error.into()))?;
        let run = begun.map_or_else(RunId::mint, |header| header.run);
        for file in self.out.queue_files() {
            // Steps that are queued must not be paid for under the new run.
            set_aside(&file, run)?;
        }
        sink::set_aside(self.out.path()).map_err(failed)?;
        // Last: it has the run's id.
        set_aside(&journal, run)?;
        self.write(None, false)?;
        self.found = read(&self.out.origin())?;
        Ok(())
    }

    /// The run that was begun and does not have all its outcomes.
    fn unfinished(&self) -> Result<Option<RunId>, CommandError> {
        let begun = Header::read(&self.out.manifest());
        let Some(header) = begun.map_err(|error| publish_failed(error.into()))? else {
            return Ok(None);
        };
        let finished = sink::is_finished(self.out.path(), header.run).map_err(failed)?;
        Ok((!finished).then_some(header.run))
    }

    fn has_results(&self) -> bool {
        let results = self.out.path().join(sink::RESULTS);
        fs::metadata(results).is_ok_and(|metadata| metadata.len() > 0)
    }
}

fn failed(error: SinkError) -> CommandError {
    collect_failed(error.into())
}

fn named(broker: Option<&str>) -> String {
    broker.map_or_else(
        || "the queue of this machine".to_owned(),
        |place| format!("RabbitMQ ({place})"),
    )
}

/// Moves a file, if it exists, to a name with the run in it.
fn set_aside(file: &Path, run: RunId) -> Result<(), CommandError> {
    if !file.exists() {
        return Ok(());
    }
    fs::rename(file, of_run(file, run)).map_err(CommandError::local)
}

fn read(path: &Path) -> Result<Option<Origin>, CommandError> {
    let Some(text) = durable::read_if_exists(path).map_err(CommandError::local)? else {
        return Ok(None);
    };
    let damaged = |why: String| CommandError::usage(format!("{}: {why}", path.display()));
    let origin: Origin =
        serde_json::from_slice(&text).map_err(|error| damaged(error.to_string()))?;
    if origin.v == VERSION {
        return Ok(Some(origin));
    }
    Err(damaged(format!("version {}, not {VERSION}", origin.v)))
}

fn lock(out: &OutDir) -> Result<File, CommandError> {
    let path = out.lock();
    let file = File::options()
        .create(true)
        .write(true)
        .truncate(false)
        .open(&path)
        .map_err(|error| CommandError::local(format!("{}: {error}", path.display())))?;
    if durable::try_lock(&file, &path).map_err(CommandError::local)? {
        return Ok(file);
    }
    Err(CommandError {
        exit: Exit::Busy,
        message: format!("another run is going on in {}", out.path().display()),
    })
}

#[cfg(test)]
pub(super) mod tests;
