//! Spans as metrics: how long they took, how many failed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::family::Books;
use crate::clock::{Clock, Tick};
use crate::observe::{Attr, Counter, Histogram, Resolve, SpanSink};

/// The slot that begins spans; those of other names are not measured.
pub(super) fn slot(books: Arc<Books>, names: Vec<&'static str>, clock: Clock) -> Resolve<Arc<dyn SpanSink>> {
    let names: Vec<_> = names
        .into_iter()
        .map(|name| (name, format!("{name}_duration_seconds"), format!("{name}_errors_total")))
        .collect();
    let nothing: Arc<dyn SpanSink> = Arc::new(Nothing);
    Arc::new(move |name, attrs| {
        let Some((_, duration, errors)) = names.iter().find(|(known, ..)| *known == name) else {
            return nothing.clone();
        };
        Arc::new(Measured {
            duration: books.or_inert(duration, books.histogram(duration, attrs)),
            errors: books.or_inert(errors, books.counter(errors, attrs)),
            has_failed: AtomicBool::new(false),
            clock: clock.clone(),
            begun: clock.now(),
        })
    })
}

struct Nothing;

impl SpanSink for Nothing {
    fn attr(&self, _: Attr) {}

    fn error(&self, _: &str) {}

    fn end(&self) {}
}

struct Measured {
    duration: Histogram,
    errors: Counter,
    has_failed: AtomicBool,
    clock: Clock,
    begun: Tick,
}

impl SpanSink for Measured {
    /// Said after the series was chosen: it is not a label any more.
    fn attr(&self, _: Attr) {}

    fn error(&self, _: &str) {
        if !self.has_failed.swap(true, Ordering::Relaxed) {
            self.errors.add(1);
        }
    }

    fn end(&self) {
        self.duration.observe(self.clock.now().since(self.begun).as_secs_f64());
    }
}
