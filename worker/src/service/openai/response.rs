//! The answer, and the ways in which a 200 is none.

use filefleet_shared::wire::Usage;
use serde::Deserialize;
use serde_json::{Value, json};

use super::schema::{AnswerSchema, Mismatch};
use crate::service::{Answer, CallError};

/// What a model said, whole.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) text: String,
    model: Option<String>,
    finish_reason: String,
    pub(crate) usage: Usage,
}

impl Said {
    /// The answer as it is, with its JSON if that is asked for.
    ///
    /// # Errors
    /// `Malformed` if it is no JSON.
    pub(crate) fn answer(self, want_json: bool) -> Result<Answer, CallError> {
        let json = want_json.then(|| parse_json(&self.text)).transpose();
        let json =
            json.map_err(|error| CallError::Malformed(format!("the answer is not JSON: {error}")))?;
        let mut output = json!({
            "text": self.text,
            "model": self.model,
            "finish_reason": self.finish_reason,
        });
        if let Some(json) = json {
            output["json"] = json;
        }
        Ok(Answer {
            output,
            usage: self.usage,
        })
    }

    /// The answer as the schema wants it, which is the output itself.
    ///
    /// # Errors
    /// Why it is none.
    pub(crate) fn structured(&self, schema: &AnswerSchema) -> Result<Answer, Mismatch> {
        Ok(Answer {
            output: schema.read(&self.text)?,
            usage: self.usage,
        })
    }
}

#[derive(Deserialize)]
struct Completion {
    #[serde(default)]
    model: Option<String>,
    #[serde(default)]
    choices: Vec<Choice>,
    #[serde(default)]
    usage: Option<Counted>,
    #[serde(default)]
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    finish_reason: Option<String>,
    message: Message,
}

#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    content: Option<String>,
    #[serde(default)]
    refusal: Option<String>,
}

/// Tokens as the service counted them; not all services count all of them.
#[derive(Deserialize)]
struct Counted {
    #[serde(default)]
    prompt_tokens: Option<u64>,
    #[serde(default)]
    completion_tokens: Option<u64>,
    #[serde(default)]
    prompt_tokens_details: Option<PromptDetails>,
    #[serde(default)]
    completion_tokens_details: Option<CompletionDetails>,
}

#[derive(Deserialize)]
struct PromptDetails {
    #[serde(default)]
    cached_tokens: Option<u64>,
}

#[derive(Deserialize)]
struct CompletionDetails {
    #[serde(default)]
    reasoning_tokens: Option<u64>,
}

/// Reads the body of a 200.
///
/// # Errors
/// `Malformed` if it is no completion, `Rejected` with what was paid if it is one that has no
/// answer in it.
pub(crate) fn read(body: &[u8]) -> Result<Said, CallError> {
    let completion: Completion = serde_json::from_slice(without_keep_alive(body))
        .map_err(|error| CallError::Malformed(format!("not a chat completion: {error}")))?;
    let usage = usage(completion.usage.as_ref());
    let Some(choice) = completion.choices.into_iter().next() else {
        let detail = match completion.error {
            Some(error) => crate::service::detail::message(&error),
            None => "a completion without choices".to_owned(),
        };
        return Err(CallError::Malformed(detail));
    };
    let reason = choice.finish_reason.unwrap_or_default();
    let text = choice.message.content.unwrap_or_default();
    let refused = choice
        .message
        .refusal
        .is_some_and(|refusal| !refusal.is_empty());
    if let Some((cause, detail)) = refusal(&reason, refused, text.trim().is_empty()) {
        return Err(CallError::Rejected {
            cause: cause.into(),
            detail: detail.to_owned(),
            usage,
        });
    }
    Ok(Said {
        text,
        model: completion.model,
        finish_reason: reason,
        usage,
    })
}

/// Why a completion is no answer, if it is none.
fn refusal(reason: &str, refused: bool, empty: bool) -> Option<(&'static str, &'static str)> {
    match reason {
        _ if refused => Some(("refusal", "the model refused")),
        "content_filter" => Some(("content_filter", "the service's filter stopped the answer")),
        "length" if empty => Some((
            "truncated",
            "no answer within max_tokens; reasoning may have used them",
        )),
        "length" => Some(("truncated", "the answer is longer than max_tokens")),
        _ if empty => Some(("empty_answer", "the model answered nothing")),
        _ => None,
    }
}

fn usage(counted: Option<&Counted>) -> Usage {
    let mut usage = Usage {
        calls: 1,
        ..Usage::default()
    };
    if let Some(counted) = counted {
        usage.input_tokens = counted.prompt_tokens.unwrap_or_default();
        usage.output_tokens = counted.completion_tokens.unwrap_or_default();
        let prompt = counted.prompt_tokens_details.as_ref();
        usage.cached_tokens = prompt.and_then(|d| d.cached_tokens).unwrap_or_default();
        let completion = counted.completion_tokens_details.as_ref();
        usage.reasoning_tokens = completion
            .and_then(|d| d.reasoning_tokens)
            .unwrap_or_default();
    }
    usage
}

/// DeepSeek sends blank lines and `: keep-alive` comments while a request waits for its turn.
fn without_keep_alive(body: &[u8]) -> &[u8] {
    let mut rest = body.trim_ascii_start();
    while rest.first() == Some(&b':') {
        let end = rest
            .iter()
            .position(|byte| *byte == b'\n')
            .unwrap_or(rest.len());
        rest = rest[end..].trim_ascii_start();
    }
    rest
}

/// Models wrap JSON in a code fence even where they are told not to; the answer is paid for.
pub(super) fn parse_json(text: &str) -> serde_json::Result<Value> {
    let text = text.trim();
    let fenced = text
        .strip_prefix("```")
        .and_then(|rest| rest.strip_suffix("```"))
        .map(|inner| inner.strip_prefix("json").unwrap_or(inner));
    serde_json::from_str(fenced.unwrap_or(text))
}

#[cfg(test)]
mod tests {
    use filefleet_shared::wire::Cost;

    use super::*;

    fn interpret(body: &[u8], want_json: bool) -> Result<Answer, CallError> {
        read(body)?.answer(want_json)
    }

    fn completion(message: &Value, reason: &str) -> Vec<u8> {
        json!({
            "id": "1", "object": "chat.completion", "created": 1, "model": "m-1",
            "choices": [{"index": 0, "finish_reason": reason, "message": message}],
            "usage": {
                "prompt_tokens": 10, "completion_tokens": 4, "total_tokens": 14,
                "prompt_tokens_details": {"cached_tokens": 8},
                "completion_tokens_details": {"reasoning_tokens": 3},
            },
        })
        .to_string()
        .into_bytes()
    }

    const PAID: Usage = Usage {
        from_journal: 0,
        pages: 0,
        cost: Cost::from_billionths(0),
        calls: 1,
        input_tokens: 10,
        output_tokens: 4,
        cached_tokens: 8,
        reasoning_tokens: 3,
    };

    #[test]
    fn an_answer_has_its_text_model_reason_and_usage() {
        let body = completion(
            &json!({"role": "assistant", "content": "hi", "refusal": null}),
            "stop",
        );
        let answer = interpret(&body, false).unwrap();
        let output = json!({"text": "hi", "model": "m-1", "finish_reason": "stop"});
        assert_eq!(
            answer,
            Answer {
                output,
                usage: PAID
            }
        );
    }

    #[test]
    fn keep_alive_lines_before_the_answer_are_not_part_of_it() {
        let mut body = b"\n\n  \r\n: keep-alive\n\n: keep-alive\n".to_vec();
        body.extend(completion(&json!({"content": "hi"}), "stop"));
        assert_eq!(interpret(&body, false).unwrap().output["text"], "hi");
    }

    #[test]
    fn a_completion_without_an_answer_is_a_named_refusal_that_keeps_what_was_paid() {
        let cases = [
            (json!({"content": "par"}), "length", "truncated"),
            (json!({"content": null}), "length", "truncated"),
            (json!({"content": ""}), "content_filter", "content_filter"),
            (json!({"content": null, "refusal": "no"}), "stop", "refusal"),
            (json!({"content": " \n"}), "stop", "empty_answer"),
            (json!({"role": "assistant"}), "stop", "empty_answer"),
        ];
        for (message, reason, expected) in cases {
            match interpret(&completion(&message, reason), false) {
                Err(CallError::Rejected { cause, usage, .. }) => {
                    assert_eq!(
                        (cause.as_ref(), usage),
                        (expected, PAID),
                        "{message} {reason}"
                    );
                }
                other => panic!("{message} {reason}: {other:?}"),
            }
        }
    }

    #[test]
    fn json_is_parsed_out_of_its_fence_and_its_absence_is_malformed() {
        let read = |text: &str| interpret(&completion(&json!({"content": text}), "stop"), true);
        assert_eq!(read("{\"a\":1}").unwrap().output["json"], json!({"a": 1}));
        assert_eq!(
            read("```json\n{\"a\":1}\n```").unwrap().output["json"],
            json!({"a": 1})
        );
        assert!(matches!(read("sure! {"), Err(CallError::Malformed(_))));
    }

    #[test]
    fn a_body_that_is_no_completion_is_malformed() {
        for body in ["", "<html>", "{\"choices\":[]}", "{\"choices\":[{}]}", "[1"] {
            let result = interpret(body.as_bytes(), false);
            assert!(matches!(result, Err(CallError::Malformed(_))), "{body}");
        }
        let error = interpret(b"{\"error\":{\"message\":\"upstream died\"}}", false).unwrap_err();
        assert_eq!(error, CallError::Malformed("upstream died".to_owned()));
    }

    #[test]
    fn counts_that_a_service_leaves_out_read_as_zero() {
        let body = br#"{"choices":[{"message":{"content":"x"}}],"usage":{"prompt_tokens":2,"prompt_tokens_details":null}}"#;
        let answer = interpret(body, false).unwrap();
        assert_eq!(
            answer.usage,
            Usage {
                calls: 1,
                input_tokens: 2,
                ..Usage::default()
            }
        );
    }
}
