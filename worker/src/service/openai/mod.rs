//! Chat completions and embeddings of OpenAI and of the servers that speak like it.

mod access;
mod classify;
mod content;
mod door;
pub(crate) mod embed;
mod endpoint;
mod request;
mod response;
mod schema;

use std::sync::Arc;

use async_trait::async_trait;
use filefleet_shared::wire::Usage;
use reqwest::header::{HeaderValue, InvalidHeaderValue};

use super::{
    Answer, CallError, Demand, Heard, Identity, Prompt, Reply, Service, StepInput, text,
    transport::{read_body, task, task_again},
};
pub(crate) use access::Access;
use content::Content;
pub use content::ContentMode;
use door::Door;
pub(crate) use embed::Embed;
pub use embed::{EmbedConfig, Encoding};
pub(crate) use embed::{MOST_DIMENSIONS, MOST_TOKENS};
pub use endpoint::{Dialect, Endpoint, EndpointError, MaxTokensField};
use request::ChatRequest;
pub use request::{ChatParameters, Detail};
use response::Said;
use schema::Mismatch;
pub use schema::{AnswerSchema, SchemaMode};

/// Of English text; what a service counts corrects it.
const BYTES_PER_TOKEN: usize = 4;
/// Of an image of middle size, looked at closely.
const IMAGE_TOKENS: u64 = 765;

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
    /// The answer must satisfy it, and is the output.
    pub schema: Option<Arc<AnswerSchema>>,
    /// How closely images are looked at.
    pub detail: Detail,
    /// What of the file is sent.
    pub content: ContentMode,
}

/// One chat step, bound to its endpoint.
pub(crate) struct Chat {
    door: Door,
    config: ChatConfig,
    max_tokens: MaxTokensField,
}

impl Chat {
    /// # Errors
    /// The organization cannot be sent in a header.
    pub(crate) fn new(access: &Access, config: ChatConfig) -> Result<Self, InvalidHeaderValue> {
        // As the real service wants it, also in a rehearsal.
        let field = access.real.max_tokens_field(&config.model);
        Ok(Self {
            door: Door::new(access, access.endpoint.chat_url(&config.model))?,
            max_tokens: access.max_tokens_field.unwrap_or(field),
            config,
        })
    }

    /// Everything that is sent of the file: what cannot be sent is found before it is.
    fn question<'a>(&self, input: &'a StepInput<'_>) -> Result<Question<'a>, CallError> {
        let config = &self.config;
        let content = if self.needs_content() {
            let media_type = &input.message.file.media_type;
            content::read(&input.content, config.content, media_type)?
        } else {
            Content::Nothing
        };
        if let Content::NoText(why) = &content
            && !self.text_has_a_place()
        {
            return Err(why.clone().into());
        }
        let render =
            |prompt: &Prompt| text::fill(prompt, input.message, content.readable(), "prompt");
        Ok(Question {
            system: config.system.as_deref().map(render).transpose()?,
            prompt: render(&config.prompt)?,
            content,
        })
    }

    /// The JSON of the request; `again` has an answer that was given, and why it is none.
    fn body(
        &self,
        question: &Question<'_>,
        again: Option<(&str, &str)>,
    ) -> Result<Vec<u8>, CallError> {
        let Question {
            system,
            prompt,
            content,
        } = question;
        let appended = self.appended(content);
        let schema = self.config.schema.as_deref();
        let mut request = ChatRequest::new(&self.config, self.max_tokens)
            .system(
                system.as_deref(),
                schema.and_then(AnswerSchema::instruction),
            )
            .user(prompt, appended, content);
        if let Some((answer, why)) = again {
            request = request.again(answer, why);
        }
        let mut body = Vec::with_capacity(prompt.len() + content.bytes() / 3 * 4 + 1024);
        serde_json::to_writer(&mut body, &request).map_err(|error| {
            CallError::Misconfigured(format!("cannot write the request: {error}"))
        })?;
        Ok(body)
    }

    /// One request, and what the model said to it.
    async fn ask(
        &self,
        body: Vec<u8>,
        task: Option<HeaderValue>,
        heard: &Heard,
    ) -> Result<Said, CallError> {
        let response = self.door.post(body, task, heard).await?;
        let body = read_body(response).await?;
        response::read(&body).map_err(CallError::called)
    }

    /// Asks once more, with the answer and what is wrong with it.
    ///
    /// Not a retry: it is another question. A request that fails in between fails the attempt, and
    /// a retry begins with the first question again.
    async fn ask_again(
        &self,
        schema: &AnswerSchema,
        question: &Question<'_>,
        first: Said,
        why: &Mismatch,
        input: &StepInput<'_>,
    ) -> Result<Answer, CallError> {
        let mut paid = first.usage;
        input.heard.paid(paid);
        let body = self.body(question, Some((&first.text, &why.request())))?;
        let said = self
            .ask(body, task_again(input.message), input.heard)
            .await
            .map_err(|error| error.after(&paid))?;
        paid.add(&said.usage);
        match said.structured(schema) {
            Ok(answer) => Ok(Answer {
                usage: paid,
                ..answer
            }),
            Err(still) => Err(CallError::Rejected {
                cause: "invalid_output".into(),
                detail: still.detail,
                usage: paid,
            }),
        }
    }

    /// Tokens of the prompt, by the length of what is sent.
    fn estimate(&self, question: &Question<'_>) -> u64 {
        let Question {
            system,
            prompt,
            content,
        } = question;
        let mut bytes = prompt.len() + system.as_deref().map_or(0, str::len);
        bytes += self.appended(content).len();
        // However it is told, the model reads it.
        let schema = self.config.schema.as_deref();
        bytes += schema.map_or(0, AnswerSchema::length);
        let image = match content {
            Content::Image { .. } => IMAGE_TOKENS,
            Content::Nothing | Content::Text(_) | Content::NoText(_) => 0,
        };
        bytes.div_ceil(BYTES_PER_TOKEN) as u64 + image
    }

    /// The file's text, where the prompts leave it to come after them.
    fn appended<'a>(&self, content: &'a Content<'_>) -> &'a str {
        if self.text_has_a_place() {
            ""
        } else {
            content.text()
        }
    }

    fn text_has_a_place(&self) -> bool {
        let config = &self.config;
        config.prompt.mentions_text() || config.system.as_deref().is_some_and(Prompt::mentions_text)
    }
}

/// What answers have cost of which the last may still be found to be none: who fails then counts
/// one call for it.
fn but_the_last(paid: Usage) -> Usage {
    Usage {
        calls: paid.calls.saturating_sub(1),
        ..paid
    }
}

/// What is asked about one file.
struct Question<'a> {
    system: Option<String>,
    prompt: String,
    content: Content<'a>,
}

#[async_trait]
impl Service for Chat {
    async fn call(&self, input: StepInput<'_>) -> Result<Reply, CallError> {
        let question = self.question(&input)?;
        let body = self.body(&question, None)?;
        let said = self.ask(body, task(input.message), input.heard).await?;
        let answer = match self.config.schema.as_deref() {
            None => {
                input.heard.paid(but_the_last(said.usage));
                said.answer(self.config.json)?
            }
            Some(schema) => match said.structured(schema) {
                Ok(answer) => answer,
                Err(why) => {
                    self.ask_again(schema, &question, said, &why, &input)
                        .await?
                }
            },
        };
        Ok(Reply::Answered(answer))
    }

    fn identity(&self, input: &StepInput<'_>) -> Option<Identity> {
        let question = self.question(input).ok()?;
        let (media_type, bytes) = match question.content {
            Content::Image { media_type, bytes } => (media_type, bytes),
            Content::Nothing | Content::Text(_) | Content::NoText(_) => ("", &[][..]),
        };
        Some(Identity::of([
            question.system.as_deref().unwrap_or_default().as_bytes(),
            question.prompt.as_bytes(),
            self.appended(&question.content).as_bytes(),
            media_type.as_bytes(),
            bytes,
        ]))
    }

    fn demand(&self, input: &StepInput<'_>) -> Demand {
        // What cannot be read or filled in is not sent.
        let question = self.question(input);
        let prompt = question.map_or(0, |question| self.estimate(&question));
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
