//! Azure AI Document Intelligence: text, tables and fields of documents, as long operations.
//!
//! A document is submitted once; from its acceptance on, only the operation's id is known to the
//! broker, and the result is asked for until it is there.

mod fields;
mod media;
mod operation;
mod result;

use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use filefleet_shared::wire::{StepMessage, Usage};
use reqwest::{StatusCode, Url, header::CONTENT_TYPE};
use serde_json::Value;

use super::{
    Accepted, CallError, Identity, Reply, Service, StepInput,
    azure::Access,
    transport::{read_up_to, retry_after},
};

/// The version of the interface that is spoken unless another is configured.
pub const API_VERSION: &str = "2024-11-30";

/// What can be asked for beside the text, in the service's words.
pub const FEATURES: [&str; 7] = [
    "ocrHighResolution",
    "languages",
    "barcodes",
    "formulas",
    "keyValuePairs",
    "styleFont",
    QUERY_FIELDS,
];

/// The feature that [`ReadConfig::query_fields`] are asked for with.
pub const QUERY_FIELDS: &str = "queryFields";

/// The most of a result that is read: some 1000 dense pages, with the place of every word.
const MAX_RESULT_BYTES: usize = 128 << 20;

/// First question after an acceptance, where the service names no time.
const FIRST_CHECK: Duration = Duration::from_secs(1);

/// What a step asks of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadConfig {
    /// Model, like `prebuilt-layout`.
    pub model: String,
    /// Pages and ranges from 1, like `1-3,5`; all if absent.
    pub pages: Option<String>,
    /// Language or locale of the text; recognised if absent.
    pub locale: Option<String>,
    /// Of [`FEATURES`].
    pub features: Vec<&'static str>,
    /// Names of fields to look for.
    pub query_fields: Vec<String>,
    /// How the text is written.
    pub format: Format,
    /// The output is all that the service gave, not the useful parts of it.
    pub full: bool,
}

impl Default for ReadConfig {
    fn default() -> Self {
        Self {
            model: "prebuilt-read".to_owned(),
            pages: None,
            locale: None,
            features: Vec::new(),
            query_fields: Vec::new(),
            format: Format::Text,
            full: false,
        }
    }
}

/// How the text of a document is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Lines of text.
    #[default]
    Text,
    /// With headings and tables; layout models only.
    Markdown,
}

impl Format {
    fn word(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Markdown => "markdown",
        }
    }
}

/// One `read` step, bound to its resource.
pub(crate) struct Read {
    access: Access,
    submit: Url,
    config: ReadConfig,
}

impl Read {
    pub(crate) fn new(access: Access, config: ReadConfig) -> Self {
        let path = [
            "documentintelligence",
            "documentModels",
            &format!("{}:analyze", config.model),
        ];
        let submit = access.endpoint.url(&path, &query(&config));
        Self {
            access,
            submit,
            config,
        }
    }

    /// Where the result of an operation is asked for.
    fn result_url(&self, id: &str) -> Url {
        let model = self.config.model.as_str();
        let path = [
            "documentintelligence",
            "documentModels",
            model,
            "analyzeResults",
            id,
        ];
        self.access.endpoint.url(&path, &[])
    }

    async fn submit(&self, input: StepInput<'_>) -> Result<Reply, CallError> {
        let content_type = media::content_type(&input.content, &input.message.file.media_type)?;
        let request = self
            .access
            .client
            .post(self.submit.clone())
            .header(CONTENT_TYPE, content_type)
            .body(input.content);
        let response = self.access.send(request, input.message).await?;
        if !response.status().is_success() {
            return Err(self.access.refused(response).await);
        }
        let headers = response.headers();
        let check_after = retry_after(headers, SystemTime::now()).unwrap_or(FIRST_CHECK);
        let id = operation::id(headers, self.access.endpoint.base())?;
        Ok(Reply::Accepted(Accepted {
            state: Value::String(id),
            // Pages are known, and counted, when they are read.
            usage: Usage::default(),
            check_after,
        }))
    }

    async fn ask(&self, message: &StepMessage, state: &Value) -> Result<Reply, CallError> {
        let id = operation::known(state)?;
        let request = self.access.client.get(self.result_url(id));
        let response = self.access.send(request, message).await?;
        let status = response.status();
        if status == StatusCode::NOT_FOUND || status == StatusCode::GONE {
            let refusal = self.access.refused(response).await;
            let detail = format!("the result is no longer there ({refusal})");
            return Err(CallError::rejected("operation_expired", detail).called());
        }
        if !status.is_success() {
            return Err(self.access.refused(response).await);
        }
        let retry_after = retry_after(response.headers(), SystemTime::now());
        let too_long = || {
            let detail = format!("a result of more than {MAX_RESULT_BYTES} bytes");
            CallError::rejected("output_too_large", detail).called()
        };
        let body = read_up_to(response, MAX_RESULT_BYTES, too_long).await?;
        let answer = result::interpret(&body, &self.config)?;
        answer
            .map(Reply::Answered)
            .ok_or(CallError::Pending { retry_after })
    }
}

#[async_trait]
impl Service for Read {
    async fn call(&self, input: StepInput<'_>) -> Result<Reply, CallError> {
        match &input.message.continuation {
            Some(continuation) => self.ask(input.message, &continuation.state).await,
            None => self.submit(input).await,
        }
    }

    fn needs_content(&self) -> bool {
        true
    }

    fn identity(&self, input: &StepInput<'_>) -> Option<Identity> {
        let media_type = &input.message.file.media_type;
        let content_type = media::content_type(&input.content, media_type).ok()?;
        Some(Identity::of([content_type.as_bytes(), &input.content]))
    }
}

fn query(config: &ReadConfig) -> Vec<(&'static str, String)> {
    let list = |items: String| Some(items).filter(|items| !items.is_empty());
    let format = config.format.word().to_owned();
    [
        ("pages", config.pages.clone()),
        ("locale", config.locale.clone()),
        ("features", list(config.features.join(","))),
        ("queryFields", list(config.query_fields.join(","))),
        ("outputContentFormat", Some(format)),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value?)))
    .collect()
}
