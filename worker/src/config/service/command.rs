//! `kind = "command"`: a program on this machine.

use std::{
    ffi::OsStr,
    path::{self, Path, PathBuf},
};

use filefleet_shared::config::Section;

use super::ServiceKind;
use crate::service::command::{DEFAULT_PATH, PRLIMIT, find};

/// What a service of kind `command` has besides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandConfig {
    /// Its name, or its absolute path.
    pub program: PathBuf,
    /// Environment variables that it is given, besides `PATH`.
    pub env: Vec<String>,
    /// Most it may write.
    pub max_output_bytes: u64,
    /// The program that bounds its address space, and the bound in bytes.
    pub max_memory: Option<(PathBuf, u64)>,
}

pub(super) fn read(section: &mut Section<'_>) -> Option<ServiceKind> {
    section.require("program");
    let program = read_program(section);
    let env = section.opt_texts("env").unwrap_or_default();
    if env
        .iter()
        .any(|name| name.is_empty() || name.contains(['=', '\0']))
    {
        section.error("env", "has names of environment variables, like \"LANG\"");
    }
    let max_output_bytes = section.opt_bytes("max_output_bytes");
    let max_memory = section.opt_bytes("max_memory");
    let prlimit = find(Path::new(PRLIMIT), OsStr::new(DEFAULT_PATH));
    if max_memory.is_some() && prlimit.is_none() {
        section.error(
            "max_memory",
            "needs `prlimit` (util-linux), which is missing",
        );
    }
    if section.has("connect_timeout") {
        section.error("connect_timeout", "is not for a program");
    }
    Some(ServiceKind::Command(CommandConfig {
        program: program?,
        env,
        max_output_bytes: max_output_bytes.unwrap_or(1 << 20),
        max_memory: prlimit.zip(max_memory),
    }))
}

/// A name is looked for in `PATH`; a path is meant from the directory of the configuration.
fn read_program(section: &mut Section<'_>) -> Option<PathBuf> {
    let name = section.opt_string("program")?;
    if name.contains(char::is_whitespace) && !name.contains('/') {
        section.error(
            "program",
            "is one program; arguments go into the step's `args`",
        );
    }
    if !name.contains('/') {
        return Some(name.into());
    }
    let program = section.opt_path("program")?;
    path::absolute(program)
        .map_err(|error| section.error("program", error.to_string()))
        .ok()
}
