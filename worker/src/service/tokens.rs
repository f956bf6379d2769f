//! How long a text is to a model, and where it may be cut.

/// Counts the tokens of texts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tokenizer {
    /// Of OpenAI's embedding models.
    #[default]
    Cl100k,
    /// One for each byte of UTF-8: more than any model counts that knows single bytes.
    Bytes,
}

/// A part of a text that is not cut: a word, or a piece of a very long one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Atom {
    /// Its first byte.
    pub(crate) start: usize,
    /// The byte after its last.
    pub(crate) end: usize,
    /// Its tokens.
    pub(crate) tokens: usize,
}

impl Tokenizer {
    /// Tokens of a text, in time linear in its length whatever is in it.
    pub(crate) fn count(self, text: &str) -> usize {
        match self {
            Self::Cl100k => bpe_openai::cl100k_base().count(text),
            Self::Bytes => text.len(),
        }
    }

    /// The atoms of a text in their order, each of `most` tokens at most; `most` is 4 at least,
    /// for a character can have as many.
    pub(crate) fn atoms(self, text: &str, most: usize) -> impl Iterator<Item = Atom> + '_ {
        let words: Box<dyn Iterator<Item = (&str, usize)>> = match self {
            Self::Cl100k => {
                let tokenizer = bpe_openai::cl100k_base();
                let counted = |word: &str| tokenizer.bpe.count(word.as_bytes());
                let words = tokenizer.split(text);
                Box::new(words.map(move |word| (word, counted(word))))
            }
            Self::Bytes => {
                let words = text.split_inclusive(char::is_whitespace);
                Box::new(words.map(|word| (word, word.len())))
            }
        };
        let mut start = 0;
        words.flat_map(move |(word, tokens)| {
            let at = start;
            start += word.len();
            self.pieces(word, tokens, most).map(move |piece| Atom {
                start: piece.start + at,
                end: piece.end + at,
                ..piece
            })
        })
    }

    /// A word, or its pieces if it has too many tokens: a token is a byte at least.
    fn pieces(self, word: &str, tokens: usize, most: usize) -> impl Iterator<Item = Atom> + '_ {
        let whole = tokens <= most;
        let mut start = 0;
        std::iter::from_fn(move || {
            let end = if whole {
                word.len()
            } else {
                word.floor_char_boundary(start + most)
            };
            let piece = word.get(start..end).filter(|piece| !piece.is_empty())?;
            let tokens = if whole { tokens } else { self.count(piece) };
            let atom = Atom { start, end, tokens };
            start = end;
            Some(atom)
        })
    }
}
