//! The command line: what can be asked for, with examples.

mod rehearse;
mod simulate;

use std::{path::PathBuf, time::Duration};

use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};
use filefleet_shared::wire::{Cost, RunId};

pub(crate) use self::{rehearse::RehearseArgs, simulate::SimulateArgs};

const EXIT_CODES: &str = "\
Exit codes:
  0  every file succeeded (or the command did what was asked)
  1  the run is complete, but some files failed or could not be read: see failures.jsonl
  2  usage, configuration or input is wrong; nothing was started
  3  interrupted, by a signal or `filefleet stop`; the same command resumes
  4  paused: a service refuses every call or is not there; fix it, the same command resumes
  5  the broker is not there, or was away for too long; the same command resumes
  6  a local file or disk, or an object store, failed; the same command resumes
  7  another filefleet process has the run, the journal or the directory
  8  the budget is spent; the same command with a larger one resumes";

/// Every file of a directory, through AI services, exactly once, at the speed your quota allows.
#[derive(Debug, Parser)]
#[command(name = "filefleet", version, propagate_version = true, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    /// Log filter, like `info` or `filefleet_worker=debug`.
    #[arg(long, global = true, env = "FILEFLEET_LOG", value_name = "FILTER")]
    pub(crate) log: Option<String>,
    /// Logs as text or as one JSON object per line; both go to standard error.
    #[arg(
        long,
        global = true,
        env = "FILEFLEET_LOG_FORMAT",
        default_value = "text"
    )]
    pub(crate) log_format: LogStyle,
    /// Machine-readable output: JSON lines on standard output.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// A time with its unit.
fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|error| format!("{error}: give numbers with units, like 500ms, 10s or 1h30min"))
}

fn run_id(text: &str) -> Result<RunId, String> {
    text.parse().map_err(|_| {
        "not the id of a run: `publish` and `status` show it, like \
         0190d3c2-7b54-7cc1-8a3e-5f6d7c8b9a01"
            .to_owned()
    })
}

/// How log lines look.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum LogStyle {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run every file of a directory through a pipeline, all in this process.
    #[command(after_help = "\
Examples:
  filefleet run samples --rehearse                  without a key, against a built-in simulator
  filefleet run letters --model gpt-4o-mini --prompt 'Summarise in one sentence.'
  filefleet run scans -c filefleet.toml -p invoices -o out
  filefleet run scans -p invoices --broker amqps://user@mq.example.com/prod

  filefleet run letters --model gpt-4o --prompt 'Summarise in one sentence.' --redo

The same command again resumes: what is finished is not done again. With another model, prompt or
other parameters, and between a rehearsal and the real thing, it refuses the output directory:
give another one with -o, or --redo.")]
    Run(Box<RunArgs>),
    /// Publish one task per file to RabbitMQ, for a fleet of workers.
    #[command(after_help = "\
Examples:
  filefleet publish scans -p invoices --broker amqp://localhost
  filefleet publish scans --include '*.pdf' --exclude 'drafts/**'
  filefleet publish scans --skip-finished out       what is new, changed or failed
  filefleet publish s3://papers/2026 --root papers  where workers have [root.papers]

A crash or Ctrl-C loses nothing: the same command goes on where it was.")]
    Publish(PublishArgs),
    /// Take steps from RabbitMQ and call AI services, until stopped.
    #[command(after_help = "\
Examples:
  filefleet worker -c filefleet.toml --root scans --broker amqp://localhost
  filefleet worker --root invoices=/data/invoices --root letters=/data/letters
  filefleet worker --root linked --follow           links in it may lead to other places

SIGTERM, SIGINT, SIGHUP and `filefleet stop` drain it: it takes nothing new, finishes what it
has, and leaves with 0. A second signal makes it leave at once.")]
    Worker(WorkerArgs),
    /// Collect the outcomes of a run into results.jsonl, failures.jsonl and run.json.
    #[command(after_help = "\
Examples:
  filefleet collect -o out                          the run that was published last
  filefleet collect --run 0190... -o out --then-stop")]
    Collect(CollectArgs),
    /// Show queues, consumers and the latest run.
    #[command(after_help = "\
Examples:
  filefleet status --broker amqp://localhost
  filefleet status -o out                           a `run` on this machine")]
    Status(StatusArgs),
    /// Make all workers finish what they have and leave.
    #[command(after_help = "\
Examples:
  filefleet stop --broker amqp://localhost --wait
  filefleet stop -o out                             a `run` on this machine

Work that is left stays queued. Workers started later leave too, until a new run is published or the
stop is taken back with --undo.")]
    Stop(StopArgs),
    /// Serve simulated AI services, with latencies, quotas, faults and quirks.
    #[command(after_help = "\
Examples:
  filefleet simulate --latency 200ms
  filefleet simulate --latency 2s --sigma 0.5 --requests-per-minute 600 --quirk retry-after-24h")]
    Simulate(Box<SimulateArgs>),
    /// Forecast what a run will take and cost, and what binds it, from a sample of its files.
    #[command(after_help = "\
Examples:
  filefleet rehearse scans -p invoices
  filefleet rehearse scans -p invoices --workers 4 --latency 2s --latency ocr=300ms --sigma 0.5
  filefleet rehearse letters --model gpt-4o-mini --prompt 'Summarise in one sentence.' --json

A simulator in this process answers for the sample: nothing is sent, paid or written, and no key is
needed. Programs of `command` services run for real, and `http` steps answer with their `rehearse`.
The quotas (`limits`) and prices of the configuration do the rest. What models answer is made up
by the simulator, so the tokens of real answers may be others; those of prompts are close.")]
    Rehearse(Box<RehearseArgs>),
    /// Print the JSON Schema of a message on the wire.
    #[command(
        after_help = "Examples:\n  filefleet schema            the names\n  filefleet schema step"
    )]
    Schema {
        /// Which message; without it, the names are listed.
        name: Option<String>,
    },
    /// Print a completion script for a shell.
    #[command(
        after_help = "Examples:\n  filefleet completions bash > /etc/bash_completion.d/filefleet"
    )]
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// Which configuration.
#[derive(Args, Debug)]
pub(crate) struct ConfigArgs {
    /// Configuration file [default: filefleet.toml, if it exists].
    #[arg(short, long, env = "FILEFLEET_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

/// Which RabbitMQ.
#[derive(Args, Debug)]
pub(crate) struct BrokerArgs {
    /// RabbitMQ, like amqps://user@host/vhost [default: [broker] of the configuration].
    ///
    /// Prefer the environment variable or the configuration where the URL has a password.
    #[arg(
        long,
        env = "FILEFLEET_BROKER",
        hide_env_values = true,
        value_name = "URL"
    )]
    pub(crate) broker: Option<String>,
    /// Prefix of all exchanges and queues [default: filefleet].
    #[arg(long, env = "FILEFLEET_NAMESPACE", value_name = "NAME")]
    pub(crate) namespace: Option<String>,
}

/// Which files of a directory.
#[derive(Args, Clone, Debug)]
pub(crate) struct ScanArgs {
    /// Only files whose path matches, like '*.pdf' or 'scans/**'; may be given several times.
    #[arg(long, value_name = "GLOB")]
    pub(crate) include: Vec<String>,
    /// Not the files whose path matches; wins over --include.
    #[arg(long, value_name = "GLOB")]
    pub(crate) exclude: Vec<String>,
    /// Hidden files and directories too.
    #[arg(long)]
    pub(crate) hidden: bool,
    /// Follow symbolic links.
    #[arg(long)]
    pub(crate) follow: bool,
}

#[derive(Args, Debug)]
#[command(group = ArgGroup::new("without_limits").args(["model", "rehearse"]).multiple(true))]
pub(crate) struct RunArgs {
    /// The directory, or s3://BUCKET/PREFIX or az://CONTAINER/PREFIX.
    pub(crate) dir: PathBuf,
    /// Pipeline [default: the only one of the configuration].
    #[arg(short, long)]
    pub(crate) pipeline: Option<String>,
    /// Output directory: results, and the state to resume from.
    #[arg(short, long, default_value = "filefleet-out", value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// Do all files again, also those that are finished; for a pipeline that has changed. What is
    /// in the output directory moves to its `runs`, and a run that is not finished is given up.
    #[arg(long)]
    pub(crate) redo: bool,
    /// Begin no call once so much is spent, by the prices in the configuration, and stop; the same
    /// command with a larger budget goes on.
    #[arg(long, value_name = "AMOUNT")]
    pub(crate) budget: Option<Cost>,
    /// Call a simulator in this process instead of the real services: no key, no cost.
    #[arg(long)]
    pub(crate) rehearse: bool,
    /// Latency of the simulator in a rehearsal.
    #[arg(long, value_parser = duration, default_value = "200ms", value_name = "TIME")]
    pub(crate) rehearse_latency: Duration,
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    #[command(flatten)]
    pub(crate) broker: BrokerArgs,
    #[command(flatten)]
    pub(crate) scan: ScanArgs,
    #[command(flatten)]
    pub(crate) quick: QuickArgs,
}

/// A pipeline of one chat step, without a configuration file.
#[derive(Args, Debug)]
#[command(next_help_heading = "Without a configuration file")]
pub(crate) struct QuickArgs {
    /// Model to ask; makes a pipeline of one chat step.
    #[arg(long, requires = "prompt", conflicts_with_all = ["config", "pipeline"])]
    pub(crate) model: Option<String>,
    /// What to ask about every file; a template, `{{ text }}` is the file's text.
    #[arg(long, requires = "model")]
    pub(crate) prompt: Option<String>,
    /// OpenAI-compatible endpoint.
    #[arg(
        long,
        default_value = "https://api.openai.com/v1",
        value_name = "URL",
        requires = "model"
    )]
    pub(crate) endpoint: String,
    /// Environment variable that holds the key; empty for an endpoint without keys.
    #[arg(
        long,
        default_value = "OPENAI_API_KEY",
        value_name = "NAME",
        requires = "model"
    )]
    pub(crate) key_env: String,
    /// Most calls at the same time; also in a rehearsal.
    #[arg(
        long,
        value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..=2000),
        requires = "without_limits"
    )]
    pub(crate) in_flight: Option<u32>,
}

#[derive(Args, Debug)]
pub(crate) struct PublishArgs {
    /// The directory, or s3://BUCKET/PREFIX or az://CONTAINER/PREFIX.
    pub(crate) dir: PathBuf,
    /// Pipeline [default: the only one of the configuration].
    #[arg(short, long)]
    pub(crate) pipeline: Option<String>,
    /// Name of the root under which workers find the directory.
    #[arg(long, default_value = "default", value_name = "NAME")]
    pub(crate) root: String,
    /// Where the journal is kept.
    #[arg(long, default_value = ".filefleet", value_name = "DIR")]
    pub(crate) state: PathBuf,
    /// Leave out the files that are finished in an output directory of `collect`, and have not
    /// changed since; may be given several times.
    #[arg(long, value_name = "OUT")]
    pub(crate) skip_finished: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    #[command(flatten)]
    pub(crate) broker: BrokerArgs,
    #[command(flatten)]
    pub(crate) scan: ScanArgs,
}

#[derive(Args, Debug)]
pub(crate) struct WorkerArgs {
    /// Where published files are: DIR (or s3://..., az://...), or NAME=DIR for a named root;
    /// beside [root.NAME] of the configuration.
    #[arg(long, value_name = "[NAME=]DIR")]
    pub(crate) root: Vec<String>,
    /// Follow symbolic links that lead out of a --root; without it such a file fails as
    /// `input_forbidden`. For [root.NAME] of the configuration, write links = "anywhere" there.
    #[arg(long, requires = "root")]
    pub(crate) follow: bool,
    /// Name of this worker in outcomes and dead letters [default: host name and process id].
    #[arg(long, env = "FILEFLEET_WORKER_NAME")]
    pub(crate) name: Option<String>,
    /// How long a drain may take [default: worker.grace of the configuration].
    #[arg(long, value_parser = duration, value_name = "TIME")]
    pub(crate) grace: Option<Duration>,
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    #[command(flatten)]
    pub(crate) broker: BrokerArgs,
}

#[derive(Args, Debug)]
pub(crate) struct CollectArgs {
    /// The run [default: the one that was published last].
    #[arg(long, value_name = "RUN", value_parser = run_id)]
    pub(crate) run: Option<RunId>,
    /// Output directory; holds one run.
    #[arg(short, long, default_value = "filefleet-out", value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// When the run is complete, make all workers leave.
    #[arg(long)]
    pub(crate) then_stop: bool,
    /// When finished files have cost so much, by the prices in the workers' configuration, make all
    /// workers leave. What is left stays queued.
    #[arg(long, value_name = "AMOUNT")]
    pub(crate) budget: Option<Cost>,
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    #[command(flatten)]
    pub(crate) broker: BrokerArgs,
}

#[derive(Args, Debug)]
pub(crate) struct StatusArgs {
    /// Output directory of a `run` on this machine, instead of RabbitMQ.
    #[arg(short, long, value_name = "DIR", conflicts_with = "broker")]
    pub(crate) out: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    #[command(flatten)]
    pub(crate) broker: BrokerArgs,
}

#[derive(Args, Debug)]
pub(crate) struct StopArgs {
    /// Output directory of a `run` on this machine, instead of RabbitMQ.
    #[arg(short, long, value_name = "DIR", conflicts_with = "broker")]
    pub(crate) out: Option<PathBuf>,
    /// Wait until the last worker is gone, and say what is left.
    #[arg(long)]
    pub(crate) wait: bool,
    /// Take the last stop back: workers may work again on the latest run.
    #[arg(long, conflicts_with = "wait")]
    pub(crate) undo: bool,
    /// Give up waiting after this.
    #[arg(long, value_parser = duration, default_value = "10min", value_name = "TIME")]
    pub(crate) timeout: Duration,
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    #[command(flatten)]
    pub(crate) broker: BrokerArgs,
}
