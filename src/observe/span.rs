//! Spans: something that takes time, with attributes and an outcome.

use std::fmt;
use std::sync::Arc;

use super::{Attr, contain};

/// Receives what happens to one span. Implemented by observers.
///
/// Called on whichever thread holds the span; must not block. `end` is called
/// exactly once, as the last call.
pub trait SpanSink: Send + Sync {
    /// An attribute was set.
    fn attr(&self, attr: Attr);
    /// What the span stands for failed.
    fn error(&self, error: &str);
    /// The span is over.
    fn end(&self);
}

/// Something that takes time. Ends when dropped, or when told; never twice.
#[must_use = "the span ends when it is dropped"]
pub struct Span(Option<Arc<dyn SpanSink>>);

impl Span {
    pub(super) fn inert() -> Self {
        Self(None)
    }

    pub(super) fn new(sink: Arc<dyn SpanSink>) -> Self {
        Self(Some(sink))
    }

    /// Adds an attribute.
    pub fn set_attr(&self, attr: Attr) {
        if let Some(sink) = &self.0 {
            contain(|| sink.attr(attr));
        }
    }

    /// Says that what the span stands for failed.
    pub fn set_error(&self, error: &dyn fmt::Display) {
        if let Some(sink) = &self.0 {
            contain(|| sink.error(&error.to_string()));
        }
    }

    /// Ends the span.
    #[inline]
    pub fn end(self) {
        drop(self);
    }
}

impl Drop for Span {
    #[inline]
    fn drop(&mut self) {
        if let Some(sink) = self.0.take() {
            contain(|| sink.end());
        }
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Span").field("inert", &self.0.is_none()).finish()
    }
}
