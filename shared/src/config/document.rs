//! A TOML text, parsed as far as it can be.

use std::path::{Path, PathBuf};

use toml::de::DeTable;

use super::{
    ConfigErrors,
    errors::Sink,
    section::{Place, Section},
};

/// A configuration text with what is wrong with it so far.
#[derive(Debug)]
pub struct Document<'t> {
    source: String,
    base: PathBuf,
    table: DeTable<'t>,
    sink: Sink<'t>,
}

impl<'t> Document<'t> {
    /// Parses `text`, collecting every syntax error instead of stopping at the first.
    ///
    /// `source` names the text in errors. Where it is a path, relative paths in the text are
    /// meant from its directory.
    #[must_use]
    pub fn parse(source: &str, text: &'t str) -> Self {
        let mut sink = Sink::new(text);
        let (table, syntax) = DeTable::parse_recoverable(text);
        for error in &syntax {
            sink.damaged = true;
            let at = error.span().map_or(0, |span| span.start);
            let message = error.message().replace('\n', ", ");
            sink.report(at, String::new(), format!("not TOML: {message}"));
        }
        Self {
            source: source.to_owned(),
            base: Path::new(source)
                .parent()
                .map(Path::to_path_buf)
                .unwrap_or_default(),
            table: table.into_inner(),
            sink,
        }
    }

    /// The top of the document.
    #[must_use]
    pub fn root(&self) -> Section<'_> {
        let place = Place {
            sink: &self.sink,
            base: &self.base,
            path: String::new(),
            at: 0,
        };
        Section::new(place, Some(&self.table))
    }

    /// Gives `value` if nothing was wrong.
    ///
    /// # Errors
    /// Every mistake that was found. `None` must have been reported by whoever made it.
    pub fn finish<T>(self, value: Option<T>) -> Result<T, ConfigErrors> {
        let errors = self.sink.into_errors();
        match value {
            Some(value) if errors.is_empty() => Ok(value),
            _ => Err(ConfigErrors::new(self.source, errors)),
        }
    }
}
