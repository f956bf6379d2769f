//! Everything that can be wrong before a run starts, found before anything starts.

use std::{path::Path, sync::Arc};

use filefleet_producer::{
    collect::CollectOptions,
    manifest::Header,
    publish::{PublishOptions, Windows},
    scan::Source,
    sink::{self, FinishedFiles},
};
use filefleet_shared::{
    broker::{Broker, BrokerError, embedded::EmbeddedBroker, rabbit::RabbitConfig},
    files::Roots,
    wire::RunId,
};
use filefleet_simulator::{Latency, Simulator, SimulatorConfig};
use filefleet_worker::{
    Worker,
    config::{Config, QuickConfig},
    service::{Catalog, CatalogOptions},
};

use super::origin::{Answers, Claim};
use crate::{
    args::{ConfigArgs, QuickArgs, RunArgs},
    commands::{
        collect::collect_failed,
        publish::{publish_failed, scan_options},
        worker::{failed, host_name, links, process_name, settings},
    },
    connect,
    exit::{CommandError, Exit},
    pipeline::{self, Entry},
    place::{OutDir, of_run},
    prices,
    progress::tell,
    stores::{self, Place},
};

/// Root under which the files of a `run` are; nobody else sees it.
const ROOT: &str = "run";
/// A run that can start.
pub(crate) struct Prepared {
    pub(crate) simulator: Option<Simulator>,
    pub(crate) claim: Claim,
    pub(crate) parts: Parts,
}

/// What a run consists of.
pub(crate) struct Parts {
    pub(crate) broker: Arc<dyn Broker>,
    pub(crate) embedded: bool,
    pub(crate) worker: Worker,
    pub(crate) publish: PublishOptions,
    pub(crate) collect: CollectOptions,
    pub(crate) out: OutDir,
}

/// Checks everything, and opens or connects what the run needs.
pub(crate) async fn prepare(args: &RunArgs) -> Result<Prepared, CommandError> {
    let place = Place::of(&args.dir)?;
    check_files(args, &place)?;
    let config = config(&args.config, &args.quick, args.rehearse)?;
    let source = place.open(Some(&config))?;
    let directory = source.name().map_err(CommandError::usage)?;
    let entry = pipeline::find(&config, args.pipeline.as_deref())?;
    prices::check_budget(args.budget, &config, &entry.pipeline)?;
    let simulator = if args.rehearse {
        Some(simulator(args).await?)
    } else {
        None
    };
    let rehearse = simulator.as_ref().map(Simulator::base_url);
    let catalog =
        Catalog::build(&config, &CatalogOptions { rehearse }).map_err(CommandError::usage)?;
    let out = begin(args)?;
    let rabbit = rabbit(args, &config)?;
    let claim = claim(args, &directory, &config, &entry, &out, rabbit.as_ref())?;
    let embedded = rabbit.is_none();
    let broker: Arc<dyn Broker> = match rabbit {
        Some(settings) => connect::open(settings).await?,
        None => Arc::new(EmbeddedBroker::open(&out.queue()).map_err(|error| not_opened(&error))?),
    };
    let (run, skip) = which_run(&out)?;
    let scratch = match stores::scratch(config.scratch.as_ref())? {
        None if embedded => Some(stores::own_scratch(&out, run)?),
        configured => configured,
    };
    let mut settings = settings(&config, process_name());
    settings.scratch.clone_from(&scratch);
    if !args.rehearse {
        // Made-up answers are never kept.
        settings.journal = stores::journal(config.journal.as_ref())?;
    }
    let roots = roots(args, &source)?;
    let worker = Worker::new(broker.clone(), catalog, roots, settings).map_err(failed)?;
    let publish = publish_options(args, entry, source, &out, run, skip)?;
    let collect = CollectOptions {
        run,
        pipeline: publish.pipeline.clone(),
        out_dir: out.path().to_owned(),
        collector: process_name(),
        host: host_name(),
        scratch,
    };
    let parts = Parts {
        broker,
        embedded,
        worker,
        publish,
        collect,
        out,
    };
    claim.record()?;
    Ok(Prepared {
        simulator,
        claim,
        parts,
    })
}

/// The one root of a run.
fn roots(args: &RunArgs, source: &Source) -> Result<Roots, CommandError> {
    let mut roots = Roots::new();
    match source {
        Source::Directory(directory) => drop(
            roots
                .insert(ROOT, directory, links(args.scan.follow))
                .map_err(CommandError::usage)?,
        ),
        Source::Store(store) => roots.insert_store(ROOT, store.clone()),
    }
    Ok(roots)
}

/// The RabbitMQ that was asked for.
fn rabbit(args: &RunArgs, config: &Config) -> Result<Option<RabbitConfig>, CommandError> {
    if args.broker.broker.is_none() {
        return Ok(None);
    }
    connect::settings(&args.broker, config.broker.as_ref()).map(Some)
}

/// Takes the output directory, if its answers are of this very pipeline.
fn claim(
    args: &RunArgs,
    directory: &Path,
    config: &Config,
    entry: &Entry,
    out: &OutDir,
    rabbit: Option<&RabbitConfig>,
) -> Result<Claim, CommandError> {
    let digest = config
        .answers_digest(&entry.pipeline, args.rehearse)
        .map_err(CommandError::usage)?;
    let answers = Answers {
        directory: directory.display().to_string(),
        pipeline: entry.pipeline.clone(),
        rehearsal: args.rehearse,
        digest,
    };
    let place = rabbit.map(RabbitConfig::place).transpose()?;
    Claim::take(out, answers, place, args.redo)
}

/// Which files, and that results do not get among them.
fn check_files(args: &RunArgs, place: &Place) -> Result<(), CommandError> {
    scan_options(&args.scan, Vec::new())
        .check()
        .map_err(CommandError::usage)?;
    let Place::Directory(directory) = place else {
        return Ok(());
    };
    if args.out.canonicalize().is_ok_and(|out| out == *directory) {
        return Err(CommandError::usage(format!(
            "{} is the directory of the files, and results in it would be taken for files: give \
             another one with -o",
            args.out.display()
        )));
    }
    Ok(())
}

/// The output directory, which every later scan knows as one.
fn begin(args: &RunArgs) -> Result<OutDir, CommandError> {
    let out = OutDir::new(&args.out);
    std::fs::create_dir_all(out.state())
        .map_err(|error| CommandError::local(format!("{}: {error}", out.state().display())))?;
    sink::mark(out.path()).map_err(|error| collect_failed(error.into()))?;
    Ok(out)
}

/// The configuration of a file, of a question on the command line, or of a rehearsal without either.
pub(crate) fn config(
    file: &ConfigArgs,
    asked: &QuickArgs,
    rehearse: bool,
) -> Result<Config, CommandError> {
    if let (Some(model), Some(prompt)) = (&asked.model, &asked.prompt) {
        let key_env = Some(asked.key_env.clone()).filter(|name| !name.is_empty());
        let quick = QuickConfig {
            endpoint: asked.endpoint.clone(),
            key_env,
            model: model.clone(),
            prompt: prompt.clone(),
            in_flight: asked.in_flight.map(|count| count as usize),
        };
        return Config::quick(quick).map_err(CommandError::usage);
    }
    let mut config = match connect::config(file)? {
        Some(config) => config,
        None if rehearse => Config::rehearsal().map_err(CommandError::usage)?,
        None => {
            return Err(CommandError::usage(
                "no configuration: write filefleet.toml here, name a file with --config, give \
                 --model and --prompt, or try --rehearse, which needs none",
            ));
        }
    };
    prices::warn_of_unused(&config);
    if rehearse {
        for service in config.services.values_mut() {
            service.merge_deployments();
        }
    }
    // Only in a rehearsal: elsewhere the limits of a configuration are a matter of quotas.
    if let Some(in_flight) = asked.in_flight {
        for service in config.services.values_mut() {
            service.fix_in_flight(in_flight as usize);
        }
    }
    Ok(config)
}

async fn simulator(args: &RunArgs) -> Result<Simulator, CommandError> {
    let config = SimulatorConfig {
        latency: Latency::Fixed(args.rehearse_latency),
        ..SimulatorConfig::default()
    };
    tell("REHEARSAL: calling a simulator in this process, not the real services; no key, no cost");
    let anywhere = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    filefleet_simulator::start(config, anywhere)
        .await
        .map_err(CommandError::local)
}

/// The embedded broker could not be opened: its lock, or its disk.
fn not_opened(error: &BrokerError) -> CommandError {
    let exit = match error {
        BrokerError::Refused(_) => Exit::Busy,
        _ => Exit::Local,
    };
    CommandError {
        exit,
        message: error.to_string(),
    }
}

/// The run to go on with or a new one, and the files that are finished.
///
/// A run that was interrupted while it scanned leaves them out too: it has not come to them all.
fn which_run(out: &OutDir) -> Result<(RunId, Option<Arc<FinishedFiles>>), CommandError> {
    let collected = |error: sink::SinkError| collect_failed(error.into());
    let begun = Header::read(&out.manifest()).map_err(|error| publish_failed(error.into()))?;
    let run = match begun {
        Some(begun) if !sink::is_finished(out.path(), begun.run).map_err(collected)? => {
            tell(&format!("going on with run {}", begun.run));
            begun.run
        }
        Some(finished) => {
            let done = of_run(&out.manifest(), finished.run);
            std::fs::rename(out.manifest(), done).map_err(CommandError::local)?;
            RunId::mint()
        }
        None => RunId::mint(),
    };
    let mut finished = FinishedFiles::default();
    finished.add(out.path()).map_err(collected)?;
    Ok((run, (!finished.is_empty()).then(|| Arc::new(finished))))
}

fn publish_options(
    args: &RunArgs,
    entry: Entry,
    source: Source,
    out: &OutDir,
    run: RunId,
    skip: Option<Arc<FinishedFiles>>,
) -> Result<PublishOptions, CommandError> {
    let own = out.path().canonicalize().map_err(CommandError::local)?;
    Ok(PublishOptions {
        run,
        root: ROOT.to_owned(),
        source,
        pipeline: entry.pipeline,
        step: entry.step,
        service: entry.service,
        services: entry.services,
        scan: scan_options(&args.scan, vec![own]),
        manifest: out.manifest(),
        skip,
        windows: Windows::default(),
    })
}

#[cfg(test)]
mod tests {
    use super::{super::origin::tests::begin, *};

    #[test]
    fn a_run_that_goes_on_does_not_pay_again_for_what_earlier_runs_have_finished() {
        let dir = tempfile::tempdir().unwrap();
        let out = OutDir::new(dir.path());
        std::fs::create_dir(out.state()).unwrap();
        let run = begin(&out, None);
        let line = r#"{"file":"a.txt","root":"run","size":1}"#;
        std::fs::write(out.path().join(sink::RESULTS), format!("{line}\n")).unwrap();
        let (going_on, finished) = which_run(&out).unwrap();
        assert_eq!(going_on, run);
        assert_eq!(finished.unwrap().len(), 1);
    }
}
