//! The walk under the scan: sorted, filtered before anything is looked up.

use std::{
    cmp::Ordering,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use ignore::{DirEntry, Walk, WalkBuilder};

use super::{Globs, IGNORE_FILE, ScanOptions, scan_order};
use crate::sink::is_marked;

pub(super) fn walk(
    directory: &Arc<Path>,
    options: &ScanOptions,
    globs: &Arc<Globs>,
    after: Option<Arc<[u8]>>,
) -> Walk {
    let (root, globs) = (Arc::clone(directory), Arc::clone(globs));
    let except: Vec<PathBuf> = options
        .except
        .iter()
        // What does not exist yet cannot be met under another name.
        .map(|path| path.canonicalize().unwrap_or_else(|_| path.clone()))
        .collect();
    WalkBuilder::new(&**directory)
        .standard_filters(false)
        .hidden(!options.hidden)
        .follow_links(options.follow_links)
        .add_custom_ignore_filename(IGNORE_FILE)
        .sort_by_file_name(Ord::cmp)
        .filter_entry(move |entry| {
            let Some(key) = key_below(&root, entry.path()) else {
                return true;
            };
            wanted(entry, key, &globs, after.as_deref())
                && !except.iter().any(|path| path == entry.path())
                && !is_output(entry)
        })
        .build()
}

fn wanted(entry: &DirEntry, key: &[u8], globs: &Globs, after: Option<&[u8]>) -> bool {
    if entry.file_type().is_some_and(|kind| kind.is_dir()) {
        globs.enter_directory(key) && (is_after(after, key) || leads_to(key, after))
    } else {
        is_after(after, key)
    }
}

/// Answers of an earlier run are not to be asked about.
fn is_output(entry: &DirEntry) -> bool {
    let output = entry.file_type().is_some_and(|kind| kind.is_dir()) && is_marked(entry.path());
    if output {
        tracing::warn!(
            path = %entry.path().display(),
            "left out: it is an output directory of filefleet"
        );
    }
    output
}

pub(super) fn is_after(after: Option<&[u8]>, key: &[u8]) -> bool {
    after.is_none_or(|after| scan_order(key, after) == Ordering::Greater)
}

/// The directory is `after` or one of those it is in, so later files can be below it.
fn leads_to(directory: &[u8], after: Option<&[u8]>) -> bool {
    after
        .and_then(|after| after.strip_prefix(directory))
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

/// The key of a path; `None` for the scanned directory itself.
pub(super) fn key_below<'a>(directory: &Path, path: &'a Path) -> Option<&'a [u8]> {
    let below = path.strip_prefix(directory).ok()?.as_os_str().as_bytes();
    (!below.is_empty()).then_some(below)
}

/// The entry an error is about.
pub(super) fn path_of(error: &ignore::Error) -> Option<&Path> {
    use ignore::Error;
    match error {
        Error::WithPath { path, .. } => Some(path),
        Error::Loop { child, .. } => Some(child),
        Error::WithDepth { err, .. } | Error::WithLineNumber { err, .. } => path_of(err),
        Error::Partial(errors) => errors.first().and_then(path_of),
        Error::Io(_)
        | Error::Glob { .. }
        | Error::UnrecognizedFileType(_)
        | Error::InvalidDefinition => None,
    }
}

/// What went wrong, without the path that stands beside it.
pub(super) fn reason(error: &ignore::Error) -> String {
    use ignore::Error;
    match error {
        Error::WithPath { err, .. } | Error::WithDepth { err, .. } => reason(err),
        Error::Loop { .. } => "a symbolic link that leads back to a directory above it".to_owned(),
        Error::Io(io) => {
            let mut cause: &dyn std::error::Error = io;
            while let Some(deeper) = cause.source() {
                cause = deeper;
            }
            cause.to_string()
        }
        other => format!("{IGNORE_FILE}: {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_entered_only_if_something_behind_the_start_can_be_in_it() {
        assert!(leads_to(b"a", Some(b"a/b")));
        assert!(leads_to(b"a", Some(b"a")));
        assert!(!leads_to(b"a", Some(b"ab/c")));
        assert!(!leads_to(b"a", None));
    }
}
