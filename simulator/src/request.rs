//! A chat request, validated as the real service does, in its words.

use serde_json::{Map, Value};

use crate::{
    image::{BadImage, Image},
    refusal::Invalid,
    response_format::{self, Format},
};

const ROLES: [&str; 6] = [
    "system",
    "assistant",
    "user",
    "function",
    "tool",
    "developer",
];

/// What is said to a body that is no JSON object.
const NO_JSON: &str = "We could not parse the JSON body of your request. (HINT: This likely means \
     you aren't using your HTTP library correctly. The API expects a JSON payload, but what was \
     sent was not valid JSON.)";

/// What the simulated model answers to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ChatRequest {
    pub(crate) model: String,
    /// The text of all messages of users.
    pub(crate) text: String,
    /// A system or developer message gives the instructions, so the text is the document.
    pub(crate) instructed: bool,
    /// The model has answered before.
    pub(crate) answered: bool,
    pub(crate) images: Vec<Image>,
    pub(crate) format: Format,
    pub(crate) max_tokens: Option<u64>,
    pub(crate) choices: u64,
    /// Tokens of text and images, estimated.
    pub(crate) text_tokens: u64,
    pub(crate) image_tokens: u64,
}

/// Four characters are about one token. The real number depends on the model and the language.
pub(crate) fn tokens(chars: usize) -> u64 {
    (chars as u64).div_ceil(4)
}

impl ChatRequest {
    /// Reads a body. `deployment` is the model where the path names it.
    pub(crate) fn parse(body: &[u8], deployment: Option<&str>) -> Result<Self, Invalid> {
        let (mut body, model) = open(body, deployment)?;
        let mut read = Messages::default();
        read.all(&mut body)?;
        let request = Self {
            model,
            instructed: read.instructed,
            answered: read.answered,
            format: response_format::parse(body.remove("response_format"))?,
            max_tokens: integer(&body, "max_completion_tokens", 1..=u64::MAX)?.or(integer(
                &body,
                "max_tokens",
                1..=u64::MAX,
            )?),
            choices: integer(&body, "n", 1..=128)?.unwrap_or(1),
            text_tokens: tokens(read.chars).max(1),
            image_tokens: read.images.iter().map(Image::tokens).sum(),
            images: read.images,
            text: read.text,
        };
        number(&body, "temperature", 2.0)?;
        number(&body, "top_p", 1.0)?;
        if body.get("stream").and_then(Value::as_bool) == Some(true) {
            return Err(invalid(
                "This simulator does not stream: leave out 'stream'.",
                Some("stream"),
                Some("unsupported_value"),
            ));
        }
        if request.format == Format::Object && !read.says_json {
            return Err(invalid(
                "'messages' must contain the word 'json' in some form, to use 'response_format' \
                 of type 'json_object'.",
                Some("messages"),
                None,
            ));
        }
        Ok(request)
    }
}

/// The fields of a body, and the model that it or the path names.
pub(crate) fn open(
    body: &[u8],
    deployment: Option<&str>,
) -> Result<(Map<String, Value>, String), Invalid> {
    let Ok(Value::Object(mut body)) = serde_json::from_slice(body) else {
        return Err(invalid(NO_JSON, None, None));
    };
    let model = match (deployment, body.remove("model")) {
        (Some(deployment), _) => deployment.to_owned(),
        (None, Some(Value::String(model))) if !model.is_empty() => model,
        (None, Some(Value::Null) | None) => {
            return Err(invalid("you must provide a model parameter", None, None));
        }
        (None, Some(other)) => return Err(wrong_type("model", "a string", &other)),
    };
    Ok((body, model))
}

#[derive(Default)]
struct Messages {
    text: String,
    images: Vec<Image>,
    chars: usize,
    instructed: bool,
    answered: bool,
    says_json: bool,
}

impl Messages {
    fn all(&mut self, body: &mut Map<String, Value>) -> Result<(), Invalid> {
        let messages = match body.remove("messages") {
            Some(Value::Array(messages)) => messages,
            None | Some(Value::Null) => return Err(missing("messages")),
            Some(other) => return Err(wrong_type("messages", "an array of objects", &other)),
        };
        if messages.is_empty() {
            return Err(invalid(
                "Invalid 'messages': empty array. Expected an array with minimum length 1, but \
                 got an empty array instead.",
                Some("messages"),
                Some("empty_array"),
            ));
        }
        for (index, message) in messages.into_iter().enumerate() {
            self.message(&format!("messages[{index}]"), message)?;
        }
        Ok(())
    }

    fn message(&mut self, at: &str, message: Value) -> Result<(), Invalid> {
        let Value::Object(mut message) = message else {
            return Err(wrong_type(at, "an object", &message));
        };
        let role = match message.remove("role") {
            Some(Value::String(role)) => role,
            None | Some(Value::Null) => return Err(missing(&format!("{at}.role"))),
            Some(other) => return Err(wrong_type(&format!("{at}.role"), "a string", &other)),
        };
        if !ROLES.contains(&role.as_str()) {
            return Err(unsupported(
                &format!("{at}.role"),
                &role,
                "'system', 'assistant', 'user', 'function', 'tool', and 'developer'",
            ));
        }
        let user = role == "user";
        self.instructed |= matches!(role.as_str(), "system" | "developer");
        self.answered |= role == "assistant";
        let at = format!("{at}.content");
        match message.remove("content") {
            Some(Value::String(text)) => self.text(&text, user),
            Some(Value::Array(parts)) => {
                for (index, part) in parts.into_iter().enumerate() {
                    self.part(&format!("{at}[{index}]"), part, user)?;
                }
            }
            // An assistant's message may have tool calls instead.
            None | Some(Value::Null) if role == "assistant" => {}
            None => return Err(missing(&at)),
            Some(other) => {
                return Err(wrong_type(&at, "a string or an array of objects", &other));
            }
        }
        Ok(())
    }

    fn part(&mut self, at: &str, part: Value, user: bool) -> Result<(), Invalid> {
        let Value::Object(mut part) = part else {
            return Err(wrong_type(at, "an object", &part));
        };
        match part.get("type").and_then(Value::as_str) {
            None => Err(missing(&format!("{at}.type"))),
            Some("text") => match part.remove("text") {
                Some(Value::String(text)) => {
                    self.text(&text, user);
                    Ok(())
                }
                None => Err(missing(&format!("{at}.text"))),
                Some(other) => Err(wrong_type(&format!("{at}.text"), "a string", &other)),
            },
            Some("image_url") => self.image(at, &part),
            Some(other) => Err(unsupported(
                &format!("{at}.type"),
                other,
                "'text' and 'image_url'",
            )),
        }
    }

    fn image(&mut self, at: &str, part: &Map<String, Value>) -> Result<(), Invalid> {
        let url = match part.get("image_url") {
            None => return Err(missing(&format!("{at}.image_url"))),
            Some(Value::Object(image)) => image.get("url"),
            Some(other) => {
                return Err(wrong_type(&format!("{at}.image_url"), "an object", other));
            }
        };
        let at = format!("{at}.image_url.url");
        let Some(url) = url.and_then(Value::as_str) else {
            return Err(missing(&at));
        };
        let (message, code) = match Image::parse(url) {
            Ok(image) => {
                self.images.push(image);
                return Ok(());
            }
            Err(BadImage::Url) => (
                format!("Invalid '{at}': Expected a valid URL or a base64 data URL."),
                "invalid_image_url",
            ),
            Err(BadImage::Base64) => ("Invalid base64 image_url.".to_owned(), "invalid_base64"),
            Err(BadImage::Format) => (
                "You uploaded an unsupported image. Please make sure your image has of one the \
                 following formats: ['png', 'jpeg', 'gif', 'webp']."
                    .to_owned(),
                "invalid_image_format",
            ),
        };
        Err(invalid(message, Some(&at), Some(code)))
    }

    fn text(&mut self, text: &str, user: bool) {
        self.chars += text.chars().count();
        self.says_json |= contains_json(text);
        if user {
            if !self.text.is_empty() {
                self.text.push_str("\n\n");
            }
            self.text.push_str(text);
        }
    }
}

fn contains_json(text: &str) -> bool {
    text.as_bytes()
        .windows(4)
        .any(|word| word.eq_ignore_ascii_case(b"json"))
}

pub(crate) fn integer(
    body: &Map<String, Value>,
    name: &str,
    range: std::ops::RangeInclusive<u64>,
) -> Result<Option<u64>, Invalid> {
    let value = match body.get(name) {
        None | Some(Value::Null) => return Ok(None),
        Some(value) => value,
    };
    if !(value.is_u64() || value.is_i64()) {
        return Err(wrong_type(name, "an integer", value));
    }
    let (bound, side, code) = match value.as_u64() {
        Some(number) if range.contains(&number) => return Ok(Some(number)),
        Some(number) if number > *range.end() => (
            format!("above maximum value. Expected a value <= {}", range.end()),
            number.to_string(),
            "integer_above_max_value",
        ),
        _ => (
            format!("below minimum value. Expected a value >= {}", range.start()),
            value.to_string(),
            "integer_below_min_value",
        ),
    };
    Err(invalid(
        format!("Invalid '{name}': integer {bound}, but got {side} instead."),
        Some(name),
        Some(code),
    ))
}

fn number(body: &Map<String, Value>, name: &str, most: f64) -> Result<(), Invalid> {
    let value = match body.get(name) {
        None | Some(Value::Null) => return Ok(()),
        Some(value) => value,
    };
    let Some(number) = value.as_f64() else {
        return Err(wrong_type(name, "a decimal", value));
    };
    let (bound, code) = if number < 0.0 {
        (
            "below minimum value. Expected a value >= 0".to_owned(),
            "decimal_below_min_value",
        )
    } else if number > most {
        (
            format!("above maximum value. Expected a value <= {most}"),
            "decimal_above_max_value",
        )
    } else {
        return Ok(());
    };
    Err(invalid(
        format!("Invalid '{name}': decimal {bound}, but got {number} instead."),
        Some(name),
        Some(code),
    ))
}

pub(crate) fn invalid(
    message: impl Into<String>,
    param: Option<&str>,
    code: Option<&'static str>,
) -> Invalid {
    Invalid {
        message: message.into(),
        kind: "invalid_request_error",
        param: param.map(str::to_owned),
        code,
        inner: None,
    }
}

pub(crate) fn missing(param: &str) -> Invalid {
    invalid(
        format!("Missing required parameter: '{param}'."),
        Some(param),
        Some("missing_required_parameter"),
    )
}

pub(crate) fn unsupported(param: &str, found: &str, known: &str) -> Invalid {
    invalid(
        format!("Invalid value: '{found}'. Supported values are: {known}."),
        Some(param),
        Some("invalid_value"),
    )
}

pub(crate) fn wrong_type(param: &str, expected: &str, found: &Value) -> Invalid {
    let found = match found {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(number) if number.is_f64() => "a decimal",
        Value::Number(_) => "an integer",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    };
    invalid(
        format!("Invalid type for '{param}': expected {expected}, but got {found} instead."),
        Some(param),
        Some("invalid_type"),
    )
}
