//! Where a store is, as people write it: a URL without any credentials, or a directory.

use std::{fmt, path::PathBuf};

use object_store::path::Path as ObjectPath;

/// The beginning of keys in a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StorePlace {
    /// `s3://BUCKET/PREFIX`: Amazon S3, or what speaks its protocol.
    S3 {
        /// The bucket.
        bucket: String,
        /// Begins every key; no `/` around it, may be empty.
        prefix: String,
    },
    /// `az://CONTAINER/PREFIX`: Azure Blob Storage.
    Azure {
        /// The container.
        container: String,
        /// Begins every key; no `/` around it, may be empty.
        prefix: String,
    },
    /// A directory of this machine, or one that all machines have mounted.
    Directory(PathBuf),
}

impl StorePlace {
    /// Reads a URL of a store; `None` for anything else, as a path.
    ///
    /// # Errors
    /// What is wrong with the URL. It is not repeated: it may have a password in it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Result<Self, String>> {
        if let Some(rest) = text.strip_prefix("s3://") {
            return Some(split(rest).map(|(bucket, prefix)| Self::S3 { bucket, prefix }));
        }
        let rest = text.strip_prefix("az://")?;
        Some(split(rest).map(|(container, prefix)| Self::Azure { container, prefix }))
    }
}

/// Bucket or container, and prefix. What follows the bucket is taken as it is: `%20` is no space.
fn split(rest: &str) -> Result<(String, String), String> {
    let (name, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    if name.contains(['@', ':']) {
        return Err(
            "has a user, password or port in it: credentials and endpoints are keys of their own, \
             or come from the environment"
                .to_owned(),
        );
    }
    let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '$');
    if name.is_empty() || !name.chars().all(known) {
        return Err("must be like s3://BUCKET/PREFIX or az://CONTAINER/PREFIX".to_owned());
    }
    let prefix = prefix.trim_end_matches('/');
    match ObjectPath::parse(prefix) {
        Ok(_) if !prefix.starts_with('/') => Ok((name.to_owned(), prefix.to_owned())),
        _ => Err("has a prefix with an empty, `.` or `..` part or control characters".to_owned()),
    }
}

impl fmt::Display for StorePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, name, prefix) = match self {
            Self::S3 { bucket, prefix } => ("s3", bucket, prefix),
            Self::Azure { container, prefix } => ("az", container, prefix),
            Self::Directory(path) => return path.display().fmt(f),
        };
        write!(f, "{scheme}://{name}")?;
        if prefix.is_empty() {
            return Ok(());
        }
        write!(f, "/{prefix}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_of_a_store_reads_back_as_it_is_shown() {
        for url in [
            "s3://papers",
            "az://in-box/2026/a b",
            "s3://my.bucket/%20/ü",
        ] {
            let place = StorePlace::parse(url).unwrap().unwrap();
            assert_eq!(place.to_string(), url);
        }
        let slashed = StorePlace::parse("s3://papers/in//").unwrap().unwrap();
        assert_eq!(slashed.to_string(), "s3://papers/in");
    }

    #[test]
    fn a_path_is_no_url_of_a_store() {
        for path in ["s3", "./s3://x", "/data", "gs://bucket", "a:z"] {
            assert_eq!(StorePlace::parse(path), None, "{path}");
        }
    }

    #[test]
    fn a_url_with_credentials_or_a_bad_prefix_is_refused_and_not_repeated() {
        let bad = [
            "s3://",
            "s3:///x",
            "s3://user:secret@host/x",
            "az://a b/x",
            "s3://b/x/../secret",
            "s3://b//secret",
            "s3://b/x//y",
        ];
        for url in bad {
            let why = StorePlace::parse(url).unwrap().unwrap_err();
            assert!(!why.contains("secret"), "{url}: {why}");
        }
    }
}
