//! The body of a 200: a `chat.completion` with usage.

use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    answer,
    effects::Content,
    exchange::{Answer, Service, Setting},
    request::{ChatRequest, tokens},
    response_format::Format,
};

#[derive(Serialize)]
struct Body<'a> {
    id: String,
    object: &'static str,
    created: u64,
    model: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_filter_results: Option<Value>,
    choices: Vec<Choice<'a>>,
    usage: Usage,
    service_tier: &'static str,
    system_fingerprint: &'static str,
}

#[derive(Serialize)]
struct Choice<'a> {
    index: u64,
    message: Message<'a>,
    logprobs: Option<()>,
    finish_reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_filter_results: Option<Value>,
}

#[derive(Clone, Copy, Serialize)]
struct Message<'a> {
    role: &'static str,
    content: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refusal: Option<Option<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotations: Option<[(); 0]>,
}

#[derive(Serialize)]
struct Usage {
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: u64,
    prompt_tokens_details: PromptDetails,
    completion_tokens_details: CompletionDetails,
}

#[derive(Serialize)]
struct PromptDetails {
    cached_tokens: u64,
    audio_tokens: u64,
    image_tokens: u64,
    text_tokens: u64,
}

#[derive(Serialize)]
struct CompletionDetails {
    reasoning_tokens: u64,
    audio_tokens: u64,
    accepted_prediction_tokens: u64,
    rejected_prediction_tokens: u64,
    text_tokens: u64,
}

/// Writes the answer to a request.
pub(crate) fn completion(
    request: &ChatRequest,
    setting: Setting<'_>,
) -> Result<Answer, serde_json::Error> {
    let said = Said::of(request, setting.content);
    let input = request.prompt_tokens();
    let output = said.tokens().saturating_mul(request.choices);
    let message = said.message(setting.without_refusal);
    let filtered = setting.content == Some(Content::Filtered);
    let azure = setting.dialect.is_azure();
    let choices = (0..request.choices)
        .map(|index| Choice {
            index,
            message,
            logprobs: None,
            finish_reason: said.finish_reason,
            content_filter_results: azure.then(|| filter_results(filtered)),
        })
        .collect();
    let body = Body {
        id: format!("chatcmpl-{:016x}", crate::chance::mix(setting.id)),
        object: "chat.completion",
        created: setting.created,
        model: &request.model,
        prompt_filter_results: azure.then(prompt_results),
        choices,
        usage: usage(request, input, output),
        service_tier: "default",
        system_fingerprint: "fp_rehearsal",
    };
    Ok(Answer {
        body: serde_json::to_vec(&body)?,
        input_tokens: input,
        output_tokens: output,
    })
}

/// What the model says, and why it stops.
struct Said {
    content: Option<String>,
    refusal: Option<&'static str>,
    finish_reason: &'static str,
}

impl Said {
    fn of(request: &ChatRequest, content: Option<Content>) -> Self {
        let stop = |content: Option<String>| Self {
            content,
            refusal: None,
            finish_reason: "stop",
        };
        match content {
            Some(Content::Filtered | Content::PromptFiltered) => Self {
                finish_reason: "content_filter",
                ..stop(None)
            },
            Some(Content::Refused) => Self {
                refusal: Some("I'm sorry, but I can't help with that."),
                ..stop(None)
            },
            Some(Content::Empty) => stop(Some(String::new())),
            Some(Content::Truncated) => {
                let whole = answer::content(request);
                let half = tokens(whole.chars().count()) / 2;
                Self::cut(whole, request.max_tokens.unwrap_or(half).min(half))
            }
            Some(Content::Invalid) if request.format != Format::Text => {
                stop(Some(invalid(request)))
            }
            Some(Content::InvalidAtFirst)
                if request.format != Format::Text && !request.answered =>
            {
                stop(Some(invalid(request)))
            }
            Some(Content::Invalid | Content::InvalidAtFirst) | None => {
                let whole = answer::content(request);
                match request.max_tokens {
                    Some(most) if tokens(whole.chars().count()) > most => Self::cut(whole, most),
                    _ => stop(Some(whole)),
                }
            }
        }
    }

    fn cut(mut whole: String, tokens: u64) -> Self {
        let chars = usize::try_from(tokens.saturating_mul(4)).unwrap_or(usize::MAX);
        if let Some((end, _)) = whole.char_indices().nth(chars) {
            whole.truncate(end);
        }
        Self {
            content: Some(whole),
            refusal: None,
            finish_reason: "length",
        }
    }

    fn tokens(&self) -> u64 {
        let text = self.content.as_deref().or(self.refusal);
        tokens(text.unwrap_or_default().chars().count())
    }

    fn message(&self, without_refusal: bool) -> Message<'_> {
        Message {
            role: "assistant",
            content: self.content.as_deref(),
            refusal: (!without_refusal).then_some(self.refusal),
            annotations: (!without_refusal).then_some([]),
        }
    }
}

/// Half of the JSON, or JSON that no schema of an object takes.
fn invalid(request: &ChatRequest) -> String {
    let mut whole = answer::content(request);
    if request.text.len().is_multiple_of(2) {
        return format!("[\"{LABEL}\"]", LABEL = answer::LABEL);
    }
    let half = whole.floor_char_boundary(whole.len() / 2);
    whole.truncate(half);
    whole
}

fn usage(request: &ChatRequest, input: u64, output: u64) -> Usage {
    Usage {
        prompt_tokens: input,
        completion_tokens: output,
        total_tokens: input + output,
        prompt_tokens_details: PromptDetails {
            cached_tokens: 0,
            audio_tokens: 0,
            image_tokens: request.image_tokens,
            text_tokens: request.text_tokens,
        },
        completion_tokens_details: CompletionDetails {
            reasoning_tokens: 0,
            audio_tokens: 0,
            accepted_prediction_tokens: 0,
            rejected_prediction_tokens: 0,
            text_tokens: output,
        },
    }
}

fn filter_results(filtered: bool) -> Value {
    let safe = json!({"filtered": false, "severity": "safe"});
    let violence = if filtered {
        json!({"filtered": true, "severity": "medium"})
    } else {
        safe.clone()
    };
    json!({
        "hate": safe,
        "protected_material_code": {"filtered": false, "detected": false},
        "protected_material_text": {"filtered": false, "detected": false},
        "self_harm": safe,
        "sexual": safe,
        "violence": violence,
    })
}

fn prompt_results() -> Value {
    let safe = json!({"filtered": false, "severity": "safe"});
    json!([{
        "prompt_index": 0,
        "content_filter_results": {
            "hate": safe,
            "jailbreak": {"filtered": false, "detected": false},
            "self_harm": safe,
            "sexual": safe,
            "violence": safe,
        },
    }])
}
