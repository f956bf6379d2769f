//! Azure AI Vision Image Analysis 4.0: captions, tags, objects, text and people in images.

mod image;
mod result;

use async_trait::async_trait;
use reqwest::{Url, header::CONTENT_TYPE};

use super::{CallError, Identity, Reply, Service, StepInput, azure::Access, transport::read_body};
pub(crate) use image::{MAX_BYTES, TOO_LARGE};

/// The version of the interface that is spoken unless another is configured.
pub const API_VERSION: &str = "2023-10-01";

/// What can be asked for, in the service's words; each is paid for.
pub const FEATURES: [&str; 7] = [
    "tags",
    "caption",
    "denseCaptions",
    "objects",
    "read",
    "smartCrops",
    "people",
];

/// What a step asks of an image.
#[derive(Clone, Debug, PartialEq)]
pub struct LookConfig {
    /// Of [`FEATURES`], at least one.
    pub features: Vec<&'static str>,
    /// Language of tags; English if absent.
    pub language: Option<String>,
    /// Captions say "person" for "man" or "woman".
    pub gender_neutral_caption: bool,
    /// Width by height of crops, 0.75 to 1.8; empty for the service's choice.
    pub smartcrops_aspect_ratios: Vec<f64>,
    /// Version of the model; the latest if absent.
    pub model_version: Option<String>,
}

/// One `look` step, bound to its resource.
pub(crate) struct Look {
    access: Access,
    url: Url,
}

impl Look {
    pub(crate) fn new(access: Access, config: &LookConfig) -> Self {
        let path = ["computervision", "imageanalysis:analyze"];
        let url = access.endpoint.url(&path, &query(config));
        Self { access, url }
    }
}

#[async_trait]
impl Service for Look {
    async fn call(&self, input: StepInput<'_>) -> Result<Reply, CallError> {
        image::check(&input.content)?;
        let request = self
            .access
            .client
            .post(self.url.clone())
            .header(CONTENT_TYPE, "application/octet-stream")
            .body(input.content);
        let response = self.access.send(request, input.message).await?;
        if !response.status().is_success() {
            return Err(self.access.refused(response).await);
        }
        let body = read_body(response).await?;
        result::interpret(&body).map(Reply::Answered)
    }

    fn needs_content(&self) -> bool {
        true
    }

    fn identity(&self, input: &StepInput<'_>) -> Option<Identity> {
        image::check(&input.content).ok()?;
        Some(Identity::of([&*input.content]))
    }
}

fn query(config: &LookConfig) -> Vec<(&'static str, String)> {
    let ratios: Vec<String> = config
        .smartcrops_aspect_ratios
        .iter()
        .map(f64::to_string)
        .collect();
    let neutral = config.gender_neutral_caption.then(|| "true".to_owned());
    [
        ("features", Some(config.features.join(","))),
        ("language", config.language.clone()),
        ("gender-neutral-caption", neutral),
        (
            "smartcrops-aspect-ratios",
            Some(ratios.join(",")).filter(|ratios| !ratios.is_empty()),
        ),
        ("model-version", config.model_version.clone()),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value?)))
    .collect()
}
