//! Text in the encodings that say what they are.

use std::borrow::Cow;

use filefleet_shared::wire::StepMessage;

use super::{CallError, Prompt, PromptError, prompt::Inputs};

/// Bytes that are no text; why, for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NotText(String);

impl From<NotText> for CallError {
    fn from(NotText(why): NotText) -> Self {
        Self::rejected("not_text", why)
    }
}

/// A file's text; `media_type`, guessed from its name, only serves the message.
///
/// # Errors
/// It is none: a named outcome.
pub(crate) fn read<'a>(bytes: &'a [u8], media_type: &str) -> Result<Cow<'a, str>, NotText> {
    decode(bytes).ok_or_else(|| NotText(why_not_text(bytes, media_type)))
}

/// Fills a template in. Of a file that is no text it may only mention the text where it does not
/// come to that, as in `{{ read.content if read else text }}`.
///
/// # Errors
/// `cause` if something else is not there for this file.
pub(crate) fn fill(
    prompt: &Prompt,
    message: &StepMessage,
    text: Result<&str, &NotText>,
    cause: &'static str,
) -> Result<String, CallError> {
    let called = |error: PromptError| error.into_call(cause);
    let not_text = match text {
        Ok(text) => return prompt.render(message, text).map_err(called),
        Err(not_text) => not_text,
    };
    let without = prompt.render_with(message, Inputs::default());
    without.map_err(|_| match prompt.render(message, "") {
        // With a text, whichever, it would do.
        Ok(_) => not_text.clone().into(),
        Err(error) => called(error),
    })
}

/// UTF-8, or UTF-16 that says so by its byte order mark; none if the bytes are not text.
pub(crate) fn decode(bytes: &[u8]) -> Option<Cow<'_, str>> {
    let text = match bytes {
        [0xff, 0xfe, rest @ ..] => Cow::Owned(utf16(rest, u16::from_le_bytes)?),
        [0xfe, 0xff, rest @ ..] => Cow::Owned(utf16(rest, u16::from_be_bytes)?),
        [0xef, 0xbb, 0xbf, rest @ ..] => Cow::Borrowed(str::from_utf8(rest).ok()?),
        _ => Cow::Borrowed(str::from_utf8(bytes).ok()?),
    };
    // Valid UTF-8 all the same, but in no text: some binary formats are all ASCII and NUL.
    (!text.as_bytes().contains(&0)).then_some(text)
}

/// Old encodings are the common case that a person can mend.
fn why_not_text(bytes: &[u8], found: &str) -> String {
    match str::from_utf8(bytes) {
        Err(error) if found.starts_with("text/") && !bytes.contains(&0) => format!(
            "{found}: not UTF-8 from byte {} on; convert it, for example with iconv",
            error.valid_up_to()
        ),
        _ => format!("{found}: binary where text is wanted"),
    }
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Option<String> {
    let (units, rest) = bytes.as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    char::decode_utf16(units.iter().copied().map(unit))
        .collect::<Result<_, _>>()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::tests::message;

    #[test]
    fn a_template_that_does_not_come_to_the_text_does_without_one() {
        let prompt = Prompt::compile("<{{ read.content if read else text }}>", &["read"]).unwrap();
        let not_text = NotText("binary".to_owned());
        let fill = |output: serde_json::Value, text| {
            let mut step = message("in/scan.pdf");
            step.outputs.insert("read".to_owned(), output);
            fill(&prompt, &step, text, "template")
        };
        let read = serde_json::json!({"content": "hello"});
        let nothing = serde_json::Value::Null;
        assert_eq!(fill(read, Err(&not_text)).unwrap(), "<hello>");
        assert_eq!(fill(nothing.clone(), Ok("letter")).unwrap(), "<letter>");
        let cause = |result| match result {
            Err(CallError::Rejected { cause, .. }) => cause.into_owned(),
            other => panic!("{other:?}"),
        };
        assert_eq!(cause(fill(nothing, Err(&not_text))), "not_text");
        let other = serde_json::json!({"text": "hello"});
        assert_eq!(cause(fill(other, Err(&not_text))), "template");
    }

    #[test]
    fn an_old_encoding_is_told_from_binary() {
        assert_eq!(
            why_not_text(b"caf\xe9", "text/plain"),
            "text/plain: not UTF-8 from byte 3 on; convert it, for example with iconv"
        );
        let binary = "application/pdf: binary where text is wanted";
        assert_eq!(why_not_text(b"%PDF\xff", "application/pdf"), binary);
    }
}
