//! A Python of its own with the SDKs, made once and used by all tests.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use filefleet_simulator::Simulator;

const REQUIREMENTS: &str = include_str!("requirements.txt");

/// Runs a script of this directory with the simulator's address, and fails with what it says.
pub(crate) async fn run(script: &str, simulator: &Simulator) {
    let python = tokio::task::spawn_blocking(python).await.unwrap();
    let output = tokio::process::Command::new(python)
        .arg(sources().join(script))
        .arg(simulator.base_url())
        // Requests to this machine must not go through a proxy.
        .env("NO_PROXY", "*")
        .env("no_proxy", "*")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .await
        .unwrap();
    check(script, &output);
}

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sdk")
}

/// The interpreter of `target/sdk-venv`, which has the SDKs of `requirements.txt`.
fn python() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let venv = target.join("sdk-venv");
    let lock = File::create(target.join("sdk-venv.lock")).unwrap();
    lock.lock().unwrap();
    let python = venv.join("bin/python");
    // Written last, so that a venv that was left half made is made again.
    let installed = venv.join("requirements.txt");
    if fs::read_to_string(&installed).is_ok_and(|installed| installed == REQUIREMENTS) {
        return python;
    }
    let mut make = Command::new("python3");
    checked(make.args(["-m", "venv", "--clear"]).arg(&venv));
    let mut install = Command::new(&python);
    install.args(["-m", "pip", "install", "--quiet", "--requirement"]);
    checked(install.arg(sources().join("requirements.txt")));
    fs::write(installed, REQUIREMENTS).unwrap();
    python
}

fn checked(command: &mut Command) {
    let what = format!("{command:?} (these tests need python3-venv and a package index)");
    match command.stdin(Stdio::null()).output() {
        Ok(output) => check(&what, &output),
        Err(error) => panic!("{what}: {error}"),
    }
}

fn check(what: &str, output: &Output) {
    assert!(
        output.status.success(),
        "{what}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
}
