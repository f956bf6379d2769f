//! Long texts in chunks of a bounded number of tokens. Knows no service.

use std::collections::VecDeque;

use super::tokens::{Atom, Tokenizer};

/// How texts are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunking {
    /// Most tokens of a chunk, at least 16.
    pub tokens: usize,
    /// Most tokens at the end of a chunk that the next one begins with, at most half of `tokens`.
    pub overlap: usize,
    /// What counts them.
    pub tokenizer: Tokenizer,
}

impl Default for Chunking {
    fn default() -> Self {
        Self {
            tokens: 400,
            overlap: 50,
            tokenizer: Tokenizer::default(),
        }
    }
}

/// A part of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Its first byte in the text's UTF-8.
    pub start: usize,
    /// The byte after its last.
    pub end: usize,
    /// Its tokens.
    pub tokens: usize,
}

/// Cuts a text: every byte of it is in a chunk, and no chunk has more tokens than it may.
///
/// A chunk ends where a paragraph does, else a sentence or a line, else a word, if there is such
/// an end in its second half; very long words are cut between characters.
pub fn chunks(text: &str, chunking: Chunking) -> impl Iterator<Item = Chunk> + '_ {
    let most = (chunking.tokens / 8).max(4);
    Cutter {
        text,
        chunking,
        atoms: chunking.tokenizer.atoms(text, most),
        window: VecDeque::new(),
        tokens: 0,
    }
}

struct Cutter<'t, I> {
    text: &'t str,
    chunking: Chunking,
    /// Those after the window.
    atoms: I,
    /// From the start of the next chunk on; a little more than fits into it.
    window: VecDeque<Atom>,
    /// Of the window.
    tokens: usize,
}

impl<I: Iterator<Item = Atom>> Iterator for Cutter<'_, I> {
    type Item = Chunk;

    fn next(&mut self) -> Option<Chunk> {
        while self.tokens <= self.chunking.tokens
            && let Some(atom) = self.atoms.next()
        {
            self.tokens += atom.tokens;
            self.window.push_back(atom);
        }
        let start = self.window.front()?.start;
        let mut atoms = if self.tokens <= self.chunking.tokens {
            self.window.len()
        } else {
            self.cut()
        };
        let chunk = loop {
            let end = self.window.get(atoms - 1)?.end;
            let tokens = self.chunking.tokenizer.count(&self.text[start..end]);
            // Alone the atoms may have had a token less than together.
            if tokens <= self.chunking.tokens || atoms == 1 {
                break Chunk { start, end, tokens };
            }
            atoms -= 1;
        };
        if chunk.end == self.text.len() {
            self.window.clear();
        } else {
            self.advance(atoms);
        }
        Some(chunk)
    }
}

impl<I> Cutter<'_, I> {
    /// How many atoms of the window make the next chunk.
    fn cut(&self) -> usize {
        let Chunking {
            tokens, overlap, ..
        } = self.chunking;
        let enough = (tokens / 2).max(overlap + 1);
        let mut sum = 0;
        let mut best = (0, 1);
        for (index, atom) in self.window.iter().enumerate() {
            sum += atom.tokens;
            if sum > tokens {
                break;
            }
            let (before, after) = self.text.split_at(atom.end);
            let rank = if sum < enough { 0 } else { rank(before, after) };
            best = best.max((rank, index + 1));
        }
        best.1
    }

    /// Moves the window to where the next chunk starts.
    fn advance(&mut self, atoms: usize) {
        let mut overlap = 0;
        let repeated = self.window.iter().take(atoms).skip(1).rev();
        let repeated = repeated
            .take_while(|atom| {
                overlap += atom.tokens;
                overlap <= self.chunking.overlap
            })
            .count();
        let passed: usize = self
            .window
            .drain(..atoms - repeated)
            .map(|atom| atom.tokens)
            .sum();
        self.tokens -= passed;
    }
}

/// How good it is to cut here, from 1.
fn rank(before: &str, after: &str) -> u8 {
    const ENDS: [char; 7] = ['.', '!', '?', '…', '。', '！', '？'];
    /// Of white space that is looked at: there are files of nothing else.
    const LOOK: usize = 16;
    if after.starts_with(['\n', '\r']) {
        return 1;
    }
    let mut back = before.chars().rev().take(LOOK);
    let mut lines = 0;
    let mut spaces = 0;
    let last = back.find(|c| {
        lines += usize::from(*c == '\n');
        spaces += usize::from(c.is_whitespace());
        !c.is_whitespace()
    });
    let apart = spaces > 0 || after.starts_with(char::is_whitespace);
    let ends = last.is_some_and(|c| ENDS.contains(&c) && (apart || !c.is_ascii()));
    match lines {
        2.. => 4,
        1 => 3,
        0 if ends => 3,
        0 if apart => 2,
        0 => 1,
    }
}

#[cfg(test)]
mod tests;
