//! A small hash of what is on disk, to tell whether it has changed and to
//! show which of two contents is in force. Not for secrets or signatures.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::OnceLock;

use serde::{Serialize, Serializer};

/// The hash and the length of a configuration's files.
///
/// Prints as 16 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint {
    hash: u64,
    len: u64,
}

impl Fingerprint {
    /// That of no file at all.
    pub(super) const NONE: Self = Self { hash: 0xcbf2_9ce4_8422_2325, len: 0 };

    /// Adds a file. FNV-1a; the length keeps `ab`, `c` apart from `a`, `bc`.
    #[must_use]
    pub(super) fn with(self, bytes: &[u8]) -> Self {
        let len = bytes.len() as u64;
        let all = len.to_le_bytes().into_iter().chain(bytes.iter().copied());
        let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        Self { hash: all.fold(self.hash, step), len: self.len + len }
    }

    /// Adds the file of a secret, which cannot be guessed from the hash: that
    /// differs from process to process.
    #[must_use]
    pub(super) fn with_secret(self, bytes: &[u8]) -> Self {
        static KEY: OnceLock<RandomState> = OnceLock::new();
        self.with(&KEY.get_or_init(RandomState::new).hash_one(bytes).to_le_bytes())
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.hash)
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_are_told_apart() {
        let of = |files: &[&str]| files.iter().fold(Fingerprint::NONE, |all, file| all.with(file.as_bytes()));
        let all = [of(&[]), of(&[""]), of(&["", ""]), of(&["ab", "c"]), of(&["a", "bc"]), of(&["abc"])];
        for (idx, one) in all.iter().enumerate() {
            assert_eq!(all.iter().filter(|other| *other == one).count(), 1, "{idx}");
        }
        assert_eq!(of(&["abc"]), of(&["abc"]));
        let secret = |text: &str| Fingerprint::NONE.with_secret(text.as_bytes());
        assert!(secret("a") == secret("a") && secret("a") != secret("b"));
        assert_ne!(secret("a"), of(&["a"]), "nobody can try");
        assert_eq!(Fingerprint::NONE.to_string(), "cbf29ce484222325");
    }
}
