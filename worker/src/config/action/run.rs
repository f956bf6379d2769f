//! `run = { .. }`: a program on this machine.

use filefleet_shared::config::Section;

use super::{Action, compile_with_path};
use crate::service::command::{Argument, OtherCodes, Output, RunConfig};

pub(super) fn read(mut section: Section<'_>, earlier: &[String]) -> Option<Action> {
    const INPUTS: &[(&str, bool)] = &[("file", true), ("none", false)];
    const OUTPUTS: &[(&str, Output)] = &[("text", Output::Text), ("json", Output::Json)];
    const CODES: &[(&str, OtherCodes)] =
        &[("fail", OtherCodes::Fail), ("retry", OtherCodes::Retry)];
    let sources = section.opt_texts("args").unwrap_or_default();
    let args: Option<Vec<Argument>> = sources
        .iter()
        .map(|source| {
            Some(Argument {
                template: compile_with_path(&section, "args", source, earlier)?,
                option: source.starts_with('-'),
            })
        })
        .collect();
    let stdin = section.opt_enum("stdin", INPUTS).unwrap_or(true);
    let output = section.opt_enum("output", OUTPUTS).unwrap_or_default();
    let fail_codes = section.opt_integers("fail_codes", 1..=255);
    let other_codes = section.opt_enum("other_codes", CODES).unwrap_or_default();
    section.finish();
    Some(Action::Run(RunConfig {
        args: args?,
        stdin,
        output,
        fail_codes: fail_codes.unwrap_or_default(),
        other_codes,
    }))
}
