//! A Python of its own with the SDKs, made once and used by all tests.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

const REQUIREMENTS: &str = include_str!("requirements.txt");

/// A file beside this one, run with `python SCRIPT URL`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Script(pub(crate) &'static str);

impl Script {
    /// Fails with what the script printed, if it fails.
    pub(crate) async fn run(self, url: &str) {
        let python = tokio::task::spawn_blocking(python).await.unwrap();
        let script = sources().join(self.0);
        let output = tokio::process::Command::new(python)
            .arg(script)
            .arg(url)
            // Requests to this machine must not go through a proxy.
            .env("NO_PROXY", "*")
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .output()
            .await
            .unwrap();
        assert!(
            output.status.success(),
            "{} failed with {}\n{}{}",
            self.0,
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
    }
}

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sdk")
}

/// The interpreter of `target/sdk-venv`, which has exactly the SDKs of `requirements.txt`.
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
    let output = command.stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| {
        panic!("{command:?}: {error}; these tests need python3 with venv and pip")
    });
    assert!(
        output.status.success(),
        "{command:?} failed; these tests need python3-venv and a package index\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
}
