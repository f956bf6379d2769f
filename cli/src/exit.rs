//! How a command ends: documented exit codes, and errors that say the fix.

use std::{fmt, process::ExitCode};

use filefleet_shared::broker::BrokerError;

/// The documented exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// Every file succeeded, or the command did what was asked.
    Success = 0,
    /// The run is complete, some files failed or could not be read.
    SomeFailed = 1,
    /// Usage, configuration or input is wrong.
    Usage = 2,
    /// Interrupted; the same command resumes.
    Interrupted = 3,
    /// A service refuses every call or is not there; the same command resumes.
    Paused = 4,
    /// The broker is not there, or was away for too long; the same command resumes.
    NoBroker = 5,
    /// A local file or disk failed; the same command resumes.
    Local = 6,
    /// Another process has it.
    Busy = 7,
    /// The budget is spent; the same command with a larger one resumes.
    OverBudget = 8,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// What a command could not do: said once on standard error, with its exit code.
#[derive(Debug)]
pub(crate) struct CommandError {
    /// The exit code.
    pub(crate) exit: Exit,
    /// For a person: what is wrong, where, and the fix.
    pub(crate) message: String,
}

impl CommandError {
    /// Usage, configuration or input is wrong.
    pub(crate) fn usage(message: impl fmt::Display) -> Self {
        Self {
            exit: Exit::Usage,
            message: message.to_string(),
        }
    }

    /// A local file or disk failed.
    pub(crate) fn local(message: impl fmt::Display) -> Self {
        Self {
            exit: Exit::Local,
            message: message.to_string(),
        }
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<BrokerError> for CommandError {
    fn from(error: BrokerError) -> Self {
        let exit = match error {
            BrokerError::Unavailable(_) | BrokerError::Away { .. } | BrokerError::Closed => {
                Exit::NoBroker
            }
            BrokerError::Busy(_) => Exit::Busy,
            BrokerError::Unroutable(_)
            | BrokerError::TooLarge { .. }
            | BrokerError::Refused(_)
            | BrokerError::Control(_) => Exit::Usage,
        };
        let mut message = error.to_string();
        if matches!(error, BrokerError::Away { .. }) {
            message.push_str(
                "\n  nothing is lost, and the same command goes on when it is back; `outage` in \
                 [broker] says how long to wait",
            );
        }
        Self { exit, message }
    }
}

/// What every command returns.
pub(crate) type CommandResult = Result<Exit, CommandError>;
