//! What is wrong with a configuration, and where.

use std::fmt;

use super::Place;
use crate::error::{Error, ErrorKind};

/// One thing that is wrong with a configuration.
///
/// Prints as `FILE:LINE:COLUMN: key: message`, without `key: ` at the top.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where it stands.
    pub place: Place,
    /// The path of keys from the top, `config.backoff.max_delay` or
    /// `requires[2]`; empty at the top.
    pub key: String,
    /// What is wrong: what was found and what was expected.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}

/// Everything that is wrong with a configuration; at least one [`Fault`].
///
/// Prints one fault a line, in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faults(Vec<Fault>);

impl Faults {
    /// Makes an error of what was collected, or `None` when that is nothing.
    #[must_use]
    pub fn collect(mut faults: Vec<Fault>) -> Option<Self> {
        // Stable: what stands at one place stays in the order it was found.
        crate::order::sort_by(&mut faults, |a, b| a.place.cmp(&b.place));
        (!faults.is_empty()).then_some(Self(faults))
    }

    /// Visits the faults in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Fault> {
        self.0.iter()
    }

    /// Returns the faults, to collect them with others.
    #[must_use]
    pub fn into_vec(self) -> Vec<Fault> {
        self.0
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (idx, fault) in self.0.iter().enumerate() {
            if idx > 0 {
                f.write_str("\n")?;
            }
            fault.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

impl From<Fault> for Faults {
    fn from(fault: Fault) -> Self {
        Self(vec![fault])
    }
}

impl From<Faults> for Error {
    fn from(faults: Faults) -> Self {
        Self::new(ErrorKind::Config).caused_by(faults)
    }
}

impl<'a> IntoIterator for &'a Faults {
    type Item = &'a Fault;
    type IntoIter = std::slice::Iter<'a, Fault>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Appends a key to a dotted path. A key that would be mistaken for
/// something else, or would break the line, is quoted.
pub(crate) fn join(path: &str, key: &str) -> String {
    let dot = if path.is_empty() { "" } else { "." };
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '$' | '/');
    if !key.is_empty() && key.chars().all(plain) {
        format!("{path}{dot}{key}")
    } else {
        // Whole, or two keys might print as one.
        format!("{path}{dot}{key:?}")
    }
}

/// Appends a position in a list to a dotted path.
pub(crate) fn join_idx(path: &str, idx: usize) -> String {
    format!("{path}[{idx}]")
}
