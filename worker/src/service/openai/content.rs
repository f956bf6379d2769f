//! What of a file is sent: text as text, images as images.

use std::borrow::Cow;

use serde::Serialize;

use crate::service::{
    CallError,
    text::{self, NotText},
};

/// What of the file a step sends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ContentMode {
    /// An image if the bytes are one, else text; nothing if the prompt works on earlier outputs.
    #[default]
    Auto,
    /// Text; other files are refused.
    Text,
    /// An image; other files are refused.
    Image,
    /// Nothing.
    None,
}

/// A file's content, recognised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Content<'a> {
    Nothing,
    Text(Cow<'a, str>),
    /// Neither, where a text was wanted.
    NoText(NotText),
    Image {
        media_type: &'static str,
        bytes: &'a [u8],
    },
}

impl Content<'_> {
    /// The text, empty if there is none.
    pub(crate) fn text(&self) -> &str {
        self.readable().unwrap_or_default()
    }

    /// The text that a template sees, empty for an image.
    pub(crate) fn readable(&self) -> Result<&str, &NotText> {
        match self {
            Self::Text(text) => Ok(text),
            Self::NoText(why) => Err(why),
            Self::Nothing | Self::Image { .. } => Ok(""),
        }
    }

    /// How much it is.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Nothing | Self::NoText(_) => 0,
            Self::Text(text) => text.len(),
            Self::Image { bytes, .. } => bytes.len(),
        }
    }
}

/// Recognises a file's bytes. `media_type`, guessed from its name, only serves the message.
pub(crate) fn read<'a>(
    bytes: &'a [u8],
    mode: ContentMode,
    media_type: &str,
) -> Result<Content<'a>, CallError> {
    if bytes.is_empty() {
        return Err(CallError::rejected("empty_file", "the file has no bytes"));
    }
    let image = image_type(bytes);
    match (mode, image) {
        (ContentMode::None, _) => Ok(Content::Nothing),
        (ContentMode::Auto | ContentMode::Image, Some(media_type)) => {
            Ok(Content::Image { media_type, bytes })
        }
        (ContentMode::Image, None) => {
            let detail = format!("{media_type}: not a PNG, JPEG, GIF or WebP image");
            Err(CallError::rejected("not_image", detail))
        }
        (ContentMode::Auto | ContentMode::Text, _) => {
            let text = text::read(bytes, image.unwrap_or(media_type));
            Ok(text.map_or_else(Content::NoText, Content::Text))
        }
    }
}

/// The type of an image by its first bytes: names lie, and services refuse what they are not told.
fn image_type(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some("image/png"),
        [0xff, 0xd8, 0xff, ..] => Some("image/jpeg"),
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some("image/gif"),
        [
            b'R',
            b'I',
            b'F',
            b'F',
            _,
            _,
            _,
            _,
            b'W',
            b'E',
            b'B',
            b'P',
            ..,
        ] => Some("image/webp"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PNG: &[u8] = b"\x89PNG\r\n\x1a\nrest";

    fn cause(bytes: &[u8], mode: ContentMode) -> (Cow<'static, str>, String) {
        let read = read(bytes, mode, "application/pdf");
        match read.and_then(|content| Ok(content.readable().map(drop).map_err(Clone::clone)?)) {
            Err(CallError::Rejected {
                cause,
                detail,
                usage,
            }) => {
                assert!(usage.is_zero());
                (cause, detail)
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn text_is_read_in_the_encodings_that_say_what_they_are() {
        let text = |bytes: &'static [u8]| read(bytes, ContentMode::Auto, "text/plain").unwrap();
        assert_eq!(text("héllo".as_bytes()), Content::Text("héllo".into()));
        assert_eq!(text(b"\xef\xbb\xbfhello"), Content::Text("hello".into()));
        assert_eq!(text(b"\xff\xfeh\0\xe9\0"), Content::Text("hé".into()));
        assert_eq!(
            text(b"\xfe\xff\0h\xd8\x3d\xde\0"),
            Content::Text("h😀".into())
        );
    }

    #[test]
    fn binary_where_text_is_wanted_is_refused_by_its_type() {
        let wanted = "application/pdf: binary where text is wanted".to_owned();
        for bytes in [
            &b"%PDF\xff"[..],
            b"a\0b",
            b"\xff\xfe\x00",
            b"\xff\xfe\x00\xd8",
        ] {
            assert_eq!(
                cause(bytes, ContentMode::Auto),
                ("not_text".into(), wanted.clone())
            );
        }
        let image = "image/png: binary where text is wanted".to_owned();
        assert_eq!(cause(PNG, ContentMode::Text), ("not_text".into(), image));
        assert_eq!(cause(b"hello", ContentMode::Image).0, "not_image");
    }

    #[test]
    fn images_are_recognised_by_their_bytes() {
        let cases: [(&[u8], &str); 5] = [
            (PNG, "image/png"),
            (b"\xff\xd8\xff\xe0", "image/jpeg"),
            (b"GIF89a..", "image/gif"),
            (b"GIF87a..", "image/gif"),
            (b"RIFF\x01\x02\x03\x04WEBPVP8 ", "image/webp"),
        ];
        for (bytes, media_type) in cases {
            let found = read(bytes, ContentMode::Auto, "text/plain").unwrap();
            assert_eq!(found, Content::Image { media_type, bytes });
        }
    }

    #[test]
    fn a_file_without_bytes_is_a_named_refusal() {
        assert_eq!(cause(b"", ContentMode::Auto).0, "empty_file");
    }
}
