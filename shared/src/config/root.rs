//! `[root.NAME]`: where the files of each root are.

use std::{collections::BTreeMap, path::PathBuf};

use super::{Section, StoreConfig};
use crate::files::Links;

/// Where the files of a root are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RootConfig {
    /// In a directory of this machine.
    Directory {
        /// The directory.
        path: PathBuf,
        /// Where its symbolic links may lead.
        links: Links,
    },
    /// In an object store.
    Store(Box<StoreConfig>),
}

/// Reads every `[root.NAME]`.
#[must_use]
pub fn read_roots(root: &mut Section<'_>) -> BTreeMap<String, RootConfig> {
    let mut section = root.section("root");
    let mut roots = BTreeMap::new();
    for name in section.names() {
        let Some(mut entry) = section.opt_section(&name) else {
            continue;
        };
        let read = if entry.has("url") {
            if entry.opt_path("path").is_some() {
                entry.error("path", "a root has either `path` or `url`");
            }
            StoreConfig::read_remote(&mut entry).map(|store| RootConfig::Store(Box::new(store)))
        } else {
            read_directory(&mut entry)
        };
        entry.finish();
        roots.extend(read.map(|read| (name, read)));
    }
    section.finish();
    roots
}

fn read_directory(entry: &mut Section<'_>) -> Option<RootConfig> {
    const LINKS: &[(&str, Links)] = &[("inside", Links::Inside), ("anywhere", Links::Anywhere)];
    if !entry.has("path") {
        entry.error(
            "path",
            "is missing: give `path`, or `url` for an object store",
        );
    }
    let path = entry.opt_path("path");
    let links = entry.opt_enum("links", LINKS).unwrap_or_default();
    Some(RootConfig::Directory { path: path?, links })
}
