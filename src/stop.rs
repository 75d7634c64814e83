//! What a stop found: who did not end, what nobody was called about.

use std::fmt;

use crate::error::{BoxError, Error, ErrorKind};
use crate::thread::Straggler;

/// How a stop went. Old as soon as it is read: a straggler may end any time.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
#[must_use = "a stop may leave threads behind, and only the report says so"]
pub struct StopReport {
    stragglers: Vec<Straggler>,
    dropped_callbacks: u64,
    errors: Vec<Error>,
}

impl StopReport {
    /// Whether every thread has ended, every callback was made and nothing
    /// failed.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.stragglers.is_empty() && self.dropped_callbacks == 0 && self.errors.is_empty()
    }

    /// The threads that did not end in time.
    #[must_use]
    pub fn stragglers(&self) -> &[Straggler] {
        &self.stragglers
    }

    /// How many events nobody was called about, because the grace was over.
    #[must_use]
    pub fn dropped_callbacks(&self) -> u64 {
        self.dropped_callbacks
    }

    /// What else went wrong: `InvalidState` when a loop's own call stopped it,
    /// the error of a component's `stop`.
    #[must_use]
    pub fn errors(&self) -> &[Error] {
        &self.errors
    }

    /// What a component's `stop` returns for it: `Timeout` when a thread did
    /// not end.
    pub(crate) fn into_result(self) -> Result<(), BoxError> {
        if self.is_clean() {
            return Ok(());
        }
        let kind = if self.stragglers.is_empty() { ErrorKind::Component } else { ErrorKind::Timeout };
        Err(Error::new(kind).context(self.to_string()).into())
    }

    pub(crate) fn add_straggler(&mut self, straggler: Straggler) {
        self.stragglers.push(straggler);
    }

    pub(crate) fn add_dropped_callbacks(&mut self, n: u64) {
        self.dropped_callbacks += n;
    }

    pub(crate) fn add_error(&mut self, error: Error) {
        self.errors.push(error);
    }

    pub(crate) fn merge(&mut self, other: Self) {
        self.stragglers.extend(other.stragglers);
        self.dropped_callbacks += other.dropped_callbacks;
        self.errors.extend(other.errors);
    }
}

impl fmt::Display for StopReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_clean() {
            return f.write_str("clean");
        }
        let mut parts: Vec<String> = self.stragglers.iter().map(ToString::to_string).collect();
        if self.dropped_callbacks > 0 {
            parts.push(format!("{} callbacks not made", self.dropped_callbacks));
        }
        parts.extend(self.errors.iter().map(|error| error.report().to_string()));
        f.write_str(&parts.join("; "))
    }
}
