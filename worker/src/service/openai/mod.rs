//! Chat completions of OpenAI and of the servers that speak like it.

mod access;
mod classify;
mod content;
mod endpoint;
mod request;
mod response;

use std::{sync::Arc, time::SystemTime};

use async_trait::async_trait;
use reqwest::{
    Client, Url,
    header::{HeaderMap, HeaderName, InvalidHeaderValue},
};
use secrecy::SecretString;

use super::{
    CallError, Demand, Prompt, Reply, Service, StepInput,
    transport::{TASK, failure, read_body, task, without_key},
};
pub(crate) use access::Access;
use content::Content;
pub use content::ContentMode;
pub use endpoint::{Dialect, Endpoint, EndpointError, MaxTokensField};
use request::ChatRequest;
pub use request::{ChatParameters, Detail};

/// Of English text; what a service counts corrects it.
const BYTES_PER_TOKEN: usize = 4;
/// Of an image of middle size, looked at closely.
const IMAGE_TOKENS: u64 = 765;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-client-request-id");

/// What a step asks of a chat model.
#[derive(Clone, Debug)]
pub struct ChatConfig {
    /// Model, or deployment at Azure.
    pub model: String,
    /// The user's message.
    pub prompt: Arc<Prompt>,
    /// The system's message.
    pub system: Option<Arc<Prompt>>,
    /// Parameters that are the same for every file.
    pub parameters: ChatParameters,
    /// The answer must be JSON.
    pub json: bool,
    /// How closely images are looked at.
    pub detail: Detail,
    /// What of the file is sent.
    pub content: ContentMode,
}

/// One chat step, bound to its endpoint.
pub(crate) struct Chat {
    client: Client,
    url: Url,
    headers: HeaderMap,
    key: Option<SecretString>,
    config: ChatConfig,
    max_tokens: MaxTokensField,
}

impl Chat {
    /// # Errors
    /// The key or organization cannot be sent in a header.
    pub(crate) fn new(access: &Access, config: ChatConfig) -> Result<Self, InvalidHeaderValue> {
        // As the real service wants it, also in a rehearsal.
        let field = access.real.max_tokens_field(&config.model);
        Ok(Self {
            headers: access.headers()?,
            url: access.endpoint.chat_url(&config.model),
            client: access.client.clone(),
            key: access.key.clone(),
            max_tokens: access.max_tokens_field.unwrap_or(field),
            config,
        })
    }

    /// The JSON of the request, and nothing else: what cannot be sent is found before it is.
    fn body(&self, input: &StepInput<'_>) -> Result<Vec<u8>, CallError> {
        let config = &self.config;
        let content = if self.needs_content() {
            let media_type = &input.message.file.media_type;
            content::read(&input.content, config.content, media_type)?
        } else {
            Content::Nothing
        };
        let text = content.text();
        let render = |prompt: &Prompt| {
            let rendered = prompt.render(input.message, text);
            rendered.map_err(|error| error.into_call("prompt"))
        };
        let system = config.system.as_deref().map(render).transpose()?;
        let prompt = render(&config.prompt)?;
        let appended = if self.text_has_a_place() { "" } else { text };
        let request = ChatRequest::new(config, self.max_tokens)
            .system(system.as_deref())
            .user(&prompt, appended, &content);
        let capacity = prompt.len() + input.content.len() / 3 * 4 + 1024;
        let mut body = Vec::with_capacity(capacity);
        serde_json::to_writer(&mut body, &request).map_err(|error| {
            CallError::Misconfigured(format!("cannot write the request: {error}"))
        })?;
        Ok(body)
    }

    /// Tokens of the prompt, by the length of what is sent.
    fn estimate(&self, input: &StepInput<'_>) -> Result<u64, CallError> {
        let media_type = &input.message.file.media_type;
        let content = match self.needs_content() {
            true => content::read(&input.content, self.config.content, media_type)?,
            false => Content::Nothing,
        };
        let text = content.text();
        let render = |prompt: &Prompt| {
            let rendered = prompt.render(input.message, text);
            rendered.map_err(|error| error.into_call("prompt"))
        };
        let mut bytes = render(&self.config.prompt)?.len();
        if let Some(system) = self.config.system.as_deref() {
            bytes += render(system)?.len();
        }
        if !self.text_has_a_place() {
            bytes += text.len();
        }
        let image = match content {
            Content::Image { .. } => IMAGE_TOKENS,
            Content::Nothing | Content::Text(_) => 0,
        };
        Ok(bytes.div_ceil(BYTES_PER_TOKEN) as u64 + image)
    }

    fn text_has_a_place(&self) -> bool {
        let config = &self.config;
        config.prompt.mentions_text() || config.system.as_deref().is_some_and(Prompt::mentions_text)
    }
}

#[async_trait]
impl Service for Chat {
    async fn call(&self, input: StepInput<'_>) -> Result<Reply, CallError> {
        let body = self.body(&input)?;
        let mut headers = self.headers.clone();
        if let Some(task) = task(input.message) {
            headers.insert(REQUEST_ID, task.clone());
            headers.insert(TASK, task);
        }
        let request = self
            .client
            .post(self.url.clone())
            .headers(headers)
            .body(body);
        let response = request.send().await.map_err(failure)?;
        input.heard.read(response.headers());
        let status = response.status();
        if status.is_success() {
            let body = read_body(response).await?;
            let answer = response::interpret(&body, self.config.json);
            return answer.map(Reply::Answered).map_err(CallError::called);
        }
        let headers = response.headers().clone();
        // The status alone says enough if the body does not come.
        let body = read_body(response).await.unwrap_or_default();
        let body = without_key(&body, self.key.as_ref());
        let now = SystemTime::now();
        Err(classify::classify(status, &headers, body.as_bytes(), now))
    }

    fn demand(&self, input: &StepInput<'_>) -> Demand {
        // What cannot be read or filled in is not sent.
        let prompt = self.estimate(input).unwrap_or_default();
        let answer = self.config.parameters.max_tokens.unwrap_or_default();
        Demand {
            prompt,
            answer: u64::from(answer),
        }
    }

    fn needs_content(&self) -> bool {
        match self.config.content {
            ContentMode::None => false,
            ContentMode::Text | ContentMode::Image => true,
            ContentMode::Auto => self.text_has_a_place() || !self.config.prompt.mentions_outputs(),
        }
    }
}

#[cfg(test)]
mod tests;
