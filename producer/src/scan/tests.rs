use std::{
    ffi::OsString,
    fs,
    os::unix::{ffi::OsStringExt, fs::symlink, net::UnixListener},
};

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

fn tree(keys: &[&str]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for key in keys {
        put(&dir, key.as_bytes());
    }
    dir
}

fn put(dir: &TempDir, key: &[u8]) {
    let path = dir.path().join(OsString::from_vec(key.to_vec()));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, key).unwrap();
}

fn scan(dir: &TempDir, options: &ScanOptions, after: Option<&[u8]>) -> Vec<ScanItem> {
    Scan::open(dir.path(), options, after).unwrap().collect()
}

fn files(items: &[ScanItem]) -> Vec<String> {
    let name = |item: &ScanItem| match item {
        ScanItem::File(file) => Some(String::from_utf8_lossy(&file.key).into_owned()),
        ScanItem::Unreadable(_) | ScanItem::Link => None,
    };
    items.iter().filter_map(name).collect()
}

fn unreadable(items: &[ScanItem]) -> Vec<(String, String)> {
    let entry = |item: &ScanItem| match item {
        ScanItem::Unreadable(entry) => Some((
            String::from_utf8_lossy(&entry.key).into_owned(),
            entry.reason.clone(),
        )),
        ScanItem::File(_) | ScanItem::Link => None,
    };
    items.iter().filter_map(entry).collect()
}

#[test]
fn files_come_depth_first_and_sorted_by_the_bytes_of_their_names() {
    let dir = tree(&["b", "a.txt", "a/z", "a/b/c", "a-b", "B", "a0/x", "é"]);
    let found = files(&scan(&dir, &ScanOptions::default(), None));
    assert_eq!(
        found,
        ["B", "a/b/c", "a/z", "a-b", "a.txt", "a0/x", "b", "é"]
    );
    assert!(found.is_sorted_by(|a, b| scan_order(a.as_bytes(), b.as_bytes()).is_lt()));
}

#[test]
fn empty_files_are_tasks_and_directories_links_and_sockets_are_not() {
    let dir = tree(&["sub/full"]);
    fs::write(dir.path().join("empty"), "").unwrap();
    symlink("empty", dir.path().join("link")).unwrap();
    let _socket = UnixListener::bind(dir.path().join("socket")).unwrap();
    let items = scan(&dir, &ScanOptions::default(), None);
    assert_eq!(files(&items), ["empty", "sub/full"]);
    assert_eq!(unreadable(&items), []);
    let ScanItem::File(empty) = &items[0] else {
        panic!("a file comes first");
    };
    assert_eq!(empty.size, 0);
    assert!(empty.modified.is_some());
}

#[test]
fn links_that_are_passed_over_are_counted_if_what_they_lead_to_would_be_looked_at() {
    let dir = tree(&["sub/full"]);
    for (name, target) in [
        ("a.pdf", "sub/full"),
        ("a.txt", "sub/full"),
        ("b", "sub"),
        (".c", "sub"),
        ("out", "sub"),
    ] {
        symlink(target, dir.path().join(name)).unwrap();
    }
    let links = |include: &[&str], follow_links| {
        let options = ScanOptions {
            include: include.iter().map(|glob| (*glob).to_owned()).collect(),
            exclude: vec!["out".to_owned()],
            follow_links,
            ..ScanOptions::default()
        };
        let items = scan(&dir, &options, None);
        items.iter().filter(|item| **item == ScanItem::Link).count()
    };
    assert_eq!(links(&[], false), 3);
    assert_eq!(links(&["*.pdf"], false), 2);
    assert_eq!(links(&[], true), 0);
}

#[test]
fn hidden_files_come_only_when_asked_for() {
    let dir = tree(&[".h", ".d/x", "a"]);
    assert_eq!(files(&scan(&dir, &ScanOptions::default(), None)), ["a"]);
    let options = ScanOptions {
        hidden: true,
        ..ScanOptions::default()
    };
    assert_eq!(files(&scan(&dir, &options, None)), [".d/x", ".h", "a"]);
}

#[test]
fn only_our_own_ignore_file_is_honoured() {
    let dir = tree(&["a.log", "keep/b.log", "x/c.log", "x/d.txt"]);
    fs::write(dir.path().join(".gitignore"), "*\n").unwrap();
    fs::write(dir.path().join(".ignore"), "*\n").unwrap();
    fs::write(dir.path().join(IGNORE_FILE), "*.log\n").unwrap();
    fs::write(dir.path().join("keep").join(IGNORE_FILE), "!b.log\n").unwrap();
    let found = files(&scan(&dir, &ScanOptions::default(), None));
    assert_eq!(found, ["keep/b.log", "x/d.txt"]);
}

#[test]
fn a_malformed_ignore_file_is_reported_and_the_files_still_come() {
    let dir = tree(&[" first", "sub/a"]);
    fs::write(dir.path().join("sub").join(IGNORE_FILE), "a{b\n").unwrap();
    let items = scan(&dir, &ScanOptions::default(), None);
    assert_eq!(files(&items), [" first", "sub/a"]);
    let reported = unreadable(&items);
    assert_eq!(reported.len(), 1);
    assert_eq!(reported[0].0, "sub");
    assert!(reported[0].1.contains(IGNORE_FILE), "{reported:?}");
}

#[test]
fn globs_and_exceptions_choose_the_files() {
    let dir = tree(&["a.pdf", "a.txt", "old/b.pdf", "out/c.pdf", "x/d.pdf"]);
    let options = ScanOptions {
        include: vec!["*.pdf".to_owned()],
        exclude: vec!["old/".to_owned()],
        except: vec![dir.path().join("out")],
        ..ScanOptions::default()
    };
    assert_eq!(files(&scan(&dir, &options, None)), ["a.pdf", "x/d.pdf"]);
}

#[test]
fn output_directories_of_any_run_are_left_out() {
    let dir = tree(&[
        "a",
        "deep/out/results.jsonl",
        "deep/b",
        "out/state/queue.db",
    ]);
    for out in ["deep/out", "out"] {
        crate::sink::mark(&dir.path().join(out)).unwrap();
    }
    let found = files(&scan(&dir, &ScanOptions::default(), None));
    assert_eq!(found, ["a", "deep/b"]);
}

#[test]
fn a_name_that_is_not_utf8_keeps_its_bytes() {
    let dir = tempfile::tempdir().unwrap();
    put(&dir, b"d\xff/n\xfe.txt");
    let items = scan(&dir, &ScanOptions::default(), None);
    let [ScanItem::File(file)] = items.as_slice() else {
        panic!("one file: {items:?}");
    };
    assert_eq!(file.key, b"d\xff/n\xfe.txt");
    let reference = file.file_ref("docs").unwrap();
    assert_eq!(files::key_bytes(&reference).unwrap().as_ref(), file.key);
    assert_eq!(reference.media_type, "text/plain");
}

#[test]
fn followed_links_give_their_targets_and_bad_ones_are_unreadable_not_fatal() {
    let dir = tree(&["a/file", "z"]);
    symlink("../a", dir.path().join("a/loop")).unwrap();
    symlink("nowhere", dir.path().join("broken")).unwrap();
    symlink("self", dir.path().join("self")).unwrap();
    symlink("z", dir.path().join("link")).unwrap();
    let options = ScanOptions {
        follow_links: true,
        ..ScanOptions::default()
    };
    let items = scan(&dir, &options, None);
    assert_eq!(files(&items), ["a/file", "link", "z"]);
    let bad: Vec<String> = unreadable(&items).into_iter().map(|(key, _)| key).collect();
    assert_eq!(bad, ["a/loop", "broken", "self"]);
    for (key, reason) in unreadable(&items) {
        assert!(
            !reason.contains(dir.path().to_str().unwrap()),
            "{key}: {reason}"
        );
    }
    // Behind the first bad entry only the later ones are found again.
    let rest = scan(&dir, &options, Some(b"a/loop"));
    assert_eq!(files(&rest), ["link", "z"]);
    assert_eq!(unreadable(&rest).len(), 2);
}

#[test]
fn a_scan_started_behind_any_key_gives_exactly_the_rest() {
    let dir = tree(&["a/b/c", "a/b/d", "a/e", "a.txt", "b", "c/d/e", "c/f"]);
    let all = files(&scan(&dir, &ScanOptions::default(), None));
    for (place, key) in all.iter().enumerate() {
        let rest = files(&scan(&dir, &ScanOptions::default(), Some(key.as_bytes())));
        assert_eq!(rest, all[place + 1..], "behind {key}");
    }
    // A key that is gone, and one that became a directory.
    let rest = files(&scan(&dir, &ScanOptions::default(), Some(b"a/b/cc")));
    assert_eq!(rest, all[1..]);
    let rest = files(&scan(&dir, &ScanOptions::default(), Some(b"a")));
    assert_eq!(rest, all);
}

#[test]
fn a_scan_needs_an_existing_directory() {
    let dir = tree(&["file"]);
    let open =
        |name: &str| Scan::open(&dir.path().join(name), &ScanOptions::default(), None).unwrap_err();
    assert!(matches!(open("gone"), ScanError::NoSuchDirectory(_)));
    assert!(matches!(open("file"), ScanError::NotADirectory(_)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_scan_is_sorted_by_scan_order_whatever_the_names(
        keys in prop::collection::btree_set("[a-c.\\-é]{1,3}(/[a-c.\\-é]{1,3}){0,2}", 1..20)
    ) {
        let dir = tempfile::tempdir().unwrap();
        let names_a_place = |key: &&String| !key.split('/').any(|name| matches!(name, "." | ".."));
        for key in keys.iter().filter(names_a_place) {
            let path = dir.path().join(key);
            // A name can be a file here and a directory there: the first one stays.
            if fs::create_dir_all(path.parent().unwrap()).is_ok() && !path.is_dir() {
                fs::write(&path, key).ok();
            }
        }
        let options = ScanOptions { hidden: true, ..ScanOptions::default() };
        let items = scan(&dir, &options, None);
        let found = files(&items);
        prop_assert!(found.is_sorted_by(|a, b| scan_order(a.as_bytes(), b.as_bytes()).is_lt()));
        prop_assert_eq!(unreadable(&items), []);
    }
}
