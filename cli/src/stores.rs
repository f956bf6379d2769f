//! Object stores, and the directories that stand beside them: from arguments and configuration.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use filefleet_producer::scan::Source;
use filefleet_shared::{
    config::{RootConfig, StoreConfig},
    files::canonical_directory,
    scratch::Scratch,
    store::{Store, StorePlace},
    wire::RunId,
};
use filefleet_worker::config::Config;

use crate::{exit::CommandError, place::OutDir};

/// Where the files of a command are, as its argument says.
#[derive(Debug)]
pub(crate) enum Place {
    /// A directory that exists, canonical.
    Directory(PathBuf),
    /// A store; nothing was connected yet.
    Store(StorePlace),
}

impl Place {
    /// A URL of a store, or a directory.
    ///
    /// # Errors
    /// What is wrong with the URL, or no such directory.
    pub(crate) fn of(argument: &Path) -> Result<Self, CommandError> {
        if let Some(place) = Self::url(argument)? {
            return Ok(Self::Store(place));
        }
        let directory = canonical_directory(argument).map_err(CommandError::usage)?;
        Ok(Self::Directory(directory))
    }

    /// A URL of a store, if it is one.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn url(argument: &Path) -> Result<Option<StorePlace>, CommandError> {
        let place = argument.to_str().and_then(StorePlace::parse).transpose();
        place.map_err(|why| CommandError::usage(format!("the URL of the files {why}")))
    }

    /// The files, with the settings that the configuration has for their store.
    ///
    /// # Errors
    /// The settings are not complete.
    pub(crate) fn open(self, config: Option<&Config>) -> Result<Source, CommandError> {
        match self {
            Self::Directory(path) => Ok(Source::Directory(path)),
            Self::Store(place) => open(&settings(place, config)).map(Source::Store),
        }
    }
}

/// The settings of the root that is in the same bucket or container, for this place.
pub(crate) fn settings(place: StorePlace, config: Option<&Config>) -> StoreConfig {
    let roots = config.into_iter().flat_map(|config| config.roots.values());
    let same = roots.filter_map(|root| match root {
        RootConfig::Store(settings) if together(&settings.place, &place) => Some(&**settings),
        _ => None,
    });
    match same.min_by_key(|settings| settings.place != place) {
        Some(settings) => StoreConfig {
            place,
            ..settings.clone()
        },
        None => StoreConfig::at(place),
    }
}

fn together(a: &StorePlace, b: &StorePlace) -> bool {
    match (a, b) {
        (StorePlace::S3 { bucket: a, .. }, StorePlace::S3 { bucket: b, .. }) => a == b,
        (StorePlace::Azure { container: a, .. }, StorePlace::Azure { container: b, .. }) => a == b,
        _ => false,
    }
}

fn open(settings: &StoreConfig) -> Result<Store, CommandError> {
    Store::open(settings)
        .map_err(|error| CommandError::usage(format!("{}: {}", settings.place, error.explain())))
}

/// The scratch store of a configuration.
///
/// # Errors
/// Its settings are not complete.
pub(crate) fn scratch(config: Option<&StoreConfig>) -> Result<Option<Scratch>, CommandError> {
    config
        .map(open)
        .transpose()
        .map(|store| store.map(Scratch::new))
}

/// The journal of a configuration.
///
/// # Errors
/// Its settings are not complete.
pub(crate) fn journal(config: Option<&StoreConfig>) -> Result<Option<Store>, CommandError> {
    config.map(open).transpose()
}

/// A scratch store in the state of a run on this machine. What other runs have left there is
/// removed: they are complete, or given up.
///
/// # Errors
/// The disk.
pub(crate) fn own_scratch(out: &OutDir, run: RunId) -> Result<Scratch, CommandError> {
    let path = out.scratch();
    let failed = |error: io::Error| CommandError::local(format!("{}: {error}", path.display()));
    match fs::read_dir(&path) {
        Ok(entries) => {
            for entry in entries {
                let entry = entry.map_err(failed)?;
                let name = entry.file_name();
                let other = name.to_str().and_then(|name| name.parse::<RunId>().ok());
                if other.is_some_and(|other| other != run) {
                    fs::remove_dir_all(entry.path()).map_err(failed)?;
                }
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    open(&StoreConfig::at(StorePlace::Directory(path.clone()))).map(Scratch::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = r#"
[root.other]
url = "s3://elsewhere/papers"
region = "eu-west-1"
[root.papers]
url = "s3://papers/2025"
region = "eu-central-1"
[root.azure]
url = "az://papers/2025"
account = "acme"
"#;

    #[test]
    fn a_url_has_the_settings_of_the_root_in_the_same_bucket_and_of_no_other() {
        let config = format!(
            "{CONFIG}\n[service.sim]\nkind = \"openai\"\nendpoint = \"http://127.0.0.1:9/v1\"\n\
             [[pipeline.p]]\nname = \"a\"\nservice = \"sim\"\n\
             chat = {{ model = \"m\", prompt = \"x\" }}\n"
        );
        let config = Config::parse("filefleet.toml", &config).unwrap();
        let of = |url: &str| {
            let place = StorePlace::parse(url).unwrap().unwrap();
            let settings = settings(place.clone(), Some(&config));
            assert_eq!(settings.place, place);
            (settings.region, settings.account)
        };
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(of("s3://papers/2026/in"), (text("eu-central-1"), None));
        assert_eq!(of("az://papers"), (None, text("acme")));
        assert_eq!(of("s3://nobody"), (None, None));
    }

    #[test]
    fn what_other_runs_left_is_removed_and_what_this_one_has_stays() {
        let dir = tempfile::tempdir().unwrap();
        let (out, run) = (OutDir::new(dir.path()), RunId::mint());
        let [ours, others] = [run, RunId::mint()].map(|run| out.scratch().join(run.to_string()));
        for dir in [&ours, &others] {
            fs::create_dir_all(dir).unwrap();
        }
        drop(own_scratch(&out, run).unwrap());
        assert!(ours.exists() && !others.exists());
    }
}
