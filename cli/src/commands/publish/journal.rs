//! The journal of a publish: what it is called, and what went before.

use std::{
    fmt, fs, io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use filefleet_shared::wire::RunId;
use sha2::{Digest, Sha256};

use crate::place::of_run;

/// What a publish is told by: started again with the same, it goes on in the same journal.
///
/// With another broker or root it is another publish, which must not take over the run of the
/// first. The name is the same in every build, or an update would forget what was begun.
pub(super) struct JournalName<'a> {
    pub(super) directory: &'a Path,
    pub(super) pipeline: &'a str,
    pub(super) root: &'a str,
    pub(super) broker: &'a str,
}

/// Letters of a directory's name that its journal shows; names may be longer than fits.
const SHOWN: usize = 20;

impl fmt::Display for JournalName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut hash = Sha256::new();
        let parts = [
            self.directory.as_os_str().as_bytes(),
            self.pipeline.as_bytes(),
            self.root.as_bytes(),
            self.broker.as_bytes(),
        ];
        for part in parts {
            // With its length, so that no part can pass for the end of the one before.
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let name = self.directory.file_name().unwrap_or_default();
        let shown: String = name.to_string_lossy().chars().take(SHOWN).collect();
        write!(f, "publish-{shown}-{}-", self.pipeline)?;
        let digest = hash.finalize();
        digest
            .iter()
            .take(8)
            .try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str(".jsonl")
    }
}

/// The last run that was published with a journal of this name, by the names of finished ones.
///
/// # Errors
/// The directory cannot be read.
pub(super) fn earlier(journal: &Path) -> io::Result<Option<PathBuf>> {
    let (Some(state), Some(name)) = (journal.parent(), journal.file_name()) else {
        return Ok(None);
    };
    let found = match fs::read_dir(state) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut last = None;
    for entry in found {
        let found = entry?.file_name();
        let found = found.to_string_lossy();
        let mut parts = found.rsplitn(3, '.');
        let run = parts.nth(1).and_then(|run| run.parse::<RunId>().ok());
        if let Some(run) = run
            && of_run(journal, run).file_name() == Some(found.as_ref().as_ref())
            && name != found.as_ref()
        {
            // Ids of runs sort by time.
            last = last.max(Some(run));
        }
    }
    Ok(last.map(|run| of_run(journal, run)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letters() -> JournalName<'static> {
        JournalName {
            directory: Path::new("/data/letters"),
            pipeline: "describe",
            root: "default",
            broker: "rabbit:5672//#filefleet",
        }
    }

    #[test]
    fn a_journal_has_the_same_name_in_every_build() {
        assert_eq!(
            letters().to_string(),
            "publish-letters-describe-a60ef3ff8c434dc5.jsonl"
        );
    }

    #[test]
    fn a_publish_to_another_broker_or_root_does_not_go_on_with_the_first() {
        let others = [
            JournalName {
                directory: Path::new("/other/letters"),
                ..letters()
            },
            JournalName {
                pipeline: "sum",
                ..letters()
            },
            JournalName {
                root: "inbox",
                ..letters()
            },
            JournalName {
                broker: "rabbit:5672//#test",
                ..letters()
            },
        ];
        for other in others {
            assert_ne!(other.to_string(), letters().to_string());
        }
    }

    #[test]
    fn a_directory_with_a_long_name_has_a_journal_too() {
        let directory = PathBuf::from(format!("/{}", "\u{20ac}".repeat(85)));
        let name = JournalName {
            directory: &directory,
            pipeline: &"p".repeat(63),
            ..letters()
        };
        // Finished, it has the run's id in it too.
        assert!(name.to_string().len() + RunId::mint().to_string().len() < 255);
    }

    #[test]
    fn the_last_run_of_a_directory_is_found_among_those_of_others() {
        let dir = tempfile::tempdir().unwrap();
        let journal = dir.path().join("publish-letters-describe-1.jsonl");
        assert_eq!(earlier(&dir.path().join("none/j.jsonl")).unwrap(), None);
        fs::write(&journal, "").unwrap();
        fs::write(of_run(&dir.path().join("other.jsonl"), RunId::mint()), "").unwrap();
        assert_eq!(earlier(&journal).unwrap(), None);
        let runs = [RunId::mint(), RunId::mint()];
        for run in runs {
            fs::write(of_run(&journal, run), "").unwrap();
        }
        assert_eq!(earlier(&journal).unwrap(), Some(of_run(&journal, runs[1])));
    }
}
