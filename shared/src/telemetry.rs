//! Trace context as it travels in messages, and logs as text or JSON.

use std::{fmt, io::IsTerminal, str::FromStr};

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
        // Lower-case hex only, as W3C has it; the parsers below would take `+1` and `AB`.
        let hex = [version, trace, span, flags]
            .iter()
            .flat_map(|field| field.bytes())
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if !widths || !exact || *version == "ff" || !hex {
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
/// `filter` has the form of `RUST_LOG`. The broker client is silent unless `filter` names it: it
/// logs bodies at trace level, and as errors what its caller expects and handles.
///
/// # Errors
/// A malformed filter, or a subscriber that is installed already.
pub fn init(
    filter: &str,
    format: LogFormat,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut directives = EnvFilter::try_new(filter)?;
    if !filter.contains("lapin") {
        directives = directives.add_directive("lapin=off".parse()?);
    }
    let builder = logs()
        .with_env_filter(directives)
        .with_ansi(std::io::stderr().is_terminal())
        // Where standard error is closed or full, saying so there panics.
        .log_internal_errors(false)
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_traceparent_reads_back_as_it_is_written() {
        let context: TraceContext = PARENT.parse().unwrap();
        assert_eq!(context.to_string(), PARENT);
        assert_eq!(
            context.trace_id().to_string(),
            "4bf92f3577b34da6a3ce929d0e0e4736"
        );
        let json = serde_json::to_string(&context).unwrap();
        assert_eq!(json, format!("\"{PARENT}\""));
        assert_eq!(
            serde_json::from_str::<TraceContext>(&json).unwrap(),
            context
        );
    }

    #[test]
    fn a_root_is_sampled_and_a_child_stays_in_its_trace() {
        let root = TraceContext::root();
        assert!(root.to_string().ends_with("-01"));
        assert_eq!(root.to_string().parse::<TraceContext>().unwrap(), root);
        let child = root.child();
        assert_eq!(child.trace_id(), root.trace_id());
        assert_ne!(child, root);
    }

    #[test]
    fn a_newer_version_may_have_more_fields_and_is_written_as_ours() {
        let newer = PARENT.replacen("00", "cc", 1) + "-what-comes";
        let context: TraceContext = newer.parse().unwrap();
        assert_eq!(context.to_string(), PARENT);
    }

    #[test]
    fn what_is_not_a_traceparent_is_refused_by_name() {
        let zero_trace = PARENT.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32));
        let zero_span = PARENT.replace("00f067aa0ba902b7", &"0".repeat(16));
        let version_ff = PARENT.replacen("00", "ff", 1);
        let longer = format!("{PARENT}-01");
        let upper = PARENT.to_uppercase();
        for text in [
            "",
            "00",
            &zero_trace,
            &zero_span,
            &version_ff,
            &longer,
            &upper,
            &PARENT.replace("-01", "-+1"),
            &PARENT.replacen("00", "zz", 1),
            &PARENT.replace("4bf9", "+bf9"),
        ] {
            let error = text.parse::<TraceContext>().unwrap_err();
            assert!(error.to_string().contains(text), "{error}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_parsing_panic(text in any::<String>()) {
            prop_assert!(text.parse::<TraceContext>().is_err());
        }

        #[test]
        fn what_is_read_is_written_alike(text in "00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}") {
            if let Ok(context) = text.parse::<TraceContext>() {
                prop_assert_eq!(context.to_string(), text);
            }
        }
    }
}
