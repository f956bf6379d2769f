//! A digest over the files of a run, in order.

use sha2::{Digest as _, Sha256};

/// SHA-256 chained over the files: `h = SHA-256(h, seq, key, size)`.
///
/// `h` begins as 32 zero bytes; `seq` and `size` are 8 bytes, most significant first; `key` is
/// its exact bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Takes in the next file.
    pub fn add(&mut self, seq: u64, key: &[u8], size: u64) {
        let mut hash = Sha256::new();
        hash.update(self.0);
        hash.update(seq.to_be_bytes());
        hash.update(key);
        hash.update(size.to_be_bytes());
        self.0 = hash.finalize().into();
    }
}

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
