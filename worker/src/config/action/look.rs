//! `look = { .. }`: what is to be seen in an image.

use filefleet_shared::config::Section;

use super::Action;
use crate::service::vision::{FEATURES, LookConfig};

pub(super) fn read(mut section: Section<'_>, _earlier: &[String]) -> Option<Action> {
    section.require("features");
    let features = FEATURES.map(|feature| (feature, feature));
    let features = section.opt_enums("features", &features);
    let language = section.opt_string("language");
    let gender_neutral_caption = section.opt_bool("gender_neutral_caption");
    let ratios = section.opt_numbers("smartcrops_aspect_ratios", 0.75..=1.8);
    let model_version = section.opt_string("model_version");
    if language.as_ref().is_some_and(|language| language.len() < 2) {
        section.error("language", "must be a language code, like \"en\"");
    }
    if model_version
        .as_deref()
        .is_some_and(|version| !is_version(version))
    {
        let message = "must be \"latest\", or a date like \"2023-10-01\", or either with -preview";
        section.error("model_version", message);
    }
    if let Some(features) = &features {
        let asks = |feature: &str| features.contains(&feature);
        if gender_neutral_caption == Some(true) && !asks("caption") && !asks("denseCaptions") {
            let message = "is about `caption` and `denseCaptions`; neither is in `features`";
            section.error("gender_neutral_caption", message);
        }
        if ratios.is_some() && !asks("smartCrops") {
            let message = "is about `smartCrops`, which is not in `features`";
            section.error("smartcrops_aspect_ratios", message);
        }
    }
    section.finish();
    Some(Action::Look(LookConfig {
        features: features?,
        language,
        gender_neutral_caption: gender_neutral_caption.unwrap_or_default(),
        smartcrops_aspect_ratios: ratios.unwrap_or_default(),
        model_version,
    }))
}

/// `latest` or a date, with or without `-preview`.
fn is_version(text: &str) -> bool {
    let text = text.strip_suffix("-preview").unwrap_or(text);
    let shape = |byte: u8| if byte.is_ascii_digit() { b'0' } else { byte };
    text == "latest" || text.bytes().map(shape).eq(*b"0000-00-00")
}
