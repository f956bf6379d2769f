//! `filefleet rehearse`: what is forecast, and for which services.

use std::{path::PathBuf, str::FromStr, time::Duration};

use clap::{ArgGroup, Args};

use super::{ConfigArgs, QuickArgs, ScanArgs, duration};

#[derive(Args, Debug)]
#[command(group = ArgGroup::new("without_limits").args(["dir", "model"]).multiple(true))]
pub(crate) struct RehearseArgs {
    /// The directory.
    pub(crate) dir: PathBuf,
    /// Pipeline [default: the only one of the configuration].
    #[arg(short, long)]
    pub(crate) pipeline: Option<String>,
    /// Workers of the fleet: each has its own calls in flight, and all share the quotas.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub(crate) workers: u64,
    /// How long services take for a call, all of them or one by name; may be given several times.
    /// Programs take the time they take here [default: 1s].
    #[arg(long, value_name = "[SERVICE=]TIME")]
    pub(crate) latency: Vec<LatencyArg>,
    /// Spread of a lognormal latency, like 0.5; --latency is its median then.
    #[arg(long, default_value_t = 0.0, value_parser = sigma)]
    pub(crate) sigma: f64,
    /// Time from accepting a document until Document Intelligence has read it.
    #[arg(long, value_parser = duration, default_value = "1s", value_name = "TIME")]
    pub(crate) ocr_time: Duration,
    /// Files that are tried for all the others, of every size and spread over the directory.
    #[arg(long, default_value_t = 200, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub(crate) sample: u64,
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    #[command(flatten)]
    pub(crate) scan: ScanArgs,
    #[command(flatten)]
    pub(crate) quick: QuickArgs,
}

/// `TIME`, or `SERVICE=TIME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LatencyArg {
    pub(crate) service: Option<String>,
    pub(crate) time: Duration,
}

impl FromStr for LatencyArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (service, time) = match text.split_once('=') {
            Some((service, time)) => (Some(service.to_owned()), time),
            None => (None, text),
        };
        Ok(Self {
            service,
            time: duration(time)?,
        })
    }
}

fn sigma(text: &str) -> Result<f64, String> {
    let sigma = text.parse::<f64>().ok();
    sigma
        .filter(|sigma| (0.0..=3.0).contains(sigma))
        .ok_or_else(|| "must be a number from 0 to 3, like 0.5".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_latency_is_of_all_services_or_of_one() {
        let parse = |text: &str| text.parse::<LatencyArg>();
        let time = Duration::from_millis(1_500);
        assert_eq!(
            parse("1500ms"),
            Ok(LatencyArg {
                service: None,
                time
            })
        );
        let service = Some("gpt".to_owned());
        assert_eq!(parse("gpt=1500ms"), Ok(LatencyArg { service, time }));
        assert!(parse("gpt").is_err() && parse("gpt=5").is_err());
    }
}
