//! Which files are wanted, as globs over the path below the scanned directory.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt, path::Path};

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use super::ScanError;

/// Compiled include and exclude globs.
///
/// A glob without `/` matches a name at any depth, with `/` the path from the scanned directory;
/// a leading `/` only says that. `*` and `?` stop at `/`, `**` does not, `{a,b}` is either.
/// A glob that matches a directory takes all that is in it, with a trailing `/` only that.
#[derive(Clone, Debug)]
pub(super) struct Globs {
    include: Option<GlobSet>,
    exclude: GlobSet,
    exclude_directories: GlobSet,
}

impl Globs {
    pub(super) fn new(include: &[String], exclude: &[String]) -> Result<Self, ScanError> {
        let compile = |globs: &[String]| set(globs, of_files);
        Ok(Self {
            include: if include.is_empty() {
                None
            } else {
                Some(compile(include)?)
            },
            exclude: compile(exclude)?,
            exclude_directories: set(exclude, of_directories)?,
        })
    }

    /// The file is wanted. Excluding wins.
    pub(super) fn take_file(&self, key: &[u8]) -> bool {
        let path = Path::new(OsStr::from_bytes(key));
        self.include.as_ref().is_none_or(|set| set.is_match(path)) && !self.exclude.is_match(path)
    }

    /// Something in the directory can be wanted.
    pub(super) fn enter_directory(&self, key: &[u8]) -> bool {
        !self
            .exclude_directories
            .is_match(Path::new(OsStr::from_bytes(key)))
    }
}

/// One glob as the user wrote it, taken apart.
struct Glob<'a> {
    written: &'a str,
    path: String,
    only_directory: bool,
}

impl<'a> Glob<'a> {
    fn parse(written: &'a str) -> Self {
        let body = written.strip_prefix("./").unwrap_or(written);
        let only_directory = body.ends_with('/');
        let body = body.trim_end_matches('/');
        let path = match body.strip_prefix('/') {
            Some(anchored) => anchored.to_owned(),
            None if body.contains('/') => body.to_owned(),
            None => format!("**/{body}"),
        };
        Self {
            written,
            path,
            only_directory,
        }
    }
}

/// The globs that match the files it takes.
fn of_files(glob: &Glob<'_>) -> Vec<String> {
    let mut globs = vec![format!("{}/**", glob.path)];
    if !glob.only_directory {
        globs.push(glob.path.clone());
    }
    globs
}

/// The globs that match the directories in which it takes everything.
fn of_directories(glob: &Glob<'_>) -> Vec<String> {
    let everything_below = glob.path.strip_suffix("/**").map(str::to_owned);
    everything_below
        .into_iter()
        .chain([glob.path.clone()])
        .collect()
}

fn set(globs: &[String], expand: fn(&Glob<'_>) -> Vec<String>) -> Result<GlobSet, ScanError> {
    let mut builder = GlobSetBuilder::new();
    for written in globs {
        let glob = Glob::parse(written);
        let bad = |why: String| ScanError::BadGlob {
            glob: glob.written.to_owned(),
            why,
        };
        if glob.path.is_empty() || glob.path == "**/" {
            return Err(bad("empty".to_owned()));
        }
        for text in expand(&glob) {
            let compiled = GlobBuilder::new(&text).literal_separator(true).build();
            builder.add(compiled.map_err(|error| bad(error.kind().to_string()))?);
        }
    }
    builder.build().map_err(|error| ScanError::BadGlob {
        glob: globs.join(" "),
        why: error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn includes(glob: &str, key: &str) -> bool {
        Globs::new(&[glob.to_owned()], &[])
            .unwrap()
            .take_file(key.as_bytes())
    }

    #[test]
    fn a_glob_without_a_slash_matches_a_name_at_any_depth() {
        assert!(includes("*.pdf", "a.pdf"));
        assert!(includes("*.pdf", "x/y/a.pdf"));
        assert!(!includes("*.pdf", "a.pdf.txt"));
        assert!(includes("*.{pdf,png}", "x/a.png"));
    }

    #[test]
    fn a_glob_with_a_slash_matches_from_the_scanned_directory() {
        assert!(includes("in/*.pdf", "in/a.pdf"));
        assert!(!includes("in/*.pdf", "x/in/a.pdf"));
        assert!(!includes("in/*.pdf", "in/deep/a.pdf"));
        assert!(includes("in/**/*.pdf", "in/deep/er/a.pdf"));
        assert!(includes("/a.pdf", "a.pdf"));
        assert!(!includes("/a.pdf", "x/a.pdf"));
    }

    #[test]
    fn a_glob_of_a_directory_takes_all_that_is_in_it() {
        assert!(includes("reports", "x/reports/y/a.pdf"));
        assert!(includes("reports/", "reports/a.pdf"));
        assert!(!includes("reports/", "x/reports.pdf"));
        assert!(!includes("reports/", "reports"));
    }

    #[test]
    fn an_excluded_directory_is_not_entered_and_excluding_wins() {
        for glob in ["old", "old/", "/old", "old/**"] {
            let globs = Globs::new(&["*.pdf".to_owned()], &[glob.to_owned()]).unwrap();
            assert!(!globs.enter_directory(b"old"), "{glob}");
            assert!(globs.enter_directory(b"older"), "{glob}");
            assert!(!globs.take_file(b"old/a.pdf"), "{glob}");
            assert!(globs.take_file(b"new/a.pdf"), "{glob}");
        }
    }

    #[test]
    fn a_malformed_glob_is_named() {
        for bad in ["a[", "", "/", "{a"] {
            let error = Globs::new(&[], &[bad.to_owned()]).unwrap_err();
            assert!(
                matches!(&error, ScanError::BadGlob { glob, .. } if glob == bad),
                "{error}"
            );
        }
    }
}
