//! Which requests are the same request, as digests.

use std::fmt;

use filefleet_shared::wire::FileRef;
use sha2::{Digest, Sha256};

/// A SHA-256 of what decides an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Identity([u8; 32]);

impl Identity {
    /// Of parts in their order. Each counts with its length, so that no two lists of parts are
    /// taken for each other.
    pub fn of<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        Self(hash.finalize().into())
    }

    /// Of a file by what is known of it without its bytes: where it is, and which version.
    pub(crate) fn of_file(file: &FileRef) -> Option<Self> {
        let file = serde_json::to_vec(file).ok()?;
        Some(Self::of([&*file]))
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Reads what [`Display`](fmt::Display) writes; none if it is anything else.
    #[must_use]
    pub fn parse(hex: &str) -> Option<Self> {
        let digits = hex.as_bytes();
        if digits.len() != 64 {
            return None;
        }
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        };
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Some(Self(bytes))
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_reads_back_as_it_is_written_and_nothing_else_does() {
        let identity = Identity::of([&b"a"[..], b"b"]);
        assert_eq!(Identity::parse(&identity.to_string()), Some(identity));
        let text = identity.to_string();
        for wrong in [
            &text[1..],
            &text.to_uppercase(),
            "../../secret",
            "",
            &"ü".repeat(32),
        ] {
            assert_eq!(Identity::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn parts_are_not_taken_for_each_other() {
        let split = Identity::of([&b"ab"[..], b"c"]);
        assert_ne!(split, Identity::of([&b"a"[..], b"bc"]));
        assert_ne!(split, Identity::of([&b"abc"[..]]));
        assert_ne!(split, Identity::of([&b"ab"[..], b"c", b""]));
    }
}
