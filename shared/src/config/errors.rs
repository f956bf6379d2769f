//! What is wrong with a configuration, all of it at once.

use std::{cell::RefCell, fmt};

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// Line in the file, from 1; none where the configuration is not from a file.
    pub line: Option<usize>,
    /// Path of the key, like `service.gpt.limits.in_flight`; empty for a syntax error.
    pub key: String,
    /// What is wrong and how to mend it.
    pub message: String,
}

/// Every mistake of one configuration, in the order of its lines. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors {
    source: String,
    errors: Vec<ConfigError>,
}

impl ConfigErrors {
    /// Mistakes found in `source`, a file's name or whatever else the person would recognise.
    #[must_use]
    pub fn new(source: impl Into<String>, mut errors: Vec<ConfigError>) -> Self {
        errors.sort_by(|a, b| (a.line, &a.key).cmp(&(b.line, &b.key)));
        Self {
            source: source.into(),
            errors,
        }
    }

    /// A single mistake that has no line.
    #[must_use]
    pub fn one(source: &str, key: &str, message: impl Into<String>) -> Self {
        let error = ConfigError {
            line: None,
            key: key.to_owned(),
            message: message.into(),
        };
        Self::new(source, vec![error])
    }

    /// The mistakes.
    #[must_use]
    pub fn errors(&self) -> &[ConfigError] {
        &self.errors
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.errors.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            f.write_str(&self.source)?;
            if let Some(line) = error.line {
                write!(f, ":{line}")?;
            }
            if !error.key.is_empty() {
                write!(f, ": {}", error.key)?;
            }
            write!(f, ": {}", error.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// Where the sections of one document write what they find.
#[derive(Debug)]
pub(crate) struct Sink<'t> {
    text: &'t str,
    errors: RefCell<Vec<ConfigError>>,
    /// The text does not parse, so a key may be missing only because its line was dropped.
    pub(crate) damaged: bool,
}

impl<'t> Sink<'t> {
    pub(crate) fn new(text: &'t str) -> Self {
        Self {
            text,
            errors: RefCell::default(),
            damaged: false,
        }
    }

    /// Adds a mistake at a byte of the text; once, if what stands there is read several times.
    pub(crate) fn report(&self, at: usize, key: String, message: String) {
        let error = ConfigError {
            line: Some(self.line(at)),
            key,
            message,
        };
        let mut errors = self.errors.borrow_mut();
        if !errors.contains(&error) {
            errors.push(error);
        }
    }

    pub(crate) fn line(&self, at: usize) -> usize {
        let before = self.text.as_bytes().iter().take(at);
        1 + before.filter(|byte| **byte == b'\n').count()
    }

    pub(crate) fn into_errors(self) -> Vec<ConfigError> {
        self.errors.into_inner()
    }
}
