//! The body of a request, written once and straight from the file's bytes.

use base64::{display::Base64Display, engine::general_purpose::STANDARD};
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::{ChatConfig, MaxTokensField, SchemaMode, content::Content};

/// Parameters that are the same for every file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChatParameters {
    /// Longest answer, in tokens.
    pub max_tokens: Option<u32>,
    /// From 0 (always the likeliest word) to 2.
    pub temperature: Option<f64>,
    /// Share of likely words to draw from, up to 1.
    pub top_p: Option<f64>,
    /// For answers that can be repeated, as far as the service can.
    pub seed: Option<i64>,
}

/// How closely a model looks at an image; more is dearer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Detail {
    /// As the service likes.
    #[default]
    Auto,
    /// A small copy.
    Low,
    /// In tiles.
    High,
}

/// `POST …/chat/completions`.
#[derive(Debug, Serialize)]
pub(crate) struct ChatRequest<'a> {
    model: &'a str,
    messages: Vec<Message<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_completion_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_format: Option<ResponseFormat<'a>>,
    #[serde(skip)]
    detail: Detail,
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum ResponseFormat<'a> {
    JsonObject,
    JsonSchema { json_schema: JsonSchema<'a> },
}

#[derive(Debug, Serialize)]
struct JsonSchema<'a> {
    name: &'a str,
    strict: bool,
    schema: &'a Value,
}

#[derive(Debug, Serialize)]
struct Message<'a> {
    role: &'static str,
    content: Body<'a>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Body<'a> {
    Text(Text<'a>),
    Parts([Part<'a>; 2]),
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Part<'a> {
    Text { text: Text<'a> },
    ImageUrl { image_url: Image<'a> },
}

/// A prompt, and a file's text after it.
#[derive(Debug)]
struct Text<'a> {
    prompt: &'a str,
    appended: &'a str,
}

#[derive(Debug, Serialize)]
struct Image<'a> {
    url: DataUrl<'a>,
    detail: Detail,
}

#[derive(Debug)]
struct DataUrl<'a> {
    media_type: &'static str,
    bytes: &'a [u8],
}

impl<'a> ChatRequest<'a> {
    pub(crate) fn new(config: &'a ChatConfig, max_tokens: MaxTokensField) -> Self {
        let parameters = &config.parameters;
        let of = |field| parameters.max_tokens.filter(|_| max_tokens == field);
        Self {
            model: &config.model,
            messages: Vec::with_capacity(4),
            max_tokens: of(MaxTokensField::MaxTokens),
            max_completion_tokens: of(MaxTokensField::MaxCompletionTokens),
            temperature: parameters.temperature,
            top_p: parameters.top_p,
            seed: parameters.seed,
            response_format: format(config),
            detail: config.detail,
        }
    }

    /// One message: servers exist that take no second one.
    pub(crate) fn system(mut self, prompt: Option<&'a str>, instruction: Option<&'a str>) -> Self {
        let (prompt, appended) = match (prompt, instruction) {
            (Some(prompt), instruction) => (prompt, instruction.unwrap_or_default()),
            (None, Some(instruction)) => (instruction, ""),
            (None, None) => return self,
        };
        self.say("system", prompt, appended);
        self
    }

    /// An answer that was given, and why another one is wanted.
    pub(crate) fn again(mut self, answer: &'a str, why: &'a str) -> Self {
        self.say("assistant", answer, "");
        self.say("user", why, "");
        self
    }

    fn say(&mut self, role: &'static str, prompt: &'a str, appended: &'a str) {
        let content = Body::Text(Text { prompt, appended });
        self.messages.push(Message { role, content });
    }

    /// Text goes as one string: servers exist that take parts only where there is an image.
    pub(crate) fn user(
        mut self,
        prompt: &'a str,
        appended: &'a str,
        content: &Content<'a>,
    ) -> Self {
        let text = Text { prompt, appended };
        let content = match *content {
            Content::Nothing | Content::Text(_) | Content::NoText(_) => Body::Text(text),
            Content::Image { media_type, bytes } => Body::Parts([
                Part::Text { text },
                Part::ImageUrl {
                    image_url: Image {
                        url: DataUrl { media_type, bytes },
                        detail: self.detail,
                    },
                },
            ]),
        };
        self.messages.push(Message {
            role: "user",
            content,
        });
        self
    }
}

fn format(config: &ChatConfig) -> Option<ResponseFormat<'_>> {
    let Some(schema) = config.schema.as_deref() else {
        return config.json.then_some(ResponseFormat::JsonObject);
    };
    match schema.mode() {
        SchemaMode::Prompt => None,
        SchemaMode::JsonObject => Some(ResponseFormat::JsonObject),
        SchemaMode::JsonSchema => Some(ResponseFormat::JsonSchema {
            json_schema: JsonSchema {
                name: schema.name(),
                strict: schema.strict(),
                schema: schema.schema(),
            },
        }),
    }
}

impl Serialize for Text<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.appended.is_empty() {
            serializer.serialize_str(self.prompt)
        } else {
            serializer.collect_str(&format_args!("{}\n\n{}", self.prompt, self.appended))
        }
    }
}

impl Serialize for DataUrl<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let data = Base64Display::new(self.bytes, &STANDARD);
        serializer.collect_str(&format_args!("data:{};base64,{data}", self.media_type))
    }
}
