//! What a program says of a run: texts for events, and its own object.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::Handle;
use crate::duration::Shown;
use crate::error::{Error, Result};

/// How many texts there may be.
const MAX_TEXTS: usize = 32;
/// How long a key may be, in bytes.
const MAX_KEY: usize = 64;
/// How long a text may be, in bytes.
const MAX_TEXT: usize = 1024;
/// How long the name of a run may be, in bytes.
const MAX_RUN: usize = 256;

/// What a program says of a run that may be recovered.
///
/// The texts, at most 32 of at most 1 KiB, come with every event of the run.
/// The handle is what the program works with; it is given back when another
/// took its place.
///
/// # Examples
///
/// ```
/// use loopkeeper::recovery::Metadata;
///
/// let metadata = Metadata::default().with("team", "north").handle(String::from("a connection"));
/// # drop(metadata);
/// ```
#[derive(Clone, Default)]
#[must_use = "it is said of nothing until it is given to somebody"]
pub struct Metadata {
    pub(super) texts: Arc<BTreeMap<String, String>>,
    pub(super) handle: Option<Handle>,
}

impl Metadata {
    /// Adds a text; of two with one key the later counts.
    pub fn with(mut self, key: impl Into<String>, text: impl Into<String>) -> Self {
        Arc::make_mut(&mut self.texts).insert(key.into(), text.into());
        self
    }

    /// Adds what the program works with.
    pub fn handle(self, handle: impl Any + Send + Sync) -> Self {
        Self { handle: Some(Arc::new(handle)), ..self }
    }

    #[cfg(feature = "capi")]
    pub(crate) fn of(texts: BTreeMap<String, String>) -> Self {
        Self { texts: Arc::new(texts), handle: None }
    }

    pub(super) fn check(&self) -> Result<()> {
        let n = self.texts.len();
        if n > MAX_TEXTS {
            return Err(Error::invalid(format!("metadata: at most {MAX_TEXTS} texts, found {n}")));
        }
        for (key, text) in &*self.texts {
            if key.is_empty() || key.len() > MAX_KEY {
                let found = Shown(key);
                return Err(Error::invalid(format!(
                    "metadata: keys have 1 to {MAX_KEY} bytes, found {found} ({} bytes)",
                    key.len()
                )));
            }
            if text.len() > MAX_TEXT {
                let (key, found) = (Shown(key), text.len());
                return Err(Error::invalid(format!(
                    "metadata.{key}: at most {MAX_TEXT} bytes, found {found}"
                )));
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metadata")
            .field("texts", &self.texts)
            .field("handle", &self.handle.is_some())
            .finish()
    }
}

/// Whether a text can be the name of a run.
pub(super) fn check_run(run: &str) -> Result<()> {
    if run.is_empty() || run.len() > MAX_RUN || run.chars().any(char::is_control) {
        let (found, len) = (Shown(run), run.len());
        return Err(Error::invalid(format!(
            "run: expected 1 to {MAX_RUN} bytes without control characters, found {found} ({len} bytes)"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_bounded() {
        let mut many = Metadata::default();
        for n in 0..33 {
            many = many.with(n.to_string(), "");
        }
        for (metadata, expected) in [
            (many, "metadata: at most 32 texts, found 33"),
            (Metadata::default().with("", "x"), "metadata: keys have 1 to 64 bytes, found \"\" (0 bytes)"),
            (
                Metadata::default().with("k", "x".repeat(1025)),
                "metadata.\"k\": at most 1024 bytes, found 1025",
            ),
        ] {
            assert_eq!(metadata.check().unwrap_err().to_string(), expected);
        }
        let later = Metadata::default().with("k", "a").with("k", "b");
        later.check().unwrap();
        assert_eq!(later.texts["k"], "b");
        for run in ["", "a\nb", &"x".repeat(257)] {
            assert!(check_run(run).unwrap_err().to_string().starts_with("run: expected 1 to 256 bytes"));
        }
        check_run("tinker://run/ä b:1").unwrap();
    }
}
