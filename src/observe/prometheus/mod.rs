//! Metrics for a Prometheus server (feature `prometheus`): an observer that
//! keeps what it is told, and a text of all of it.
//!
//! ```
//! use loopkeeper::observe::{Attr, MetricsFormat, prometheus::Exporter};
//! use loopkeeper::{Context, Env, EnvConfig, Observer, Watcher, WatcherConfig};
//!
//! let exporter = Exporter::default();
//! let env = Env::with(EnvConfig::default().observer(Observer::log().and(exporter.observer())))?;
//! let watcher = Watcher::start_in(&env, WatcherConfig::new("db", |_: &Context| Ok(())))?;
//! assert!(watcher.wait_ready(std::time::Duration::from_secs(5)));
//!
//! // Metrics of the program's own go the same way.
//! let orders = env.observer().counter("orders_total", &[Attr::new("shop", "north")]);
//! orders.add(1);
//!
//! // What is looked up only when somebody asks: here, how late loops are.
//! let text = exporter.collecting(env.clone()).render(MetricsFormat::OpenMetrics)?;
//! assert!(text.contains("loopkeeper_watcher_ready{watcher=\"db\"} "));
//! assert!(text.contains("loopkeeper_orders_total{shop=\"north\"} 1\n"));
//! assert!(text.contains("loopkeeper_loop_overdue_seconds{loop=\"db\"} 0.0\n"));
//! assert!(text.ends_with("# EOF\n"));
//! # Ok::<(), loopkeeper::Error>(())
//! ```
//!
//! The status server shows it at `/metrics` when it is given one; `loopkeeper
//! run` always does.
//!
//! # Names
//!
//! A metric is called as it is asked for, after the prefix. Letters, digits
//! and `_` are taken; a name that ends with `_seconds` or `_bytes` has that
//! unit; a counter ends with `_total`, whether it was asked for so or not. The
//! first who asks decides what kind a metric is and which labels it has. What
//! does not fit gets an instrument that measures nothing: that is counted in
//! `loopkeeper_metrics_refused_total{reason}` and logged once for each name.
//! [`counter`](Exporter::counter), [`gauge`](Exporter::gauge) and
//! [`histogram`](Exporter::histogram) say it as an error instead.
//!
//! # Bounds
//!
//! Memory is bounded whether anybody scrapes or not. There are at most 1,000
//! metrics. Each has at most 4,096 series
//! (`watcher_transitions_total`: three times as many) or as many as it was
//! [described](ExporterConfig::describe) with; a label has at most 256 bytes,
//! the rest is cut off. Further label sets share one more series, whose labels
//! are all `other`: counters and histograms are added up there, a gauge is NaN
//! there, because what many set in turn says nothing. It is said in the log
//! once for each metric, and counted in
//! `loopkeeper_metrics_folded_total{metric}`.
//!
//! # Series that go away
//!
//! What the library measures of a loop goes away with the loop: when a watcher
//! is undeployed, its series are not written out any more, and its gauge does
//! not stay at the last value until somebody believes it. A loop that is only
//! stopped keeps them; a replaced one hands them on. Series of the program's
//! own metrics stay, unless they are described with
//! [`series_go_with_their_instruments`](Metric::series_go_with_their_instruments).
//!
//! # With prometheus-client
//!
//! What a program registers itself in a [`Registry`] can be written out along
//! with the rest: [`ExporterConfig::registry`]. The other way round,
//! [`Exporter::collector`] is a collector for a registry of the program's own.

mod buckets;
mod family;
mod metric;
mod spans;
mod text;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{prometheus_text, text as openmetrics};
use prometheus_client::registry::Registry;

use super::{Attr, Counter, Gauge, Histogram, MetricsFormat, MetricsSource, Observer};
use crate::clock::Clock;
use crate::error::{Error, ErrorKind, Result};
use family::{Books, Kind, Labels};
use text::View;

pub use metric::Metric;

/// Settings of an [`Exporter`], checked when it is made.
#[derive(Debug, Clone)]
#[must_use = "settings do nothing until an exporter is made with them"]
pub struct ExporterConfig {
    prefix: String,
    metrics: Vec<Metric>,
    spans: Vec<&'static str>,
    registry: Option<Arc<Registry>>,
    clock: Clock,
}

impl Default for ExporterConfig {
    fn default() -> Self {
        Self {
            prefix: "loopkeeper".to_owned(),
            metrics: Vec::new(),
            spans: Vec::new(),
            registry: None,
            clock: Clock::system(),
        }
    }
}

impl ExporterConfig {
    /// What each name begins with, before an underscore; may be empty.
    /// Defaults to `loopkeeper`.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Says what a metric is and how much of it there may be; of two with one
    /// name the later counts. Defaults to what the library measures.
    pub fn describe(mut self, metric: Metric) -> Self {
        self.metrics.push(metric);
        self
    }

    /// Measures spans of this name: how long they took in
    /// `<name>_duration_seconds`, how many failed in `<name>_errors_total`,
    /// both with the attributes they began with as labels. Loops measure
    /// themselves without it. Defaults to none.
    pub fn measure_spans(mut self, name: &'static str) -> Self {
        self.spans.push(name);
        self
    }

    /// Writes out what is in this registry, too, after the rest and in its own
    /// order. It must not have names that the rest has. Defaults to none.
    pub fn registry(mut self, registry: Arc<Registry>) -> Self {
        self.registry = Some(registry);
        self
    }

    /// The clock that spans are measured with. Defaults to the system's.
    pub fn clock(mut self, clock: impl Into<Clock>) -> Self {
        self.clock = clock.into();
        self
    }
}

/// Keeps metrics for a Prometheus server and writes them out. Cloning shares
/// them. See the [module](self).
///
/// # Threads
///
/// All methods may be called from any thread. Writing out holds up who makes
/// an instrument of the very metric that is being written, for some
/// microseconds, and nobody who uses one.
#[derive(Clone)]
pub struct Exporter {
    books: Arc<Books>,
    settings: Arc<Settings>,
    sources: Vec<Arc<dyn Collect>>,
}

struct Settings {
    spans: Vec<&'static str>,
    clock: Clock,
    registry: Option<Arc<Registry>>,
    /// How long the last text was.
    len: AtomicUsize,
}

impl Default for Exporter {
    fn default() -> Self {
        Self::checked(ExporterConfig::default())
    }
}

impl Exporter {
    /// Makes an exporter.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` when a setting cannot be used.
    pub fn new(config: ExporterConfig) -> Result<Self> {
        if !config.prefix.is_empty() {
            metric::check_name(&config.prefix).map_err(|error| error.context("prefix"))?;
        }
        config.metrics.iter().try_for_each(Metric::check)?;
        config.spans.iter().try_for_each(|name| metric::check_name(name))?;
        Ok(Self::checked(config))
    }

    fn checked(config: ExporterConfig) -> Self {
        let ExporterConfig { prefix, metrics, spans, registry, clock } = config;
        let described = Metric::shipped().chain(metrics);
        let described: HashMap<_, _> =
            described.map(|metric| (metric.name.clone().into_owned(), metric)).collect();
        let books = Arc::new(Books::new(prefix, described));
        let settings = Settings { spans, clock, registry, len: AtomicUsize::new(0) };
        Self { books, settings: Arc::new(settings), sources: Vec::new() }
    }

    /// The observer that tells it what happens; for an
    /// [`Env`](crate::EnvConfig::observer), alone or
    /// [together](Observer::and) with another.
    #[must_use]
    pub fn observer(&self) -> Observer {
        let (counters, gauges, histograms) = (self.books.clone(), self.books.clone(), self.books.clone());
        let spans = &self.settings.spans;
        let span = (!spans.is_empty())
            .then(|| spans::slot(self.books.clone(), spans.clone(), self.settings.clock.clone()));
        Observer {
            span,
            counter: Some(Arc::new(move |name, labels| {
                counters.or_inert(name, counters.counter(name, labels))
            })),
            gauge: Some(Arc::new(move |name, labels| gauges.or_inert(name, gauges.gauge(name, labels)))),
            histogram: Some(Arc::new(move |name, labels| {
                histograms.or_inert(name, histograms.histogram(name, labels))
            })),
            on_event: None,
        }
    }

    /// Makes a counter.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` when its name or labels cannot be used, when the name
    /// is another metric's or that metric has other labels, and when there are
    /// too many metrics.
    pub fn counter(&self, name: &'static str, labels: &[Attr]) -> Result<Counter> {
        self.books.counter(name, labels).map_err(|refused| refused.error)
    }

    /// Makes a gauge.
    ///
    /// # Errors
    ///
    /// As [`counter`](Self::counter).
    pub fn gauge(&self, name: &'static str, labels: &[Attr]) -> Result<Gauge> {
        self.books.gauge(name, labels).map_err(|refused| refused.error)
    }

    /// Makes a histogram. What is observed and not a finite number is left out.
    ///
    /// # Errors
    ///
    /// As [`counter`](Self::counter).
    pub fn histogram(&self, name: &'static str, labels: &[Attr]) -> Result<Histogram> {
        self.books.histogram(name, labels).map_err(|refused| refused.error)
    }

    /// The same exporter, which asks this source too, each time it writes out:
    /// an [`Env`](crate::Env) for how late loops are, a
    /// [`HostHandle`](crate::host::HostHandle) for its components and loops.
    #[must_use = "only what is returned asks the source"]
    pub fn collecting(mut self, source: impl Collect + 'static) -> Self {
        self.sources.push(Arc::new(source));
        self
    }

    /// Every metric at this moment, by name and labels.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` when the [registry](ExporterConfig::registry) has
    /// something that cannot be written in this format.
    ///
    /// # Panics
    ///
    /// When a source panics.
    pub fn render(&self, format: MetricsFormat) -> Result<String> {
        let escapes_help = format == MetricsFormat::OpenMetrics;
        let mut own = Registry::default();
        own.register_collector(Box::new(View::new(&self.books, &self.sources, escapes_help)));
        let mut text = String::with_capacity(self.settings.len.load(Ordering::Relaxed) + 1024);
        let mut write = |registry: &Registry| match format {
            MetricsFormat::OpenMetrics => openmetrics::encode_registry(&mut text, registry),
            MetricsFormat::Prometheus => prometheus_text::encode(&mut text, registry),
        };
        write(&own)
            .and_then(|()| self.settings.registry.iter().try_for_each(|theirs| write(theirs)))
            .map_err(|error| {
                let text = "the registry has a metric that this format has no form for";
                Error::new(ErrorKind::InvalidArgument).context(text).caused_by(error)
            })?;
        if format == MetricsFormat::OpenMetrics {
            text.push_str("# EOF\n");
        }
        self.settings.len.store(text.len(), Ordering::Relaxed);
        Ok(text)
    }

    /// What puts these metrics into a registry of the program's own, with
    /// `register_collector`; the registry's own prefix comes before this one's.
    #[must_use]
    pub fn collector(&self) -> impl Collector + use<> {
        Out(self.clone())
    }
}

impl MetricsSource for Exporter {
    fn metrics(&self, format: MetricsFormat) -> Result<String> {
        self.render(format)
    }
}

impl fmt::Debug for Exporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.books.families().iter().map(|family| family.name.clone()).collect();
        f.debug_struct("Exporter").field("metrics", &names).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Out(Exporter);

impl Collector for Out {
    fn encode(&self, encoder: prometheus_client::encoding::DescriptorEncoder<'_>) -> fmt::Result {
        View::new(&self.0.books, &self.0.sources, true).encode(encoder)
    }
}

/// Who can say something each time metrics are written out, because it is
/// there to be looked up; for [`Exporter::collecting`].
///
/// # Threads
///
/// Called by who writes out, once each time.
///
/// # Examples
///
/// ```
/// use loopkeeper::observe::prometheus::{Collect, Exporter, Samples};
/// use loopkeeper::observe::MetricsFormat;
///
/// struct Queue(Vec<u32>);
///
/// impl Collect for Queue {
///     fn collect(&self, samples: &mut Samples) {
///         samples.gauge("queue_length", &[], self.0.len() as f64);
///     }
/// }
///
/// let exporter = Exporter::default().collecting(Queue(vec![1, 2]));
/// assert!(exporter.render(MetricsFormat::OpenMetrics)?.contains("loopkeeper_queue_length 2.0\n"));
/// # Ok::<(), loopkeeper::Error>(())
/// ```
pub trait Collect: Send + Sync {
    /// Adds what there is to say.
    fn collect(&self, samples: &mut Samples);
}

impl<T: Collect + ?Sized> Collect for Arc<T> {
    fn collect(&self, samples: &mut Samples) {
        (**self).collect(samples);
    }
}

/// What is collected in one writing out. Of two samples with the same name and
/// labels the greater counts; names, labels and bounds are as with instruments.
#[derive(Debug, Default)]
pub struct Samples(Vec<(Kind, &'static str, family::Result<Labels>, f64)>);

impl Samples {
    /// Adds a count that only grows.
    #[allow(clippy::cast_precision_loss, reason = "exact up to 2^53")]
    pub fn counter(&mut self, name: &'static str, labels: &[Attr], value: u64) {
        self.0.push((Kind::Counter, name, Labels::new(name, labels), value as f64));
    }

    /// Adds a value that goes up and down.
    pub fn gauge(&mut self, name: &'static str, labels: &[Attr], value: f64) {
        self.0.push((Kind::Gauge, name, Labels::new(name, labels), value));
    }
}
