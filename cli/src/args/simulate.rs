//! `filefleet simulate`: what the simulated services are like.

use std::{net::SocketAddr, time::Duration};

use clap::Args;

use super::duration;

#[derive(Args, Debug)]
pub(crate) struct SimulateArgs {
    /// Address to serve.
    #[arg(long, default_value = "127.0.0.1:8089", value_name = "ADDR")]
    pub(crate) listen: SocketAddr,
    /// Latency of an answer: fixed, or the median if --sigma is given.
    #[arg(long, value_parser = duration, default_value = "200ms", value_name = "TIME")]
    pub(crate) latency: Duration,
    /// Spread of a lognormal latency, like 0.5.
    #[arg(long)]
    pub(crate) sigma: Option<f64>,
    /// Seed of latencies, errors and answers.
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Request quota.
    #[arg(long, value_name = "N")]
    pub(crate) requests_per_minute: Option<u64>,
    /// Token quota, counted on arrival as prompt and max_tokens.
    #[arg(long, value_name = "N")]
    pub(crate) tokens_per_minute: Option<u64>,
    /// Requests at the same time, above which it answers 503.
    #[arg(long, value_name = "N")]
    pub(crate) max_concurrent: Option<usize>,
    /// Time from accepting a document until Document Intelligence has read it.
    #[arg(long, value_parser = humantime::parse_duration, default_value = "1s", value_name = "TIME")]
    pub(crate) ocr_time: Duration,
    /// Limit Document Intelligence to 15 documents and 50 polls a second, as a paid resource is.
    #[arg(long)]
    pub(crate) ocr_quotas: bool,
    /// Share of requests answered with 500, from 0 to 1.
    #[arg(long, value_name = "SHARE")]
    pub(crate) error_rate: Option<f64>,
    /// The only key accepted.
    #[arg(long, value_name = "KEY")]
    pub(crate) require_key: Option<String>,
    /// A quirk seen in the field; may be given several times. `--quirk list` lists them.
    #[arg(long, value_name = "NAME")]
    pub(crate) quirk: Vec<String>,
}
