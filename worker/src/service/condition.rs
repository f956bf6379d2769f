//! Conditions of steps, compiled once when the configuration is read.

use std::{collections::BTreeMap, fmt};

use filefleet_shared::wire::{FileRef, RunId, StepMessage, TaskId};
use minijinja::{Environment, ErrorKind, UndefinedBehavior, Value, value::Serde};

use super::prompt::{FILE_KEYS, explain, file_value};

/// Names that conditions have besides those of earlier steps.
const NAMES: [&str; 2] = ["file", "outputs"];

/// An expression over a file and the outputs of earlier steps, as templates see them.
///
/// The output of a step that was passed over is `none`.
pub struct Condition {
    source: String,
    environment: Environment<'static>,
}

impl Condition {
    /// Compiles an expression; `earlier` names the steps before this one.
    ///
    /// # Errors
    /// A syntax error, or a name, filter or test that does not exist.
    pub fn compile(source: &str, earlier: &[&str]) -> Result<Self, String> {
        let mut environment = Environment::new();
        // A misspelt field must fail, not silently pass over every file.
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        let condition = Self {
            source: source.to_owned(),
            environment,
        };
        condition.check_names(earlier)?;
        condition.try_out(earlier)?;
        Ok(condition)
    }

    /// The expression as it was written.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Whether it is true of a file and what earlier steps gave for it.
    ///
    /// # Errors
    /// It asks for something that the file or the outputs do not have.
    pub(crate) fn holds(&self, message: &StepMessage) -> Result<bool, String> {
        self.evaluate(message).map_err(|error| explain(&error))
    }

    fn evaluate(&self, message: &StepMessage) -> Result<bool, minijinja::Error> {
        let mut context = BTreeMap::from([("file", file_value(message, None))]);
        for (step, output) in &message.outputs {
            context.insert(step, Value::from(Serde(output)));
        }
        context.insert("outputs", Value::from(Serde(&message.outputs)));
        let value = self
            .environment
            .compile_expression(&self.source)?
            .eval(Value::from(context))?;
        if value.is_undefined() {
            let detail = "the condition asks for something that is not there";
            return Err(minijinja::Error::new(ErrorKind::UndefinedError, detail));
        }
        Ok(value.is_true())
    }

    fn check_names(&self, earlier: &[&str]) -> Result<(), String> {
        let expression = self
            .environment
            .compile_expression(&self.source)
            .map_err(|error| explain(&error))?;
        let names = expression.undeclared_variables(false);
        let global = |name: &str| self.environment.globals().any(|(global, _)| global == name);
        for name in &names {
            let name = name.as_str();
            if !NAMES.contains(&name) && !earlier.contains(&name) && !global(name) {
                let known = [&NAMES, earlier].concat().join(", ");
                return Err(format!(
                    "`{name}` is not known here; a condition has {known}"
                ));
            }
        }
        for path in expression.undeclared_variables(true) {
            let key = path
                .strip_prefix("file.")
                .and_then(|rest| rest.split('.').next());
            if let Some(key) = key.filter(|key| !FILE_KEYS.contains(key)) {
                let known = FILE_KEYS.join(", ");
                return Err(format!("`file.{key}` does not exist; `file` has {known}"));
            }
        }
        Ok(())
    }

    /// Filters, tests and methods are looked up when they are called: here, once, for no file.
    fn try_out(&self, earlier: &[&str]) -> Result<(), String> {
        let file = FileRef {
            root: "root".to_owned(),
            key: "file.txt".to_owned(),
            key_bytes: None,
            size: 1,
            modified: None,
            etag: None,
            media_type: "text/plain".to_owned(),
        };
        let run = RunId::mint();
        let mut message = StepMessage::first(TaskId { run, seq: 0 }, "", "", file);
        let nothing = |step: &&str| ((*step).to_owned(), serde_json::Value::Null);
        message.outputs = earlier.iter().map(nothing).collect();
        match self.evaluate(&message) {
            Err(error) if is_always_wrong(error.kind()) => Err(explain(&error)),
            // Without outputs it may well fail.
            Ok(_) | Err(_) => Ok(()),
        }
    }
}

fn is_always_wrong(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::UnknownFilter
            | ErrorKind::UnknownTest
            | ErrorKind::UnknownFunction
            | ErrorKind::UnknownMethod
            | ErrorKind::MissingArgument
            | ErrorKind::TooManyArguments
    )
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Condition").field(&self.source).finish()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::service::tests::message;

    fn holds(source: &str) -> Result<bool, String> {
        let mut step = message("in/letter.txt");
        step.outputs
            .insert("read".to_owned(), json!({"kind": "invoice", "total": 3}));
        step.outputs.insert("look".to_owned(), json!(null));
        Condition::compile(source, &["read", "look"])?.holds(&step)
    }

    #[test]
    fn a_condition_sees_the_file_and_what_earlier_steps_gave() {
        for source in [
            "file.media_type is startingwith \"text/\"",
            "file.name is endingwith '.txt' and file.size < 10",
            "file.key in ['in/letter.txt']",
            "read.kind == 'invoice' and read.total > 2",
            "outputs['read'].total == 3",
            "look is none",
            "not look",
        ] {
            assert_eq!(holds(source), Ok(true), "{source}");
        }
        for source in ["file.size > 10", "read.kind == 'letter'", "look", "''", "0"] {
            assert_eq!(holds(source), Ok(false), "{source}");
        }
    }

    #[test]
    fn what_is_not_there_is_an_error_and_never_false() {
        for source in [
            "read.knd",
            "read.knd == 'invoice'",
            "read.totl > 2",
            "look.text == 'a'",
            "look.text",
            "outputs.nothing == 1",
        ] {
            assert!(holds(source).is_err(), "{source}: {:?}", holds(source));
        }
    }

    #[test]
    fn a_mistake_is_found_before_any_file() {
        let wrong = |source: &str| Condition::compile(source, &["read"]).unwrap_err();
        for (source, expected) in [
            (
                "text == ''",
                "`text` is not known here; a condition has file, outputs, read",
            ),
            (
                "file.nme == ''",
                "`file.nme` does not exist; `file` has key, name, size, media_type",
            ),
        ] {
            assert_eq!(wrong(source), expected);
        }
        for source in [
            "",
            "file.size >",
            "file.name|shout",
            "file.name is shouted",
            "file.name.startswith('a')",
        ] {
            assert!(!wrong(source).is_empty(), "{source}");
        }
    }
}
