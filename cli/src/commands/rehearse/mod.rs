//! `filefleet rehearse`: what a run will take and cost, before it is paid.

mod estimate;
mod forecast;
mod report;
mod room;
mod sample;
mod trial;

use std::{collections::BTreeMap, time::Duration};

use filefleet_producer::scan::{Pace, ScanOptions, Source};
use filefleet_worker::config::Config;
use tokio::{runtime::Handle, sync::watch};

use self::{
    estimate::scale,
    forecast::{Setting, forecast},
    report::Report,
    room::Latency,
    sample::{Census, Sampled},
    trial::Trial,
};
use crate::{
    args::RehearseArgs,
    commands::{
        publish::{no_files, publish_failed, scan_options},
        run,
        worker::links,
    },
    exit::{CommandError, CommandResult, Exit},
    pipeline,
    signals::Signals,
    stores::Place,
};

/// How long services take where nobody says.
const LATENCY: Duration = Duration::from_secs(1);

/// Tries a sample, and says what all files will take.
pub(crate) async fn rehearse(
    args: RehearseArgs,
    json: bool,
    mut signals: Signals,
) -> CommandResult {
    let place = Place::of(&args.dir)?;
    let options = scan_options(&args.scan, Vec::new());
    options.check().map_err(CommandError::usage)?;
    let config = run::config(&args.config, &args.quick, true)?;
    let entry = pipeline::find(&config, args.pipeline.as_deref())?;
    let (latency, latencies) = latencies(&args, &config)?;
    let source = place.open(Some(&config))?;
    let looked = look(&source, options, args.sample, &mut signals).await?;
    let Some((census, sample)) = looked else {
        return Ok(Exit::Interrupted);
    };
    if sample.is_empty() {
        return Err(no_files(&args.dir, census.unreadable, census.links));
    }
    let trial = Trial {
        source: &source,
        links: links(args.scan.follow),
        config: config.clone(),
        entry: &entry,
        ocr_time: args.ocr_time,
        json,
    };
    let Some(tried) = trial.run(&sample, &mut signals).await? else {
        return Ok(Exit::Interrupted);
    };
    let estimate = scale(census, &sample, &tried, &entry.services);
    let setting = Setting {
        services: &config.services,
        latencies: &latencies,
        latency,
    };
    let report = Report {
        pipeline: entry.pipeline.clone(),
        sampled: sample.len() as u64,
        config: &config,
        forecast: forecast(census, &estimate, &setting, args.workers),
    };
    report.say(json);
    Ok(Exit::Success)
}

/// The latency of all services, and those of some by name.
fn latencies(
    args: &RehearseArgs,
    config: &Config,
) -> Result<(Latency, BTreeMap<String, Latency>), CommandError> {
    let of = |median| Latency {
        median,
        sigma: args.sigma,
    };
    let (mut all, mut by_name) = (of(LATENCY), BTreeMap::new());
    for given in &args.latency {
        match &given.service {
            None => all = of(given.time),
            Some(name) if config.services.contains_key(name) => {
                by_name.insert(name.clone(), of(given.time));
            }
            Some(name) => {
                let known: Vec<&str> = config.services.keys().map(String::as_str).collect();
                let message = format!(
                    "--latency {name}=…: there is no [service.{name}]; there is: {}",
                    known.join(", ")
                );
                return Err(CommandError::usage(message));
            }
        }
    }
    Ok((all, by_name))
}

/// What there is, and what stands for it. `None` if a signal came.
async fn look(
    source: &Source,
    options: ScanOptions,
    most: u64,
    signals: &mut Signals,
) -> Result<Option<(Census, Vec<Sampled>)>, CommandError> {
    let (stop, stopped) = watch::channel(false);
    let pace = Pace {
        runtime: Handle::current(),
        stop: stopped,
    };
    let source = source.clone();
    let looking = tokio::task::spawn_blocking(move || {
        sample::take(|| sample::scan(&source, &pace, &options), most)
    });
    let looked = tokio::select! {
        biased;
        () = signals.stop() => {
            stop.send_replace(true);
            return Ok(None);
        }
        looked = looking => looked.map_err(CommandError::local)?,
    };
    looked
        .map(Some)
        .map_err(|error| publish_failed(error.into()))
}
