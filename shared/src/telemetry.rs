//! Trace context as it travels in messages, and logs as text or JSON.

use std::{fmt, str::FromStr};

use opentelemetry::trace::{SpanId, TraceFlags, TraceId};
use serde::{Deserialize, Serialize, de};
use tracing_subscriber::{EnvFilter, fmt as logs};

/// W3C trace context (`traceparent`): one trace per file, over every retry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    trace: TraceId,
    span: SpanId,
    flags: TraceFlags,
}

impl TraceContext {
    /// The start of a new sampled trace.
    #[must_use]
    pub fn root() -> Self {
        Self {
            trace: TraceId::from_bytes(rand::random()),
            span: SpanId::from_bytes(rand::random()),
            flags: TraceFlags::SAMPLED,
        }
    }

    /// A new span of the same trace.
    #[must_use]
    pub fn child(self) -> Self {
        Self {
            span: SpanId::from_bytes(rand::random()),
            ..self
        }
    }

    /// The trace's id, 32 hex digits.
    #[must_use]
    pub fn trace_id(self) -> TraceId {
        self.trace
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "00-{}-{}-{:02x}",
            self.trace,
            self.span,
            self.flags.to_u8()
        )
    }
}

/// Not a W3C `traceparent`.
#[derive(Debug, thiserror::Error)]
#[error("not a traceparent: {0:?}")]
pub struct NotATraceparent(String);

impl FromStr for TraceContext {
    type Err = NotATraceparent;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || NotATraceparent(text.to_owned());
        let fields: Vec<&str> = text.split('-').collect();
        let [version, trace, span, flags, ..] = fields.as_slice() else {
            return Err(bad());
        };
        let widths =
            version.len() == 2 && trace.len() == 32 && span.len() == 16 && flags.len() == 2;
        let exact = *version != "00" || fields.len() == 4;
        if !widths || !exact || *version == "ff" || !text.is_ascii() {
            return Err(bad());
        }
        let context = Self {
            trace: TraceId::from_hex(trace).map_err(|_| bad())?,
            span: SpanId::from_hex(span).map_err(|_| bad())?,
            flags: TraceFlags::new(u8::from_str_radix(flags, 16).map_err(|_| bad())?),
        };
        if context.trace == TraceId::INVALID || context.span == SpanId::INVALID {
            return Err(bad());
        }
        Ok(context)
    }
}

impl Serialize for TraceContext {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TraceContext {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        std::borrow::Cow::<'de, str>::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// Sends `tracing` events to standard error.
///
/// `filter` has the form of `RUST_LOG`. The broker client is kept at warnings unless `filter`
/// names it: at trace level it logs bodies.
///
/// # Errors
/// A malformed filter, or a subscriber that is installed already.
pub fn init(
    filter: &str,
    format: LogFormat,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut directives = EnvFilter::try_new(filter)?;
    if !filter.contains("lapin") {
        directives = directives.add_directive("lapin=warn".parse()?);
    }
    let builder = logs()
        .with_env_filter(directives)
        .with_writer(std::io::stderr);
    match format {
        LogFormat::Text => builder.with_target(false).try_init(),
        LogFormat::Json => builder
            .json()
            .flatten_event(true)
            .with_span_list(false)
            .try_init(),
    }
}
