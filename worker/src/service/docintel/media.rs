//! As what a document is sent: the service takes some media types and no others.

use crate::service::CallError;

const PDF: &str = "application/pdf";
const JPEG: &str = "image/jpeg";
const PNG: &str = "image/png";
const TIFF: &str = "image/tiff";
const BMP: &str = "image/bmp";
const HEIF: &str = "image/heif";
const UNKNOWN: &str = "application/octet-stream";

/// What the service takes, by the media types that names suggest.
const TAKEN: &[(&str, &str)] = &[
    (PDF, PDF),
    (JPEG, JPEG),
    (PNG, PNG),
    (TIFF, TIFF),
    (BMP, BMP),
    ("image/x-ms-bmp", BMP),
    (HEIF, HEIF),
    ("image/heic", HEIF),
    ("text/html", "text/html"),
    (
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ),
    (
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ),
    (
        "application/vnd.openxmlformats-officedocument.presentationml.presentation",
        "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    ),
    (UNKNOWN, UNKNOWN),
    ("", UNKNOWN),
];

/// The content type to send bytes with: by their beginning, else by `media_type`, which was
/// guessed from the file's name.
///
/// # Errors
/// `Rejected` for an empty file, and for a type that the service does not take.
pub(super) fn content_type(bytes: &[u8], media_type: &str) -> Result<&'static str, CallError> {
    if bytes.is_empty() {
        return Err(CallError::rejected("empty_file", "the file has no bytes"));
    }
    let named = || TAKEN.iter().find(|(name, _)| *name == media_type);
    recognised(bytes)
        .or_else(|| named().map(|(_, taken)| *taken))
        .ok_or_else(|| {
            let detail = format!("{media_type}: not a PDF, image, Office or HTML document");
            CallError::rejected("unsupported_media_type", detail)
        })
}

/// Names lie, and the service refuses what is not what it is said to be.
fn recognised(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [b'%', b'P', b'D', b'F', b'-', ..] => Some(PDF),
        [0xff, 0xd8, 0xff, ..] => Some(JPEG),
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some(PNG),
        [b'I', b'I', 0x2a, 0, ..] | [b'M', b'M', 0, 0x2a, ..] => Some(TIFF),
        // Two letters begin many texts; the four bytes behind the size are zero in every bitmap.
        [b'B', b'M', _, _, _, _, 0, 0, 0, 0, ..] => Some(BMP),
        [_, _, _, _, b'f', b't', b'y', b'p', brand @ ..] if is_heif(brand) => Some(HEIF),
        _ => None,
    }
}

fn is_heif(brand: &[u8]) -> bool {
    [b"heic", b"heix", b"heif", b"hevc", b"mif1", b"msf1"]
        .iter()
        .any(|known| brand.starts_with(*known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_decide_and_names_help() {
        let cases: [(&[u8], &str, &str); 9] = [
            (b"%PDF-1.7", "text/plain", PDF),
            (b"\xff\xd8\xff\xe0", "application/pdf", JPEG),
            (b"\x89PNG\r\n\x1a\n", "image/jpeg", PNG),
            (b"II\x2a\0", UNKNOWN, TIFF),
            (b"BM\x01\x02\x03\x04\0\0\0\0\x36", UNKNOWN, BMP),
            (b"\0\0\0\x18ftypheic", UNKNOWN, HEIF),
            (b"<html>", "text/html", "text/html"),
            (b"PK\x03\x04", UNKNOWN, UNKNOWN),
            (b"junk before %PDF-", "application/pdf", PDF),
        ];
        for (bytes, media_type, expected) in cases {
            assert_eq!(
                content_type(bytes, media_type).unwrap(),
                expected,
                "{media_type}"
            );
        }
        for (name, taken) in TAKEN {
            assert_eq!(content_type(b"PK\x03\x04", name).unwrap(), *taken);
        }
    }

    #[test]
    fn what_the_service_does_not_take_is_refused_before_a_call() {
        let cause = |bytes: &[u8], media_type| match content_type(bytes, media_type) {
            Err(CallError::Rejected { cause, usage, .. }) => {
                assert!(usage.is_zero());
                cause.into_owned()
            }
            other => panic!("{other:?}"),
        };
        for media_type in ["text/plain", "audio/mpeg", "image/gif", "application/zip"] {
            assert_eq!(cause(b"BMW is a car", media_type), "unsupported_media_type");
        }
        assert_eq!(cause(b"", PDF), "empty_file");
    }
}
