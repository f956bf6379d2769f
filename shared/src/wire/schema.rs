//! The published JSON Schemas, so that producers in other languages can publish tasks.

use schemars::{Schema, schema_for};

use super::{ControlRecord, Outcome, RunClosed, StepMessage};

/// Names that [`schema`] knows.
#[must_use]
pub fn schema_names() -> &'static [&'static str] {
    &["step", "outcome", "run_closed", "control"]
}

/// The JSON Schema (draft 2020-12) of a message, or `None` for an unknown name.
#[must_use]
pub fn schema(name: &str) -> Option<Schema> {
    match name {
        "step" => Some(schema_for!(StepMessage)),
        "outcome" => Some(schema_for!(Outcome)),
        "run_closed" => Some(schema_for!(RunClosed)),
        "control" => Some(schema_for!(ControlRecord)),
        _ => None,
    }
}
