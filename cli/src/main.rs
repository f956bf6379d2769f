//! The `filefleet` command.

// They panic where the stream is closed or full.
#![warn(clippy::print_stdout, clippy::print_stderr)]

mod args;
mod attendance;
mod commands;
mod connect;
mod exit;
mod fleet;
mod pipeline;
mod place;
mod prices;
mod progress;
mod signals;
mod stores;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use filefleet_shared::{telemetry, wire};

use crate::{
    args::{Cli, Command, LogStyle},
    exit::{CommandError, CommandResult, Exit},
    progress::{print_line, tell},
    signals::Signals,
};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            tell(&format!("error: cannot start: {error}"));
            return Exit::Local.into();
        }
    };
    let exit = runtime.block_on(ended(cli));
    // Blocking file reads of a second signal must not hold the process up.
    runtime.shutdown_background();
    exit.into()
}

/// Runs the command; the second signal leaves at once.
async fn ended(cli: Cli) -> Exit {
    if let Err(error) = init_logs(&cli) {
        tell(&format!("error: --log: {error}"));
        return Exit::Usage;
    }
    let signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(error) => {
            tell(&format!("error: cannot listen for signals: {error}"));
            return Exit::Local;
        }
    };
    let mut second = signals.clone();
    let result = tokio::select! {
        result = dispatch(cli, signals) => result,
        () = second.leave() => Ok(Exit::Interrupted),
    };
    result.unwrap_or_else(|error: CommandError| {
        tell(&format!("error: {error}"));
        error.exit
    })
}

fn init_logs(cli: &Cli) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    // A person watching a bar wants to see what is wrong; whoever reads a worker's log, its life.
    let default = match cli.command {
        Command::Worker(_) => "info",
        // Its forecast says how many files fail, and why.
        Command::Rehearse(_) => "error",
        _ => "warn",
    };
    let format = match cli.log_format {
        LogStyle::Text => telemetry::LogFormat::Text,
        LogStyle::Json => telemetry::LogFormat::Json,
    };
    telemetry::init(cli.log.as_deref().unwrap_or(default), format)
}

async fn dispatch(cli: Cli, signals: Signals) -> CommandResult {
    let json = cli.json;
    match cli.command {
        Command::Run(args) => Box::pin(commands::run::run(*args, json, signals)).await,
        Command::Publish(args) => Box::pin(commands::publish::publish(args, json, signals)).await,
        Command::Worker(args) => Box::pin(commands::worker::worker(args, json, signals)).await,
        Command::Collect(args) => Box::pin(commands::collect::collect(args, json, signals)).await,
        Command::Status(args) => commands::status::status(args, json).await,
        Command::Stop(args) => commands::stop::stop(args, json).await,
        Command::Simulate(args) => commands::simulate::simulate(*args, json, signals).await,
        Command::Rehearse(args) => {
            Box::pin(commands::rehearse::rehearse(*args, json, signals)).await
        }
        Command::Schema { name } => schema(name.as_deref()),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "filefleet", &mut script);
            print_line(String::from_utf8_lossy(&script).trim_end());
            Ok(Exit::Success)
        }
    }
}

fn schema(name: Option<&str>) -> CommandResult {
    let Some(name) = name else {
        wire::schema_names()
            .iter()
            .for_each(|name| print_line(name));
        return Ok(Exit::Success);
    };
    let schema = wire::schema(name).ok_or_else(|| {
        CommandError::usage(format!(
            "no message {name:?}: there are {}",
            wire::schema_names().join(", ")
        ))
    })?;
    let text = serde_json::to_string_pretty(&schema).map_err(CommandError::local)?;
    print_line(&text);
    Ok(Exit::Success)
}
