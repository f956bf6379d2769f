//! A program with everything it starts, as one process group that ends together.

use std::{io, process::ExitStatus};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use tokio::{
    process::{Child, ChildStderr, ChildStdin, ChildStdout, Command},
    runtime::Handle,
    signal::unix::{SignalKind, signal},
};

use super::Folder;
use crate::service::CallError;

/// A running process group. Dropped, it is killed.
#[derive(Debug)]
pub(crate) struct Group {
    id: Pid,
    /// Present until it is reaped.
    child: Option<Child>,
    folder: Option<Folder>,
}

/// The ends of its pipes.
pub(crate) struct Pipes {
    pub(crate) stdin: ChildStdin,
    pub(crate) stdout: ChildStdout,
    pub(crate) stderr: ChildStderr,
}

impl Group {
    /// Starts a command whose standard streams are pipes.
    pub(crate) fn start(mut command: Command, folder: Folder) -> io::Result<(Self, Pipes)> {
        let mut child = command.process_group(0).kill_on_drop(true).spawn()?;
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        let id = id.and_then(Pid::from_raw);
        let (Some(id), (Some(stdin), Some(stdout), Some(stderr))) = (id, pipes) else {
            return Err(io::Error::other("a child without id or pipes"));
        };
        let group = Self {
            id,
            child: Some(child),
            folder: Some(folder),
        };
        let pipes = Pipes {
            stdin,
            stdout,
            stderr,
        };
        Ok((group, pipes))
    }

    /// Waits for the program, then ends what it left behind.
    pub(crate) async fn ended(&mut self) -> Result<ExitStatus, CallError> {
        let lost = |error: io::Error| CallError::Overloaded {
            retry_after: None,
            detail: format!("cannot wait for the program: {}", error.kind()),
        };
        self.exited().await.map_err(lost)?;
        // Before it is reaped: then its id, which is the group's, is nobody else's yet.
        self.kill();
        let Some(mut child) = self.child.take() else {
            return Err(lost(io::Error::other("waited for twice")));
        };
        child.wait().await.map_err(lost)
    }

    /// Waits until the program is a zombie, without reaping it.
    async fn exited(&self) -> io::Result<()> {
        let mut changes = signal(SignalKind::child())?;
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        while waitid(WaitId::Pid(self.id), options)?.is_none() {
            changes.recv().await;
        }
        Ok(())
    }

    fn kill(&self) {
        // It fails where nobody is left, which is what is wanted.
        kill_process_group(self.id, Signal::KILL).ok();
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else {
            return;
        };
        self.kill();
        let folder = self.folder.take();
        // The folder goes after the last one who could write to it.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move {
                drop(child.wait().await);
                drop(folder);
            });
        }
    }
}
