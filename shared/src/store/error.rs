//! Why a store gave no object, named by what the caller does.

use std::time::Duration;

use crate::config::SecretError;

/// Why a store cannot be used.
///
/// What [`Display`](std::fmt::Display) shows has no address and no key in it, so that it may stand
/// in a message; [`StoreError::explain`] says all of it, for the one who sits before the command.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no such object.
    #[error("no such object")]
    Missing,
    /// There is no such bucket, container or directory.
    #[error("the store has no such bucket or container")]
    NoBucket(#[source] object_store::Error),
    /// Its directory is not there, like one that is no longer mounted.
    #[error("the store's directory is not there")]
    NoDirectory,
    /// The credentials are not taken, or do not allow this.
    #[error("the store refuses access")]
    Denied(#[source] object_store::Error),
    /// No answer came in time.
    #[error("the store did not answer within {}", humantime::format_duration(*.0))]
    Timeout(Duration),
    /// It failed or cannot be reached: another time it may answer.
    #[error("the store failed or cannot be reached")]
    Unavailable(#[source] object_store::Error),
    /// The key cannot be one of this store's.
    #[error("not a key of a store: {0}")]
    BadKey(&'static str),
    /// A key of the listing cannot be named here.
    #[error("the store has a key that cannot be used here")]
    OddKey(#[source] object_store::Error),
    /// It does not list its keys in order, so that a scan could not be resumed.
    #[error("the store does not list its keys in their order")]
    Unordered,
    /// Its settings are not complete or not right.
    #[error("the store's settings are not right")]
    Settings(#[source] object_store::Error),
    /// A secret of its settings cannot be had.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// Its directory cannot be made or removed.
    #[error("the store's directory failed")]
    Directory(#[source] std::io::Error),
}

impl StoreError {
    /// The same call can succeed later, or elsewhere, without anybody changing the message.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::NoBucket(_)
            | Self::NoDirectory
            | Self::Denied(_)
            | Self::Timeout(_)
            | Self::Unavailable(_) => true,
            Self::Missing
            | Self::BadKey(_)
            | Self::OddKey(_)
            | Self::Unordered
            | Self::Settings(_)
            | Self::Secret(_)
            | Self::Directory(_) => false,
        }
    }

    /// Nothing is wrong with the settings: it may answer in a moment.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Timeout(_) | Self::Unavailable(_))
    }

    /// All that is known, addresses included: for terminals and logs, never for messages.
    #[must_use]
    pub fn explain(&self) -> String {
        use std::error::Error;
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            let said = error.to_string();
            // Most errors repeat what is below them.
            if !text.contains(&said) {
                text.push_str(": ");
                text.push_str(&said);
            }
            cause = error.source();
        }
        text
    }
}

impl From<object_store::Error> for StoreError {
    fn from(error: object_store::Error) -> Self {
        use object_store::Error;
        let missing = matches!(error, Error::NotFound { .. });
        let denied = matches!(
            error,
            Error::PermissionDenied { .. } | Error::Unauthenticated { .. }
        );
        // The client tells a missing bucket from a missing object, and a refused listing from one
        // that failed, by what it says alone.
        let text = error.to_string();
        let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
        if says(&["NoSuchBucket", "ContainerNotFound"]) {
            Self::NoBucket(error)
        } else if missing {
            Self::Missing
        } else if denied || says(&["status code: 401", "status code: 403"]) {
            Self::Denied(error)
        } else if matches!(error, Error::InvalidPath { .. }) {
            Self::OddKey(error)
        } else {
            Self::Unavailable(error)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generic(text: &str) -> object_store::Error {
        object_store::Error::Generic {
            store: "S3",
            source: text.into(),
        }
    }

    #[test]
    fn an_error_is_named_by_what_can_be_done_about_it() {
        let missing = |text: &str| object_store::Error::NotFound {
            path: "a".to_owned(),
            source: text.into(),
        };
        let bucket = "Server returned non-2xx status code: 404: <Code>NoSuchBucket</Code>";
        let forbidden = "Server returned non-2xx status code: 403 Forbidden";
        assert!(matches!(
            missing("<Code>NoSuchKey</Code>").into(),
            StoreError::Missing
        ));
        assert!(matches!(missing(bucket).into(), StoreError::NoBucket(_)));
        assert!(matches!(generic(bucket).into(), StoreError::NoBucket(_)));
        assert!(matches!(generic(forbidden).into(), StoreError::Denied(_)));
        assert!(matches!(
            generic("connection refused").into(),
            StoreError::Unavailable(_)
        ));
    }

    #[test]
    fn what_may_stand_in_a_message_names_no_address() {
        let error: StoreError = generic("GET http://10.0.0.1/bucket/key: refused").into();
        assert!(!error.to_string().contains("10.0.0.1"), "{error}");
        assert!(error.explain().contains("10.0.0.1"), "{}", error.explain());
        assert!(error.is_transient() && error.may_pass());
        let denied: StoreError = generic("status code: 403").into();
        assert!(!denied.is_transient() && denied.may_pass());
    }
}
