//! The parameters of a request to read a document.

use super::{problems, source::Sheet, spans::Unit};
use crate::azure::{Problem, Query};

/// What is wanted of the result.
#[derive(Clone, Debug, Default)]
pub(super) struct Options {
    /// Ranges of page numbers, from 1; all pages if empty.
    pages: Vec<(usize, usize)>,
    pub(super) unit: Unit,
    pub(super) markdown: bool,
    pub(super) languages: bool,
    pub(super) key_value_pairs: bool,
}

const FEATURES: [&str; 7] = [
    "ocrHighResolution",
    "languages",
    "barcodes",
    "formulas",
    "keyValuePairs",
    "styleFont",
    "queryFields",
];

impl Options {
    pub(super) fn parse(query: &Query) -> Result<Self, Problem> {
        let features = list(query, "features", &FEATURES)?;
        list(query, "output", &["pdf", "figures"])?;
        let unit = match query.get("stringIndexType") {
            None => Unit::default(),
            Some(name) => {
                Unit::named(name).ok_or_else(|| problems::invalid_argument("stringIndexType"))?
            }
        };
        let markdown = match query.get("outputContentFormat") {
            None | Some("text") => false,
            Some("markdown") => true,
            Some(_) => return Err(problems::invalid_argument("outputContentFormat")),
        };
        Ok(Self {
            pages: ranges(query.get("pages").unwrap_or_default())
                .ok_or_else(|| problems::invalid_argument("pages"))?,
            unit,
            markdown,
            languages: features.contains(&"languages"),
            key_value_pairs: features.contains(&"keyValuePairs"),
        })
    }

    /// The pages that are asked for, of which there must be one.
    pub(super) fn select(&self, mut sheets: Vec<Sheet>) -> Result<Vec<Sheet>, Problem> {
        if !self.pages.is_empty() {
            sheets.retain(|sheet| {
                let mut ranges = self.pages.iter();
                ranges.any(|(from, to)| (*from..=*to).contains(&sheet.number))
            });
        }
        if sheets.is_empty() {
            return Err(problems::invalid_argument("pages"));
        }
        Ok(sheets)
    }
}

fn list<'a>(query: &'a Query, name: &str, known: &[&str]) -> Result<Vec<&'a str>, Problem> {
    let values: Vec<&str> = query
        .get(name)
        .into_iter()
        .flat_map(|values| values.split(','))
        .filter(|value| !value.is_empty())
        .collect();
    if values.iter().all(|value| known.contains(value)) {
        Ok(values)
    } else {
        Err(problems::invalid_argument(name))
    }
}

/// Reads `1-3,5`.
fn ranges(text: &str) -> Option<Vec<(usize, usize)>> {
    if text.is_empty() {
        return Some(Vec::new());
    }
    let range = |part: &str| {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let (from, to) = (number(from)?, number(to)?);
        (from >= 1 && from <= to).then_some((from, to))
    };
    text.split(',')
        .map(|part| range(part.trim_start()))
        .collect()
}

fn number(digits: &str) -> Option<usize> {
    // Unlike the number parser of the language, no sign.
    let all = digits.bytes().all(|byte| byte.is_ascii_digit());
    all.then(|| digits.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_ranges_are_read_as_specified() {
        assert_eq!(ranges("1-3,5, 7-9"), Some(vec![(1, 3), (5, 5), (7, 9)]));
        for wrong in ["0", "3-1", "a", "1,", "+1", "1-", "-2"] {
            assert_eq!(ranges(wrong), None, "{wrong}");
        }
    }
}
