//! Azure AI Vision Image Analysis 4.0.

use std::borrow::Cow;

use axum::body::Bytes;
use serde_json::Value;

use crate::{
    Kind, Quotas, SimulatorConfig, chance,
    exchange::{Answer, Call, Service, Setting},
    image::size,
    quota::Bucket,
    refusal::{Invalid, Refusal},
};

mod options;
mod result;
mod scene;

use options::Options;

/// Bytes of an image.
const MOST_BYTES: usize = 20_971_520;
/// Of a side of an image, in pixels.
const SIDES: std::ops::RangeInclusive<u32> = 50..=16_000;
/// Of an image at an address, which is not fetched.
const REMOTE: (u32, u32) = (1024, 1024);

/// What the simulated service looks at.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct VisionRequest {
    options: Options,
    /// Width and height in pixels.
    size: (u32, u32),
    /// The image or its address.
    content: Bytes,
}

impl Service for VisionRequest {
    const KIND: Kind = Kind::Vision;
    const BUCKET: Bucket = Bucket::Vision;

    /// Images have no tokens.
    fn quotas(config: &SimulatorConfig) -> Cow<'_, Quotas> {
        Cow::Owned(Quotas {
            tokens_per_minute: None,
            ..config.quotas.clone()
        })
    }

    /// Refused as an invalid request, not as a type.
    fn takes(_: &Call) -> Result<(), Refusal> {
        Ok(())
    }

    fn too_large() -> Refusal {
        Refusal::Invalid(wrong_bytes())
    }

    fn read(call: &Call, body: &Bytes) -> Result<Self, Invalid> {
        let options = Options::parse(&call.query)?;
        let (size, content) = match media_type(&call.content_type) {
            "application/json" => (REMOTE, address(body)?),
            "application/octet-stream" => (size_of(body)?, body.clone()),
            image if image.starts_with("image/") => (size_of(body)?, body.clone()),
            other => {
                return Err(invalid(
                    format!("The provided image content type {other} is not supported."),
                    None,
                ));
            }
        };
        Ok(Self {
            options,
            size,
            content,
        })
    }

    fn model(&self) -> Option<&str> {
        None
    }

    /// Markers may stand anywhere in the file, such as in a comment of its header.
    fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.content)
    }

    fn quota_tokens(&self) -> u64 {
        0
    }

    fn prompt_tokens(&self) -> u64 {
        0
    }

    fn answer(&self, setting: Setting<'_>) -> Result<Answer, serde_json::Error> {
        let luck = chance::mix(chance::hash(&self.content) ^ chance::mix(setting.seed));
        let result = result::analysis(&self.options, self.size, luck);
        Ok(Answer {
            body: serde_json::to_vec(&result)?,
            input_tokens: 0,
            output_tokens: 0,
        })
    }
}

fn media_type(content_type: &str) -> &str {
    content_type.split(';').next().unwrap_or_default().trim()
}

fn address(body: &[u8]) -> Result<Bytes, Invalid> {
    let body: Option<Value> = serde_json::from_slice(body).ok();
    let url = body.as_ref().and_then(|body| body["url"].as_str());
    let host = url.and_then(|url| {
        url.strip_prefix("https://")
            .or_else(|| url.strip_prefix("http://"))
    });
    match url.zip(host) {
        Some((url, host)) if !host.is_empty() && !url.contains(char::is_whitespace) => {
            Ok(Bytes::copy_from_slice(url.as_bytes()))
        }
        _ => Err(invalid(
            "Image URL is badly formatted or not accessible.",
            None,
        )),
    }
}

fn size_of(image: &[u8]) -> Result<(u32, u32), Invalid> {
    if image.is_empty() || image.len() > MOST_BYTES {
        return Err(wrong_bytes());
    }
    let Ok(Some((width, height))) = size::of(image) else {
        return Err(invalid(
            "Image format is not valid.",
            Some(("InvalidImageFormat", "Input data is not a valid image.")),
        ));
    };
    if SIDES.contains(&width) && SIDES.contains(&height) {
        return Ok((width, height));
    }
    let (least, most) = (SIDES.start(), SIDES.end());
    let message = format!(
        "The image dimension is not allowed to be smaller than {least} and larger than {most}."
    );
    Err(invalid(
        message.clone(),
        Some(("InvalidImageSize", &message)),
    ))
}

fn wrong_bytes() -> Invalid {
    invalid(
        format!("The image size is not allowed to be zero or larger than {MOST_BYTES} bytes."),
        None,
    )
}

fn invalid(message: impl Into<String>, inner: Option<(&'static str, &str)>) -> Invalid {
    Invalid {
        message: message.into(),
        kind: "",
        param: None,
        code: Some("InvalidRequest"),
        inner: inner.map(|(code, message)| (code, message.to_owned())),
    }
}
