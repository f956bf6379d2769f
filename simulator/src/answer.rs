//! The text of an answer: an extract of the input, labelled as a rehearsal's.

use serde_json::{Value, json};

use crate::{document::Facts, fill, image::Image, request::ChatRequest, response_format::Format};

/// In front of every text that a rehearsal makes up.
pub(crate) const LABEL: &str = "[rehearsal]";

/// The answer to a request: the same for the same request.
pub(crate) fn content(request: &ChatRequest) -> String {
    let mut facts = Facts::of(&request.text, request.instructed);
    if !request.images.is_empty() {
        facts.kind = "image";
    }
    let summary = summary(&facts, &request.images);
    match &request.format {
        Format::Text => summary,
        Format::Object => object(&facts, &request.images, &summary).to_string(),
        Format::Schema(schema) => fill::fill(schema, &facts, &summary).to_string(),
    }
}

fn summary(facts: &Facts, images: &[Image]) -> String {
    let mut sentences = vec![LABEL.to_owned()];
    sentences.extend(images.iter().map(|image| format!("{}.", describe(image))));
    if images.is_empty() {
        let kind = match facts.kind {
            "text" => "Text".to_owned(),
            "data" => "Data".to_owned(),
            "table" => "Table".to_owned(),
            kind => format!("Probably {kind}"),
        };
        let language = facts.language.map(name_of_language).unwrap_or_default();
        sentences.push(format!("{kind}{language}, {} words.", facts.words));
    }
    if !facts.title.is_empty() {
        sentences.push(format!("Begins: \"{}\".", facts.title));
    }
    if !facts.dates.is_empty() {
        sentences.push(format!("Dates: {}.", facts.dates.join(", ")));
    }
    if let Some(total) = facts.total() {
        sentences.push(format!(
            "Amounts: {}, {} {} {}.",
            facts.amounts.len(),
            if total.totals {
                "total probably"
            } else {
                "largest"
            },
            total.written,
            total.currency
        ));
    }
    sentences.join(" ")
}

fn describe(image: &Image) -> String {
    match image {
        Image::Remote => "Image at an address that a rehearsal does not fetch".to_owned(),
        Image::Inline {
            media_type,
            bytes,
            size: Some((width, height)),
        } => format!("Image {media_type}, {bytes} bytes, {width} x {height} pixels"),
        Image::Inline {
            media_type, bytes, ..
        } => format!("Image {media_type}, {bytes} bytes"),
    }
}

fn object(facts: &Facts, images: &[Image], summary: &str) -> Value {
    let amounts: Vec<_> = facts
        .amounts
        .iter()
        .map(|amount| json!({"value": amount.value, "currency": amount.currency}))
        .collect();
    let mut object = json!({
        "rehearsal": true,
        "kind": facts.kind,
        "title": facts.title,
        "language": facts.language,
        "dates": facts.dates,
        "amounts": amounts,
        "total": facts.total().map(|total| total.value),
        "words": facts.words,
        "summary": summary,
    });
    if !images.is_empty() {
        object["images"] = images.iter().map(describe).collect();
    }
    object
}

fn name_of_language(code: &str) -> &'static str {
    match code {
        "de" => " in German",
        "fr" => " in French",
        "es" => " in Spanish",
        "it" => " in Italian",
        _ => " in English",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(body: &Value) -> String {
        content(&ChatRequest::parse(body.to_string().as_bytes(), Some("m")).unwrap())
    }

    #[test]
    fn a_summary_says_what_was_read_and_that_it_is_a_rehearsal() {
        let text = "Read this:\n\nDear Ms Smith,\n\nyou owe us $12.50 for the books and the \
                    shipping, due March 12, 2026.\n\nKind regards";
        let answer = answer(&json!({"messages": [{"role": "user", "content": text}]}));
        assert_eq!(
            answer,
            "[rehearsal] Probably letter in English, 19 words. Begins: \"Dear Ms Smith,\". \
             Dates: 2026-03-12. Amounts: 1, largest 12.50 USD."
        );
    }

    #[test]
    fn an_image_is_described_by_its_header() {
        let png = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAACAAAAAA==";
        let answer = answer(&json!({"messages": [{"role": "user", "content": [
            {"type": "text", "text": "What is this?"},
            {"type": "image_url", "image_url": {"url": png}},
        ]}]}));
        assert_eq!(
            answer,
            "[rehearsal] Image image/png, 28 bytes, 1 x 2 pixels. Begins: \"What is this?\"."
        );
    }

    #[test]
    fn a_json_object_is_json() {
        let answer = answer(&json!({
            "messages": [{"role": "user", "content": "As JSON:\n\nTotal: 12,50 €"}],
            "response_format": {"type": "json_object"},
        }));
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(answer["rehearsal"], true);
        assert_eq!(answer["total"], 12.5);
    }
}
