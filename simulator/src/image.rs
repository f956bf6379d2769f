//! Images in requests: what can be told of them without decoding a pixel.

use base64::{Engine, prelude::BASE64_STANDARD};

pub(crate) mod size;

/// An image of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Image {
    /// At an address that is not fetched.
    Remote,
    /// In the request itself.
    Inline {
        media_type: String,
        bytes: usize,
        /// Width and height in pixels, where the header tells them.
        size: Option<(u32, u32)>,
    },
}

/// What is wrong with the URL of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadImage {
    Url,
    Base64,
    Format,
}

impl Image {
    /// Reads `data:image/png;base64,…`, or takes an http address as it is.
    pub(crate) fn parse(url: &str) -> Result<Self, BadImage> {
        if url.starts_with("https://") || url.starts_with("http://") {
            return Ok(Self::Remote);
        }
        let data = url.strip_prefix("data:").ok_or(BadImage::Url)?;
        let (head, payload) = data.split_once(',').ok_or(BadImage::Url)?;
        let media_type = head.strip_suffix(";base64").ok_or(BadImage::Url)?;
        if !matches!(
            media_type,
            "image/png" | "image/jpeg" | "image/jpg" | "image/gif" | "image/webp"
        ) {
            return Err(BadImage::Format);
        }
        let bytes = BASE64_STANDARD
            .decode(payload)
            .map_err(|_| BadImage::Base64)?;
        if bytes.is_empty() {
            return Err(BadImage::Format);
        }
        Ok(Self::Inline {
            media_type: media_type.to_owned(),
            bytes: bytes.len(),
            size: size::of(&bytes).ok().flatten(),
        })
    }

    /// Tokens, by OpenAI's rule for high detail: 85, and 170 for every tile of 512 pixels.
    pub(crate) fn tokens(&self) -> u64 {
        let (width, height) = match self {
            Self::Inline {
                size: Some(size), ..
            } => *size,
            _ => (1024, 1024),
        };
        let (mut width, mut height) = (u64::from(width.max(1)), u64::from(height.max(1)));
        let longest = width.max(height);
        if longest > 2048 {
            (width, height) = (width * 2048 / longest, height * 2048 / longest);
        }
        let shortest = width.min(height).max(1);
        if shortest > 768 {
            (width, height) = (width * 768 / shortest, height * 768 / shortest);
        }
        85 + 170 * width.div_ceil(512).max(1) * height.div_ceil(512).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inline(media_type: &str, bytes: &[u8]) -> Result<Image, BadImage> {
        Image::parse(&format!(
            "data:{media_type};base64,{}",
            BASE64_STANDARD.encode(bytes)
        ))
    }

    #[test]
    fn the_size_of_png_and_jpeg_is_read_from_the_header() {
        let mut png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec();
        png.extend([0, 0, 2, 0, 0, 0, 1, 44]);
        let Ok(Image::Inline { size, bytes, .. }) = inline("image/png", &png) else {
            panic!("a PNG is an image");
        };
        assert_eq!((size, bytes), (Some((512, 300)), png.len()));

        let jpeg = [
            0xff, 0xd8, 0xff, 0xe0, 0, 4, 1, 1, 0xff, 0xc0, 0, 11, 8, 0, 100, 0, 200, 1,
        ];
        let Ok(Image::Inline { size, .. }) = inline("image/jpeg", &jpeg) else {
            panic!("a JPEG is an image");
        };
        assert_eq!(size, Some((200, 100)));
    }

    #[test]
    fn cut_headers_have_no_size_and_are_no_error() {
        for bytes in [
            &b"\x89PNG\r\n\x1a\n\0\0"[..],
            b"\xff\xd8\xff\xe0\0\xff",
            b"GIF89a",
        ] {
            let Ok(Image::Inline { size, .. }) = inline("image/gif", bytes) else {
                panic!("bytes of a known type are an image");
            };
            assert_eq!(size, None);
        }
    }

    #[test]
    fn what_is_no_image_is_refused() {
        assert_eq!(Image::parse("scan.png"), Err(BadImage::Url));
        assert_eq!(Image::parse("data:image/png,abc"), Err(BadImage::Url));
        assert_eq!(
            Image::parse("data:image/png;base64,a*c"),
            Err(BadImage::Base64)
        );
        assert_eq!(inline("application/pdf", b"%PDF"), Err(BadImage::Format));
        assert_eq!(inline("image/png", b""), Err(BadImage::Format));
        assert_eq!(Image::parse("https://host/x.png"), Ok(Image::Remote));
    }

    #[test]
    fn tokens_follow_the_tiles() {
        let of = |width, height| {
            Image::Inline {
                media_type: "image/png".to_owned(),
                bytes: 1,
                size: Some((width, height)),
            }
            .tokens()
        };
        assert_eq!(of(512, 512), 255);
        assert_eq!(of(1024, 1024), 765);
        assert_eq!(of(2048, 4096), 1105);
    }
}
