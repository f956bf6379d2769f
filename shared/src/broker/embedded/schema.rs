//! The file on disk: who may have it open, its tables, and the settings that make it durable.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{Read, Seek, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags};

use super::super::BrokerError;

/// Version of the tables; kept in `user_version`.
const SCHEMA: i64 = 1;

/// How long a transaction waits for another process to finish its own.
const BUSY: Duration = Duration::from_secs(5);

const TABLES: &str = "
    -- AUTOINCREMENT: a queue deleted and declared again is another queue.
    CREATE TABLE queue (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL UNIQUE
    ) STRICT;

    -- `seq` is the order of delivery. `state`: 0 ready, 1 delivered, 2 waiting until `due`.
    CREATE TABLE message (
        seq INTEGER PRIMARY KEY,
        queue INTEGER NOT NULL,
        state INTEGER NOT NULL,
        deliveries INTEGER NOT NULL,
        due INTEGER NOT NULL,
        id TEXT NOT NULL,
        headers TEXT NOT NULL,
        body BLOB NOT NULL
    ) STRICT;
    CREATE INDEX message_ready ON message (queue, seq) WHERE state = 0;
    CREATE INDEX message_delivered ON message (queue) WHERE state = 1;
    CREATE INDEX message_waiting ON message (due, queue) WHERE state = 2;

    -- AUTOINCREMENT: followers remember the last `seq` they have seen.
    CREATE TABLE control (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        record BLOB NOT NULL
    ) STRICT;

    -- Dead letters must have somewhere to go, whoever forgets to declare the queue.
    INSERT INTO queue (name) VALUES ('dead'), ('unroutable');
";

/// Said of a full disk.
const NO_ROOM: &str = "no room left to write the queue file; free some space and run the same \
                       command again, nothing is lost";

/// What SQLite reports, as the caller can act on it.
pub(super) fn broker_error(error: &rusqlite::Error) -> BrokerError {
    use rusqlite::ErrorCode::{DatabaseCorrupt, DiskFull, NotADatabase};
    match error.sqlite_error_code() {
        Some(DiskFull) => BrokerError::Unavailable(NO_ROOM.to_owned()),
        Some(NotADatabase | DatabaseCorrupt) => {
            BrokerError::Refused(format!("queue file: {error}"))
        }
        _ => BrokerError::Unavailable(format!("queue file: {error}")),
    }
}

/// Held while a process runs the queue; the system gives it up when the process dies.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock of the queue at `path`.
    pub(super) fn take(path: &Path) -> Result<Self, BrokerError> {
        let lock = lock_path(path);
        let unavailable = |error: std::io::Error| {
            BrokerError::Unavailable(format!("{}: {error}", lock.display()))
        };
        let mut file = OpenOptions::new()
            .create(true)
            .read(true)
            .write(true)
            .truncate(false)
            .open(&lock)
            .map_err(unavailable)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(in_use(path, &mut file)),
            Err(TryLockError::Error(error)) => return Err(unavailable(error)),
        }
        file.set_len(0).map_err(unavailable)?;
        write!(file, "{}", std::process::id()).map_err(unavailable)?;
        Ok(Self { _file: file })
    }
}

/// Whether some process runs the queue at `path`.
pub(super) fn is_locked(path: &Path) -> Result<bool, BrokerError> {
    let lock = lock_path(path);
    let unavailable =
        |error: std::io::Error| BrokerError::Unavailable(format!("{}: {error}", lock.display()));
    let file = match File::open(&lock) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(unavailable(error)),
    };
    // Shared, so that two processes asking at once do not take each other for the owner.
    match file.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(unavailable(error)),
    }
}

fn in_use(path: &Path, file: &mut File) -> BrokerError {
    let mut owner = String::new();
    let read = file.rewind().and_then(|()| file.read_to_string(&mut owner));
    let by = match read {
        Ok(_) if !owner.is_empty() => format!("process {owner}"),
        // Only decoration: the owner may be about to write its id.
        _ => "another process".to_owned(),
    };
    BrokerError::Refused(format!(
        "the queue {} is in use by {by}; one process at a time can run it",
        path.display()
    ))
}

fn lock_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    PathBuf::from(name)
}

/// Opens the file for the process that holds its [`Lock`], creating it where it is missing.
pub(super) fn open(path: &Path) -> Result<Connection, BrokerError> {
    let connection = connect(path, OpenFlags::default()).map_err(|error| broker_error(&error))?;
    if version(&connection)? == 0 {
        let create = format!("BEGIN IMMEDIATE; {TABLES} PRAGMA user_version = {SCHEMA}; COMMIT;");
        connection
            .execute_batch(&create)
            .map_err(|error| broker_error(&error))?;
    }
    check_version(path, &connection)?;
    // What was in flight when the last process ended is ready again, at its old place.
    connection
        .execute("UPDATE message SET state = 0 WHERE state = 1", ())
        .map_err(|error| broker_error(&error))?;
    Ok(connection)
}

/// Opens the file beside the process that runs the queue.
pub(super) fn open_beside(path: &Path) -> Result<Connection, BrokerError> {
    let flags = OpenFlags::default().difference(OpenFlags::SQLITE_OPEN_CREATE);
    let connection = connect(path, flags).map_err(|error| broker_error(&error))?;
    check_version(path, &connection)?;
    Ok(connection)
}

fn connect(path: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    connection.set_prepared_statement_cache_capacity(64);
    connection.execute_batch(
        "PRAGMA journal_mode = WAL;
         -- What was confirmed outlives a power cut: every commit is on disk when it returns.
         PRAGMA synchronous = FULL;
         -- 16 MiB of pages in memory, and as much in the log before it is folded into the file.
         PRAGMA cache_size = -16384;
         PRAGMA wal_autocheckpoint = 4096;
         PRAGMA journal_size_limit = 67108864;",
    )?;
    Ok(connection)
}

fn version(connection: &Connection) -> Result<i64, BrokerError> {
    connection
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(|error| broker_error(&error))
}

fn check_version(path: &Path, connection: &Connection) -> Result<(), BrokerError> {
    match version(connection)? {
        SCHEMA => Ok(()),
        found => Err(BrokerError::Refused(format!(
            "{} is a queue of version {found}, this build reads version {SCHEMA}",
            path.display()
        ))),
    }
}
