//! A Python with the pinned SDKs, made once below `target`, and scripts run by it.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Output,
};

use filefleet_simulator::Simulator;
use tokio::process::Command;

const REQUIREMENTS: &str = include_str!("requirements.txt");

/// Runs a script of this directory with the simulator's address, and fails with what it says.
pub(crate) async fn run(script: &str, simulator: &Simulator) {
    let python = tokio::task::spawn_blocking(python);
    let python = python.await.expect("the SDKs can be installed");
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sdk");
    let mut command = Command::new(python);
    command
        .arg(here.join(script))
        .arg(simulator.base_url())
        // A proxy of the machine is not to see what is for this machine.
        .env("NO_PROXY", "*")
        .env("no_proxy", "*")
        .env("PYTHONDONTWRITEBYTECODE", "1");
    check(script, &command.output().await.expect("python starts"));
}

/// The interpreter of a virtual environment that has exactly what is required.
fn python() -> PathBuf {
    let target = target();
    fs::create_dir_all(&target).expect("target can be written");
    let venv = target.join("sdk-venv");
    let python = venv.join("bin/python");
    let installed = venv.join("installed-requirements.txt");
    // Tests are processes and threads of their own, so the lock is one of files.
    let lock = File::create(target.join("sdk-venv.lock")).expect("a lock file can be made");
    lock.lock().expect("the lock file can be locked");
    if fs::read_to_string(&installed).is_ok_and(|have| have == REQUIREMENTS) {
        return python;
    }
    blocking("python3 -m venv", "python3", &["-m", "venv", &text(&venv)]);
    let wanted = target.join("sdk-requirements.txt");
    fs::write(&wanted, REQUIREMENTS).expect("the requirements can be written");
    let install = ["-m", "pip", "install", "--quiet", "-r", &text(&wanted)];
    blocking("pip install", &text(&python), &install);
    fs::write(&installed, REQUIREMENTS).expect("the venv can be marked as whole");
    python
}

/// The directory `target` that this test was built in.
fn target() -> PathBuf {
    let me = std::env::current_exe().expect("the running test has a path");
    let profile = me.ancestors().find(|dir| {
        dir.file_name()
            .is_some_and(|name| name == "debug" || name == "release")
    });
    let target = profile.and_then(Path::parent);
    target
        .expect("tests run from target/debug or target/release")
        .to_owned()
}

fn text(path: &Path) -> String {
    path.to_str().expect("target has a UTF-8 path").to_owned()
}

fn blocking(what: &str, program: &str, arguments: &[&str]) {
    let output = std::process::Command::new(program).args(arguments).output();
    check(
        what,
        &output.unwrap_or_else(|error| panic!("{what}: {error}")),
    );
}

fn check(what: &str, output: &Output) {
    assert!(
        output.status.success(),
        "{what}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
