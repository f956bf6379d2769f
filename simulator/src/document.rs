//! What can be read off a document without a model: kind, title, dates, amounts, words.

mod amounts;
mod dates;

pub(crate) use amounts::Amount;

/// Text beyond this is counted, but not searched.
const SEARCHED: usize = 64 * 1024;
/// More dates or amounts than this are not listed.
const MOST: usize = 8;

/// The facts of one document.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Facts {
    pub(crate) kind: &'static str,
    pub(crate) language: Option<&'static str>,
    /// The first meaningful line.
    pub(crate) title: String,
    /// Who seems to have written it.
    pub(crate) sender: String,
    /// Something like an invoice number.
    pub(crate) number: Option<String>,
    /// ISO dates in the order of the text, each once.
    pub(crate) dates: Vec<String>,
    pub(crate) amounts: Vec<Amount>,
    pub(crate) words: usize,
}

impl Facts {
    /// Reads a text; `instructed` says that the text has no instructions in front.
    pub(crate) fn of(text: &str, instructed: bool) -> Self {
        let document = if instructed {
            text
        } else {
            without_instruction(text)
        };
        let searched = head(document);
        let lower = searched.to_lowercase();
        let lines: Vec<&str> = searched.lines().filter_map(meaningful).collect();
        let tokens: Vec<&str> = searched
            .split(separates)
            .filter(|t| !t.is_empty())
            .collect();
        let mut found = dates::find(&tokens);
        found.truncate(MOST);
        let mut amounts = amounts::find(searched);
        amounts::keep(&mut amounts, MOST);
        Self {
            kind: kind(&lower, &lines),
            language: language(&lower),
            title: shorten(lines.first().copied().unwrap_or_default(), 120),
            sender: shorten(sender(&lines), 80),
            number: number(&tokens),
            dates: found,
            amounts,
            words: document.split_whitespace().count(),
        }
    }

    /// The sum of the document, if it has amounts.
    pub(crate) fn total(&self) -> Option<&Amount> {
        amounts::total(&self.amounts)
    }
}

/// Spaces that are no part of a number: `1 234,50` is written with one that does not break.
fn separates(c: char) -> bool {
    c.is_whitespace() && c != '\u{a0}' && c != '\u{202f}'
}

fn head(text: &str) -> &str {
    let mut end = text.len().min(SEARCHED);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// A prompt often says what to do in one line, and then comes the document.
fn without_instruction(text: &str) -> &str {
    let trimmed = text.trim_start();
    match trimmed.split_once("\n\n") {
        Some((first, document))
            if !first.contains('\n')
                && first.trim_end().ends_with(['.', ':', '?', '!'])
                && !document.trim().is_empty() =>
        {
            document
        }
        _ => trimmed,
    }
}

/// A line without its Markdown, unless it has no letter or is only a fence or a tag.
fn meaningful(line: &str) -> Option<&str> {
    let line = line
        .trim()
        .trim_start_matches(['#', '>', '*', '|', ' '])
        .trim_end_matches(['*', '|', ' ']);
    let tag = line.starts_with('<') && line.ends_with('>');
    (line.chars().any(char::is_alphabetic) && !line.starts_with("```") && !tag).then_some(line)
}

/// The first line that names somebody, not the document.
fn sender<'a>(lines: &[&'a str]) -> &'a str {
    lines
        .iter()
        .find(|line| {
            let lower = line.to_lowercase();
            !KINDS[0].1.iter().any(|word| lower.contains(word)) && line.chars().count() > 2
        })
        .copied()
        .unwrap_or_default()
}

const KINDS: [(&str, &[&str]); 4] = [
    (
        "invoice",
        &[
            "invoice",
            "rechnung",
            "facture",
            "factura",
            "fattura",
            "receipt",
            "quittung",
            "amount due",
            "iban",
        ],
    ),
    (
        "minutes",
        &[
            "minutes",
            "attendees",
            "agenda",
            "action items",
            "protokoll",
            "besprechung",
            "teilnehmer",
            "compte rendu",
            "compte-rendu",
            "réunion",
            "verbale",
        ],
    ),
    (
        "letter",
        &[
            "dear ",
            "sincerely",
            "kind regards",
            "sehr geehrte",
            "mit freundlichen grüßen",
            "viele grüße",
            "madame",
            "monsieur",
            "cordialement",
            "estimad",
            "atentamente",
        ],
    ),
    (
        "contract",
        &["agreement", "vertrag", "contrat", "contrato", "hereinafter"],
    ),
];

fn kind(lower: &str, lines: &[&str]) -> &'static str {
    if is_table(lines) {
        return "table";
    }
    if lower.starts_with(['{', '[']) {
        return "data";
    }
    KINDS
        .iter()
        .map(|(kind, words)| {
            let hits = words.iter().filter(|word| lower.contains(*word)).count();
            (hits, *kind)
        })
        // Of equals the first: a letter that mentions an invoice says so less than an invoice.
        .reduce(|best, next| if next.0 > best.0 { next } else { best })
        .filter(|(hits, _)| *hits > 0)
        .map_or("text", |(_, kind)| kind)
}

/// Most lines have the same number, above one, of the same separator.
fn is_table(lines: &[&str]) -> bool {
    let lines = &lines[..lines.len().min(50)];
    lines.len() >= 3
        && [',', ';', '\t', '|'].into_iter().any(|separator| {
            let columns = lines[0].matches(separator).count();
            let same = lines
                .iter()
                .filter(|line| line.matches(separator).count() == columns)
                .count();
            columns >= 2 && same * 10 >= lines.len() * 8
        })
}

fn language(lower: &str) -> Option<&'static str> {
    const COMMON: [(&str, [&str; 7]); 5] = [
        ("en", ["the", "and", "of", "to", "for", "is", "you"]),
        ("de", ["der", "die", "und", "für", "wir", "ist", "mit"]),
        ("fr", ["le", "les", "et", "pour", "vous", "nous", "est"]),
        ("es", ["el", "los", "y", "para", "por", "que", "una"]),
        ("it", ["il", "gli", "per", "che", "della", "sono", "una"]),
    ];
    let mut hits = [0_usize; COMMON.len()];
    for word in lower.split(|c: char| !c.is_alphabetic()) {
        for (count, (_, words)) in hits.iter_mut().zip(&COMMON) {
            *count += usize::from(words.contains(&word));
        }
    }
    let most = hits.into_iter().max().filter(|most| *most >= 2)?;
    let index = hits.iter().position(|hit| *hit == most)?;
    COMMON.get(index).map(|(language, _)| *language)
}

/// What follows "no.", "Nr." or "n°", if it has a digit.
fn number(tokens: &[&str]) -> Option<String> {
    tokens.windows(2).find_map(|pair| {
        let label = pair[0].to_lowercase();
        let label = label.trim_end_matches([':', '.']);
        let labels = [
            "no", "nr", "n°", "nº", "number", "nummer", "#", "numéro", "número",
        ];
        let named = labels.contains(&label)
            || ["-nr", "nummer", "snr"]
                .iter()
                .any(|end| label.ends_with(end));
        let value = pair[1].trim_matches(|c: char| !c.is_alphanumeric());
        (named && value.chars().any(|c| c.is_ascii_digit())).then(|| value.to_owned())
    })
}

fn shorten(line: &str, most: usize) -> String {
    if line.chars().count() <= most {
        return line.to_owned();
    }
    let mut short: String = line.chars().take(most - 1).collect();
    short.push('…');
    short
}

#[cfg(test)]
mod tests;
