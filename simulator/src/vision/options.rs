//! What of an image is asked for, from the query.

use super::invalid;
use crate::refusal::{Invalid, VISION_VERSION};

/// Languages in which the service has tags; everything else is English only. The simulator
/// takes them, and its tags stay English.
const LANGUAGES: [&str; 52] = [
    "ar", "az", "bg", "bs", "ca", "cs", "cy", "da", "de", "el", "en", "es", "et", "eu", "fi", "fr",
    "ga", "gl", "he", "hi", "hr", "hu", "id", "it", "ja", "kk", "ko", "lt", "lv", "mk", "ms", "nb",
    "nl", "pl", "prs", "pt", "pt-BR", "pt-PT", "ro", "ru", "sk", "sl", "sr-Cyrl", "sr-Latn", "sv",
    "th", "tr", "uk", "vi", "zh", "zh-Hans", "zh-Hant",
];

/// Width by height of a crop.
const RATIOS: std::ops::RangeInclusive<f64> = 0.75..=1.8;

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Options {
    pub(super) features: Features,
    pub(super) gender_neutral: bool,
    pub(super) ratios: Vec<f64>,
    pub(super) model_version: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Features {
    pub(super) tags: bool,
    pub(super) caption: bool,
    pub(super) dense_captions: bool,
    pub(super) objects: bool,
    pub(super) read: bool,
    pub(super) smart_crops: bool,
    pub(super) people: bool,
}

impl Options {
    pub(super) fn parse(query: &str) -> Result<Self, Invalid> {
        let mut options = Self {
            model_version: VISION_VERSION.to_owned(),
            ..Self::default()
        };
        let (mut named, mut language) = (false, "en".into());
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "features" => {
                    named |= !value.is_empty();
                    options.features.add(&value)?;
                }
                "language" => language = value,
                "gender-neutral-caption" => {
                    options.gender_neutral = value
                        .to_ascii_lowercase()
                        .parse()
                        .map_err(|_| bad_argument("'gender-neutral-caption' is not a boolean"))?;
                }
                "smartcrops-aspect-ratios" => options.ratios = ratios(&value)?,
                "model-version" => options.model_version = model_version(&value)?,
                _ => {}
            }
        }
        if !named {
            return Err(invalid(
                "Either 'features' or 'model-name' needs to be specified in the query parameter.",
                None,
            ));
        }
        options.speaks(&language)?;
        Ok(options)
    }

    fn speaks(&self, language: &str) -> Result<(), Invalid> {
        let english_only = self.features.caption || self.features.dense_captions;
        if LANGUAGES.contains(&language) && (language == "en" || !english_only) {
            return Ok(());
        }
        let message = "The input language is not supported.";
        Err(invalid(
            "Analyze query is invalid.",
            Some(("NotSupportedLanguage", message)),
        ))
    }
}

impl Features {
    fn add(&mut self, names: &str) -> Result<(), Invalid> {
        for name in names.split(',').filter(|name| !name.is_empty()) {
            let feature = match name.trim() {
                "tags" => &mut self.tags,
                "caption" => &mut self.caption,
                "denseCaptions" => &mut self.dense_captions,
                "objects" => &mut self.objects,
                "read" => &mut self.read,
                "smartCrops" => &mut self.smart_crops,
                "people" => &mut self.people,
                _ => {
                    let message = "Specified feature type is not valid";
                    return Err(invalid(
                        "Analyze query is invalid.",
                        Some(("NotSupportedVisualFeature", message)),
                    ));
                }
            };
            *feature = true;
        }
        Ok(())
    }
}

fn ratios(value: &str) -> Result<Vec<f64>, Invalid> {
    let ratio = |text: &str| {
        text.trim()
            .parse()
            .ok()
            .filter(|ratio| RATIOS.contains(ratio))
    };
    let all: Option<Vec<f64>> = value.split(',').map(ratio).collect();
    all.ok_or_else(|| {
        bad_argument(
            "'smartcrops-aspect-ratios' aspect ratio is not in allowed range [0.75 to 1.8]",
        )
    })
}

/// `latest`, or a date, which is taken as it is.
fn model_version(value: &str) -> Result<String, Invalid> {
    let version = value.strip_suffix("-preview").unwrap_or(value);
    let is_date = version.len() == 10
        && version.bytes().enumerate().all(|(at, byte)| match at {
            4 | 7 => byte == b'-',
            _ => byte.is_ascii_digit(),
        });
    match version {
        "latest" => Ok(VISION_VERSION.to_owned()),
        _ if is_date => Ok(value.to_owned()),
        _ => Err(bad_argument("'model-version' is not valid")),
    }
}

fn bad_argument(message: &str) -> Invalid {
    invalid("Analyze query is invalid.", Some(("BadArgument", message)))
}
