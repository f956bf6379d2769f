//! Which program a service is, and what it is started with.

use std::{
    env,
    ffi::{OsStr, OsString},
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Stdio,
};

use tokio::process::Command;

use crate::{config::CommandConfig, service::CallError};

/// Where programs are looked for, and what they have as `PATH`.
pub(crate) const DEFAULT_PATH: &str =
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Both of util-linux: the one asks the kernel to kill a program whose parent was killed and so
/// could not do it; the other sets limits. They become the program, so its id stays the same.
const SETPRIV: &str = "setpriv";
pub(crate) const PRLIMIT: &str = "prlimit";

/// A program with its environment and bounds.
#[derive(Debug)]
pub(crate) struct Program {
    program: PathBuf,
    environment: Vec<(String, OsString)>,
    path: OsString,
    /// What it is started through, with arguments.
    through: Vec<OsString>,
    pub(super) max_output_bytes: usize,
}

impl Program {
    pub(crate) fn new(config: &CommandConfig) -> Self {
        let passed = |name: &String| Some((name.clone(), env::var_os(name)?));
        let environment: Vec<_> = config.env.iter().filter_map(passed).collect();
        let path = environment.iter().find(|(name, _)| name == "PATH");
        let path = path.map_or_else(|| DEFAULT_PATH.into(), |(_, path)| path.clone());
        let mut through = Vec::new();
        if let Some(setpriv) = find(Path::new(SETPRIV), OsStr::new(DEFAULT_PATH)) {
            through.extend([setpriv.into(), "--pdeathsig=KILL".into(), "--".into()]);
        }
        if let Some((prlimit, bytes)) = &config.max_memory {
            let limit = format!("--as={bytes}");
            through.extend([prlimit.into(), limit.into(), "--".into()]);
        }
        Self {
            program: config.program.clone(),
            environment,
            path,
            through,
            max_output_bytes: usize::try_from(config.max_output_bytes).unwrap_or(usize::MAX),
        }
    }

    /// A command that starts it in `folder`.
    pub(super) fn command(&self, args: &[String], folder: &Path) -> Result<Command, CallError> {
        // Found here, since through another program it would be an exit code.
        let program = find(&self.program, &self.path).ok_or_else(|| {
            CallError::Misconfigured("the program of this service is not on this machine".into())
        })?;
        let line = [&self.through[..], &[program.into()]].concat();
        let mut command = Command::new(&line[0]);
        command.args(&line[1..]);
        command
            .args(args)
            .current_dir(folder)
            .env_clear()
            .env("PATH", &self.path)
            // What it leaves there goes with the folder.
            .env("TMPDIR", folder)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Ok(command)
    }
}

/// Where a program is: itself if it is a path, else the first of its name in `path`.
pub(crate) fn find(program: &Path, path: &OsStr) -> Option<PathBuf> {
    let runs = |path: &PathBuf| {
        fs::metadata(path)
            .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    if program.is_absolute() {
        return Some(program.to_owned()).filter(runs);
    }
    env::split_paths(path)
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(program))
        .find(runs)
}

/// Why a program that is there did not start.
#[expect(clippy::needless_pass_by_value, reason = "the shape `map_err` takes")]
pub(super) fn not_started(error: io::Error) -> CallError {
    let detail = format!("the program cannot be started: {}", error.kind());
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => {
            CallError::Misconfigured(detail)
        }
        // A NUL in an argument, or more of them than the system takes.
        io::ErrorKind::InvalidInput | io::ErrorKind::ArgumentListTooLong => {
            CallError::rejected("template", detail)
        }
        _ => CallError::Overloaded {
            retry_after: None,
            detail,
        },
    }
}
