//! Opening, replaying and appending to a manifest.

use std::{
    collections::VecDeque,
    fs::{self, File},
    io::{self, BufRead, BufReader},
    path::Path,
};

use bytes::Bytes;
use filefleet_shared::{files, time::UnixMillis, wire::StepMessage};

use super::{
    Digest, Header, ManifestError, Record,
    record::{Line, UnreadableLine},
};
use crate::{
    durable::{DiskError, LineFault, LineFile, Syncer},
    scan::UnreadableEntry,
};

/// A task that is planned: its identity and body never change again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Planned {
    pub(crate) seq: u64,
    /// Id of the message.
    pub(crate) id: String,
    pub(crate) body: Bytes,
}

/// How far a publishing has come.
#[derive(Debug)]
pub(crate) struct Progress {
    pub(crate) header: Header,
    pub(crate) epoch: Option<u64>,
    /// Tasks that have a sequence number.
    pub(crate) planned: u64,
    /// Tasks that the broker is known to have, counted from the first.
    pub(crate) confirmed: u64,
    pub(crate) unreadable: u64,
    pub(crate) bytes: u64,
    /// The scan goes on behind this.
    pub(crate) last_key: Option<Vec<u8>>,
    pub(crate) digest: Digest,
    pub(crate) scanned: bool,
    pub(crate) closed: Option<UnixMillis>,
    /// Planned and not confirmed, in order: as many as fit into the windows of a producer.
    pub(crate) pending: VecDeque<Planned>,
}

/// The manifest of a running publishing, locked against other producers.
#[derive(Debug)]
pub(crate) struct Journal {
    file: LineFile,
}

impl Journal {
    /// Opens or begins a manifest, and replays it.
    pub(crate) fn open(path: &Path, asked: &Header) -> Result<(Self, Progress), ManifestError> {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(DiskError::at(parent))?;
        }
        let mut file = LineFile::open(path)?;
        if !file.try_lock()? {
            return Err(ManifestError::Busy(path.to_owned()));
        }
        let mut replayed: Option<Progress> = None;
        file.recover(|line| replay(&mut replayed, line))
            .map_err(|fault| corrupt(path, fault))?;
        let mut journal = Self { file };
        let progress = match replayed {
            Some(progress) => {
                progress.header.check(path, asked)?;
                progress
            }
            None => {
                journal.append(&Record::Manifest(asked.clone()))?;
                journal.file.sync()?;
                Progress::new(asked.clone())
            }
        };
        Ok((journal, progress))
    }

    pub(crate) fn append(&mut self, record: &Record) -> Result<(), ManifestError> {
        Ok(self.file.append(&record.line()?)?)
    }

    pub(crate) fn append_lines(&mut self, lines: &[u8]) -> Result<(), ManifestError> {
        Ok(self.file.append(lines)?)
    }

    pub(crate) fn append_synced(&mut self, record: &Record) -> Result<(), ManifestError> {
        self.append(record)?;
        Ok(self.file.sync()?)
    }

    /// To sync what was appended without keeping others from appending meanwhile.
    pub(crate) fn syncer(&self) -> Syncer {
        self.file.syncer()
    }

    /// Removes a manifest under which nothing was published.
    pub(crate) fn remove(&self) -> Result<(), ManifestError> {
        let path = self.file.path();
        fs::remove_file(path).map_err(DiskError::at(path))?;
        Ok(())
    }
}

/// Whole windows with their lines, as the planner makes them.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) lines: Vec<u8>,
    pub(crate) tasks: Vec<Planned>,
}

impl Batch {
    pub(crate) fn task(&mut self, planned: Planned) {
        self.lines.extend_from_slice(&planned.body);
        self.lines.push(b'\n');
        self.tasks.push(planned);
    }

    pub(crate) fn unreadable(&mut self, entry: UnreadableEntry) -> Result<(), serde_json::Error> {
        let line = Record::Unreadable(UnreadableLine::new(entry)).line()?;
        self.lines.extend_from_slice(&line);
        Ok(())
    }
}

impl Progress {
    fn new(header: Header) -> Self {
        Self {
            header,
            epoch: None,
            planned: 0,
            confirmed: 0,
            unreadable: 0,
            bytes: 0,
            last_key: None,
            digest: Digest::default(),
            scanned: false,
            closed: None,
            pending: VecDeque::new(),
        }
    }

    /// Takes in a planned task.
    pub(crate) fn plan(&mut self, key: Vec<u8>, size: u64) {
        self.digest.add(self.planned, &key, size);
        self.planned += 1;
        self.bytes = self.bytes.saturating_add(size);
        self.last_key = Some(key);
    }

    /// The record that ends the scan.
    pub(crate) fn scanned(&self) -> Record {
        Record::Scanned {
            total: self.planned,
            digest: self.digest.to_string(),
            unreadable: self.unreadable,
        }
    }

    fn task(&mut self, line: &[u8], step: &StepMessage) -> Result<(), String> {
        if step.run != self.header.run {
            return Err(format!("a task of run {}", step.run));
        }
        if step.seq != self.planned || self.scanned {
            return Err(format!("task {}, expected {}", step.seq, self.planned));
        }
        let key = files::key_bytes(&step.file).map_err(|error| error.to_string())?;
        self.plan(key.into_owned(), step.file.size);
        self.pending.push_back(Planned {
            seq: step.seq,
            id: step.message_id(),
            body: Bytes::copy_from_slice(line),
        });
        Ok(())
    }

    fn record(&mut self, record: Record) -> Result<(), String> {
        match record {
            Record::Manifest(_) => return Err("a second header".to_owned()),
            Record::Opened { epoch } => self.epoch = Some(epoch),
            Record::Unreadable(entry) => {
                self.last_key = Some(entry.key().map_err(|error| error.to_string())?);
                self.unreadable += 1;
            }
            Record::Confirmed { upto } => {
                if upto > self.planned {
                    return Err(format!("{upto} confirmed of {} planned", self.planned));
                }
                self.confirmed = self.confirmed.max(upto);
                while self
                    .pending
                    .front()
                    .is_some_and(|task| task.seq < self.confirmed)
                {
                    self.pending.pop_front();
                }
            }
            Record::Scanned { .. } if record == self.scanned() => self.scanned = true,
            Record::Scanned { .. } => return Err("total or digest do not fit".to_owned()),
            Record::Closed { at } => self.closed = Some(at),
        }
        Ok(())
    }
}

fn replay(replayed: &mut Option<Progress>, line: &[u8]) -> Result<(), String> {
    match (replayed.as_mut(), Line::parse(line)?) {
        (None, first) => {
            *replayed = Some(Progress::new(first.header()?));
            Ok(())
        }
        (Some(progress), Line::Task(step)) => progress.task(line, &step),
        (Some(progress), Line::Record(record)) => progress.record(*record),
    }
}

fn corrupt(path: &Path, fault: LineFault<String>) -> ManifestError {
    match fault {
        LineFault::Disk(error) => error.into(),
        LineFault::Line { number, error } => ManifestError::Corrupt {
            path: path.to_owned(),
            line: number,
            why: error,
        },
    }
}

pub(super) fn read_header(path: &Path) -> Result<Option<Header>, ManifestError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(DiskError::at(path)(error).into()),
    };
    let mut line = Vec::new();
    BufReader::new(file)
        .read_until(b'\n', &mut line)
        .map_err(DiskError::at(path))?;
    if !line.ends_with(b"\n") {
        // Torn: the crash came before anything was published.
        return Ok(None);
    }
    let header = Line::parse(&line).and_then(Line::header);
    header
        .map(Some)
        .map_err(|error| corrupt(path, LineFault::Line { number: 1, error }))
}
