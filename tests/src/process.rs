//! Real `filefleet` processes: started, watched, killed.

use std::{
    fs,
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

/// The `filefleet` binary of the profile that the caller was built with.
///
/// # Panics
/// It was not built: `cargo build --workspace --bins` (with `--release` for measurements).
#[must_use]
pub fn filefleet() -> PathBuf {
    let me = std::env::current_exe().expect("the running test has a path");
    let profile = me
        .ancestors()
        .find(|dir| {
            dir.file_name()
                .is_some_and(|name| name == "debug" || name == "release")
        })
        .expect("tests run from target/debug or target/release");
    let binary = profile.join("filefleet");
    assert!(
        binary.exists(),
        "{} is missing: run `cargo build --workspace --bins`",
        binary.display()
    );
    binary
}

/// A running process, its output in files; killed when dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    out: PathBuf,
}

/// How a process ended, and what it cost.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// User and system time so far.
    pub cpu: Duration,
    /// Largest resident size so far.
    pub peak_bytes: u64,
    /// Resident size now.
    pub bytes: u64,
}

impl Process {
    /// Starts `filefleet` with arguments; its logs go to `dir/NAME.log`.
    ///
    /// # Panics
    /// The binary is missing or cannot be started.
    #[must_use]
    pub fn filefleet(dir: &Path, name: &str, args: &[&str]) -> Self {
        Self::filefleet_with(dir, name, args, &[])
    }

    /// The same, with variables in its environment.
    ///
    /// # Panics
    /// The binary is missing or cannot be started.
    #[must_use]
    pub fn filefleet_with(
        dir: &Path,
        name: &str,
        args: &[&str],
        variables: &[(String, String)],
    ) -> Self {
        let mut command = Command::new(filefleet());
        command
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .args(args)
            .current_dir(dir)
            .env_remove("FILEFLEET_BROKER")
            .env_remove("FILEFLEET_CONFIG");
        Self::start(dir, name, command)
    }

    /// Starts any command.
    ///
    /// # Panics
    /// It cannot be started.
    #[must_use]
    pub fn start(dir: &Path, name: &str, mut command: Command) -> Self {
        let log = dir.join(format!("{name}.log"));
        let out = dir.join(format!("{name}.out"));
        let child = command
            .stdin(Stdio::null())
            .stdout(fs::File::create(&out).expect("an output file"))
            .stderr(fs::File::create(&log).expect("a log file"))
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        Self {
            name: name.to_owned(),
            child,
            log,
            out,
        }
    }

    /// The process's id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it wrote to standard error.
    ///
    /// # Panics
    /// The file cannot be read.
    #[must_use]
    pub fn log(&self) -> String {
        read_lossy(&self.log)
    }

    /// What it wrote to standard output.
    ///
    /// # Panics
    /// The file cannot be read.
    #[must_use]
    pub fn out(&self) -> String {
        read_lossy(&self.out)
    }

    /// Waits until the log or the output has `text`.
    ///
    /// # Panics
    /// It does not within `limit`, or the process ended before.
    pub fn wait_for_text(&mut self, text: &str, limit: Duration) {
        let name = self.name.clone();
        let start = Instant::now();
        loop {
            if self.log().contains(text) || self.out().contains(text) {
                return;
            }
            let ended = self.try_wait();
            assert!(
                ended.is_none() && start.elapsed() < limit,
                "{name} did not say {text:?} (ended: {ended:?}); it said:\n{}\n{}",
                self.log(),
                self.out(),
            );
            pause();
        }
    }

    /// The exit status, if it has ended.
    ///
    /// # Panics
    /// The operating system does not know the process.
    pub fn try_wait(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("our own child")
    }

    /// Waits for the end and returns the exit code.
    ///
    /// # Panics
    /// It does not end within `limit`, or a signal ended it.
    pub fn wait(&mut self, limit: Duration) -> i32 {
        let start = Instant::now();
        loop {
            if let Some(status) = self.try_wait() {
                let code = status.code();
                return code
                    .unwrap_or_else(|| panic!("{} ended by {status}:\n{}", self.name, self.log()));
            }
            assert!(
                start.elapsed() < limit,
                "{} still runs after {limit:?}:\n{}",
                self.name,
                self.log()
            );
            pause();
        }
    }

    /// Sends a signal, like `TERM`.
    ///
    /// # Panics
    /// `kill` fails.
    pub fn signal(&self, signal: &str) {
        let status = Command::new("kill")
            .args([format!("-{signal}"), self.id().to_string()])
            .status()
            .expect("kill runs");
        assert!(status.success(), "kill -{signal} {}", self.id());
    }

    /// Kills it with SIGKILL and waits until it is gone.
    ///
    /// # Panics
    /// The operating system refuses.
    pub fn kill9(mut self) {
        self.child.kill().expect("our own child");
        self.child.wait().expect("our own child");
    }

    /// What it cost so far; ask before it is waited for.
    #[must_use]
    pub fn cost(&self) -> Option<Cost> {
        cost_of(self.id())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Ended already is fine; the result only says so.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// CPU time and peak memory of a process from `/proc`; `None` once it is gone.
#[must_use]
pub fn cost_of(pid: u32) -> Option<Cost> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command's name, in parentheses, may hold spaces: count from its end.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks: u64 = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let bytes = |name: &str| -> Option<u64> {
        let size = status.lines().find_map(|line| line.strip_prefix(name))?;
        let kib: u64 = size.split_whitespace().next()?.parse().ok()?;
        Some(kib * 1024)
    };
    // Linux reports in ticks of 1/100 s on every platform it runs on today.
    Some(Cost {
        cpu: Duration::from_millis(ticks * 10),
        peak_bytes: bytes("VmHWM:")?,
        bytes: bytes("VmRSS:")?,
    })
}

/// A short pause between two looks at a process.
pub fn pause() {
    #[expect(clippy::disallowed_methods, reason = "harness threads, not a runtime")]
    std::thread::sleep(Duration::from_millis(20));
}

fn read_lossy(path: &Path) -> String {
    let mut bytes = Vec::new();
    let mut file = fs::File::open(path).expect("the process's output file");
    // Of a long log the end is what matters.
    let length = file.metadata().map_or(0, |metadata| metadata.len());
    let from = length.saturating_sub(512 * 1024);
    file.seek(SeekFrom::Start(from)).expect("seek in a file");
    file.read_to_end(&mut bytes).expect("read a file");
    String::from_utf8_lossy(&bytes).into_owned()
}
