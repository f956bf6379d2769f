//! Text in the encodings that say what they are.

use std::borrow::Cow;

use super::CallError;

/// A file's text; `media_type`, guessed from its name, only serves the message.
///
/// # Errors
/// It is none: a named outcome.
pub(crate) fn read<'a>(bytes: &'a [u8], media_type: &str) -> Result<Cow<'a, str>, CallError> {
    decode(bytes).ok_or_else(|| CallError::rejected("not_text", why_not_text(bytes, media_type)))
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
