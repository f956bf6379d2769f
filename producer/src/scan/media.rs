//! Media types by name: a hint for services, never a decision about content.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt, path::Path};

const UNKNOWN: &str = "application/octet-stream";
const TEXT: &str = "text/plain";

/// The media type that a name suggests.
pub(super) fn of_name(key: &[u8]) -> &'static str {
    let path = Path::new(OsStr::from_bytes(key));
    let guess = mime_guess::from_path(path).first_raw();
    guess.unwrap_or_else(|| {
        let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        match name {
            "README" | "LICENSE" | "COPYING" | "NOTICE" | "CHANGELOG" | "Makefile"
            | "Dockerfile" => TEXT,
            _ => UNKNOWN,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_suggests_its_media_type() {
        for (name, media_type) in [
            ("a/b.txt", "text/plain"),
            ("a.PDF", "application/pdf"),
            ("scan.jpeg", "image/jpeg"),
            ("data.json", "application/json"),
            ("x/README", "text/plain"),
            ("noname", UNKNOWN),
            (".hidden", UNKNOWN),
        ] {
            assert_eq!(of_name(name.as_bytes()), media_type, "{name}");
        }
    }
}
