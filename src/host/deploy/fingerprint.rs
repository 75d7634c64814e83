//! What stands for a content, so that two can be told apart and none is kept.

use std::collections::hash_map::DefaultHasher;
use std::hash::Hasher;
use std::path::Path;

/// Stands for a content. Two contents of the same fingerprint do not happen:
/// it has 128 bits, and nobody gains from making two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Fingerprint([u64; 2]);

impl Fingerprint {
    pub(super) fn of(bytes: &[u8]) -> Self {
        let mut hasher = DefaultHasher::new();
        hasher.write(bytes);
        let half = hasher.finish();
        // The state behind a half is larger than both.
        hasher.write_u8(0);
        Self([half, hasher.finish()])
    }

    /// Two halves that stand for a file with this content.
    pub(super) fn of_file(self, path: &Path) -> [u64; 2] {
        let mut hasher = DefaultHasher::new();
        hasher.write(path.as_os_str().as_encoded_bytes());
        let Self([a, b]) = self;
        hasher.write_u64(a);
        hasher.write_u64(b);
        let half = hasher.finish();
        hasher.write_u8(0);
        [half, hasher.finish()]
    }
}
