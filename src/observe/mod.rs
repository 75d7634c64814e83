//! Seeing what happens: a plain struct of optional slots.
//!
//! [`Observer::default()`] is inert: every instrument made from it does
//! nothing and allocates nothing. An instrument is resolved once, when a loop
//! starts, and then is either inert, a bare atomic, or a function. Metric
//! slots run inline where it happened and must not block; `on_event` runs on
//! the dispatcher's thread, one event at a time per source, in order. Logging
//! is an adapter like any other: [`Observer::log`]; so is
#![cfg_attr(feature = "prometheus", doc = "[`prometheus::Exporter`].")]
#![cfg_attr(not(feature = "prometheus"), doc = "the one of the feature `prometheus`.")]
//! Two of them are one with [`Observer::and`].

mod both;
mod exposition;
mod log_adapter;
#[cfg(feature = "prometheus")]
pub mod prometheus;
mod span;
mod timer;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::event::Event;
use crate::name::Name;
use crate::number::Real;
use crate::thread::caught;

pub use exposition::{MetricsFormat, MetricsSource};
pub(crate) use span::Parent;
pub use span::{Span, SpanSink};
pub use timer::Timer;

/// A key and a value that say more about a span or an instrument.
#[derive(Debug, Clone, PartialEq)]
pub struct Attr {
    /// The key.
    pub key: &'static str,
    /// The value.
    pub value: AttrValue,
}

impl Attr {
    /// Makes an attribute.
    pub fn new(key: &'static str, value: impl Into<AttrValue>) -> Self {
        Self { key, value: value.into() }
    }
}

impl fmt::Display for Attr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.key, self.value)
    }
}

/// The value of an [`Attr`].
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum AttrValue {
    /// A text.
    Text(Arc<str>),
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f64),
    /// Yes or no.
    Bool(bool),
}

impl fmt::Display for AttrValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Int(n) => n.fmt(f),
            Self::Float(n) => Real(*n).fmt(f),
            Self::Bool(yes) => yes.fmt(f),
        }
    }
}

impl From<&str> for AttrValue {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<&Name> for AttrValue {
    fn from(name: &Name) -> Self {
        Self::Text(name.shared())
    }
}

impl From<i64> for AttrValue {
    fn from(n: i64) -> Self {
        Self::Int(n)
    }
}

impl From<f64> for AttrValue {
    fn from(n: f64) -> Self {
        Self::Float(n)
    }
}

impl From<bool> for AttrValue {
    fn from(yes: bool) -> Self {
        Self::Bool(yes)
    }
}

/// A slot that makes a thing from a name and what more is to be said of it.
pub type Resolve<T> = Arc<dyn Fn(&'static str, &[Attr]) -> T + Send + Sync>;

/// A slot that hears of events.
pub type OnEvent = Arc<dyn Fn(&Event) + Send + Sync>;

/// Where spans, metrics and events go: a bundle of optional slots, inert by
/// default. Cloning shares the slots.
///
/// # Threads
///
/// The metric slots (`counter`, `gauge`, `histogram`) are called once per
/// instrument when a loop starts; what they return is called on the loop's
/// thread and on the watchdog's, and must not block. `on_event` is called on
/// the dispatcher's thread. A panic in any of them is caught and counted.
///
/// # Examples
///
/// ```
/// use std::sync::{Arc, atomic::{AtomicU64, Ordering}};
/// use loopkeeper::observe::{Counter, Observer};
///
/// let total = Arc::new(AtomicU64::new(0));
/// let slot = total.clone();
/// let observer = Observer {
///     counter: Some(Arc::new(move |_name, _labels| Counter::atomic(slot.clone()))),
///     ..Observer::default()
/// };
/// let probes = observer.counter("probes_total", &[]);
/// probes.add(2);
/// assert_eq!(total.load(Ordering::Relaxed), 2);
/// Observer::default().counter("probes_total", &[]).add(1);  // does nothing
/// ```
#[derive(Clone, Default)]
pub struct Observer {
    /// Begins a span.
    pub span: Option<Resolve<Arc<dyn SpanSink>>>,
    /// Resolves a counter.
    pub counter: Option<Resolve<Counter>>,
    /// Resolves a gauge.
    pub gauge: Option<Resolve<Gauge>>,
    /// Resolves a histogram.
    pub histogram: Option<Resolve<Histogram>>,
    /// Hears of every event.
    pub on_event: Option<OnEvent>,
}

impl Observer {
    /// Writes spans and metrics to the `log` crate at debug level and events
    /// at info or warn level. Each is one line: control characters in what a
    /// service or your code says are escaped.
    ///
    /// Events have the target `loopkeeper::<kind>::<name>`, so that each loop
    /// can be turned up or down by itself.
    #[must_use]
    pub fn log() -> Self {
        log_adapter::observer(log_adapter::Global)
    }

    /// The same for a program without a logger, or with one for each
    /// environment: calls `write` for each line up to `max`, with its level,
    /// its target and its text.
    ///
    /// # Examples
    ///
    /// ```
    /// use loopkeeper::{Env, EnvConfig, Observer};
    ///
    /// let to_stderr = Observer::log_to(log::LevelFilter::Info, |level, target, line| {
    ///     eprintln!("{level} {target}: {line}");
    /// });
    /// let env = Env::with(EnvConfig::default().observer(to_stderr))?;
    /// # Ok::<(), loopkeeper::Error>(())
    /// ```
    #[must_use]
    pub fn log_to(
        max: log::LevelFilter,
        write: impl Fn(log::Level, &str, fmt::Arguments<'_>) + Send + Sync + 'static,
    ) -> Self {
        log_adapter::observer(log_adapter::Function::new(max, write))
    }

    /// Both observers as one: what one hears, the other hears after it. A
    /// panic in one is not the other's loss.
    ///
    /// # Examples
    ///
    /// ```
    /// use loopkeeper::Observer;
    ///
    /// let mine = Observer::default();
    /// let observer = Observer::log().and(mine);
    /// assert!(observer.on_event.is_some());
    /// ```
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        both::observer(self, other)
    }

    /// All of them as one, in their order; see [`and`](Self::and). Of none, or
    /// of inert ones only, the one is inert.
    ///
    /// # Examples
    ///
    /// ```
    /// use loopkeeper::Observer;
    ///
    /// let observer = Observer::all([Observer::log(), Observer::default()]);
    /// assert!(observer.on_event.is_some());
    /// assert!(Observer::all([]).on_event.is_none());
    /// ```
    #[must_use]
    pub fn all(observers: impl IntoIterator<Item = Self>) -> Self {
        observers.into_iter().reduce(Self::and).unwrap_or_default()
    }

    /// Begins a span; it ends when it is dropped or told to.
    #[inline]
    #[must_use = "the span ends when it is dropped"]
    pub fn start_span(&self, name: &'static str, attrs: &[Attr]) -> Span {
        match &self.span {
            None => Span::inert(),
            Some(begin) => match contain(|| begin(name, attrs)) {
                Some(sink) => Span::new(sink, begin.clone()),
                None => Span::inert(),
            },
        }
    }

    /// Resolves a counter.
    #[must_use]
    pub fn counter(&self, name: &'static str, labels: &[Attr]) -> Counter {
        resolve(self.counter.as_ref(), name, labels)
    }

    /// Resolves a gauge.
    #[must_use]
    pub fn gauge(&self, name: &'static str, labels: &[Attr]) -> Gauge {
        resolve(self.gauge.as_ref(), name, labels)
    }

    /// Resolves a histogram.
    #[must_use]
    pub fn histogram(&self, name: &'static str, labels: &[Attr]) -> Histogram {
        resolve(self.histogram.as_ref(), name, labels)
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observer")
            .field("span", &self.span.is_some())
            .field("counter", &self.counter.is_some())
            .field("gauge", &self.gauge.is_some())
            .field("histogram", &self.histogram.is_some())
            .field("on_event", &self.on_event.is_some())
            .finish()
    }
}

fn resolve<T: Default>(slot: Option<&Resolve<T>>, name: &'static str, labels: &[Attr]) -> T {
    slot.and_then(|resolve| contain(|| resolve(name, labels))).unwrap_or_default()
}

static PANICS: AtomicU64 = AtomicU64::new(0);

/// How many panics of observer slots were caught in this process.
#[must_use]
pub fn caught_panics() -> u64 {
    PANICS.load(Ordering::Relaxed)
}

/// Runs code of an observer; a panic is counted and goes no further.
pub(crate) fn contain<T>(call: impl FnOnce() -> T) -> Option<T> {
    let result = caught(call);
    if result.is_err() {
        PANICS.fetch_add(1, Ordering::Relaxed);
    }
    result.ok()
}

macro_rules! instrument {
    ($(#[$doc:meta])* $name:ident, $value:ty, $method:ident, $verb:literal, $atomic:expr) => {
        $(#[$doc])*
        #[derive(Clone, Default)]
        pub struct $name(Kind<$value>);

        impl $name {
            /// An instrument kept in an atomic that the observer reads.
            #[must_use]
            pub fn atomic(cell: Arc<AtomicU64>) -> Self {
                Self(Kind::Atomic(cell))
            }

            /// An instrument that calls a function.
            #[must_use]
            pub fn function(call: impl Fn($value) + Send + Sync + 'static) -> Self {
                Self(Kind::Function(Arc::new(call)))
            }

            #[doc = $verb]
            #[inline]
            pub fn $method(&self, value: $value) {
                match &self.0 {
                    Kind::Inert => {}
                    Kind::Atomic(cell) => $atomic(cell, value),
                    Kind::Function(call) => {
                        contain(|| call(value));
                    }
                }
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let kind = match &self.0 {
                    Kind::Inert => "inert",
                    Kind::Atomic(_) => "atomic",
                    Kind::Function(_) => "function",
                };
                f.debug_tuple(stringify!($name)).field(&kind).finish()
            }
        }
    };
}

#[derive(Clone, Default)]
enum Kind<V> {
    #[default]
    Inert,
    Atomic(Arc<AtomicU64>),
    Function(Arc<dyn Fn(V) + Send + Sync>),
}

instrument!(
    /// Counts up.
    Counter,
    u64,
    add,
    "Adds to the count.",
    |cell: &Arc<AtomicU64>, n| {
        cell.fetch_add(n, Ordering::Relaxed);
    }
);
instrument!(
    /// Holds a value that goes up and down. As an atomic: the bits of an
    /// `f64`.
    Gauge,
    f64,
    set,
    "Sets the value.",
    |cell: &Arc<AtomicU64>, value: f64| cell.store(value.to_bits(), Ordering::Relaxed)
);
instrument!(
    /// Collects measurements. As an atomic: the bits of the sum, an `f64`.
    Histogram,
    f64,
    observe,
    "Adds a measurement.",
    |cell: &Arc<AtomicU64>, value: f64| {
        let add = |bits| Some((f64::from_bits(bits) + value).to_bits());
        let _ = cell.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crt_16_the_default_observer_is_inert() {
        let observer = Observer::default();
        let (counter, gauge) = (observer.counter("c", &[]), observer.gauge("g", &[]));
        let (histogram, span) = (observer.histogram("h", &[]), observer.start_span("s", &[]));
        counter.add(1);
        gauge.set(1.0);
        histogram.observe(1.0);
        assert_eq!(
            format!("{counter:?} {gauge:?} {histogram:?} {span:?}"),
            "Counter(\"inert\") Gauge(\"inert\") Histogram(\"inert\") Span { inert: true }"
        );
        span.set_attr(Attr::new("k", 1_i64));
        span.set_error(&"boom");
        span.end();
    }

    #[test]
    fn a_panicking_slot_is_counted_and_goes_no_further() {
        let before = caught_panics();
        let observer = Observer {
            counter: Some(Arc::new(|_, _| Counter::function(|_| panic!("inside")))),
            gauge: Some(Arc::new(|_, _| panic!("resolve"))),
            ..Observer::default()
        };
        observer.counter("c", &[]).add(1);
        observer.gauge("g", &[]).set(1.0);
        assert!(caught_panics() >= before + 2);
    }

    #[test]
    fn atomics_hold_what_was_recorded() {
        let cell = Arc::new(AtomicU64::new(0));
        Gauge::atomic(cell.clone()).set(2.5);
        assert_eq!(f64::from_bits(cell.load(Ordering::Relaxed)), 2.5);
        Histogram::atomic(cell.clone()).observe(0.5);
        assert_eq!(f64::from_bits(cell.load(Ordering::Relaxed)), 3.0);
    }
}
