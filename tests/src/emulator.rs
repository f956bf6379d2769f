//! Emulators of Amazon S3 (moto) and Azure Blob Storage (Azurite), each with one empty bucket.

use std::{
    fs::{self, File},
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use bytes::Bytes;
use filefleet_shared::{
    config::StoreConfig,
    store::{Store, StorePlace},
};
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::runtime::Runtime;

use crate::{
    node::{Guarded, guard},
    process::pause,
};

const MOTO: &str = "moto[server]==5.2.5";
const AZURITE: &str = "azurite@3.35.0";
/// The bucket or container.
const BUCKET: &str = "papers";
/// Azurite's account, which its documentation names.
const ACCOUNT: &str = "devstoreaccount1";
const ACCOUNT_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
/// Ready in 2 s; the machine may be busy with other tests.
const BOOT: Duration = Duration::from_secs(120);

/// A running emulator, killed when dropped.
#[derive(Debug)]
pub struct Emulator {
    kind: Kind,
    port: u16,
    server: Option<Guarded>,
    runtime: Runtime,
}

/// What is emulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Amazon S3.
    S3,
    /// Azure Blob Storage.
    Azure,
}

impl Emulator {
    /// Starts one with an empty bucket, on a port of its own.
    ///
    /// # Panics
    /// It cannot be installed, or does not come up.
    #[must_use]
    pub fn start(kind: Kind) -> Self {
        let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = socket.local_addr().expect("an address").port();
        drop(socket);
        let mut emulator = Self {
            kind,
            port,
            server: None,
            runtime: Runtime::new().expect("a runtime"),
        };
        emulator.boot();
        emulator
    }

    /// Starts it, empty, after [`Emulator::kill`].
    ///
    /// # Panics
    /// It does not come up.
    pub fn boot(&mut self) {
        let port = self.port.to_string();
        let mut command = match self.kind {
            Kind::S3 => {
                let server = moto().join("bin/moto_server");
                guard(&server.to_string_lossy(), &["-H", "127.0.0.1", "-p", &port])
            }
            Kind::Azure => {
                let main = azurite().join("node_modules/azurite/dist/src/blob/main.js");
                let main = main.to_string_lossy().into_owned();
                let address = ["--blobHost", "127.0.0.1", "--blobPort", &port];
                let mut arguments = vec![main.as_str()];
                arguments.extend(address);
                arguments.extend(["--inMemoryPersistence", "--skipApiVersionCheck"]);
                arguments.extend(["--silent", "--disableTelemetry"]);
                guard("node", &arguments)
            }
        };
        self.server = Some(Guarded::spawn(&mut command).expect("the emulator starts"));
        let start = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_err() {
            assert!(start.elapsed() < BOOT, "{:?} did not come up", self.kind);
            pause();
        }
        self.make_bucket();
    }

    /// Kills it; what it had is gone.
    ///
    /// # Panics
    /// The operating system refuses.
    pub fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill().expect("our own child");
        }
    }

    /// Stops it from answering, or lets it go on; it keeps what it has.
    ///
    /// # Panics
    /// It does not run.
    pub fn freeze(&self, frozen: bool) {
        let server = self.server.as_ref().expect("a running emulator");
        let signal = if frozen { "STOP" } else { "CONT" };
        server.signal(signal).expect("our own child");
    }

    fn make_bucket(&self) {
        match self.kind {
            Kind::S3 => {
                self.put_unsigned(&format!("{}/{BUCKET}", self.endpoint()));
            }
            Kind::Azure => {
                let mut command = Command::new("python3");
                let script = include_str!("emulator/azure_container.py");
                command.args(["-c", script, &self.endpoint(), ACCOUNT, ACCOUNT_KEY, BUCKET]);
                checked(&mut command);
            }
        }
    }

    /// Base URL of the service.
    #[must_use]
    pub fn endpoint(&self) -> String {
        match self.kind {
            Kind::S3 => format!("http://127.0.0.1:{}", self.port),
            Kind::Azure => format!("http://127.0.0.1:{}/{ACCOUNT}", self.port),
        }
    }

    /// URL of a prefix in the bucket.
    #[must_use]
    pub fn url(&self, prefix: &str) -> String {
        let scheme = match self.kind {
            Kind::S3 => "s3",
            Kind::Azure => "az",
        };
        format!("{scheme}://{BUCKET}/{prefix}")
    }

    /// What the environment says about it and how to get in.
    #[must_use]
    pub fn variables(&self) -> Vec<(String, String)> {
        let mut variables = match self.kind {
            Kind::S3 => vec![
                ("AWS_ENDPOINT", self.endpoint()),
                ("AWS_ALLOW_HTTP", "true".to_owned()),
                ("AWS_ACCESS_KEY_ID", "test".to_owned()),
                ("AWS_SECRET_ACCESS_KEY", "test".to_owned()),
            ],
            Kind::Azure => vec![
                ("AZURE_STORAGE_ENDPOINT", self.endpoint()),
                ("AZURE_ALLOW_HTTP", "true".to_owned()),
                ("AZURE_STORAGE_ACCOUNT_NAME", ACCOUNT.to_owned()),
                ("AZURE_STORAGE_ACCOUNT_KEY", ACCOUNT_KEY.to_owned()),
            ],
        };
        variables.push(("NO_PROXY", "127.0.0.1".to_owned()));
        let owned = |(name, value): (&str, String)| (name.to_owned(), value);
        variables.into_iter().map(owned).collect()
    }

    /// Variables that hold only the credentials, under names of our own.
    #[must_use]
    pub fn secrets(&self) -> Vec<(String, String)> {
        let secret = match self.kind {
            Kind::S3 => "test",
            Kind::Azure => ACCOUNT_KEY,
        };
        vec![
            ("EMULATOR_SECRET".to_owned(), secret.to_owned()),
            ("NO_PROXY".to_owned(), "127.0.0.1".to_owned()),
        ]
    }

    /// Keys of a configuration for a prefix in the bucket, with the credentials of
    /// [`Emulator::secrets`].
    #[must_use]
    pub fn settings(&self, prefix: &str) -> String {
        let credentials = match self.kind {
            Kind::S3 => {
                "region = \"eu-central-1\"\naccess_key_id = { env = \"EMULATOR_SECRET\" }\n\
                 secret_access_key = { env = \"EMULATOR_SECRET\" }"
                    .to_owned()
            }
            Kind::Azure => {
                format!("account = \"{ACCOUNT}\"\naccount_key = {{ env = \"EMULATOR_SECRET\" }}")
            }
        };
        format!(
            "url = \"{}\"\nendpoint = \"{}\"\nallow_http = true\ntimeout = \"5s\"\n{credentials}\n",
            self.url(prefix),
            self.endpoint(),
        )
    }

    /// Writes an object.
    ///
    /// # Panics
    /// It is refused.
    pub fn put(&self, prefix: &str, key: &str, content: &[u8]) {
        let content = Bytes::copy_from_slice(content);
        let writing = async { self.store(prefix).write(key, content).await };
        let written = self.runtime.block_on(writing);
        written.unwrap_or_else(|error| panic!("{key}: {}", error.explain()));
    }

    /// Writes many objects, `f00000.txt` and so on.
    ///
    /// # Panics
    /// One is refused.
    pub fn put_many(&self, prefix: &str, count: usize) {
        let store = self.store(prefix);
        let writes = (0..count).map(|number| {
            let (store, key) = (store.clone(), format!("f{number:05}.txt"));
            async move { store.write(&key, Bytes::from_static(b"A letter.")).await }
        });
        let writing = stream::iter(writes)
            .buffer_unordered(16)
            .try_collect::<()>();
        let written = self.runtime.block_on(writing);
        written.unwrap_or_else(|error| panic!("{}", error.explain()));
    }

    /// The keys below a prefix.
    ///
    /// # Panics
    /// It is refused.
    #[must_use]
    pub fn keys(&self, prefix: &str) -> Vec<String> {
        let store = self.store(prefix);
        let listing = async { store.list(None)?.try_collect::<Vec<_>>().await };
        let found = self.runtime.block_on(listing);
        let found = found.unwrap_or_else(|error| panic!("{prefix}: {}", error.explain()));
        found.into_iter().map(|entry| entry.key).collect()
    }

    /// Makes an empty object of the name `PATH/`, as some tools do for a directory; on S3.
    ///
    /// # Panics
    /// It is refused.
    pub fn mark_directory(&self, path: &str) {
        let url = format!("{}/{BUCKET}/{path}/", self.endpoint());
        self.put_unsigned(&url);
    }

    fn put_unsigned(&self, url: &str) {
        let http = reqwest::Client::builder().no_proxy().build();
        let request = http.expect("a client").put(url).send();
        let answer = self.runtime.block_on(request).expect("moto answers");
        assert!(answer.status().is_success(), "{}", answer.status());
    }

    /// Runs a future to its end.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    /// A client with the settings that a configuration would have.
    ///
    /// # Panics
    /// The settings are wrong.
    #[must_use]
    pub fn store(&self, prefix: &str) -> Store {
        let place = StorePlace::parse(&self.url(prefix)).expect("a URL");
        let dir = tempfile::tempdir().expect("a directory");
        let secret = |text: &str| {
            use filefleet_shared::config::{Secret, SecretSource};
            let path = dir.path().join("secret");
            fs::write(&path, text).expect("a file");
            Some(Secret::new("secret", SecretSource::File(path)))
        };
        let mut config = StoreConfig::at(place.expect("a URL"));
        config.endpoint = Some(self.endpoint());
        config.allow_http = Some(true);
        match self.kind {
            Kind::S3 => {
                config.secrets.access_key_id = secret("test");
                config.secrets.secret_access_key = secret("test");
            }
            Kind::Azure => {
                config.account = Some(ACCOUNT.to_owned());
                config.secrets.account_key = secret(ACCOUNT_KEY);
            }
        }
        Store::open(&config).unwrap_or_else(|error| panic!("{}", error.explain()))
    }
}

/// `target/moto-venv`, which has moto's server.
fn moto() -> PathBuf {
    installed("moto-venv", MOTO, |venv| {
        checked(
            Command::new("python3")
                .args(["-m", "venv", "--clear"])
                .arg(venv),
        );
        let mut install = Command::new(venv.join("bin/python"));
        checked(install.args(["-m", "pip", "install", "--quiet", MOTO]));
    })
}

/// `target/azurite`, which has Azurite.
fn azurite() -> PathBuf {
    installed("azurite", AZURITE, |dir| {
        fs::create_dir_all(dir).expect("a directory");
        let mut install = Command::new("npm");
        install
            .current_dir(dir)
            .args(["install", "--no-audit", "--no-fund", "--no-save"]);
        checked(install.args(["--ignore-scripts", "--silent", AZURITE]));
    })
}

/// A directory of `target` that is made once, and again after a change of what is in it.
fn installed(name: &str, what: &str, make: impl FnOnce(&Path)) -> PathBuf {
    let me = std::env::current_exe().expect("the running test has a path");
    let profile = me
        .ancestors()
        .find(|dir| dir.ends_with("debug") || dir.ends_with("release"));
    let target = profile
        .and_then(Path::parent)
        .expect("tests run from target");
    let dir = target.join(name);
    let lock = File::create(target.join(format!("{name}.lock"))).expect("a lock file");
    lock.lock().expect("a lock");
    // Written last, so that what was left half made is made again.
    let mark = dir.join("filefleet-installed");
    if fs::read_to_string(&mark).is_ok_and(|made| made == what) {
        return dir;
    }
    make(&dir);
    fs::write(mark, what).expect("a file");
    dir
}

fn checked(command: &mut Command) {
    let what = format!("{command:?} (tests/run installs python3-venv, nodejs and npm)");
    let output = command.stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(
        output.status.success(),
        "{what}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
}
