//! The observer that writes to the `log` crate.
//!
//! Whatever is said is one line: control characters, and what turns the
//! direction of text, are escaped.
//!
//! A span has a number, so that two of one name can be told apart, names the
//! one that it is inside of, and its end carries its attributes, its duration
//! and its error in one line. What
//! it takes to read the duration is in that line alone.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use log::{Level, LevelFilter};

use super::{Attr, AttrValue, Counter, Gauge, Histogram, Observer, SpanSink};
use crate::clock::{Clock, Tick};
use crate::event::{Event, EventKind, Health};
use crate::number::Real;
use crate::primitive::Mutex;
use crate::text::breaks_a_line;

const TARGET: &str = "loopkeeper";

/// Where lines go.
pub(super) trait Sink: Clone + Send + Sync + 'static {
    fn takes(&self, level: Level) -> bool;
    fn write(&self, level: Level, target: &str, line: fmt::Arguments<'_>);
}

/// The logger of the process.
#[derive(Clone)]
pub(super) struct Global;

impl Sink for Global {
    fn takes(&self, level: Level) -> bool {
        level <= log::max_level()
    }

    fn write(&self, level: Level, target: &str, line: fmt::Arguments<'_>) {
        log::log!(target: target, level, "{line}");
    }
}

/// A function, and up to which level it is called.
pub(super) struct Function<F> {
    max: LevelFilter,
    call: Arc<F>,
}

impl<F> Function<F> {
    pub(super) fn new(max: LevelFilter, call: F) -> Self {
        Self { max, call: Arc::new(call) }
    }
}

impl<F> Clone for Function<F> {
    fn clone(&self) -> Self {
        Self { max: self.max, call: self.call.clone() }
    }
}

impl<F: Fn(Level, &str, fmt::Arguments<'_>) + Send + Sync + 'static> Sink for Function<F> {
    fn takes(&self, level: Level) -> bool {
        level <= self.max
    }

    fn write(&self, level: Level, target: &str, line: fmt::Arguments<'_>) {
        (self.call)(level, target, line);
    }
}

pub(super) fn observer(sink: impl Sink) -> Observer {
    let clock = Clock::system();
    let spans = Arc::new(AtomicU64::new(0));
    let (begun, counted, set, observed, told) =
        (sink.clone(), sink.clone(), sink.clone(), sink.clone(), sink);
    Observer {
        span: Some(Arc::new(move |name, attrs| {
            Arc::new(LogSpan::begin(begun.clone(), clock.clone(), spans.clone(), None, name, attrs))
        })),
        counter: Some(Arc::new(move |name, labels| {
            let (sink, labels) = (counted.clone(), join(labels));
            Counter::function(move |n| debug(&sink, TARGET, format_args!("counter {name}{labels} +{n}")))
        })),
        gauge: Some(Arc::new(move |name, labels| {
            let (sink, labels) = (set.clone(), join(labels));
            Gauge::function(move |value| {
                debug(&sink, TARGET, format_args!("gauge {name}{labels} {}", Real(value)))
            })
        })),
        histogram: Some(Arc::new(move |name, labels| {
            let (sink, labels) = (observed.clone(), join(labels));
            Histogram::function(move |value| {
                debug(&sink, TARGET, format_args!("histogram {name}{labels} {}", Real(value)));
            })
        })),
        on_event: Some(Arc::new(move |event| log_event(&told, event))),
    }
}

fn debug(sink: &impl Sink, target: &str, line: fmt::Arguments<'_>) {
    if sink.takes(Level::Debug) {
        sink.write(Level::Debug, target, format_args!("{}", OneLine(line)));
    }
}

/// What a service or code of a user says must not end the line that tells it,
/// nor look like another one.
struct OneLine<'a>(fmt::Arguments<'a>);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::write(&mut Escaping(f), self.0)
    }
}

struct Escaping<'a, 'b>(&'a mut fmt::Formatter<'b>);

impl fmt::Write for Escaping<'_, '_> {
    fn write_str(&mut self, mut text: &str) -> fmt::Result {
        while let Some((at, c)) = text.char_indices().find(|(_, c)| breaks_a_line(*c)) {
            self.0.write_str(&text[..at])?;
            c.escape_default().try_for_each(|c| self.0.write_char(c))?;
            text = &text[at + c.len_utf8()..];
        }
        self.0.write_str(text)
    }
}

fn join(attrs: &[Attr]) -> String {
    attrs.iter().map(|attr| format!(" {attr}")).collect()
}

fn log_event(sink: &impl Sink, event: &Event) {
    let level = match &event.what {
        EventKind::Down { .. }
        | EventKind::GaveUp { .. }
        | EventKind::TimedOut { .. }
        | EventKind::ReconcileFailed { .. }
        | EventKind::HealthChanged { to: Health::Down | Health::Degraded, .. }
        | EventKind::CheckerChanged { to: Health::Down | Health::Degraded, .. }
        | EventKind::CheckTimedOut { .. }
        | EventKind::ConfigRejected { .. }
        | EventKind::UndeployFailed { .. }
        | EventKind::Rejected { .. }
        | EventKind::RolledBack { .. }
        | EventKind::ComponentNotReady { .. }
        | EventKind::ComponentFailed { .. }
        | EventKind::ComponentGaveUp { .. }
        | EventKind::ComponentAbandoned { .. }
        | EventKind::ComponentRolledBack { .. } => Level::Warn,
        EventKind::Recovery(event) if event.step.is_bad() => Level::Warn,
        _ => Level::Info,
    };
    if !sink.takes(level) {
        return;
    }
    let target = format!("{TARGET}::{}::{}", event.kind, event.source);
    sink.write(level, &target, format_args!("{}", OneLine(format_args!("{event}"))));
}

struct LogSpan<S> {
    sink: S,
    clock: Clock,
    target: String,
    spans: Arc<AtomicU64>,
    id: u64,
    name: &'static str,
    begun: Tick,
    told: Mutex<Told>,
}

#[derive(Default)]
struct Told {
    attrs: String,
    error: Option<String>,
}

impl<S: Sink> LogSpan<S> {
    fn begin(
        sink: S,
        clock: Clock,
        spans: Arc<AtomicU64>,
        parent: Option<&Self>,
        name: &'static str,
        attrs: &[Attr],
    ) -> Self {
        let id = spans.fetch_add(1, Ordering::Relaxed) + 1;
        // The loop it belongs to is the first thing that is said of it.
        let target = match (parent, attrs.first()) {
            (Some(parent), _) => parent.target.clone(),
            (None, Some(Attr { key, value: AttrValue::Text(of) })) => format!("{TARGET}::{key}::{of}"),
            _ => TARGET.to_owned(),
        };
        let inside = parent.map_or_else(String::new, |parent| format!(" parent={}", parent.id));
        let attrs = inside + &join(attrs);
        debug(&sink, &target, format_args!("span {id} {name} begins{attrs}"));
        let begun = clock.now();
        Self { sink, clock, target, spans, id, name, begun, told: Mutex::new(Told { attrs, error: None }) }
    }
}

impl<S: Sink> SpanSink for LogSpan<S> {
    fn attr(&self, attr: Attr) {
        let mut told = self.told.lock();
        told.attrs.push_str(&format!(" {attr}"));
    }

    fn error(&self, error: &str) {
        self.told.lock().error = Some(error.to_owned());
    }

    fn child(&self, name: &'static str, attrs: &[Attr]) -> Option<Arc<dyn SpanSink>> {
        let (sink, clock, spans) = (self.sink.clone(), self.clock.clone(), self.spans.clone());
        Some(Arc::new(Self::begin(sink, clock, spans, Some(self), name, attrs)))
    }

    fn end(&self) {
        let took = self.clock.now().since(self.begun);
        let Told { attrs, error } = std::mem::take(&mut *self.told.lock());
        let (id, name) = (self.id, self.name);
        // Also a failure at debug: what it means for the service is an event.
        match error {
            None => {
                let line = format_args!("span {id} {name} ended after {took:.3?}{attrs}");
                debug(&self.sink, &self.target, line);
            }
            Some(error) => {
                let line = format_args!("span {id} {name} failed after {took:.3?}{attrs}: {error}");
                debug(&self.sink, &self.target, line);
            }
        }
    }
}
