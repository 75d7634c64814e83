//! What came back.

use std::fmt;
use std::time::Duration;

use serde_json::Value;
use ureq::http::HeaderMap;

use super::retry_after;
use crate::error::{Error, ErrorClass, ErrorKind, Result};
use crate::pointer::{Kind, Pointer};
use crate::probe::text::head;
use crate::probe::wait::Took;
use crate::stamp::Stamp;

/// How much of a body an error shows, in bytes.
const SHOWN: usize = 200;
/// What is shorter is no secret, and may well be part of a word.
const SHORTEST_SECRET: usize = 6;

/// What came back: a status, headers and a body that is bounded and complete.
#[derive(Clone)]
pub struct Answer {
    pub(super) what: String,
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
    /// What was sent along: a server may show it in its answer.
    pub(super) sent: HeaderMap,
    pub(super) latency: Duration,
    pub(super) at: Stamp,
}

impl Answer {
    /// The status, 100 to 999.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The time from the beginning of the call to the last byte.
    #[must_use]
    pub fn latency(&self) -> Duration {
        self.latency
    }

    /// A header's value, if it is there and is text; of several the first.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The body.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// What was asked: the method and the URL without its query, as errors
    /// begin.
    #[must_use]
    pub fn what(&self) -> &str {
        &self.what
    }

    /// The answer, if its status is 200 to 299.
    ///
    /// # Errors
    ///
    /// See the [module](super): the text has the status, the time it took and
    /// the beginning of the body.
    pub fn expect_success(self) -> Result<Self> {
        if (200..=299).contains(&self.status) {
            return Ok(self);
        }
        let (kind, class) = match self.status {
            404 | 410 => (ErrorKind::NotFound, ErrorClass::Terminal),
            408 | 425 | 429 | 500.. => (ErrorKind::Probe, ErrorClass::Retryable),
            _ => (ErrorKind::Probe, ErrorClass::Terminal),
        };
        let text = format!(
            "{}: status {}, expected 200-299, after {}{}",
            self.what,
            self.status,
            Took(self.latency),
            self.excerpt()
        );
        let error = Error::new(kind).with_class(class).context(text);
        // What cannot help is not tried later either.
        let wait = retry_after::read(&self.headers, self.at).filter(|_| class == ErrorClass::Retryable);
        Err(wait.map_or(error.clone(), |wait| error.with_retry_after(wait)))
    }

    /// Reads the body as JSON, whatever the server calls it.
    ///
    /// # Errors
    ///
    /// `Probe` when it is not: the text has the place, the type that the
    /// server gives it and the beginning of it.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body).map_err(|error| {
            let kind = self.header("content-type").map_or_else(
                || "no content type".to_owned(),
                |kind| format!("content type {}", head(kind.as_bytes(), 60)),
            );
            let what =
                if self.body.is_empty() { "is empty".to_owned() } else { format!("is not JSON: {error}") };
            self.flaw(format!("the answer {what}; {kind}{}", self.excerpt()))
        })
    }

    /// An error about the content of this answer, which begins with what was
    /// asked.
    #[must_use]
    pub fn flaw(&self, text: impl fmt::Display) -> Error {
        Error::new(ErrorKind::Probe).context(format!("{}: {text}", self.what))
    }

    /// An error that says what was expected at a place of this answer, and
    /// what is there.
    #[must_use]
    pub fn unexpected(&self, at: &Pointer, expected: &str, found: &Value) -> Error {
        self.flaw(format_args!("{at}: expected {expected}, found {}", Kind(found)))
    }

    fn excerpt(&self) -> String {
        let shown = hide(&self.body, &self.sent);
        match head(shown.as_deref().unwrap_or(&self.body), SHOWN) {
            text if text.is_empty() => String::new(),
            text => format!("; body: \"{text}\""),
        }
    }
}

/// A body without the values of headers that it repeats, if it does: some
/// servers answer a wrong key with that key.
fn hide(body: &[u8], sent: &HeaderMap) -> Option<Vec<u8>> {
    let mut hidden: Option<Vec<u8>> = None;
    for (name, value) in sent {
        if ["accept", "content-type", "idempotency-key"].contains(&name.as_str()) {
            continue;
        }
        let value = value.as_bytes();
        let value =
            [&b"Bearer "[..], b"Basic "].iter().find_map(|kind| value.strip_prefix(*kind)).unwrap_or(value);
        if value.len() < SHORTEST_SECRET {
            continue;
        }
        let shown = hidden.as_deref().unwrap_or(body);
        let mut rest = &shown[..shown.len().min(SHOWN + value.len())];
        let mut without = Vec::new();
        while let Some(at) = rest.windows(value.len()).position(|piece| piece == value) {
            without.extend_from_slice(&rest[..at]);
            without.extend_from_slice(b"***");
            rest = &rest[at + value.len()..];
        }
        if !without.is_empty() {
            without.extend_from_slice(rest);
            hidden = Some(without);
        }
    }
    hidden
}

impl fmt::Debug for Answer {
    /// Without headers and body.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("what", &self.what)
            .field("status", &self.status)
            .field("latency", &self.latency)
            .finish_non_exhaustive()
    }
}
