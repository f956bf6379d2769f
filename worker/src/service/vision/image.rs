//! What the service takes, checked before a call.

use std::ops::RangeInclusive;

use crate::service::CallError;

/// Largest image that the service takes.
pub(crate) const MAX_BYTES: u64 = 20_971_520;
/// The outcome of a larger one.
pub(crate) const TOO_LARGE: &str = "image_too_large";
/// Width and height that the service takes, in pixels.
const SIDES: RangeInclusive<usize> = 50..=16_000;

/// Checks an image by its size and its header.
///
/// # Errors
/// `Rejected` as `empty_file`, `image_too_large`, `not_an_image` or `image_dimensions`.
pub(super) fn check(bytes: &[u8]) -> Result<(), CallError> {
    let length = bytes.len() as u64;
    if length == 0 {
        return Err(CallError::rejected("empty_file", "the file has no bytes"));
    }
    if length > MAX_BYTES {
        let detail = format!("{length} bytes, the service takes {MAX_BYTES}");
        return Err(CallError::rejected(TOO_LARGE, detail));
    }
    let size = imagesize::blob_size(bytes).map_err(|_| {
        let detail = "not a JPEG, PNG, GIF, BMP, WebP, ICO or TIFF image, or a broken one";
        CallError::rejected("not_an_image", detail)
    })?;
    if !SIDES.contains(&size.width) || !SIDES.contains(&size.height) {
        let detail = format!(
            "{} x {} pixels, the service takes {} to {} each way",
            size.width,
            size.height,
            SIDES.start(),
            SIDES.end()
        );
        return Err(CallError::rejected("image_dimensions", detail));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn png(width: u32, height: u32) -> Vec<u8> {
        let mut bytes = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec();
        bytes.extend(width.to_be_bytes());
        bytes.extend(height.to_be_bytes());
        bytes.extend([8, 2, 0, 0, 0]);
        bytes
    }

    fn cause(bytes: &[u8]) -> String {
        match check(bytes) {
            Ok(()) => String::new(),
            Err(CallError::Rejected { cause, usage, .. }) => {
                assert!(usage.is_zero());
                cause.into_owned()
            }
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn images_within_the_limits_are_sent() {
        for (width, height) in [(50, 50), (16_000, 50), (640, 480)] {
            assert_eq!(cause(&png(width, height)), "", "{width} x {height}");
        }
        let gif = b"GIF89a\x40\x01\xf0\0\0\0\0";
        assert_eq!(cause(gif), "");
        let bitmap = [
            b"BM".as_slice(),
            &[0; 12],
            &[40, 0, 0, 0, 60, 0, 0, 0, 60, 0, 0, 0],
        ]
        .concat();
        assert_eq!(cause(&bitmap), "");
    }

    #[test]
    fn every_limit_has_a_name() {
        for (width, height) in [(49, 50), (50, 49), (16_001, 50), (50, 16_001)] {
            assert_eq!(cause(&png(width, height)), "image_dimensions");
        }
        assert_eq!(cause(b""), "empty_file");
        for nothing in [
            &b"hello, world: no image"[..],
            b"%PDF-1.7 and more of it",
            b"\x89PNG\r\n\x1a\n",
            b"GIF",
        ] {
            assert_eq!(cause(nothing), "not_an_image", "{nothing:?}");
        }
        let mut large = png(640, 480);
        large.resize(20_971_520, 0);
        assert_eq!(cause(&large), "");
        large.push(0);
        assert_eq!(cause(&large), "image_too_large");
    }
}
