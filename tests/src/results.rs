//! Reads what a run left behind, and checks the arithmetic that makes it complete.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::Value;

/// Result lines of an output directory.
#[derive(Debug, Default)]
pub struct Results {
    /// Lines of `results.jsonl`.
    pub succeeded: Vec<Value>,
    /// Lines of `failures.jsonl`.
    pub failed: Vec<Value>,
}

impl Results {
    /// Reads both files; a missing one is empty.
    ///
    /// # Panics
    /// A line is not JSON.
    #[must_use]
    pub fn read(out: &Path) -> Self {
        Self {
            succeeded: lines(&out.join("results.jsonl")),
            failed: lines(&out.join("failures.jsonl")),
        }
    }

    /// How often each task has an outcome.
    ///
    /// # Panics
    /// A line without `seq`.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<u64, usize> {
        let mut counts = BTreeMap::new();
        for line in self.succeeded.iter().chain(&self.failed) {
            let seq = line["seq"]
                .as_u64()
                .unwrap_or_else(|| panic!("no seq in {line}"));
            *counts.entry(seq).or_default() += 1;
        }
        counts
    }

    /// Every one of `total` tasks has exactly one outcome.
    ///
    /// # Panics
    /// It is not so; the message names the first tasks that are missing or double.
    pub fn assert_exactly_once(&self, total: u64) {
        let counts = self.counts();
        let missing: Vec<u64> = (0..total)
            .filter(|seq| !counts.contains_key(seq))
            .take(5)
            .collect();
        let double: Vec<_> = counts
            .iter()
            .filter(|(_, count)| **count > 1)
            .take(5)
            .collect();
        let foreign: Vec<_> = counts.keys().filter(|seq| **seq >= total).take(5).collect();
        assert!(
            missing.is_empty() && double.is_empty() && foreign.is_empty(),
            "of {total} tasks: missing {missing:?}, double {double:?}, foreign {foreign:?}",
        );
    }
}

/// `run.json` of an output directory.
///
/// # Panics
/// It is missing or not JSON.
#[must_use]
pub fn summary(out: &Path) -> Value {
    let path = out.join("run.json");
    let text =
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Makes `count` files of `bytes` bytes of text in sub-directories of a hundred.
///
/// # Panics
/// The disk refuses.
pub fn make_files(dir: &Path, count: usize, bytes: usize) {
    let words = "The quick brown fox jumps over the lazy dog, once again and again. ";
    let text: String = words.chars().cycle().take(bytes).collect();
    for number in 0..count {
        let folder = dir.join(format!("{:05}", number / 100));
        if number % 100 == 0 {
            fs::create_dir_all(&folder).expect("a directory");
        }
        fs::write(folder.join(format!("{number:07}.txt")), &text).expect("a file");
    }
}

fn lines(path: &Path) -> Vec<Value> {
    let Ok(text) = fs::read_to_string(path) else {
        return Vec::new();
    };
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}
