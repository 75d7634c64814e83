//! Spans: something that takes time, with attributes, an outcome and spans
//! inside.

use std::fmt;
use std::sync::Arc;

use super::{Attr, Resolve, contain};

/// Receives what happens to one span. Implemented by observers.
///
/// Called on whichever thread holds the span; must not block. `end` is called
/// exactly once, as the last call; spans inside may end after it.
pub trait SpanSink: Send + Sync {
    /// An attribute was set.
    fn attr(&self, attr: Attr);
    /// What the span stands for failed.
    fn error(&self, error: &str);
    /// The span is over.
    fn end(&self);

    /// Begins a span inside this one. `None`, which is the default: the
    /// observer does not tell which span is inside which, and the span is
    /// begun like any other.
    fn child(&self, name: &'static str, attrs: &[Attr]) -> Option<Arc<dyn SpanSink>> {
        let _ = (name, attrs);
        None
    }
}

/// Something that takes time. Ends when dropped, or when told; never twice.
#[must_use = "the span ends when it is dropped"]
pub struct Span(Option<Begun>);

#[derive(Clone)]
struct Begun {
    sink: Arc<dyn SpanSink>,
    begin: Resolve<Arc<dyn SpanSink>>,
}

/// What spans are begun inside of, without ending it.
#[derive(Clone)]
pub(crate) struct Parent(Begun);

impl Span {
    pub(super) fn inert() -> Self {
        Self(None)
    }

    pub(super) fn new(sink: Arc<dyn SpanSink>, begin: Resolve<Arc<dyn SpanSink>>) -> Self {
        Self(Some(Begun { sink, begin }))
    }

    /// Begins a span inside this one: its parent, in observers that tell. It
    /// may outlive it.
    ///
    /// # Examples
    ///
    /// ```
    /// use loopkeeper::Observer;
    ///
    /// let pass = Observer::log().start_span("pass", &[]);
    /// let query = pass.child("query", &[]);
    /// query.end();
    /// // span 1 pass begins
    /// // span 2 query begins parent=1
    /// // span 2 query ended after 1.042ms parent=1
    /// ```
    pub fn child(&self, name: &'static str, attrs: &[Attr]) -> Self {
        self.0.as_ref().map_or_else(Self::inert, |begun| begun.child(name, attrs))
    }

    /// What spans may be begun inside of while this one lasts.
    pub(crate) fn parent(&self) -> Option<Parent> {
        self.0.clone().map(Parent)
    }

    /// Adds an attribute.
    pub fn set_attr(&self, attr: Attr) {
        if let Some(begun) = &self.0 {
            contain(|| begun.sink.attr(attr));
        }
    }

    /// Says that what the span stands for failed.
    pub fn set_error(&self, error: &dyn fmt::Display) {
        if let Some(begun) = &self.0 {
            contain(|| begun.sink.error(&error.to_string()));
        }
    }

    /// Ends the span.
    #[inline]
    pub fn end(self) {
        drop(self);
    }
}

impl Begun {
    fn child(&self, name: &'static str, attrs: &[Attr]) -> Span {
        let sink = contain(|| self.sink.child(name, attrs).unwrap_or_else(|| (self.begin)(name, attrs)));
        sink.map_or_else(Span::inert, |sink| Span::new(sink, self.begin.clone()))
    }
}

impl Parent {
    pub(crate) fn child(&self, name: &'static str, attrs: &[Attr]) -> Span {
        self.0.child(name, attrs)
    }
}

impl Drop for Span {
    #[inline]
    fn drop(&mut self) {
        if let Some(begun) = self.0.take() {
            contain(|| begun.sink.end());
        }
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Span").field("inert", &self.0.is_none()).finish()
    }
}
