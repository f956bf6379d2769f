//! A private RabbitMQ node: own ports, own data, gone with the test.

use std::{
    fs, io,
    net::{Ipv4Addr, TcpListener},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use lapin::{Connection, ConnectionProperties};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use crate::certificates::Certificates;

const BIN: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";
const CTL: &str = "/usr/lib/rabbitmq/bin/rabbitmqctl";

/// Lets quorum queues without a leader elect one. After a kill, a single node of RabbitMQ before
/// 3.13 may leave a queue as a follower for ever (rabbitmq-server#10070); this is the operator's
/// cure.
const ELECT: &str = "[begin ra:trigger_election({Name, node()}), Name end || \
     {Name, _} <- ra_directory:list_registered(quorum_queues), \
     ra_leaderboard:lookup_leader(Name) =:= undefined].";

/// A node is ready in 4 s; the machine may be busy with other tests.
const BOOT: Duration = Duration::from_secs(180);

/// Runs a program until standard input ends, and then kills everything it has started: a node
/// must not outlive a test process that was killed.
const GUARD: &str = r#""$0" "$@" </dev/null & cat >/dev/null; kill -KILL 0"#;

/// How to start a node.
#[derive(Debug, Default)]
pub struct NodeOptions {
    /// Lines for `rabbitmq.conf`.
    pub conf: Vec<String>,
    /// Listen with TLS too, and demand a client certificate.
    pub tls: bool,
}

/// A running node, killed when dropped.
#[derive(Debug)]
pub struct RabbitNode {
    dir: TempDir,
    ports: Ports,
    certificates: Option<Certificates>,
    epmd: Guarded,
    server: Option<Guarded>,
}

#[derive(Clone, Copy, Debug)]
struct Ports {
    amqp: u16,
    tls: u16,
    dist: u16,
    epmd: u16,
}

impl RabbitNode {
    /// Starts a node with a plain listener on loopback, and waits until it takes connections.
    ///
    /// # Errors
    /// RabbitMQ is not installed, or does not come up.
    pub async fn start() -> io::Result<Self> {
        Self::start_with(NodeOptions::default()).await
    }

    /// The same, with more configuration.
    ///
    /// # Errors
    /// RabbitMQ is not installed, or does not come up.
    pub async fn start_with(options: NodeOptions) -> io::Result<Self> {
        if !Path::new(BIN).exists() {
            return Err(io::Error::other(format!(
                "{BIN} is missing; run: apt-get install -y --no-install-recommends rabbitmq-server"
            )));
        }
        let dir = TempDir::with_prefix("filefleet-rabbit-")?;
        let ports = Ports::free()?;
        let certificates = options
            .tls
            .then(|| Certificates::make(dir.path()))
            .transpose()?;
        configure(dir.path(), ports, certificates.as_ref(), &options.conf)?;
        let epmd_port = ports.epmd.to_string();
        let mut epmd = guard("epmd", &["-port", &epmd_port, "-address", "127.0.0.1"]);
        let mut node = Self {
            epmd: Guarded::spawn(epmd.stdout(Stdio::null()).stderr(Stdio::null()))?,
            dir,
            ports,
            certificates,
            server: None,
        };
        node.boot().await?;
        Ok(node)
    }

    /// Where the plain listener is.
    #[must_use]
    pub fn url(&self) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}/%2f", self.ports.amqp)
    }

    /// Port of the plain listener.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.ports.amqp
    }

    /// Where the TLS listener is, if there is one.
    #[must_use]
    pub fn tls_url(&self) -> String {
        format!("amqps://guest:guest@localhost:{}/%2f", self.ports.tls)
    }

    /// Of the TLS listener.
    #[must_use]
    pub fn certificates(&self) -> Option<&Certificates> {
        self.certificates.as_ref()
    }

    /// Kills the node at once, as a crash would; the data stays.
    ///
    /// # Errors
    /// It could not be killed.
    pub fn kill9(&mut self) -> io::Result<()> {
        self.server
            .take()
            .map_or(Ok(()), |mut server| server.kill())
    }

    /// Asks the node to stop, and waits until it has; the data stays.
    ///
    /// # Errors
    /// It did not stop in time.
    pub async fn stop(&mut self) -> io::Result<()> {
        let Some(server) = self.server.take() else {
            return Ok(());
        };
        let pid = fs::read_to_string(self.dir.path().join("pid"))?;
        let pid = pid.trim();
        run(Command::new("kill").args(["-TERM", pid]))?;
        let began = Instant::now();
        while Path::new("/proc").join(pid).exists() {
            if began.elapsed() > BOOT {
                return Err(io::Error::other("the node did not stop"));
            }
            sleep(Duration::from_millis(50)).await;
        }
        drop(server);
        Ok(())
    }

    /// Starts the node again on the same data and ports, killing it first if it runs, and sees to
    /// it that every quorum queue has a leader.
    ///
    /// # Errors
    /// It does not come up, or cannot be administered.
    pub async fn restart(&mut self) -> io::Result<()> {
        self.kill9()?;
        self.boot().await?;
        self.elect().await
    }

    async fn elect(&self) -> io::Result<()> {
        let began = Instant::now();
        loop {
            let mut command = Command::new(CTL);
            self.environment(&mut command);
            let told = run(command.args(["eval", ELECT]))?;
            if told.trim() == "[]" {
                return Ok(());
            }
            println!("queues that were told to elect: {}", told.trim());
            if began.elapsed() > BOOT {
                return Err(io::Error::other(format!("no leader:\n{}", self.log())));
            }
        }
    }

    async fn boot(&mut self) -> io::Result<()> {
        let mut command = guard(BIN, &[]);
        self.environment(&mut command);
        self.server = Some(Guarded::spawn(&mut command)?);
        self.wait_until_ready().await
    }

    fn environment(&self, command: &mut Command) {
        let dir = self.dir.path();
        let loopback = "-kernel inet_dist_use_interface {127,0,0,1}";
        command
            .env("HOME", dir)
            .env("RABBITMQ_CONF_ENV_FILE", "/dev/null")
            .env("RABBITMQ_NODENAME", "node@localhost")
            .env("ERL_EPMD_PORT", self.ports.epmd.to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_DIST_PORT", self.ports.dist.to_string())
            .env("RABBITMQ_MNESIA_BASE", dir.join("data"))
            .env("RABBITMQ_LOG_BASE", dir.join("log"))
            .env("RABBITMQ_PID_FILE", dir.join("pid"))
            .env("RABBITMQ_CONFIG_FILE", dir.join("rabbitmq"))
            .env("RABBITMQ_ADVANCED_CONFIG_FILE", dir.join("advanced"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", dir.join("enabled_plugins"))
            .env("RABBITMQ_CTL_ERL_ARGS", loopback)
            // Schedulers that do not spin: the machine is shared.
            .env(
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
                format!("{loopback} +S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none"),
            );
    }

    async fn wait_until_ready(&self) -> io::Result<()> {
        let began = Instant::now();
        let url = self.url();
        loop {
            let connecting = Connection::connect(&url, ConnectionProperties::default());
            if let Ok(Ok(connection)) = timeout(Duration::from_secs(5), connecting).await {
                let closed = connection.close(200, "OK".into()).await;
                return closed.map_err(io::Error::other);
            }
            if began.elapsed() > BOOT {
                return Err(io::Error::other(format!(
                    "the node did not come up:\n{}",
                    self.log()
                )));
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// What it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        let path = self.dir.path().join("log/node@localhost.log");
        fs::read_to_string(&path).unwrap_or_else(|error| format!("{}: {error}", path.display()))
    }
}

impl Drop for RabbitNode {
    fn drop(&mut self) {
        for process in self.server.iter_mut().chain([&mut self.epmd]) {
            if let Err(error) = process.kill() {
                eprintln!("a process of a RabbitMQ node may be left: {error}");
            }
        }
    }
}

impl Ports {
    /// Four ports that nobody listens on now; all are held until all are known.
    fn free() -> io::Result<Self> {
        let held = (0..4)
            .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
            .collect::<io::Result<Vec<_>>>()?;
        let port = |listener: &TcpListener| listener.local_addr().map(|address| address.port());
        let ports = held.iter().map(port).collect::<io::Result<Vec<_>>>()?;
        Ok(Self {
            amqp: ports[0],
            tls: ports[1],
            dist: ports[2],
            epmd: ports[3],
        })
    }
}

fn configure(
    dir: &Path,
    ports: Ports,
    certificates: Option<&Certificates>,
    extra: &[String],
) -> io::Result<()> {
    let mut conf = vec![
        format!("listeners.tcp.1 = 127.0.0.1:{}", ports.amqp),
        "loopback_users.guest = true".to_owned(),
        "log.console = false".to_owned(),
        "disk_free_limit.absolute = 10MB".to_owned(),
    ];
    if let Some(certificates) = certificates {
        conf.push(format!("listeners.ssl.1 = 127.0.0.1:{}", ports.tls));
        let path = |file: &PathBuf| file.display().to_string();
        conf.push(format!(
            "ssl_options.cacertfile = {}",
            path(&certificates.ca)
        ));
        conf.push(format!(
            "ssl_options.certfile = {}",
            path(&certificates.server_cert)
        ));
        conf.push(format!(
            "ssl_options.keyfile = {}",
            path(&certificates.server_key)
        ));
        conf.push("ssl_options.verify = verify_peer".to_owned());
        conf.push("ssl_options.fail_if_no_peer_cert = true".to_owned());
    }
    conf.extend_from_slice(extra);
    fs::write(dir.join("rabbitmq.conf"), conf.join("\n") + "\n")?;
    fs::write(dir.join("enabled_plugins"), "[].\n")?;
    for sub in ["data", "log"] {
        fs::create_dir(dir.join(sub))?;
    }
    Ok(())
}

pub(crate) fn guard(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", GUARD, program]).args(arguments);
    command
}

/// A program under [`GUARD`], in a process group of its own.
#[derive(Debug)]
pub(crate) struct Guarded {
    shell: Child,
}

impl Guarded {
    pub(crate) fn spawn(command: &mut Command) -> io::Result<Self> {
        let shell = command
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self { shell })
    }

    /// Sends a signal to the whole group, like `STOP`.
    pub(crate) fn signal(&self, signal: &str) -> io::Result<()> {
        let mut command = Command::new("kill");
        let group = format!("-{}", self.shell.id());
        let status = command.args(["-s", signal, "--", &group]).status()?;
        if status.success() {
            return Ok(());
        }
        Err(io::Error::other(format!("kill: {status}")))
    }

    /// Kills the whole group.
    pub(crate) fn kill(&mut self) -> io::Result<()> {
        drop(self.shell.stdin.take());
        self.shell.wait().map(drop)
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        if let Err(error) = self.kill() {
            eprintln!("a process of a test may be left: {error}");
        }
    }
}

/// Runs a command to its end, and gives what it printed.
pub(crate) fn run(command: &mut Command) -> io::Result<String> {
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let told = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("{command:?} failed: {told}")))
}
