//! Which files stand for a whole directory: some of every size, spread over the scan.

use filefleet_producer::scan::{
    Listing, Pace, Scan, ScanError, ScanItem, ScanOptions, ScannedFile, Source,
};
use serde::Serialize;

/// Sizes are told apart by powers of two, and none.
const CLASSES: usize = 65;

/// All files of a directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Census {
    pub(super) files: u64,
    pub(super) bytes: u64,
    /// Entries that could not be read.
    pub(super) unreadable: u64,
    /// Symbolic links that were passed over.
    pub(super) links: u64,
}

/// A file that stands for `weight` files.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sampled {
    pub(super) file: ScannedFile,
    pub(super) weight: f64,
}

/// Files of about one size.
#[derive(Clone, Copy, Debug, Default)]
struct Class {
    files: u64,
    bytes: u64,
    wanted: u64,
    seen: u64,
    picked: u64,
}

/// What a scan finds.
pub(super) type Items = Box<dyn Iterator<Item = Result<ScanItem, ScanError>>>;

/// Begins a scan of a directory or store; a store is listed at that pace.
///
/// # Errors
/// Every [`ScanError`].
pub(super) fn scan(
    source: &Source,
    pace: &Pace,
    options: &ScanOptions,
) -> Result<Items, ScanError> {
    Ok(match source {
        Source::Directory(directory) => Box::new(Scan::open(directory, options, None)?.map(Ok)),
        Source::Store(store) => {
            Box::new(Listing::open(store.clone(), pace.clone(), options, None)?)
        }
    })
}

/// Scans twice: for what there is, then for at most `most` files that stand for it.
///
/// The same directory gives the same files. Blocks.
///
/// # Errors
/// Every [`ScanError`].
pub(super) fn take(
    scan: impl Fn() -> Result<Items, ScanError>,
    most: u64,
) -> Result<(Census, Vec<Sampled>), ScanError> {
    let mut census = Census::default();
    let mut classes = [Class::default(); CLASSES];
    for item in scan()? {
        match item? {
            ScanItem::File(file) => {
                census.files += 1;
                census.bytes += file.size;
                let class = &mut classes[class_of(file.size)];
                class.files += 1;
                class.bytes += file.size;
            }
            ScanItem::Unreadable(_) => census.unreadable += 1,
            ScanItem::Link => census.links += 1,
        }
    }
    share_out(&mut classes, census, most);
    let mut picked = Vec::new();
    for item in scan()? {
        let ScanItem::File(file) = item? else {
            continue;
        };
        let class = &mut classes[class_of(file.size)];
        if class.picks() {
            picked.push(file);
        }
    }
    Ok((census, weigh(&classes, picked)))
}

fn class_of(size: u64) -> usize {
    (u64::BITS - size.leading_zeros()) as usize
}

/// Of every class one at least, and more by its part of the files and of the bytes.
fn share_out(classes: &mut [Class; CLASSES], census: Census, most: u64) {
    let filled = classes.iter().filter(|class| class.files > 0).count() as u64;
    let rest = most.saturating_sub(filled);
    let part = |of: u64, all: u64| u128::from(of) * u128::from(rest) / u128::from(all.max(1));
    for class in classes.iter_mut().filter(|class| class.files > 0) {
        let more = part(class.files, census.files) + part(class.bytes, census.bytes);
        let wanted = 1 + u64::try_from(more / 2).unwrap_or(u64::MAX);
        class.wanted = wanted.min(class.files);
    }
    // What few large files could not use is for the others.
    let mut left = most.saturating_sub(classes.iter().map(|class| class.wanted).sum());
    while left > 0 {
        let least = |class: &&mut Class| class.wanted < class.files;
        let open = classes.iter_mut().filter(least);
        let Some(class) = open.max_by_key(|class| class.files / class.wanted.max(1)) else {
            break;
        };
        class.wanted += 1;
        left -= 1;
    }
}

impl Class {
    /// Whether the next file of the class is in the sample: evenly, each in the middle of its part.
    fn picks(&mut self) -> bool {
        let (seen, files) = (u128::from(self.seen), u128::from(self.files.max(1)));
        self.seen += 1;
        let middle =
            (2 * u128::from(self.picked) + 1) * files / (2 * u128::from(self.wanted.max(1)));
        let picks = self.picked < self.wanted && seen >= middle;
        self.picked += u64::from(picks);
        picks
    }
}

#[expect(clippy::cast_precision_loss, reason = "files are far fewer than 2^52")]
fn weigh(classes: &[Class; CLASSES], picked: Vec<ScannedFile>) -> Vec<Sampled> {
    let weight = |file: &ScannedFile| {
        let class = &classes[class_of(file.size)];
        class.files as f64 / class.picked.max(1) as f64
    };
    picked
        .into_iter()
        .map(|file| Sampled {
            weight: weight(&file),
            file,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn directory(sizes: &[(usize, usize)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (number, (count, size)) in sizes.iter().enumerate() {
            for file in 0..*count {
                let name = format!("{number}-{file:05}");
                fs::write(dir.path().join(name), vec![b'x'; *size]).unwrap();
            }
        }
        dir
    }

    fn take_from(dir: &tempfile::TempDir, most: u64) -> (Census, Vec<Sampled>) {
        let scan = || {
            let scan = Scan::open(dir.path(), &ScanOptions::default(), None)?;
            Ok(Box::new(scan.map(Ok)) as Items)
        };
        take(scan, most).unwrap()
    }

    #[test]
    fn a_small_directory_stands_for_itself() {
        let dir = directory(&[(3, 0), (4, 100)]);
        let (census, sample) = take_from(&dir, 200);
        assert_eq!((census.files, census.bytes), (7, 400));
        assert_eq!(sample.len(), 7);
        assert!(sample.iter().all(|file| (file.weight - 1.0).abs() < 1e-9));
    }

    #[test]
    fn every_size_is_there_and_the_weights_are_all_files() {
        let dir = directory(&[(500, 100), (20, 5_000), (2, 200_000)]);
        let (census, sample) = take_from(&dir, 50);
        assert_eq!(census.files, 522);
        assert!((45..=50).contains(&sample.len()), "{}", sample.len());
        let weight: f64 = sample.iter().map(|file| file.weight).sum();
        assert!((weight - 522.0).abs() < 1e-6, "{weight}");
        assert!(
            sample
                .iter()
                .filter(|file| file.file.size == 200_000)
                .count()
                == 2
        );
        assert!(sample.iter().filter(|file| file.file.size == 5_000).count() >= 2);
    }

    #[test]
    fn files_of_one_size_are_taken_evenly_and_the_same_ones_again() {
        let dir = directory(&[(100, 10)]);
        let (_, sample) = take_from(&dir, 10);
        let names: Vec<_> = sample
            .iter()
            .map(|file| String::from_utf8_lossy(&file.file.key).into_owned())
            .collect();
        let expected: Vec<_> = (0..10).map(|n| format!("0-{:05}", n * 10 + 5)).collect();
        assert_eq!(names, expected);
        let (_, again) = take_from(&dir, 10);
        assert_eq!(sample, again);
    }
}
