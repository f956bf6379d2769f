//! Amounts of money.

/// An amount, as it is written and as a number.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Amount {
    pub(crate) value: f64,
    pub(crate) currency: &'static str,
    pub(crate) written: String,
    /// Its line says that it is a total.
    pub(crate) totals: bool,
}

const CURRENCIES: [(&str, &str); 14] = [
    ("€", "EUR"),
    ("EUR", "EUR"),
    ("Euro", "EUR"),
    ("US$", "USD"),
    ("$", "USD"),
    ("USD", "USD"),
    ("£", "GBP"),
    ("GBP", "GBP"),
    ("CHF", "CHF"),
    ("Fr.", "CHF"),
    ("¥", "JPY"),
    ("JPY", "JPY"),
    ("SEK", "SEK"),
    ("PLN", "PLN"),
];

/// Words of totals in five languages; a subtotal has them too, but comes before the total.
const TOTALS: [&str; 9] = [
    "total",
    "gesamt",
    "summe",
    "zu zahlen",
    "endbetrag",
    "à payer",
    "amount due",
    "importe",
    "balance due",
];

/// Finds amounts with a currency before or after, in the order of the text.
pub(super) fn find(text: &str) -> Vec<Amount> {
    let mut found = Vec::new();
    for line in text.lines() {
        let lower = line.to_lowercase();
        let totals = TOTALS.iter().any(|word| lower.contains(word));
        let tokens: Vec<&str> = line
            .split(|c: char| super::separates(c) || c == ';' || c == '|')
            .filter(|token| !token.is_empty())
            .collect();
        for (index, token) in tokens.iter().enumerate() {
            let before = index.checked_sub(1).and_then(|at| tokens.get(at));
            let after = tokens.get(index + 1);
            if let Some((value, currency)) = amount(token, before.copied(), after.copied()) {
                found.push(Amount {
                    value,
                    currency,
                    written: number_part(token).to_owned(),
                    totals,
                });
            }
        }
    }
    found
}

/// Keeps at most `most`, among them the total.
pub(super) fn keep(amounts: &mut Vec<Amount>, most: usize) {
    if amounts.len() > most
        && let Some(total) = total(amounts).cloned()
    {
        amounts.truncate(most);
        if !amounts.contains(&total) {
            amounts.pop();
            amounts.push(total);
        }
    }
}

/// The last amount that is called a total, or the largest.
pub(super) fn total(amounts: &[Amount]) -> Option<&Amount> {
    amounts
        .iter()
        .rev()
        .find(|amount| amount.totals)
        .or_else(|| amounts.iter().max_by(|a, b| a.value.total_cmp(&b.value)))
}

fn amount(token: &str, before: Option<&str>, after: Option<&str>) -> Option<(f64, &'static str)> {
    let number = number_part(token);
    let value = parse(number)?;
    let start = token.find(number)?;
    let (head, tail) = (&token[..start], &token[start + number.len()..]);
    let currency = currency(head)
        .or_else(|| currency(tail))
        .or_else(|| after.filter(|_| tail.is_empty()).and_then(currency))
        .or_else(|| before.filter(|_| head.is_empty()).and_then(currency))?;
    Some((value, currency))
}

fn currency(word: &str) -> Option<&'static str> {
    let word = word.trim_matches(|c: char| {
        c.is_whitespace() || matches!(c, ',' | ':' | '(' | ')' | '*' | '-')
    });
    CURRENCIES
        .iter()
        .find(|(name, _)| word == *name || word.strip_suffix('.') == Some(*name))
        .map(|(_, code)| *code)
}

/// From the first digit to the last.
fn number_part(token: &str) -> &str {
    let digit = |c: char| c.is_ascii_digit();
    match (token.find(digit), token.rfind(digit)) {
        (Some(first), Some(last)) => &token[first..=last],
        _ => "",
    }
}

/// `1234.5`, `1,234.50`, `1.234,50`, `1'234.50`, `1 234,50` with a space that does not break.
fn parse(number: &str) -> Option<f64> {
    let separator = |c: char| matches!(c, '.' | ',' | '\'' | '’' | '\u{a0}' | '\u{202f}');
    if number.is_empty() || !number.chars().all(|c| c.is_ascii_digit() || separator(c)) {
        return None;
    }
    let (whole, cents) = match number.rfind(['.', ',']) {
        // Three digits after it are thousands.
        Some(at) if number.len() - at - 1 != 3 => (&number[..at], &number[at + 1..]),
        _ => (number, ""),
    };
    let digits: String = whole.chars().filter(char::is_ascii_digit).collect();
    format!("{digits}.{cents}0").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_of_many_spellings_are_read() {
        for (text, value, currency) in [
            ("Betrag: 1.234,50 €", 1234.5, "EUR"),
            ("EUR 1.234,50", 1234.5, "EUR"),
            ("$1,234.50.", 1234.5, "USD"),
            ("CHF 1'234.50", 1234.5, "CHF"),
            ("1\u{a0}234,50 €", 1234.5, "EUR"),
            ("1\u{202f}234,50\u{a0}€", 1234.5, "EUR"),
            ("pay £12 now", 12.0, "GBP"),
            ("12.345 EUR", 12345.0, "EUR"),
            ("(99,90€)", 99.9, "EUR"),
        ] {
            let found = find(text);
            assert_eq!(found.len(), 1, "{text}: {found:?}");
            assert!((found[0].value - value).abs() < 1e-9, "{text}: {found:?}");
            assert_eq!(found[0].currency, currency, "{text}");
        }
    }

    #[test]
    fn numbers_without_a_currency_are_no_amounts() {
        assert_eq!(find("12 pieces, 2026-03-12, call 555-1234"), []);
    }

    #[test]
    fn the_last_total_wins_over_larger_amounts() {
        let found = find("Limit 900 €\nSubtotal 100,00 €\nVAT 19,00 €\nTotal 119,00 €\nThanks");
        assert_eq!(total(&found).map(|amount| amount.value), Some(119.0));
        let found = find("a 1 €\nb 3 €\nc 2 €");
        assert_eq!(total(&found).map(|amount| amount.value), Some(3.0));
    }

    #[test]
    fn the_total_is_kept_when_the_list_is_cut() {
        let mut found = find("a 1 €\nb 2 €\nc 3 €\nTotal 6 €");
        keep(&mut found, 2);
        assert_eq!(
            found.iter().map(|a| a.value).collect::<Vec<_>>(),
            [1.0, 6.0]
        );
    }
}
