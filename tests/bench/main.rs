//! Measurements. Each is a ratio within one run, to what is possible or to the least code that
//! does the same; `cargo build --release --workspace --bins && target/release/bench`.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a measurement that cannot be taken must fail, and say why"
)]

mod backoff;
mod bare;
mod deployments;
mod down;
mod embed;
mod publish;
mod quirks;
mod quota;
mod rehearse;
mod speed;
mod stand;
mod worker;

use std::process::ExitCode;

use tokio::runtime::Runtime;

const USAGE: &str = "\
usage: bench [NAME ...]      all of them without a name
  run          10,000 files, 200 ms a call, 500 in flight: `run` against the ideal
  fleet        the same with publish, three workers and collect on RabbitMQ
  worker       CPU of a worker per task against a bare loop
  publish      rate of publishing 100,000 files against a bare loop, and memory at 10,000 and 100,000
  embed        50 files one by one, to a run
  rehearse     a forecast from a sample: real time to it, for three pipelines
  quota        100 requests a second, 1, 4 and 16 workers: goodput and 429s
  tokens       a quota of tokens, and one of requests beside it
  churn        4 workers, then 16, then 2
  halved       the quota is halved meanwhile, or was configured twice too high
  knee         the best number of calls in flight, found against known
  deployments  two of them behind one service, 4 workers: goodput to the sum of their quotas
  down         a service that is down for 2 minutes: calls meanwhile, time to full speed
  backoff      100,000 steps that wait to be tried again: memory of the worker
  quirks       what services say of a refusal that is no use: 429s and time to a plain one";

type Measurement = fn(&Runtime) -> bool;

const ALL: [(&str, Measurement); 15] = [
    ("run", speed::run),
    ("fleet", speed::fleet),
    ("worker", worker::measure),
    ("publish", publish::measure),
    ("embed", embed::measure),
    ("rehearse", rehearse::measure),
    ("quota", quota::requests),
    ("tokens", quota::tokens),
    ("churn", quota::churn),
    ("halved", quota::wrong),
    ("knee", quota::knee),
    ("deployments", deployments::measure),
    ("down", down::measure),
    ("backoff", backoff::measure),
    ("quirks", quirks::measure),
];

fn main() -> ExitCode {
    let runtime = Runtime::new().expect("a runtime");
    let mut names: Vec<String> = std::env::args().skip(1).collect();
    if let [only, work] = names.as_slice()
        && only == worker::BARE
    {
        return worker::be_bare(&runtime, work);
    }
    if names.is_empty() {
        names = ALL.iter().map(|(name, _)| (*name).to_owned()).collect();
    }
    let mut good = true;
    for name in names {
        let Some((_, measure)) = ALL.iter().find(|(known, _)| *known == name) else {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        };
        good &= measure(&runtime);
    }
    if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
