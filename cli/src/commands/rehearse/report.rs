//! A forecast for people and for machines.

use std::time::Duration;

use filefleet_shared::wire::Cost;
use filefleet_worker::config::{Config, ServiceKind};
use serde::Serialize;

use super::forecast::{Binding, Bound, Forecast, ServiceForecast};
use crate::progress::{entries, links, print_json, print_line};

const HEADINGS: [&str; 8] = [
    "service",
    "calls",
    "tokens in",
    "tokens out",
    "pages",
    "cost",
    "alone",
    "by",
];

/// What was forecast, and from what.
#[derive(Debug, Serialize)]
pub(super) struct Report<'a> {
    pub(super) pipeline: String,
    /// Files that were tried.
    pub(super) sampled: u64,
    #[serde(skip)]
    pub(super) config: &'a Config,
    #[serde(flatten)]
    pub(super) forecast: Forecast,
}

impl Report<'_> {
    /// On standard output.
    pub(super) fn say(&self, json: bool) {
        if json {
            print_json("forecast", self);
        } else {
            self.lines().iter().for_each(|line| print_line(line));
        }
    }

    fn lines(&self) -> Vec<String> {
        let forecast = &self.forecast;
        let census = forecast.census;
        let mut lines = table(&forecast.services);
        lines.push(String::new());
        lines.push(format!(
            "{} files ({}) through {:?} with {}: about {}, cost {}",
            census.files,
            bytes(census.bytes),
            self.pipeline,
            workers(forecast.workers),
            time(forecast.wall_seconds),
            money(forecast.cost),
        ));
        if let Some(binding) = &forecast.bound {
            lines.push(self.bound(binding));
            lines.extend(self.advice(binding));
        }
        lines.extend(failures(forecast));
        if census.unreadable > 0 {
            let entries = entries(census.unreadable);
            lines.push(format!("{entries} of the directory could not be read"));
        }
        if census.links > 0 {
            lines.push(links(census.links));
        }
        lines.extend(self.gaps());
        lines.push(format!(
            "tried {} of {} files in this rehearsal; the answers were made up by a simulator, \
             nothing was paid",
            self.sampled, census.files
        ));
        lines
    }

    /// What binds, and whether more workers help.
    fn bound(&self, binding: &Binding) -> String {
        let (service, limit, key) = (&binding.service, binding.limit, binding.by.key());
        let until = match binding.most_workers {
            Some(most) if binding.more_workers_help => {
                format!(", up to {}: then a quota binds", workers(most))
            }
            _ => String::new(),
        };
        if binding.by.is_quota() {
            let enough = match binding.most_workers {
                Some(most) if most < self.forecast.workers => {
                    format!("; {} would be as fast", workers(most))
                }
                _ => String::new(),
            };
            return format!(
                "bound by {key} of service {service} ({limit}): more workers do not help{enough}"
            );
        }
        if self.is_program(service) {
            return format!(
                "bound by the programs of service {service}, {limit} at once: more workers on \
                 other machines help{until}"
            );
        }
        if binding.by == Bound::InFlight && self.is_seeking(service) {
            return format!(
                "bound by the latency of service {service}, while a worker finds out how many calls \
                 at once it takes (up to {limit}): more workers help{until}"
            );
        }
        format!(
            "bound by the latency of service {service}, with {key} = {limit} in each worker: more \
             {key} or more workers help{until}"
        )
    }

    fn is_seeking(&self, service: &str) -> bool {
        let config = self.config.services.get(service);
        config.is_some_and(|config| config.seeking)
    }

    /// What else would help.
    fn advice(&self, binding: &Binding) -> Option<String> {
        let mut services = self.forecast.services.iter();
        let service = services.find(|service| service.service == binding.service)?;
        let used = service.input_tokens + service.output_tokens;
        (binding.by == Bound::TokensPerMinute && service.reserved_tokens > used / 2 * 3).then(
            || {
                format!(
                    "  {} tokens are reserved for {used} that are used: a lower max_tokens helps",
                    service.reserved_tokens
                )
            },
        )
    }

    /// What the configuration does not say.
    fn gaps(&self) -> Vec<String> {
        let configs = self.forecast.services.iter().filter_map(|service| {
            let config = self.config.services.get(&service.service)?;
            (!self.is_program(&service.service)).then_some((&service.service, config))
        });
        let mut gaps = Vec::new();
        for (name, config) in configs {
            let quotas = config.quotas;
            if quotas
                .requests_per_minute
                .or(quotas.tokens_per_minute)
                .is_none()
            {
                gaps.push(format!(
                    "no quota of service {name} is known: with `limits`, the forecast keeps to it"
                ));
            }
        }
        let unpriced = self.config.unpriced(&self.pipeline);
        gaps.extend(unpriced.iter().map(|what| {
            format!("no price of {what} is known: with `price`, the forecast has its cost")
        }));
        gaps
    }

    fn is_program(&self, service: &str) -> bool {
        let config = self.config.services.get(service);
        config.is_some_and(|config| matches!(config.kind, ServiceKind::Command(_)))
    }
}

fn table(services: &[ServiceForecast]) -> Vec<String> {
    let row = |service: &ServiceForecast| {
        [
            service.service.clone(),
            service.calls.to_string(),
            service.input_tokens.to_string(),
            service.output_tokens.to_string(),
            service.pages.to_string(),
            money(service.cost),
            time(service.seconds_alone),
            service.bound.key().to_owned(),
        ]
    };
    let mut rows = vec![HEADINGS.map(str::to_owned)];
    rows.extend(services.iter().map(row));
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: [usize; 8] = std::array::from_fn(width);
    let line = |row: &[String; 8]| {
        let cells = row.iter().zip(widths).enumerate();
        let cells = cells.map(|(column, (cell, width))| match column {
            0 | 7 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

fn failures(forecast: &Forecast) -> Option<String> {
    let all: f64 = forecast.failures.values().sum();
    let causes: Vec<String> = forecast
        .failures
        .iter()
        .map(|(cause, part)| format!("{cause} {}", percent(*part)))
        .collect();
    (!causes.is_empty()).then(|| format!("{} would fail: {}", percent(all), causes.join(", ")))
}

fn percent(part: f64) -> String {
    let percent = part * 100.0;
    if percent >= 1.0 {
        format!("{percent:.0} %")
    } else {
        format!("{percent:.2} %")
    }
}

fn workers(count: u64) -> String {
    match count {
        1 => "1 worker".to_owned(),
        _ => format!("{count} workers"),
    }
}

fn time(seconds: f64) -> String {
    if seconds < 60.0 {
        return format!("{seconds:.1}s");
    }
    let whole = Duration::try_from_secs_f64(seconds.round()).unwrap_or(Duration::MAX);
    humantime::format_duration(whole).to_string()
}

fn money(amount: f64) -> String {
    Cost::from_number(amount).map_or_else(|| format!("{amount:.0}"), |cost| cost.to_string())
}

#[expect(clippy::cast_precision_loss, reason = "a size for people")]
fn bytes(count: u64) -> String {
    let mut size = count as f64;
    for unit in ["B", "kB", "MB", "GB"] {
        if size < 1000.0 {
            return match unit {
                "B" => format!("{size:.0} B"),
                _ => format!("{size:.1} {unit}"),
            };
        }
        size /= 1000.0;
    }
    format!("{size:.1} TB")
}
