//! Names in templates that slice something, as in `{{ text[:1000] }}`.
//!
//! minijinja 3.0.5 does not name what is sliced when it lists the variables of a template. So that a
//! template gets what it takes, names beside a slice count as well; at worst it gets too much.

use std::collections::HashSet;

/// All names in tags that have a slice in them: variables, and also filters, tests and words of the
/// language.
pub(super) fn names(source: &str) -> HashSet<&str> {
    let mut found = HashSet::new();
    let mut rest = source;
    while let Some(at) = rest.find("{{").into_iter().chain(rest.find("{%")).min() {
        let (opening, tag) = rest[at..].split_at(2);
        let closing = if opening == "{{" { "}}" } else { "%}" };
        let end = tag.find(closing).unwrap_or(tag.len());
        let tokens = tokens(&tag[..end]);
        if slices(&tokens) {
            let before = [""].into_iter().chain(tokens.iter().copied());
            let named = before.zip(&tokens).filter(|(before, token)| {
                // What follows a point is an attribute.
                *before != "." && is_name(token)
            });
            found.extend(named.map(|(_, token)| *token));
        }
        rest = &tag[end..];
    }
    found
}

/// Names and single signs, without texts in quotes.
fn tokens(tag: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = tag;
    while let Some(first) = rest.chars().next() {
        let mut length = first.len_utf8();
        if matches!(first, '"' | '\'') {
            let text = &rest[1..];
            length = text.find(first).map_or(rest.len(), |end| end + 2);
        } else {
            let name = rest.find(|c: char| !c.is_alphanumeric() && c != '_');
            length = length.max(name.unwrap_or(rest.len()));
            if !first.is_whitespace() {
                tokens.push(&rest[..length]);
            }
        }
        rest = &rest[length..];
    }
    tokens
}

/// A colon that stands right between square brackets.
fn slices(tokens: &[&str]) -> bool {
    let mut open = Vec::new();
    for token in tokens {
        match *token {
            "[" | "(" | "{" => open.push(*token),
            "]" | ")" | "}" => drop(open.pop()),
            ":" if open.last() == Some(&"[") => return true,
            _ => {}
        }
    }
    false
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_beside_a_slice_are_found_and_others_are_not() {
        let found = |source| {
            let mut names: Vec<_> = names(source).into_iter().collect();
            names.sort_unstable();
            names
        };
        for source in [
            "{{ text[:100] }}",
            "a text {{ text[ 10 : ] }} of letters",
            "{{ (text)[1:2] }} {{ read.content }}",
            "{% if text[:1] == 'read[:1]' %}{% endif %}",
            "{{ {'a': text[: 5]} }}",
        ] {
            let names = found(source);
            assert!(names.contains(&"text"), "{source}: {names:?}");
            assert!(!names.contains(&"read"), "{source}: {names:?}");
        }
        for source in [
            "",
            "text[:100]",
            "{{ text }}",
            "{{ text[0] }} {{ {'a': text} }} {{ '[:1]' }} {{ it's",
            "{{ text[{'a': 1}] }}",
            "{{ ü",
        ] {
            assert_eq!(found(source), [""; 0], "{source}");
        }
    }
}
