//! The whole configuration of a worker: one TOML file, or none for a single question.

mod action;
mod digest;
mod pipeline;
mod pricing;
mod quick;
mod retry;
mod service;

use std::{collections::BTreeMap, fs, time::Duration};

use filefleet_shared::config::{
    BrokerConfig, ConfigErrors, Document, RootConfig, Section, StoreConfig, read_roots,
};

use crate::retry::RetryPolicy;
pub use action::Action;
pub use pipeline::StepConfig;
pub use pricing::{Unpriced, UnusedPrice};
pub use quick::QuickConfig;
pub use service::{
    AzureConfig, CommandConfig, DeploymentConfig, HttpConfig, OpenAiConfig, Price, Prices, Quotas,
    ServiceConfig, ServiceKind,
};

/// A configuration that was checked: names exist, templates compile, numbers are in range.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file it is from, or whatever else a person would recognise.
    pub source: String,
    /// `[broker]`; none for the embedded broker.
    pub broker: Option<BrokerConfig>,
    /// `[root.NAME]`: where the files of each root are on this machine.
    pub roots: BTreeMap<String, RootConfig>,
    /// `[scratch]`: where outputs go that do not fit into a message.
    pub scratch: Option<StoreConfig>,
    /// `[journal]`: where answers are kept, so that the same request is not paid again.
    pub journal: Option<StoreConfig>,
    /// `[worker]`.
    pub worker: WorkerConfig,
    /// `[retry]`.
    pub retry: RetryPolicy,
    /// `[service.NAME]`.
    pub services: BTreeMap<String, ServiceConfig>,
    /// `[[pipeline.NAME]]`: steps in their order, never empty.
    pub pipelines: BTreeMap<String, Vec<StepConfig>>,
}

/// `[worker]`: bounds of one worker process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerConfig {
    /// Most bytes of files in memory at once, over all services.
    pub bytes_in_flight: u64,
    /// From being told to leave to leaving.
    pub grace: Duration,
    /// A step that was in hand when this many workers died is tried alone, in quarantine.
    pub quarantine_after: u32,
    /// A step that was in hand alone when this many more workers died is given up.
    pub dead_after: u32,
}

impl Default for WorkerConfig {
    fn default() -> Self {
        Self {
            bytes_in_flight: 64 << 20,
            grace: Duration::from_secs(25),
            quarantine_after: 2,
            dead_after: 3,
        }
    }
}

impl Config {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// Every mistake in it, or why it cannot be read.
    pub fn load(path: &std::path::Path) -> Result<Self, ConfigErrors> {
        let name = path.display().to_string();
        let text = fs::read_to_string(path)
            .map_err(|error| ConfigErrors::one(&name, "", format!("cannot read it: {error}")))?;
        Self::parse(&name, &text)
    }

    /// Checks a text; relative paths in it are meant from the directory of `name`.
    ///
    /// # Errors
    /// Every mistake in it.
    pub fn parse(name: &str, text: &str) -> Result<Self, ConfigErrors> {
        let document = Document::parse(name, text);
        let mut root = document.root();
        let broker = BrokerConfig::read(&mut root);
        let roots = read_roots(&mut root);
        let scratch = StoreConfig::read(&mut root, "scratch");
        let journal = StoreConfig::read(&mut root, "journal");
        let worker = read_worker(&mut root);
        let retry = retry::read_all(root.section("retry"));
        let (names, services) = service::read_all(&mut root);
        let pipelines = pipeline::read_all(
            &mut root,
            pipeline::Services {
                names: &names,
                right: &services,
            },
            &retry,
        );
        let config = Self {
            source: name.to_owned(),
            broker,
            roots,
            scratch,
            journal,
            worker,
            retry,
            services,
            pipelines,
        };
        config.check_together(&root);
        config.check_journal(&root);
        root.finish();
        document.finish(Some(config))
    }

    /// An example with every key, its default and its meaning.
    #[must_use]
    pub fn example_toml() -> &'static str {
        include_str!("example.toml")
    }

    /// What no section can see alone.
    fn check_together(&self, root: &Section<'_>) {
        for (name, service) in &self.services {
            if service.max_file_bytes > self.worker.bytes_in_flight {
                root.error(
                    "worker",
                    format!("bytes_in_flight is less than max_file_bytes of service.{name}"),
                );
            }
            let of = format!("timeout of service.{name} plus retry.hold");
            self.check_ack_timeout(root, service.timeout, self.retry.hold, &of);
        }
        for (pipeline, steps) in &self.pipelines {
            let own = |step: &&StepConfig| step.timeout.is_some() || step.retry.is_some();
            for step in steps.iter().filter(own) {
                let service = self.services.get(&step.service);
                let of_service = service.map_or(Duration::ZERO, |service| service.timeout);
                let retry = step.retry.as_ref().unwrap_or(&self.retry);
                let of = format!("timeout plus hold of step {:?} of {pipeline}", step.name);
                let timeout = step.timeout.unwrap_or(of_service);
                self.check_ack_timeout(root, timeout, retry.hold, &of);
            }
        }
    }

    /// Asked for by a step, a journal must be somewhere.
    fn check_journal(&self, root: &Section<'_>) {
        if self.journal.is_some() || root.has("journal") {
            return;
        }
        for (pipeline, steps) in &self.pipelines {
            for step in steps.iter().filter(|step| step.journal == Some(true)) {
                let message = format!(
                    "is missing: step {:?} of {pipeline} wants its answers kept in it",
                    step.name
                );
                root.error("journal", message);
            }
        }
    }

    fn check_ack_timeout(&self, root: &Section<'_>, timeout: Duration, hold: Duration, of: &str) {
        let settled = self.broker.as_ref().and_then(|broker| broker.ack_timeout);
        if settled.is_some_and(|limit| limit <= timeout.saturating_add(hold)) {
            root.error("broker", format!("ack_timeout must be above {of}"));
        }
    }
}

fn read_worker(root: &mut Section<'_>) -> WorkerConfig {
    let default = WorkerConfig::default();
    let mut section = root.section("worker");
    let bytes_in_flight = section.opt_bytes("bytes_in_flight");
    let grace = section.opt_duration("grace");
    let quarantine_after = section.opt_integer("quarantine_after", 1..=20);
    let dead_after = section.opt_integer("dead_after", 1..=20);
    let worker = WorkerConfig {
        bytes_in_flight: bytes_in_flight.unwrap_or(default.bytes_in_flight),
        grace: grace.unwrap_or(default.grace),
        quarantine_after: quarantine_after.unwrap_or(default.quarantine_after),
        dead_after: dead_after.unwrap_or(default.dead_after),
    };
    if worker.dead_after < worker.quarantine_after {
        section.error("dead_after", "must not be less than quarantine_after");
    }
    section.finish();
    worker
}

#[cfg(test)]
mod tests;
