use std::os::unix::{ffi::OsStringExt, fs::symlink};

use proptest::prelude::*;

use super::*;

fn reference(key: &[u8]) -> FileRef {
    file_ref("docs", key, 3, None, "text/plain").unwrap()
}

fn forged(key: &str) -> FileRef {
    FileRef {
        key: key.to_owned(),
        ..reference(b"honest")
    }
}

fn roots(directory: &Path, links: Links) -> Roots {
    let mut roots = Roots::new();
    roots.insert("docs", directory, links).unwrap();
    roots
}

#[test]
fn a_key_resolves_inside_its_root() {
    let dir = tempfile::tempdir().unwrap();
    let roots = roots(dir.path(), Links::Inside);
    let path = roots.resolve(&reference(b"a/b c.txt")).unwrap();
    assert_eq!(path, dir.path().canonicalize().unwrap().join("a/b c.txt"));
}

#[test]
fn keys_that_could_leave_the_root_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let roots = roots(dir.path(), Links::Inside);
    for key in [
        "",
        "/etc/passwd",
        "..",
        "../x",
        "a/../x",
        "a/..",
        "./a",
        "a//b",
        "a/",
        "a\0b",
    ] {
        let error = roots.resolve(&forged(key)).unwrap_err();
        assert!(
            matches!(error, FileError::BadKey { .. }),
            "{key:?}: {error}"
        );
    }
    let unknown = FileRef {
        root: "other".to_owned(),
        ..reference(b"a")
    };
    let error = roots.resolve(&unknown).unwrap_err();
    assert!(matches!(error, FileError::UnknownRoot(name) if name == "other"));
}

#[test]
fn key_bytes_cannot_smuggle_another_name() {
    let dir = tempfile::tempdir().unwrap();
    let roots = roots(dir.path(), Links::Inside);
    for bytes in [
        "not base64!",
        &BASE64.encode("../x"),
        &BASE64.encode("other"),
    ] {
        let file = FileRef {
            key_bytes: Some(bytes.to_owned()),
            ..reference(b"shown")
        };
        let error = roots.resolve(&file).unwrap_err();
        assert!(matches!(error, FileError::BadKey { .. }), "{error}");
    }
}

#[test]
fn a_name_that_is_not_utf8_is_opened_by_its_exact_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let name = b"caf\xe9.txt";
    fs::write(
        dir.path().join(std::ffi::OsString::from_vec(name.to_vec())),
        "abc",
    )
    .unwrap();
    let file = reference(name);
    assert_eq!(file.key, "caf\u{fffd}.txt");
    assert_eq!(key_bytes(&file).unwrap().as_ref(), name);
    let (_, metadata) = roots(dir.path(), Links::Inside).open(&file).unwrap();
    assert_eq!(metadata.len(), 3);
}

#[test]
fn a_link_out_of_the_root_is_refused_unless_allowed() {
    let dir = tempfile::tempdir().unwrap();
    let (inside, outside) = (dir.path().join("in"), dir.path().join("out"));
    fs::create_dir(&inside).unwrap();
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret"), "abc").unwrap();
    fs::write(inside.join("own"), "abc").unwrap();
    symlink(&outside, inside.join("door")).unwrap();
    symlink("own", inside.join("alias")).unwrap();

    let strict = roots(&inside, Links::Inside);
    strict.open(&reference(b"alias")).unwrap();
    let error = strict.open(&reference(b"door/secret")).unwrap_err();
    assert!(matches!(error, FileError::Outside { .. }), "{error}");
    let open = roots(&inside, Links::Anywhere);
    open.open(&reference(b"door/secret")).unwrap();
}

#[test]
fn what_is_not_a_readable_file_has_its_own_error() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("sub")).unwrap();
    symlink("loop", dir.path().join("loop")).unwrap();
    let roots = roots(dir.path(), Links::Inside);
    let error = |key: &[u8]| roots.open(&reference(key)).unwrap_err();
    assert!(matches!(error(b"gone"), FileError::Missing { .. }));
    assert!(matches!(error(b"sub"), FileError::NotAFile(_)));
    assert!(matches!(error(b"loop"), FileError::Io { .. }));
}

#[test]
fn a_root_must_be_an_existing_directory() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    let mut roots = Roots::new();
    let mut insert = |name: &str| {
        roots
            .insert("docs", &dir.path().join(name), Links::Inside)
            .map(Path::to_path_buf)
            .unwrap_err()
    };
    assert!(matches!(insert("gone"), FileError::NoSuchDirectory(_)));
    assert!(matches!(insert("file"), FileError::NotADirectory(_)));
    assert!(matches!(insert("file/below"), FileError::NotADirectory(_)));
}

#[test]
fn a_file_of_another_size_or_time_has_changed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    fs::write(&path, "abc").unwrap();
    let metadata = fs::metadata(&path).unwrap();
    let published = FileRef {
        modified: modified(&metadata),
        ..reference(b"a")
    };
    assert!(!has_changed(&published, &metadata));
    assert!(has_changed(
        &FileRef {
            size: 4,
            ..published.clone()
        },
        &metadata
    ));
    let earlier = FileRef {
        modified: Some(UnixMillis(1)),
        ..published
    };
    assert!(has_changed(&earlier, &metadata));
}

proptest! {
    #[test]
    fn every_key_that_is_taken_round_trips_and_stays_inside(key in prop::collection::vec(any::<u8>(), 0..40)) {
        let mut roots = Roots::new();
        let base = roots.insert("docs", Path::new("/"), Links::Inside).unwrap().to_path_buf();
        if let Ok(file) = file_ref("docs", &key, 0, None, "text/plain") {
            let exact = key_bytes(&file).unwrap();
            prop_assert_eq!(exact.as_ref(), key.as_slice());
            let path = roots.resolve(&file).unwrap();
            prop_assert!(path.starts_with(&base));
            prop_assert!(path.components().all(|part| part != std::path::Component::ParentDir));
        }
    }
}

#[test]
fn an_object_is_another_one_by_size_time_or_version_but_not_by_the_precision_of_its_time() {
    let published = FileRef {
        modified: Some(UnixMillis(1_000_123)),
        etag: Some("a".to_owned()),
        ..reference(b"x")
    };
    let same = Entry {
        key: "x".to_owned(),
        size: published.size,
        modified: UnixMillis(1_000_000),
        etag: Some("a".to_owned()),
    };
    assert!(!object_has_changed(&published, &same));
    let others = [
        Entry {
            size: same.size + 1,
            ..same.clone()
        },
        Entry {
            modified: UnixMillis(1_001_000),
            ..same.clone()
        },
        Entry {
            etag: Some("b".to_owned()),
            ..same.clone()
        },
    ];
    for other in others {
        assert!(object_has_changed(&published, &other), "{other:?}");
    }
    let silent = Entry { etag: None, ..same };
    assert!(!object_has_changed(&published, &silent));
}

#[test]
fn an_object_has_no_path_and_its_key_stays_below_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let place = crate::store::StorePlace::Directory(dir.path().to_owned());
    let store = Store::open(&crate::config::StoreConfig::at(place)).unwrap();
    let mut roots = Roots::new();
    roots.insert_store("docs", store);
    let file = reference(b"a/b.txt");
    assert!(matches!(roots.locate(&file), Err(FileError::NotLocal(_))));
    assert_eq!(object_key(&file).unwrap(), "a/b.txt");
    for key in ["../a", "/a", "a//b", ""] {
        assert!(object_key(&forged(key)).is_err(), "{key}");
    }
    let bytes = FileRef {
        key_bytes: Some("YQ==".to_owned()),
        ..forged("a")
    };
    assert!(object_key(&bytes).is_err());
}
