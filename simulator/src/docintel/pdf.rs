//! What can be told of a PDF without a library: how many pages, and text that is not compressed.

/// How many pages there are, at least one.
pub(super) fn pages(bytes: &[u8]) -> usize {
    let types = find_all(bytes, b"/Type").filter(|&at| {
        let rest = bytes[at + 5..].trim_ascii_start();
        let name = rest.strip_prefix(b"/Page");
        // `/Pages` is the tree, not a page.
        name.is_some_and(|after| !after.first().is_some_and(u8::is_ascii_alphanumeric))
    });
    match types.count() {
        0 => largest_count(bytes).clamp(1, 2000),
        count => count,
    }
}

/// Lines of the strings shown on each page: one content stream a page.
pub(super) fn texts(bytes: &[u8], pages: usize) -> Vec<Vec<String>> {
    let mut texts: Vec<Vec<String>> = Vec::new();
    for at in find_all(bytes, b"stream") {
        if bytes[..at].ends_with(b"end") {
            continue;
        }
        let stream = &bytes[at + 6..];
        let end = find_all(stream, b"endstream").next();
        let lines = shown(&stream[..end.unwrap_or(stream.len())]);
        if !lines.is_empty() {
            texts.push(lines);
        }
    }
    let surplus = texts.split_off(pages.min(texts.len()));
    if let Some(last) = texts.last_mut() {
        last.extend(surplus.into_iter().flatten());
    }
    texts.resize(pages, Vec::new());
    texts
}

/// The strings of the operators `Tj`, `'` and `TJ`.
fn shown(stream: &[u8]) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    let mut rest = stream;
    while let Some(at) = rest
        .iter()
        .position(|&byte| byte == b'(' || byte == b'T' || byte == b'\'')
    {
        let (byte, after) = (rest[at], &rest[at + 1..]);
        rest = after;
        let shows = match byte {
            b'(' => {
                let (text, end) = literal(after);
                line += &text;
                rest = &after[end..];
                continue;
            }
            b'T' => matches!(after.first(), Some(b'j' | b'J')),
            _ => true,
        };
        if shows && !line.trim().is_empty() {
            lines.push(std::mem::take(&mut line));
        }
    }
    lines
}

/// A string up to its closing parenthesis, and where that ends.
fn literal(bytes: &[u8]) -> (String, usize) {
    let (mut text, mut depth, mut at) = (String::new(), 0_usize, 0);
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'\\' => {
                let escaped = bytes.get(at).copied().unwrap_or(b' ');
                at += 1;
                match escaped {
                    b'n' | b'r' | b't' => text.push(' '),
                    other => text.push(char::from(other)),
                }
            }
            b')' if depth == 0 => break,
            b'(' | b')' => {
                depth = if byte == b'(' { depth + 1 } else { depth - 1 };
                text.push(char::from(byte));
            }
            // Latin-1 is near enough to the standard encoding.
            other => text.push(char::from(other)),
        }
    }
    (text, at.min(bytes.len()))
}

fn largest_count(bytes: &[u8]) -> usize {
    let counts = find_all(bytes, b"/Count").filter_map(|at| {
        let digits = bytes[at + 6..].trim_ascii_start();
        let end = digits.iter().position(|byte| !byte.is_ascii_digit());
        let digits = std::str::from_utf8(&digits[..end.unwrap_or(digits.len())]);
        digits.ok()?.parse().ok()
    });
    counts.max().unwrap_or(1)
}

fn find_all<'a>(bytes: &'a [u8], word: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    let windows = bytes.windows(word.len()).enumerate();
    windows
        .filter(move |(_, window)| *window == word)
        .map(|(at, _)| at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_counted_by_their_type_or_their_tree() {
        assert_eq!(pages(b"%PDF-1.4 /Type /Pages /Type/Page /Type /Page>>"), 2);
        assert_eq!(pages(b"%PDF-1.7 /Type /Pages /Count 7 /Count 3"), 7);
        assert_eq!(pages(b"%PDF-1.4 fake"), 1);
    }

    #[test]
    fn uncompressed_text_is_found_on_its_page() {
        let pdf = b"stream\nBT (Hello \\(you\\)) Tj ET\nendstream stream BT [(Wor) -3 (ld)] TJ \
                    endstream";
        assert_eq!(texts(pdf, 2), [["Hello (you)"], ["World"]]);
        assert_eq!(texts(pdf, 1), [["Hello (you)", "World"]]);
        assert_eq!(texts(b"", 1), [[""; 0]]);
    }
}
