//! Where a piece of text is in the content, in the unit that the client counts in.

use serde_json::{Value, json};
use unicode_segmentation::UnicodeSegmentation;

/// What offsets and lengths count (`stringIndexType`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Unit {
    /// Grapheme clusters.
    #[default]
    TextElements,
    CodePoints,
    Utf16,
}

/// Byte offsets of a piece of the content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) from: usize,
    pub(super) to: usize,
}

/// Turns byte offsets into offsets of the unit.
#[derive(Debug)]
pub(super) struct Ruler(Vec<usize>);

impl Unit {
    pub(super) fn named(name: &str) -> Option<Self> {
        [Self::TextElements, Self::CodePoints, Self::Utf16]
            .into_iter()
            .find(|unit| unit.as_str() == name)
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::TextElements => "textElements",
            Self::CodePoints => "unicodeCodePoint",
            Self::Utf16 => "utf16CodeUnit",
        }
    }
}

impl Ruler {
    pub(super) fn new(content: &str, unit: Unit) -> Self {
        let mut marks = Vec::with_capacity(content.len() + 1);
        let mut count = 0;
        for cluster in content.graphemes(true) {
            // A piece may begin within a cluster (a mark after a line's end): there it is
            // counted from the cluster's begin.
            match unit {
                Unit::TextElements => {
                    marks.extend(std::iter::repeat_n(count, cluster.len()));
                    count += 1;
                }
                Unit::CodePoints | Unit::Utf16 => {
                    for c in cluster.chars() {
                        marks.extend(std::iter::repeat_n(count, c.len_utf8()));
                        count += if unit == Unit::Utf16 {
                            c.len_utf16()
                        } else {
                            1
                        };
                    }
                }
            }
        }
        marks.push(count);
        Self(marks)
    }

    pub(super) fn span(&self, piece: Piece) -> Value {
        let at = |byte: usize| self.0.get(byte).copied().unwrap_or_default();
        let (from, to) = (at(piece.from), at(piece.to));
        json!({"offset": from, "length": to.saturating_sub(from)})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_counts_in_its_own_way() {
        // A thumb with a skin tone, and an e with a combining accent.
        let text = "\u{1f44d}\u{1f3fd}e\u{301}x";
        let from = text.find('x').unwrap();
        let piece = Piece { from, to: from + 1 };
        for (unit, offset) in [
            (Unit::TextElements, 2),
            (Unit::CodePoints, 4),
            (Unit::Utf16, 6),
        ] {
            let span = Ruler::new(text, unit).span(piece);
            assert_eq!(span, json!({"offset": offset, "length": 1}), "{unit:?}");
        }
    }
}
