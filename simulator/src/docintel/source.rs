//! The document as it was sent, and its text as far as it can be told.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::Value;

use super::{pdf, problems};
use crate::{
    answer::LABEL,
    azure::{Ask, Problem},
    chance,
    image::size,
};

/// Lines of a plain text that are taken as one page.
const LINES_A_PAGE: usize = 60;

/// A document.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) shape: Shape,
    pub(super) sheets: Vec<Sheet>,
}

/// One page, sheet or slide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sheet {
    /// From 1.
    pub(super) number: usize,
    pub(super) lines: Vec<String>,
}

/// What pages are measured in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// Letter paper, in inches.
    Paper,
    /// An image, in pixels.
    Pixels(u32, u32),
    /// Office and HTML: no measures, no lines.
    Flowing,
}

impl Source {
    pub(super) fn of(ask: &Ask) -> Result<Self, Problem> {
        let body = ask.body.as_ref().map_err(|_| problems::invalid_length())?;
        let media = ask.header("content-type").unwrap_or_default();
        let media = media.split(';').next().unwrap_or_default().trim();
        match media.to_ascii_lowercase().as_str() {
            "application/json" => Self::of_json(body),
            "text/html" => Self::of_bytes(body, true),
            "application/octet-stream"
            | "application/pdf"
            | "image/jpeg"
            | "image/png"
            | "image/tiff"
            | "image/bmp"
            | "image/heif"
            | "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
            | "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
            | "application/vnd.openxmlformats-officedocument.presentationml.presentation" => {
                Self::of_bytes(body, false)
            }
            _ => Err(problems::unsupported_type()),
        }
    }

    fn of_json(body: &[u8]) -> Result<Self, Problem> {
        let json: Value = serde_json::from_slice(body).map_err(|_| problems::invalid_json())?;
        match (json["base64Source"].as_str(), json["urlSource"].as_str()) {
            (Some(base64), None) => {
                let bytes = BASE64_STANDARD.decode(base64);
                let bytes = bytes.map_err(|_| problems::invalid_content())?;
                Self::of_bytes(&bytes, false)
            }
            (None, Some(url)) if url.starts_with("https://") || url.starts_with("http://") => {
                // The address is not fetched.
                let line = format!("{LABEL} The document at {url}.");
                Ok(Self::one_page(Shape::Paper, vec![line]))
            }
            (None, Some(_)) => Err(problems::unreachable_source()),
            _ => Err(problems::invalid_json()),
        }
    }

    fn of_bytes(bytes: &[u8], html: bool) -> Result<Self, Problem> {
        if bytes.is_empty() {
            return Err(problems::empty());
        }
        if bytes.starts_with(b"%PDF") {
            return Ok(Self::of_pdf(bytes));
        }
        if let Some(name) = image_name(bytes) {
            return Self::of_image(bytes, name);
        }
        if bytes.starts_with(b"PK\x03\x04") {
            let line = format!("{LABEL} Office document, {}.", describe(bytes));
            return Ok(Self::one_page(Shape::Flowing, vec![line]));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| problems::invalid_content())?;
        if text.contains('\0') {
            return Err(problems::invalid_content());
        }
        if html || is_html(text) {
            let text = without_tags(text);
            let lines = text.lines().map(|line| line.trim().to_owned()).collect();
            return Ok(Self::one_page(Shape::Flowing, lines));
        }
        let mut sheets: Vec<Vec<String>> = Vec::new();
        for part in text.trim_end_matches('\u{c}').split('\u{c}') {
            let lines: Vec<String> = part.lines().map(str::to_owned).collect();
            if lines.is_empty() {
                sheets.push(lines);
            } else {
                sheets.extend(lines.chunks(LINES_A_PAGE).map(<[String]>::to_vec));
            }
        }
        Ok(Self::new(Shape::Paper, sheets))
    }

    fn of_pdf(bytes: &[u8]) -> Self {
        let count = pdf::pages(bytes);
        let mut sheets = pdf::texts(bytes, count);
        for (index, lines) in sheets.iter_mut().enumerate() {
            if lines.is_empty() {
                let number = index + 1;
                lines.push(format!("{LABEL} Page {number} of {count} of a PDF."));
                lines.push(format!("The text is not read, only {}.", describe(bytes)));
            }
        }
        Self::new(Shape::Paper, sheets)
    }

    fn of_image(bytes: &[u8], name: &str) -> Result<Self, Problem> {
        // HEIF is of no format whose header is read.
        let size = size::of(bytes).ok().flatten();
        let (width, height) = size.unwrap_or((1000, 1000));
        if ![width, height]
            .iter()
            .all(|side| (50..=10_000).contains(side))
        {
            return Err(problems::invalid_dimensions());
        }
        let lines = vec![
            format!("{LABEL} Image ({name}) of {width} × {height} pixels."),
            format!("The text is not read, only {}.", describe(bytes)),
        ];
        Ok(Self::one_page(Shape::Pixels(width, height), lines))
    }

    fn one_page(shape: Shape, lines: Vec<String>) -> Self {
        Self::new(shape, vec![lines])
    }

    fn new(shape: Shape, sheets: Vec<Vec<String>>) -> Self {
        let sheets = sheets.into_iter().enumerate();
        Self {
            shape,
            sheets: sheets
                .map(|(index, lines)| Sheet {
                    number: index + 1,
                    lines,
                })
                .collect(),
        }
    }
}

/// The same for the same bytes, and hardly ever for others.
fn describe(bytes: &[u8]) -> String {
    format!(
        "{} bytes with hash {:016x}",
        bytes.len(),
        chance::hash(bytes)
    )
}

fn image_name(bytes: &[u8]) -> Option<&'static str> {
    if bytes.get(4..8) == Some(b"ftyp") {
        return Some("HEIF");
    }
    [
        (&b"\x89PNG"[..], "PNG"),
        (b"\xff\xd8\xff", "JPEG"),
        (b"II*\0", "TIFF"),
        (b"MM\0*", "TIFF"),
        (b"BM", "BMP"),
    ]
    .into_iter()
    // A text may begin with BM, a bitmap has a zero soon.
    .find(|(magic, name)| bytes.starts_with(magic) && (*name != "BMP" || bytes.contains(&0)))
    .map(|(_, name)| name)
}

fn is_html(text: &str) -> bool {
    let start: String = text.trim_start().chars().take(15).collect();
    let start = start.to_ascii_lowercase();
    start.starts_with("<!doctype html") || start.starts_with("<html")
}

fn without_tags(html: &str) -> String {
    let mut text = String::with_capacity(html.len());
    let mut in_tag = false;
    for c in html.chars() {
        match c {
            '<' => in_tag = true,
            '>' if in_tag => in_tag = false,
            c if !in_tag => text.push(c),
            _ => {}
        }
    }
    text
}
