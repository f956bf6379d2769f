//! References to secrets: the value is never in the configuration, and never printed.

use std::{env, fmt, fs, io, path::PathBuf};

use secrecy::SecretString;

/// Where a secret is, as the configuration names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secret {
    key: String,
    source: SecretSource,
}

/// The place of a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// An environment variable.
    Env(String),
    /// A file, as orchestrators mount them; white space around its text is not part of it.
    File(PathBuf),
}

/// A secret that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// No such environment variable.
    #[error("{key}: the environment variable {variable} is not set")]
    Unset {
        /// Path of the key in the configuration.
        key: String,
        /// The variable.
        variable: String,
    },
    /// The variable or file has no text in it.
    #[error("{key}: the secret in {place} is empty or not text")]
    Empty {
        /// Path of the key in the configuration.
        key: String,
        /// Which variable or file.
        place: SecretSource,
    },
    /// The file cannot be read.
    #[error("{key}: cannot read the secret in {}: {source}", path.display())]
    Unreadable {
        /// Path of the key in the configuration.
        key: String,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Secret {
    /// A secret named by the configuration key `key`, for errors.
    #[must_use]
    pub fn new(key: impl Into<String>, source: SecretSource) -> Self {
        Self {
            key: key.into(),
            source,
        }
    }

    /// Where it is.
    #[must_use]
    pub fn source(&self) -> &SecretSource {
        &self.source
    }

    /// Fetches the value.
    ///
    /// # Errors
    /// The variable or file is missing, unreadable or empty; never with the value.
    pub fn resolve(&self) -> Result<SecretString, SecretError> {
        let text = match &self.source {
            SecretSource::Env(variable) => self.variable(variable)?,
            SecretSource::File(path) => {
                fs::read_to_string(path).map_err(|source| SecretError::Unreadable {
                    key: self.key.clone(),
                    path: path.clone(),
                    source,
                })?
            }
        };
        let value = text.trim();
        if value.is_empty() {
            return Err(self.empty());
        }
        Ok(SecretString::from(value))
    }

    fn variable(&self, name: &str) -> Result<String, SecretError> {
        env::var(name).map_err(|error| match error {
            env::VarError::NotPresent => SecretError::Unset {
                key: self.key.clone(),
                variable: name.to_owned(),
            },
            // The text of this error would hold the value.
            env::VarError::NotUnicode(_) => self.empty(),
        })
    }

    fn empty(&self) -> SecretError {
        SecretError::Empty {
            key: self.key.clone(),
            place: self.source.clone(),
        }
    }
}

impl fmt::Display for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(variable) => write!(f, "environment variable {variable}"),
            Self::File(path) => write!(f, "file {}", path.display()),
        }
    }
}
