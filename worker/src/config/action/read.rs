//! `read = { .. }`: the text, tables and fields of a document.

use filefleet_shared::config::Section;

use super::Action;
use crate::service::docintel::{FEATURES, Format, QUERY_FIELDS, ReadConfig};

pub(super) fn read(mut section: Section<'_>, _earlier: &[String]) -> Option<Action> {
    const FORMATS: &[(&str, Format)] = &[("text", Format::Text), ("markdown", Format::Markdown)];
    const RESULTS: &[(&str, bool)] = &[("content", false), ("full", true)];
    let model = section.opt_string("model");
    let pages = section.opt_string("pages");
    let locale = section.opt_string("locale");
    let features = FEATURES.map(|feature| (feature, feature));
    let mut features = section.opt_enums("features", &features).unwrap_or_default();
    let query_fields = section.opt_texts("query_fields").unwrap_or_default();
    let config = ReadConfig {
        model: model.unwrap_or_else(|| ReadConfig::default().model),
        format: section.opt_enum("format", FORMATS).unwrap_or_default(),
        full: section.opt_enum("result", RESULTS).unwrap_or_default(),
        pages,
        locale,
        query_fields,
        features: Vec::new(),
    };
    if !is_model(&config.model) {
        let message =
            "must be 2 to 64 letters, digits, `.`, `_`, `~` and `-`, like prebuilt-layout";
        section.error("model", message);
    }
    if config
        .pages
        .as_deref()
        .is_some_and(|pages| !is_pages(pages))
    {
        section.error("pages", "write pages and ranges from 1, like \"1-3,5\"");
    }
    let unnamed = |name: &String| name.is_empty() || name.contains(',');
    if config.query_fields.iter().any(unnamed) {
        section.error(
            "query_fields",
            "a name must not be empty or have a comma in it",
        );
    }
    match (
        features.contains(&QUERY_FIELDS),
        config.query_fields.is_empty(),
    ) {
        (true, true) => section.error("features", "`queryFields` needs `query_fields`"),
        (false, false) => features.push(QUERY_FIELDS),
        _ => {}
    }
    section.finish();
    Some(Action::Read(ReadConfig { features, ..config }))
}

/// The service's pattern for names of models.
fn is_model(name: &str) -> bool {
    let mut bytes = name.bytes();
    (2..=64).contains(&name.len())
        && bytes
            .next()
            .is_some_and(|first| first.is_ascii_alphanumeric())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"._~-".contains(&byte))
}

/// The service's pattern for pages, with ranges that go up.
fn is_pages(text: &str) -> bool {
    let number = |text: &str| -> Option<u32> {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|number| digits && *number > 0)
    };
    text.split(',').all(|range| {
        let range = range.trim_start();
        match range.split_once('-') {
            None => number(range).is_some(),
            Some((first, last)) => number(first)
                .zip(number(last))
                .is_some_and(|(first, last)| first <= last),
        }
    })
}
