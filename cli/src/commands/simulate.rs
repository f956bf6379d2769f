//! `filefleet simulate`: the AI services as a server.

use filefleet_simulator::{Latency, OcrConfig, OcrQuotas, Quirk, SimulatorConfig, start};

use crate::{
    args::SimulateArgs,
    exit::{CommandError, CommandResult, Exit},
    progress::{print_json, print_line},
    signals::Signals,
};

/// Serves until a signal.
pub(crate) async fn simulate(
    args: SimulateArgs,
    json: bool,
    mut signals: Signals,
) -> CommandResult {
    if args.quirk.iter().any(|name| name == "list") {
        Quirk::ALL
            .iter()
            .for_each(|quirk| print_line(quirk.as_str()));
        return Ok(Exit::Success);
    }
    let config = config(&args)?;
    let simulator = start(config, args.listen)
        .await
        .map_err(CommandError::usage)?;
    let url = simulator.base_url();
    if json {
        print_json("listening", &serde_json::json!({ "url": url }));
    } else {
        print_line(&format!("simulating AI services at {url}"));
    }
    signals.stop().await;
    simulator.shutdown().await;
    Ok(Exit::Success)
}

fn config(args: &SimulateArgs) -> Result<SimulatorConfig, CommandError> {
    let mut config = SimulatorConfig {
        seed: args.seed,
        latency: match args.sigma {
            Some(sigma) => Latency::LogNormal {
                median: args.latency,
                sigma,
            },
            None => Latency::Fixed(args.latency),
        },
        require_key: args.require_key.clone(),
        ocr: OcrConfig {
            processing: args.ocr_time,
            quotas: args.ocr_quotas.then(OcrQuotas::default),
        },
        ..SimulatorConfig::default()
    };
    config.quotas.requests_per_minute = args.requests_per_minute;
    config.quotas.tokens_per_minute = args.tokens_per_minute;
    config.quotas.max_concurrent = args.max_concurrent;
    config.faults.error_500 = args.error_rate.unwrap_or(0.0);
    config.quirks = args
        .quirk
        .iter()
        .map(|name| name.parse::<Quirk>().map_err(CommandError::usage))
        .collect::<Result<_, _>>()?;
    Ok(config)
}
