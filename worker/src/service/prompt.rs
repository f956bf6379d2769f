//! Prompt templates, compiled once when the configuration is read.

use std::{
    collections::{BTreeMap, HashSet},
    fmt,
};

use filefleet_shared::wire::StepMessage;
use minijinja::{Environment, ErrorKind, UndefinedBehavior, Value, value::Serde};

use super::{CallError, slices};

/// Names that templates have besides those of earlier steps; no step may be called so.
pub const RESERVED_NAMES: [&str; 3] = ["text", "file", "outputs"];

const NAME: &str = "prompt";

/// A compiled template over a file and the outputs of earlier steps.
///
/// It sees `text`, `file.key`, `file.name`, `file.size`, `file.media_type`, each earlier step's
/// output by the step's name, and all of them in `outputs` for names that are no identifiers.
pub struct Prompt {
    source: String,
    environment: Environment<'static>,
    mentions_text: bool,
    mentions_outputs: bool,
    mentions_json: bool,
    mentions_path: bool,
}

/// What a template sees besides the message.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Inputs<'a> {
    /// The file's text; none if it has none, and then a template that comes to it fails.
    pub(crate) text: Option<&'a str>,
    /// Where a copy of the file is on this machine.
    pub(crate) path: Option<&'a str>,
    /// What a service calls an operation that it works on.
    pub(crate) operation: Option<&'a str>,
}

/// A template that gives nothing for a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PromptError {
    /// The template itself is wrong, so it would fail for every file.
    #[error("{0}")]
    Template(String),
    /// It asks for something that this file or the earlier outputs do not have.
    #[error("{0}")]
    Input(String),
}

impl Prompt {
    /// Compiles a template; `earlier` names the steps before this one.
    ///
    /// # Errors
    /// A syntax error with its line, or a name that the template will not have.
    pub fn compile(source: &str, earlier: &[&str]) -> Result<Self, String> {
        let mut environment = Environment::new();
        // A misspelt field must fail, not silently send a prompt with a hole in it.
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        // A text in a condition of AI Search ends at an apostrophe, unless it stands there twice.
        environment.add_filter("odata", |text: &str| text.replace('\'', "''"));
        environment
            .add_template_owned(NAME, source.to_owned())
            .map_err(|error| explain(&error))?;
        let names = names_in(&environment)?;
        for name in &names {
            if !RESERVED_NAMES.contains(&name.as_str()) && !earlier.contains(&name.as_str()) {
                let known = [&RESERVED_NAMES, earlier].concat().join(", ");
                return Err(format!("`{name}` is not known here; a prompt has {known}"));
            }
        }
        let sliced = slices::names(source);
        let mentions = |name: &str| names.contains(name) || sliced.contains(name);
        Ok(Self {
            source: source.to_owned(),
            mentions_text: mentions("text"),
            mentions_outputs: mentions("outputs") || earlier.iter().any(|step| mentions(step)),
            mentions_json: source.to_lowercase().contains("json"),
            mentions_path: paths_in(&environment)?.contains("file.path"),
            environment,
        })
    }

    /// The template as it was written.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The file's text has a place of its own in the template.
    #[must_use]
    pub fn mentions_text(&self) -> bool {
        self.mentions_text
    }

    /// It works on the output of an earlier step.
    #[must_use]
    pub fn mentions_outputs(&self) -> bool {
        self.mentions_outputs
    }

    /// It has the word JSON, without which OpenAI refuses to be held to JSON.
    #[must_use]
    pub fn mentions_json(&self) -> bool {
        self.mentions_json
    }

    /// It wants the file at a path on this machine.
    #[must_use]
    pub fn mentions_path(&self) -> bool {
        self.mentions_path
    }

    /// Fills the template in for a file.
    ///
    /// # Errors
    /// Whether the template or this input is to blame.
    pub fn render(&self, message: &StepMessage, text: &str) -> Result<String, PromptError> {
        let inputs = Inputs {
            text: Some(text),
            ..Inputs::default()
        };
        self.render_with(message, inputs)
    }

    /// The same with more than the file's text.
    ///
    /// # Errors
    /// Whether the template or this input is to blame.
    pub(crate) fn render_with(
        &self,
        message: &StepMessage,
        inputs: Inputs<'_>,
    ) -> Result<String, PromptError> {
        let mut context = BTreeMap::new();
        context.insert("file", file_value(message, inputs.path));
        if let Some(text) = inputs.text.filter(|_| self.mentions_text) {
            context.insert("text", Value::from(text));
        }
        if self.mentions_outputs {
            for (step, output) in &message.outputs {
                context.insert(step, Value::from(Serde(output)));
            }
            context.insert("outputs", Value::from(Serde(&message.outputs)));
        }
        if let Some(operation) = inputs.operation {
            context.insert("operation", Value::from(operation));
        }
        self.render_in(Value::from(context))
    }
}

impl Prompt {
    /// Fills the template in for what was collected before.
    ///
    /// # Errors
    /// Whether the template or this input is to blame.
    pub(crate) fn render_in(&self, context: Value) -> Result<String, PromptError> {
        self.environment
            .get_template(NAME)
            .and_then(|template| template.render(context))
            .map_err(|error| blame(&error))
    }

    /// The value of the only expression of the template, as it is: a number stays one.
    ///
    /// # Errors
    /// Whether the template or this input is to blame.
    pub(crate) fn value_in(&self, context: Value) -> Result<serde_json::Value, PromptError> {
        let source = only_expression(&self.source).unwrap_or_default();
        let value = self
            .environment
            .compile_expression(source)
            .and_then(|expression| expression.eval(context))
            .map_err(|error| blame(&error))?;
        if value.is_undefined() {
            return Err(PromptError::Input(format!("`{source}` is not there")));
        }
        serde_json::to_value(&value)
            .map_err(|error| PromptError::Input(format!("`{source}` is no JSON: {error}")))
    }
}

/// What stands between the braces, if the template is one expression and nothing else.
pub(crate) fn only_expression(source: &str) -> Option<&str> {
    let inner = source.trim().strip_prefix("{{")?.strip_suffix("}}")?;
    let several = ["{{", "}}", "{%", "{#"]
        .iter()
        .any(|mark| inner.contains(mark));
    (!several).then(|| inner.trim_matches('-').trim())
}

impl PromptError {
    /// What the worker does about it: a broken template fails every file.
    pub(crate) fn into_call(self, cause: &'static str) -> CallError {
        match self {
            Self::Template(detail) => CallError::Misconfigured(detail),
            Self::Input(detail) => CallError::rejected(cause, detail),
        }
    }
}

impl fmt::Debug for Prompt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prompt")
            .field("mentions_text", &self.mentions_text)
            .field("mentions_outputs", &self.mentions_outputs)
            .finish_non_exhaustive()
    }
}

/// The variables of the template, without what the language itself has.
fn names_in(environment: &Environment<'static>) -> Result<HashSet<String>, String> {
    let template = environment
        .get_template(NAME)
        .map_err(|error| explain(&error))?;
    let mut names = template.undeclared_variables(false);
    for (global, _) in environment.globals() {
        names.remove(global);
    }
    Ok(names)
}

/// The same, with the attributes that are asked of them.
fn paths_in(environment: &Environment<'static>) -> Result<HashSet<String>, String> {
    let template = environment
        .get_template(NAME)
        .map_err(|error| explain(&error))?;
    Ok(template.undeclared_variables(true))
}

/// What `file` has besides a path.
pub(super) const FILE_KEYS: [&str; 4] = ["key", "name", "size", "media_type"];

pub(super) fn file_value(message: &StepMessage, path: Option<&str>) -> Value {
    let file = &message.file;
    let name = file.key.rsplit('/').next().unwrap_or_default();
    let values = [
        Value::from(file.key.as_str()),
        Value::from(name),
        Value::from(file.size),
        Value::from(file.media_type.as_str()),
    ];
    let mut value: BTreeMap<&str, Value> = FILE_KEYS.into_iter().zip(values).collect();
    value.extend(path.map(|path| ("path", Value::from(path))));
    Value::from(value)
}

pub(super) fn explain(error: &minijinja::Error) -> String {
    let what = error
        .detail()
        .map_or_else(|| error.kind().to_string(), str::to_owned);
    let what: String = what.chars().take(300).collect();
    match error.line() {
        Some(line) => format!("line {line} of the template: {what}"),
        None => what,
    }
}

fn blame(error: &minijinja::Error) -> PromptError {
    match error.kind() {
        ErrorKind::TemplateNotFound
        | ErrorKind::BadInclude
        | ErrorKind::UnknownFilter
        | ErrorKind::UnknownTest
        | ErrorKind::UnknownFunction
        | ErrorKind::UnknownMethod
        | ErrorKind::UnknownBlock
        | ErrorKind::MissingArgument
        | ErrorKind::TooManyArguments
        | ErrorKind::SyntaxError => PromptError::Template(explain(error)),
        _ => PromptError::Input(explain(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::tests::message;

    fn render(source: &str, text: &str) -> Result<String, PromptError> {
        let mut step = message("in/letter.txt");
        let output = serde_json::json!({"text": "hello", "total": 3});
        step.outputs.insert("read".to_owned(), output.clone());
        step.outputs.insert("read-2".to_owned(), output);
        Prompt::compile(source, &["read", "read-2"])
            .unwrap()
            .render(&step, text)
    }

    #[test]
    fn the_begin_of_a_text_can_be_taken() {
        assert_eq!(render("{{ text[:5] }}", "a long text").unwrap(), "a lon");
        assert_eq!(render("{{ read.text[1:] }}", "").unwrap(), "ello");
        let prompt = Prompt::compile("{{ read.text[:9] }}", &["read"]).unwrap();
        assert!(prompt.mentions_outputs() && !prompt.mentions_text());
    }

    #[test]
    fn a_prompt_sees_the_file_its_text_and_earlier_outputs() {
        let source = "{{ file.name }} {{ file.key }} {{ file.size }} {{ file.media_type }}\n\
                      {{ read.text }} {{ outputs['read-2'].total }} <{{ text }}>";
        let expected = "letter.txt in/letter.txt 5 text/plain\nhello 3 <a < b>";
        assert_eq!(render(source, "a < b").unwrap(), expected);
    }

    #[test]
    fn a_field_that_is_not_there_fails_this_file_and_a_broken_template_every_file() {
        assert!(matches!(
            render("{{ read.nothing }}", ""),
            Err(PromptError::Input(_))
        ));
        assert!(matches!(
            render("{{ file.nme }}", ""),
            Err(PromptError::Input(_))
        ));
        assert!(matches!(
            render("{{ text|shout }}", ""),
            Err(PromptError::Template(_))
        ));
        assert!(matches!(
            render("{% include 'a' %}", ""),
            Err(PromptError::Template(_))
        ));
    }

    #[test]
    fn one_expression_keeps_the_kind_of_its_value() {
        let mut step = message("in/letter.txt");
        let output = serde_json::json!({"total": 3, "vector": [0.5, -1.25], "text": "t"});
        step.outputs.insert("read".to_owned(), output);
        let value = |source: &str| {
            let scope = crate::service::scope::Scope::new(&step, "");
            Prompt::compile(source, &["read"])
                .unwrap()
                .value_in(scope.view().context())
        };
        assert_eq!(value("{{ read.total + 1 }}").unwrap(), 4);
        assert_eq!(value("{{- file.size -}}").unwrap(), 5);
        assert_eq!(
            value("{{ read.vector|reverse }}").unwrap(),
            serde_json::json!([-1.25, 0.5])
        );
        assert!(matches!(
            value("{{ read.nothing }}"),
            Err(PromptError::Input(_))
        ));
        for several in [
            "{{ a }}{{ b }}",
            "a {{ b }}",
            "{{ a }}.",
            "a",
            "{% if a %}{{ b }}",
        ] {
            assert_eq!(only_expression(several), None, "{several}");
        }
        assert_eq!(render("{{ text|odata }}", "it's").unwrap(), "it''s");
    }

    #[test]
    fn a_mistake_in_the_template_is_found_before_any_file() {
        let syntax = Prompt::compile("one\n{{ text ", &[]).unwrap_err();
        assert!(syntax.starts_with("line 2 of the template:"), "{syntax}");
        let name = Prompt::compile("{{ txt }}", &["read"]).unwrap_err();
        assert_eq!(
            name,
            "`txt` is not known here; a prompt has text, file, outputs, read"
        );
        assert!(Prompt::compile("{% for i in range(2) %}{{ i }}{% endfor %}", &[]).is_ok());
    }

    #[test]
    fn a_prompt_knows_whether_it_has_a_place_for_the_text() {
        let of = |source: &str| {
            let prompt = Prompt::compile(source, &["read"]).unwrap();
            (prompt.mentions_text(), prompt.mentions_outputs())
        };
        assert_eq!(of("Summarise."), (false, false));
        assert_eq!(of("Summarise {{ text }}"), (true, false));
        assert_eq!(of("Summarise {{ read.text }}"), (false, true));
        assert_eq!(of("{% if outputs %}x{% endif %}"), (false, true));
    }
}
