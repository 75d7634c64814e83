//! The observer that writes to the `log` crate.
//!
//! A span has a number, so that two of one name can be told apart, and its
//! end carries its attributes, its duration and its error in one line. What
//! it takes to read the duration is in that line alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use log::Level;

use super::{Attr, AttrValue, Counter, Gauge, Histogram, Observer, SpanSink};
use crate::clock::{Clock, Tick};
use crate::event::{Event, EventKind, Health};
use crate::primitive::Mutex;

const TARGET: &str = "loopkeeper";

pub(super) fn observer() -> Observer {
    let clock = Clock::system();
    let spans = AtomicU64::new(0);
    Observer {
        span: Some(Arc::new(move |name, attrs| {
            let id = spans.fetch_add(1, Ordering::Relaxed) + 1;
            Arc::new(LogSpan::begin(clock.clone(), id, name, attrs))
        })),
        counter: Some(Arc::new(|name, labels| {
            let labels = join(labels);
            Counter::function(move |n| log::debug!(target: TARGET, "counter {name}{labels} +{n}"))
        })),
        gauge: Some(Arc::new(|name, labels| {
            let labels = join(labels);
            Gauge::function(move |value| log::debug!(target: TARGET, "gauge {name}{labels} {value}"))
        })),
        histogram: Some(Arc::new(|name, labels| {
            let labels = join(labels);
            Histogram::function(move |value| log::debug!(target: TARGET, "histogram {name}{labels} {value}"))
        })),
        on_event: Some(Arc::new(log_event)),
    }
}

fn join(attrs: &[Attr]) -> String {
    attrs.iter().map(|attr| format!(" {attr}")).collect()
}

fn log_event(event: &Event) {
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
    if level > log::max_level() {
        return;
    }
    let target = format!("{TARGET}::{}::{}", event.kind, event.source);
    log::log!(target: &target, level, "{event}");
}

struct LogSpan {
    clock: Clock,
    target: String,
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

impl LogSpan {
    fn begin(clock: Clock, id: u64, name: &'static str, attrs: &[Attr]) -> Self {
        // The loop it belongs to is the first thing that is said of it.
        let target = match attrs.first() {
            Some(Attr { key, value: AttrValue::Text(of) }) => format!("{TARGET}::{key}::{of}"),
            _ => TARGET.to_owned(),
        };
        let attrs = join(attrs);
        log::debug!(target: &target, "span {id} {name} begins{attrs}");
        let begun = clock.now();
        Self { clock, target, id, name, begun, told: Mutex::new(Told { attrs, error: None }) }
    }
}

impl SpanSink for LogSpan {
    fn attr(&self, attr: Attr) {
        let mut told = self.told.lock();
        told.attrs.push_str(&format!(" {attr}"));
    }

    fn error(&self, error: &str) {
        self.told.lock().error = Some(error.to_owned());
    }

    fn end(&self) {
        let took = self.clock.now().since(self.begun);
        let Told { attrs, error } = std::mem::take(&mut *self.told.lock());
        let (id, name) = (self.id, self.name);
        // Also a failure at debug: what it means for the service is an event.
        match error {
            None => log::debug!(target: &self.target, "span {id} {name} ended after {took:.3?}{attrs}"),
            Some(error) => {
                log::debug!(target: &self.target, "span {id} {name} failed after {took:.3?}{attrs}: {error}");
            }
        }
    }
}
