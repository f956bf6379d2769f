//! Dates in five languages, as ISO dates.

/// The beginnings of the names of months in English, German, French, Spanish and Italian.
const MONTHS: [(&[&str], u8); 12] = [
    (&["jan", "ene", "gen"], 1),
    (&["feb", "fév", "fev"], 2),
    (&["mar", "mär"], 3),
    (&["apr", "avr", "abr"], 4),
    (&["may", "mai", "mag"], 5),
    (&["jun", "juin", "giu"], 6),
    (&["jul", "juil", "lug"], 7),
    (&["aug", "aoû", "ago"], 8),
    (&["sep", "set"], 9),
    (&["oct", "okt", "ott"], 10),
    (&["nov"], 11),
    (&["dec", "dez", "déc", "dic"], 12),
];

/// Finds dates in the order of the text, each once.
pub(super) fn find(tokens: &[&str]) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for (index, token) in tokens.iter().enumerate() {
        let date = in_digits(token).or_else(|| in_words(&tokens[index..]));
        if let Some(date) = date
            && !found.contains(&date)
        {
            found.push(date);
        }
    }
    found
}

/// `2026-03-12`, `12.3.2026`, `12/03/2026` (day first, unless there is no such month).
fn in_digits(token: &str) -> Option<String> {
    // A row of a table has many values in one token.
    token.split([',', ';']).find_map(|value| {
        let value = value.trim_matches(|c: char| !c.is_ascii_digit());
        let separator = value.chars().find(|c| !c.is_ascii_digit())?;
        if !matches!(separator, '-' | '.' | '/') {
            return None;
        }
        let mut parts = value.split(separator);
        let (a, b, c) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() {
            return None;
        }
        let (first, middle, last): (u16, u16, u16) =
            (a.parse().ok()?, b.parse().ok()?, c.parse().ok()?);
        match (a.len(), c.len()) {
            (4, 1 | 2) => iso(first, middle, last),
            (1 | 2, 4) if separator == '/' && middle > 12 => iso(last, first, middle),
            (1 | 2, 4) => iso(last, middle, first),
            _ => None,
        }
    })
}

/// `12 March 2026`, `12. März 2026`, `12 de marzo de 2026`, `March 12, 2026`.
fn in_words(tokens: &[&str]) -> Option<String> {
    let mut words = tokens
        .iter()
        .filter(|word| !matches!(**word, "de" | "of"))
        .take(3);
    let (first, second, third) = (words.next()?, words.next()?, words.next()?);
    let year = number(third).filter(|year| (1900..2200).contains(year))?;
    match (number(first), month(second)) {
        (Some(day), Some(month)) => iso(year, month, day),
        _ => iso(year, month(first)?, number(second)?),
    }
}

fn number(word: &str) -> Option<u16> {
    let word = word.trim_matches(|c: char| !c.is_alphanumeric());
    ["st", "nd", "rd", "th", "er"]
        .iter()
        .find_map(|end| word.strip_suffix(end))
        .unwrap_or(word)
        .parse()
        .ok()
}

fn month(word: &str) -> Option<u16> {
    let word = word
        .trim_matches(|c: char| !c.is_alphabetic())
        .to_lowercase();
    MONTHS
        .iter()
        .find(|(names, _)| names.iter().any(|name| word.starts_with(name)))
        .map(|(_, number)| u16::from(*number))
}

fn iso(year: u16, month: u16, day: u16) -> Option<String> {
    let days = match month {
        2 => 29,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    ((1900..2200).contains(&year) && (1..=days).contains(&day))
        .then(|| format!("{year:04}-{month:02}-{day:02}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        find(&text.split_whitespace().collect::<Vec<_>>())
    }

    #[test]
    fn dates_of_many_spellings_are_one_date() {
        for text in [
            "on 2026-03-12.",
            "am 12.03.2026",
            "am 12.3.2026,",
            "le 12/03/2026",
            "12 March 2026",
            "den 12. März 2026",
            "12 mars 2026",
            "el 12 de marzo de 2026",
            "March 12, 2026",
            "March 12th, 2026",
            "id,12.03.2026,x",
        ] {
            assert_eq!(found(text), ["2026-03-12"], "{text}");
        }
        assert_eq!(found("due 03/25/2026"), ["2026-03-25"]);
    }

    #[test]
    fn what_only_looks_like_a_date_is_none() {
        for text in [
            "1.2.3",
            "192.168.10.1",
            "31.02.2026x",
            "12/2026",
            "12 apples 2026",
            "99.99.2026",
        ] {
            if text == "31.02.2026x" {
                assert_eq!(found(text), Vec::<String>::new());
                continue;
            }
            assert!(found(text).is_empty(), "{text}");
        }
    }
}
