//! What a Prometheus server reads: prometheus-client as one would use it by
//! hand, and the library's exporter beside it.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use loopkeeper::observe::MetricsFormat;
use loopkeeper::observe::prometheus::Exporter;
use loopkeeper::watch::BackoffConfig;
use loopkeeper::{Clock, Context, Env, EnvConfig, WatchManager, WatcherConfig};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::measure::Started;
use super::ours::Stop;

const BUCKETS: [f64; 11] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0];

fn timed(calls: u32, mut call: impl FnMut(u32)) -> Duration {
    let begin = Instant::now();
    (0..calls).for_each(&mut call);
    begin.elapsed()
}

/// What is measured takes all buckets in turn.
fn seconds(call: u32) -> f64 {
    black_box(0.0007 * f64::from(1 << (call % 16)))
}

pub(crate) fn counts(calls: u32) -> Duration {
    let counter = Exporter::default().observer().counter("calls_total", &[]);
    timed(calls, |_| black_box(&counter).add(1))
}

pub(crate) fn bare_counts(calls: u32) -> Duration {
    let counter: Counter = Counter::default();
    timed(calls, |_| _ = black_box(&counter).inc_by(1))
}

pub(crate) fn observations(calls: u32) -> Duration {
    let histogram = Exporter::default().observer().histogram("calls_seconds", &[]);
    timed(calls, |call| black_box(&histogram).observe(seconds(call)))
}

pub(crate) fn bare_observations(calls: u32) -> Duration {
    let histogram = Histogram::new(BUCKETS);
    timed(calls, |call| black_box(&histogram).observe(seconds(call)))
}

pub(crate) fn timed_spans(calls: u32) -> Duration {
    let histogram = Exporter::default().observer().histogram("calls_seconds", &[]);
    let clock = Clock::system();
    timed(calls, |_| drop(black_box(&histogram).time(black_box(&clock))))
}

pub(crate) fn two_looks_at_the_clock(calls: u32) -> Duration {
    timed(calls, |_| {
        let begun = black_box(Instant::now());
        black_box(Instant::now().duration_since(begun));
    })
}

/// Writes out what `n` watchers that have run once measure; the same with how
/// late each is, which is looked up; and stops them.
pub(crate) fn exporter(n: usize) -> (impl FnMut() -> usize, impl FnMut() -> usize, Stop) {
    let exporter = Exporter::default();
    let env =
        Env::with(EnvConfig::default().observer(exporter.observer())).expect("a watchdog can be started");
    let manager = WatchManager::new(&env);
    let all = Arc::new(Started::expect(n));
    let hour = Duration::from_secs(3600);
    for i in 0..n {
        let all = Arc::clone(&all);
        let probe = move |_: &Context| {
            all.one();
            Ok(())
        };
        let backoff = BackoffConfig { poll_interval: hour, ..Default::default() };
        let config = WatcherConfig::new(format!("watcher-{i}"), probe).backoff(backoff);
        manager.watch(config).expect("the machine allows as many watchers");
    }
    all.wait();
    let asking = exporter.clone().collecting(env);
    let render = |exporter: Exporter| {
        move || exporter.render(MetricsFormat::OpenMetrics).expect("there is nothing it cannot write").len()
    };
    let stop = move || {
        let report = manager.stop(Duration::from_secs(10));
        assert!(report.is_clean(), "{report}");
    };
    (render(exporter), render(asking), Box::new(stop))
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Own {
    watcher: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Loop {
    r#loop: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Turn {
    to: &'static str,
    watcher: String,
}

type Level = Gauge<f64, std::sync::atomic::AtomicU64>;

/// The same series in a registry, made by hand.
pub(crate) fn bare_registry(n: usize) -> impl FnMut() -> usize {
    let ready = Family::<Own, Level>::default();
    let (turns, missed) = (Family::<Turn, Counter>::default(), Family::<Loop, Counter>::default());
    let took = Family::<Own, Histogram>::new_with_constructor(|| Histogram::new(BUCKETS));
    for i in 0..n {
        let watcher = format!("watcher-{i}");
        ready.get_or_create(&Own { watcher: watcher.clone() }).set(1.0);
        took.get_or_create(&Own { watcher: watcher.clone() }).observe(0.000_012_345);
        missed.get_or_create(&Loop { r#loop: watcher.clone() }).inc_by(0);
        for (to, n) in [("ready", 1), ("down", 0), ("unknown", 0)] {
            turns.get_or_create(&Turn { to, watcher: watcher.clone() }).inc_by(n);
        }
    }
    let mut registry = Registry::with_prefix("loopkeeper");
    registry.register("watcher_ready", "Whether the watched service is ready", ready);
    registry.register("watcher_transitions", "How often the watched service turned so", turns);
    registry.register("loop_missed_ticks", "Regular runs that were left out", missed);
    registry.register_with_unit("watcher_probe_duration", "How long probes took", Unit::Seconds, took);
    let mut len = 0;
    move || {
        // As large as it was the last time, as the exporter does it.
        let mut text = String::with_capacity(len);
        encode(&mut text, &registry).expect("a string takes everything");
        len = text.len();
        len
    }
}
