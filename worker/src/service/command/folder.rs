//! A private place for one run of a program, gone after it.

use std::{
    fs::{OpenOptions, Permissions},
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use tempfile::TempDir;

use crate::service::CallError;

/// A directory that only this user can enter, with a copy of the file if one is wanted.
#[derive(Debug)]
pub(crate) struct Folder {
    dir: TempDir,
    file: Option<String>,
}

impl Folder {
    /// `copy` is the file's bytes and its key, of which the copy keeps the extension: programs
    /// go by it.
    pub(crate) async fn new(copy: Option<(Bytes, String)>) -> Result<Self, CallError> {
        let made = tokio::task::spawn_blocking(move || make(copy)).await;
        made.unwrap_or_else(|panic| Err(io::Error::other(panic)))
            .map_err(|error| CallError::Overloaded {
                retry_after: None,
                detail: format!("cannot make a private copy: {}", error.kind()),
            })
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Where the copy is.
    pub(crate) fn file(&self) -> Option<&str> {
        self.file.as_deref()
    }
}

fn make(copy: Option<(Bytes, String)>) -> io::Result<Folder> {
    let dir = tempfile::Builder::new()
        .prefix("filefleet-")
        .permissions(Permissions::from_mode(0o700))
        .tempdir()?;
    let Some((content, key)) = copy else {
        return Ok(Folder { dir, file: None });
    };
    let path: PathBuf = dir.path().join(name(&key));
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)?;
    file.write_all(&content)?;
    let path = path.into_os_string().into_string();
    let path = path.map_err(|_| io::Error::from(io::ErrorKind::InvalidFilename))?;
    Ok(Folder {
        dir,
        file: Some(path),
    })
}

/// What the copy of a file is called.
pub(super) fn name(key: &str) -> String {
    let last = key.rsplit('/').next().unwrap_or_default();
    match last.rsplit_once('.') {
        Some((_, extension))
            if (1..=16).contains(&extension.len())
                && extension.bytes().all(|byte| byte.is_ascii_alphanumeric()) =>
        {
            format!("file.{extension}")
        }
        _ => "file".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_copy_is_private_keeps_the_extension_and_goes_with_the_folder() {
        let copy = (Bytes::from_static(b"x"), "in/a letter.PDF".to_owned());
        let folder = Folder::new(Some(copy)).await.unwrap();
        let file = PathBuf::from(folder.file().unwrap());
        assert!(file.ends_with("file.PDF"), "{file:?}");
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&file), mode(folder.path())), (0o600, 0o700));
        drop(folder);
        assert!(!file.exists());
    }

    #[test]
    fn only_plain_extensions_are_kept() {
        assert_eq!(name("a.b/c"), "file");
        assert_eq!(name("c.tar.gz"), "file.gz");
        assert_eq!(name("c.$(x)"), "file");
        assert_eq!(name("c."), "file");
    }
}
