//! What a Prometheus server gets to read: the text, its bounds, what becomes
//! of series, and the path `/metrics`.

#![allow(clippy::unwrap_used, reason = "test code: a failed set-up is a failed test")]
#![allow(clippy::disallowed_methods, reason = "clients and racing threads live on the real clock")]

mod support;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::Duration;

use log::{LevelFilter, Log, Metadata, Record};
use loopkeeper::controller::{Outcome, Reconciler};
use loopkeeper::observe::prometheus::{Collect, Exporter, ExporterConfig, Metric, Samples};
use loopkeeper::observe::{Attr, MetricsFormat, MetricsSource, caught_panics};
use loopkeeper::testing::{Gate, Script};
use loopkeeper::watch::BackoffConfig;
use loopkeeper::{
    Context, ControllerConfig, Env, EnvConfig, Error, ErrorKind, Host, HostConfig, ManualClock, Observer,
    StatusServer, StatusServerConfig, WatchManager, Watcher, WatcherConfig,
};
use support::{PATIENCE, eventually};

/// Keeps what is logged of metrics, for all tests of this file.
struct Kept(Mutex<Vec<String>>);

impl Log for Kept {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "loopkeeper::metrics"
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            self.0.lock().unwrap().push(record.args().to_string());
        }
    }

    fn flush(&self) {}
}

fn kept() -> &'static Kept {
    static KEPT: OnceLock<Kept> = OnceLock::new();
    let kept = KEPT.get_or_init(|| Kept(Mutex::default()));
    if log::set_logger(kept).is_ok() {
        log::set_max_level(LevelFilter::Debug);
    }
    kept
}

/// What was logged of one metric.
fn logged(name: &str) -> Vec<String> {
    let lines = kept().0.lock().unwrap();
    lines.iter().filter(|line| line.contains(name)).cloned().collect()
}

fn text(exporter: &Exporter) -> String {
    exporter.render(MetricsFormat::OpenMetrics).unwrap()
}

/// A sample: its name, its labels as text, its value as text.
type Sample = (String, BTreeMap<String, String>, String);

/// Reads an OpenMetrics text by its grammar, as far as this library writes it.
fn parse(text: &str) -> Vec<Sample> {
    let body = text.strip_suffix("# EOF\n").expect("it is whole");
    assert!(!body.contains("\n# EOF\n"));
    body.lines().filter(|line| !line.starts_with('#')).map(sample).collect()
}

fn sample(line: &str) -> Sample {
    let name_end = line.find(['{', ' ']).unwrap();
    let mut labels = BTreeMap::new();
    let mut rest = &line[name_end..];
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        while !rest.starts_with('}') {
            let (key, value) = rest.trim_start_matches(',').split_once("=\"").unwrap();
            let (mut text, mut chars) = (String::new(), value.char_indices());
            rest = loop {
                match chars.next().unwrap() {
                    (at, '"') => break &value[at + 1..],
                    (_, '\\') => text.push(match chars.next().unwrap().1 {
                        'n' => '\n',
                        c @ ('\\' | '"') => c,
                        c => panic!("\\{c} is no escape"),
                    }),
                    (_, c) => text.push(c),
                }
            };
            assert!(labels.insert(key.to_owned(), text).is_none(), "{key} twice: {line}");
        }
        rest = &rest[1..];
    }
    (line[..name_end].to_owned(), labels, rest.trim_start().to_owned())
}

/// The values of a sample, by the value of its only label.
fn values(text: &str, name: &str) -> BTreeMap<String, String> {
    let own = parse(text).into_iter().filter(|(other, ..)| other == name);
    own.map(|(_, labels, value)| (labels.into_values().next().unwrap_or_default(), value)).collect()
}

fn value(text: &str, name: &str) -> String {
    let found = values(text, name);
    assert_eq!(found.len(), 1, "{name} in {text}");
    found.into_values().next().unwrap()
}

fn observed(exporter: &Exporter) -> Env {
    Env::with(EnvConfig::default().observer(exporter.observer())).unwrap()
}

#[test]
fn crt_24_the_text_is_what_openmetrics_says_sorted_and_zero_from_the_start() {
    let clock = ManualClock::default();
    let exporter = Exporter::default();
    let config = EnvConfig::default().clock(&clock).spread(false).seed(0).observer(exporter.observer());
    let env = Env::with(config).unwrap();
    let manager = WatchManager::new(&env);
    let script = Script::new([false, true]);
    let backoff = BackoffConfig { jitter: 0.0, ..BackoffConfig::default() };
    let watch = |name: &str, script: &Script| {
        let config = WatcherConfig::new(name, script.clone()).backoff(backoff.clone());
        manager.watch(config).unwrap()
    };
    watch("b", &script);
    watch("a", &Script::new([true]));
    let a_gate = Gate::default();
    let stuck = Watcher::new(&env, WatcherConfig::new("c", a_gate.probe(&clock))).unwrap();
    clock.settle();
    let zero = |what: &str, n: usize| (0..n).map(|_| what).collect::<String>();
    let buckets = |watcher: &str, n: u32| -> String {
        let bounds =
            ["0.001", "0.005", "0.01", "0.05", "0.1", "0.5", "1.0", "5.0", "10.0", "30.0", "60.0", "+Inf"];
        let bounds = bounds.iter().map(|bound| {
            format!(
                "loopkeeper_watcher_probe_duration_seconds_bucket{{le=\"{bound}\",watcher=\"{watcher}\"}} {n}\n"
            )
        });
        let own = "loopkeeper_watcher_probe_duration_seconds";
        format!("{own}_sum{{watcher=\"{watcher}\"}} 0.0\n{own}_count{{watcher=\"{watcher}\"}} {n}\n")
            + &bounds.collect::<String>()
    };
    let expected = String::from(
        "# HELP loopkeeper_loop_missed_ticks Regular runs that were left out because their time had passed.\n\
         # TYPE loopkeeper_loop_missed_ticks counter\n\
         loopkeeper_loop_missed_ticks_total{loop=\"a\"} 0\n\
         loopkeeper_loop_missed_ticks_total{loop=\"b\"} 0\n\
         loopkeeper_loop_missed_ticks_total{loop=\"c\"} 0\n\
         # HELP loopkeeper_loop_overdue_seconds For how long the loop's call is past its deadline, \
         or its next one past its due.\n\
         # TYPE loopkeeper_loop_overdue_seconds gauge\n\
         # UNIT loopkeeper_loop_overdue_seconds seconds\n\
         loopkeeper_loop_overdue_seconds{loop=\"a\"} 0.0\n\
         loopkeeper_loop_overdue_seconds{loop=\"b\"} 0.0\n\
         # HELP loopkeeper_metrics_folded How often an instrument got the series `other`, \
         because its metric has no room for more.\n\
         # TYPE loopkeeper_metrics_folded counter\n\
         loopkeeper_metrics_folded_total{metric=\"loopkeeper_loop_missed_ticks_total\"} 0\n\
         loopkeeper_metrics_folded_total{metric=\"loopkeeper_loop_overdue_seconds\"} 0\n\
         loopkeeper_metrics_folded_total{metric=\"loopkeeper_watcher_probe_duration_seconds\"} 0\n\
         loopkeeper_metrics_folded_total{metric=\"loopkeeper_watcher_ready\"} 0\n\
         loopkeeper_metrics_folded_total{metric=\"loopkeeper_watcher_transitions_total\"} 0\n\
         # HELP loopkeeper_metrics_refused How often an instrument was refused and measures nothing.\n\
         # TYPE loopkeeper_metrics_refused counter\n\
         loopkeeper_metrics_refused_total{reason=\"conflict\"} 0\n\
         loopkeeper_metrics_refused_total{reason=\"labels\"} 0\n\
         loopkeeper_metrics_refused_total{reason=\"name\"} 0\n\
         loopkeeper_metrics_refused_total{reason=\"room\"} 0\n\
         # HELP loopkeeper_watcher_probe_duration_seconds How long probes took that ended in time.\n\
         # TYPE loopkeeper_watcher_probe_duration_seconds histogram\n\
         # UNIT loopkeeper_watcher_probe_duration_seconds seconds\n",
    ) + &buckets("a", 1)
        + &buckets("b", 1)
        + &buckets("c", 0)
        + &zero("# HELP loopkeeper_watcher_ready Whether the watched service is ready.\n", 1)
        + "# TYPE loopkeeper_watcher_ready gauge\n\
           loopkeeper_watcher_ready{watcher=\"a\"} 1.0\n\
           loopkeeper_watcher_ready{watcher=\"b\"} 0.0\n\
           loopkeeper_watcher_ready{watcher=\"c\"} 0.0\n\
           # HELP loopkeeper_watcher_transitions How often the watched service turned so.\n\
           # TYPE loopkeeper_watcher_transitions counter\n\
           loopkeeper_watcher_transitions_total{to=\"down\",watcher=\"a\"} 0\n\
           loopkeeper_watcher_transitions_total{to=\"down\",watcher=\"b\"} 1\n\
           loopkeeper_watcher_transitions_total{to=\"down\",watcher=\"c\"} 0\n\
           loopkeeper_watcher_transitions_total{to=\"ready\",watcher=\"a\"} 1\n\
           loopkeeper_watcher_transitions_total{to=\"ready\",watcher=\"b\"} 0\n\
           loopkeeper_watcher_transitions_total{to=\"ready\",watcher=\"c\"} 0\n\
           loopkeeper_watcher_transitions_total{to=\"unknown\",watcher=\"a\"} 0\n\
           loopkeeper_watcher_transitions_total{to=\"unknown\",watcher=\"b\"} 0\n\
           loopkeeper_watcher_transitions_total{to=\"unknown\",watcher=\"c\"} 0\n\
           # EOF\n";
    let asking = exporter.collecting(env.clone());
    assert_eq!(text(&asking), expected, "before anything was ever asked for twice");
    assert_eq!(text(&asking), expected, "and the same again");

    // In the older form a counter's own name ends with `_total`, and the
    // bounds are as Go writes them.
    let older = asking.render(MetricsFormat::Prometheus).unwrap();
    assert!(older.contains("# TYPE loopkeeper_watcher_transitions_total counter\n"), "{older}");
    assert!(older.contains("_bucket{watcher=\"a\",le=\"1\"} 1\n"), "{older}");
    assert!(!older.contains("# EOF") && !older.contains("# UNIT"), "{older}");

    clock.run_for(Duration::from_secs(2));
    let later = text(&asking);
    assert_eq!(values(&later, "loopkeeper_watcher_ready")["b"], "1.0");
    drop(stuck);
    a_gate.open();
    assert!(manager.stop(PATIENCE).is_clean());
}

#[test]
fn a_stuck_loop_is_overdue_and_more_so_each_time_somebody_asks() {
    let clock = ManualClock::default();
    let exporter = Exporter::default();
    let config = EnvConfig::default().clock(&clock).spread(false).seed(0).observer(exporter.observer());
    let env = Env::with(config).unwrap();
    let gate = Gate::default();
    let watcher = Watcher::start_in(&env, WatcherConfig::new("w", gate.probe(&clock))).unwrap();
    let asking = exporter.collecting(env.clone());
    clock.settle();
    let overdue = || value(&text(&asking), "loopkeeper_loop_overdue_seconds");
    assert_eq!(overdue(), "0.0");
    clock.run_for(Duration::from_secs(15));
    assert_eq!(overdue(), "5.0");
    clock.run_for(Duration::from_millis(1500));
    assert_eq!(overdue(), "6.5");
    gate.open();
    clock.settle();
    assert_eq!(overdue(), "0.0");
    assert!(watcher.stop(PATIENCE).is_clean());
    assert!(values(&text(&asking), "loopkeeper_loop_overdue_seconds").is_empty(), "it does not run");
}

#[test]
fn crt_25_one_name_as_two_kinds_is_an_error_value() {
    kept();
    let exporter = Exporter::default();
    let counter = exporter.counter("crt25_things_total", &[]).unwrap();
    counter.add(3);
    let error = exporter.gauge("crt25_things", &[]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert_eq!(error.to_string(), "metric loopkeeper_crt25_things: is a counter, not a gauge");
    assert!(exporter.histogram("crt25_things", &[]).is_err());
    // What would have the same name as one of its samples.
    let error = exporter.gauge("crt25_things_total", &[]).unwrap_err();
    assert!(error.to_string().ends_with("another one has the name loopkeeper_crt25_things_total"), "{error}");
    exporter.histogram("crt25_took_seconds", &[]).unwrap();
    assert!(exporter.gauge("crt25_took_seconds_count", &[]).is_err());

    // Through the observer it is an instrument that measures nothing, told
    // once and counted each time.
    let observer = exporter.observer();
    let panics = caught_panics();
    for _ in 0..2 {
        observer.gauge("crt25_things", &[]).set(1.0);
        observer.histogram("crt25_things", &[]).observe(1.0);
    }
    assert_eq!(caught_panics(), panics);
    assert_eq!(
        logged("crt25_things"),
        ["metric loopkeeper_crt25_things: is a counter, not a gauge: it is not measured"]
    );
    let text = text(&exporter);
    assert_eq!(value(&text, "loopkeeper_crt25_things_total"), "3");
    assert_eq!(values(&text, "loopkeeper_metrics_refused_total")["conflict"], "4");
    assert_eq!(text.matches("# TYPE loopkeeper_crt25_things ").count(), 1);
}

#[test]
fn names_and_labels_that_cannot_be_are_refused_and_the_text_stays_whole() {
    kept();
    let exporter = Exporter::default();
    for name in ["", "a b", "1x", "a\nb 1", "a{b=\"c\"}", "größe", "x:y", "_seconds", "_total"] {
        let error = exporter.counter(name, &[]).unwrap_err();
        assert!(error.to_string().starts_with("metric \""), "{error}");
        assert!(!error.to_string().contains('\n'));
        exporter.observer().counter(name, &[]).add(1);
    }
    let bad = [
        vec![Attr::new("a b", "x")],
        vec![Attr::new("", "x")],
        vec![Attr::new("le", "x")],
        vec![Attr::new("__name__", "x")],
        vec![Attr::new("a", "x"), Attr::new("a", "y")],
        (0..17).map(|i| Attr::new(&*Box::leak(format!("l{i}").into_boxed_str()), "x")).collect(),
    ];
    for labels in &bad {
        assert!(exporter.counter("bad_labels_total", labels).is_err(), "{labels:?}");
        exporter.observer().counter("bad_labels_total", labels).add(1);
    }
    exporter.counter("good_total", &[Attr::new("b", 1_i64), Attr::new("a", true)]).unwrap().add(1);
    // In another order they are the same; others are not.
    exporter.counter("good_total", &[Attr::new("a", true), Attr::new("b", 1_i64)]).unwrap().add(1);
    let error = exporter.counter("good_total", &[Attr::new("a", "x")]).unwrap_err();
    assert_eq!(error.to_string(), "metric loopkeeper_good: expected the labels (a, b), found (a)");

    let text = text(&exporter);
    assert!(text.contains("loopkeeper_good_total{a=\"true\",b=\"1\"} 2\n"), "{text}");
    let refused = values(&text, "loopkeeper_metrics_refused_total");
    assert_eq!((refused["name"].as_str(), refused["labels"].as_str()), ("9", "6"));
    assert!(!text.contains("bad_labels"));

    // Whoever makes names up gets no further than there is room.
    for i in 0..1100 {
        let name: &'static str = Box::leak(format!("made_up_{i}").into_boxed_str());
        exporter.observer().gauge(name, &[]).set(1.0);
    }
    let text = self::text(&exporter);
    assert!(text.lines().filter(|line| line.starts_with("# TYPE")).count() <= 1000);
    assert!(values(&text, "loopkeeper_metrics_refused_total")["room"].parse::<u32>().unwrap() >= 100);
}

#[test]
fn wrt_40_a_flood_of_labels_ends_in_one_other_series_and_is_told() {
    kept();
    let described = Metric::new("flood_total").max_series(100);
    let gauges = Metric::new("flood_level").max_series(100);
    let exporter = Exporter::new(ExporterConfig::default().describe(described).describe(gauges)).unwrap();
    let observer = exporter.observer();
    for i in 0..100_000_i64 {
        observer.counter("flood_total", &[Attr::new("user", i)]).add(1);
        observer.counter("flood_total", &[Attr::new("user", i)]).add(1);
    }
    for i in 0..1000_i64 {
        observer.gauge("flood_level", &[Attr::new("user", i)]).set(7.0);
        observer.histogram("flood_seconds", &[Attr::new("user", i % 5000)]).observe(f64::NAN);
    }
    let text = text(&exporter);
    let counts = values(&text, "loopkeeper_flood_total");
    assert_eq!(counts.len(), 101);
    assert_eq!(counts["other"], "199800", "nothing is lost but who it was");
    assert_eq!(counts["99"], "2");
    let levels = values(&text, "loopkeeper_flood_level");
    assert_eq!((levels.len(), levels["99"].as_str(), levels["other"].as_str()), (101, "7.0", "NaN"));
    let folded = values(&text, "loopkeeper_metrics_folded_total");
    assert_eq!(folded["loopkeeper_flood_total"], "199800");
    assert_eq!(folded["loopkeeper_flood_level"], "900");
    let told = logged("loopkeeper_flood_total");
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("has 100 series, which is all it may have"), "{told:?}");
    // By default there is room for 4,096.
    let of_default = values(&text, "loopkeeper_flood_seconds_count");
    assert_eq!(of_default.len(), 1000);
    assert!(of_default.values().all(|count| count == "0"), "what is no number is not observed");
}

#[test]
fn what_is_collected_is_bounded_too() {
    struct Flood;
    impl Collect for Flood {
        fn collect(&self, samples: &mut Samples) {
            for i in (0..30_i64).rev() {
                samples.counter("collected_total", &[Attr::new("i", i)], 2);
                samples.gauge("collected_level", &[Attr::new("i", i)], 2.0);
            }
            // Twice, and as another kind.
            samples.gauge("collected_level", &[Attr::new("i", 0_i64)], 5.0);
            samples.gauge("collected_total", &[Attr::new("i", 0_i64)], 5.0);
        }
    }
    let config = ExporterConfig::default()
        .describe(Metric::new("collected_total").max_series(10))
        .describe(Metric::new("collected_level").max_series(10));
    let exporter = Exporter::new(config).unwrap().collecting(Flood);
    // One that is measured and collected is told once.
    exporter.gauge("collected_level", &[Attr::new("i", 1_i64)]).unwrap().set(9.0);
    let text = text(&exporter);
    let counts = values(&text, "loopkeeper_collected_total");
    assert_eq!((counts.len(), counts["other"].as_str()), (11, "40"));
    let levels = values(&text, "loopkeeper_collected_level");
    assert_eq!((levels.len(), levels["0"].as_str(), levels["1"].as_str()), (11, "5.0", "9.0"));
    assert_eq!(levels["other"], "NaN");
    let lines: Vec<&str> = text.lines().filter(|line| line.contains("_level{")).collect();
    assert!(lines.is_sorted(), "{lines:?}");
    assert_eq!(lines.len(), 11);
}

#[test]
fn wrt_40_label_values_are_quoted_by_the_rules_of_the_format() {
    let exporter = Exporter::default();
    let hostile = [
        "plain",
        "a\nb",
        "quote\"d",
        "back\\slash\\",
        "\\n",
        "} 1\nloopkeeper_forged 1\n# EOF\n",
        "\r\t\0\u{7f}",
        "größe 漢字 \u{202e}",
        "",
    ];
    for value in hostile {
        exporter.counter("hostile_total", &[Attr::new("value", value)]).unwrap().add(1);
    }
    let long = "ß".repeat(10_000);
    exporter.counter("hostile_total", &[Attr::new("value", &*long)]).unwrap().add(1);
    let text = text(&exporter);
    let mut found: Vec<String> = values(&text, "loopkeeper_hostile_total").into_keys().collect();
    let cut = found.iter().position(|value| value.starts_with("ßß")).map(|idx| found.remove(idx)).unwrap();
    assert!(cut.len() < 300 && cut.ends_with('…'), "{cut}");
    let mut expected: Vec<String> = hostile.iter().map(|&value| value.to_owned()).collect();
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
    assert!(parse(&text).iter().all(|(name, ..)| name != "loopkeeper_forged"));

    // So are help texts.
    let metric = Metric::new("helped").help("a\nb \\ \"c\"");
    let exporter = Exporter::new(ExporterConfig::default().describe(metric)).unwrap();
    exporter.gauge("helped", &[]).unwrap().set(1.0);
    let open = exporter.render(MetricsFormat::OpenMetrics).unwrap();
    assert!(open.contains("# HELP loopkeeper_helped a\\nb \\\\ \\\"c\\\".\n"), "{open}");
    let older = exporter.render(MetricsFormat::Prometheus).unwrap();
    assert!(older.contains("# HELP loopkeeper_helped a\\nb \\\\ \"c\".\n"), "{older}");
}

#[test]
fn wrt_40_failures_of_spans_are_counted_and_their_durations_fall_into_buckets() {
    let clock = ManualClock::default();
    let config = ExporterConfig::default().measure_spans("pass").clock(&clock);
    let exporter = Exporter::new(config).unwrap();
    let observer = exporter.observer();
    for (took, fails) in [(2, false), (20, true), (700, true)] {
        let span = observer.start_span("pass", &[Attr::new("of", "x")]);
        clock.run_for(Duration::from_millis(took));
        if fails {
            span.set_error(&"no");
            span.set_error(&"no, really");
        }
        span.set_attr(Attr::new("items", 1_i64));
        span.end();
    }
    drop(observer.start_span("not_measured", &[]));
    let text = text(&exporter);
    assert_eq!(value(&text, "loopkeeper_pass_errors_total"), "2");
    assert_eq!(value(&text, "loopkeeper_pass_duration_seconds_count"), "3");
    let buckets =
        parse(&text).into_iter().filter(|(name, ..)| name.ends_with("pass_duration_seconds_bucket"));
    let buckets: Vec<String> = buckets.map(|(_, labels, n)| format!("{}:{n}", labels["le"])).collect();
    assert_eq!(buckets[..7], ["0.001:0", "0.005:1", "0.01:1", "0.05:2", "0.1:2", "0.5:2", "1.0:3"]);
    assert!(!text.contains("not_measured"));
}

#[test]
fn wrt_40_nobody_who_measures_waits_for_who_writes_out() {
    /// Says that it was asked, and waits.
    struct Slow(Mutex<Option<(Sender<()>, std::sync::mpsc::Receiver<()>)>>);
    impl Collect for Slow {
        fn collect(&self, _: &mut Samples) {
            if let Some((asked, go)) = self.0.lock().unwrap().take() {
                asked.send(()).unwrap();
                go.recv().unwrap();
            }
        }
    }
    let (tell, asked) = channel();
    let (go, wait) = channel();
    let exporter = Exporter::default();
    let slow = exporter.clone().collecting(Slow(Mutex::new(Some((tell, wait)))));
    let counter = exporter.counter("busy_total", &[]).unwrap();
    let writer = thread::spawn(move || text(&slow));
    asked.recv().unwrap();
    counter.add(1);
    exporter.histogram("busy_seconds", &[]).unwrap().observe(0.5);
    assert_eq!(value(&text(&exporter), "loopkeeper_busy_total"), "1");
    go.send(()).unwrap();
    assert_eq!(value(&writer.join().unwrap(), "loopkeeper_busy_total"), "1");
}

#[test]
fn series_of_a_loop_go_away_with_it_and_a_replacement_takes_them_on() {
    let exporter = Exporter::default();
    let env = observed(&exporter);
    let manager = WatchManager::new(&env);
    let up = manager.watch(WatcherConfig::new("up", |_: &Context| Ok(()))).unwrap();
    assert!(up.wait_ready(PATIENCE));
    let ready = || values(&text(&exporter), "loopkeeper_watcher_ready").get("up").cloned();
    // The gauge is set after the status, by the loop.
    eventually("it is told", || ready().as_deref() == Some("1.0"));
    // Made to take its place, and given up.
    drop(Watcher::new(&env, WatcherConfig::new("up", |_: &Context| Ok(()))).unwrap());
    assert_eq!(ready().as_deref(), Some("1.0"), "the one that runs has its say");
    let next = Watcher::new(&env, WatcherConfig::new("up", |_: &Context| Ok(()))).unwrap();
    drop(up);
    assert!(manager.unwatch("up", PATIENCE).unwrap().is_clean());
    assert_eq!(ready().as_deref(), Some("0.0"), "held by the next one");
    let transitions = values(&text(&exporter), "loopkeeper_watcher_transitions_total");
    assert!(!transitions.is_empty());
    next.restart().unwrap();
    assert!(next.wait_ready(PATIENCE));
    eventually("it is told", || ready().as_deref() == Some("1.0"));
    assert!(next.stop(PATIENCE).is_clean());
    assert_eq!(ready().as_deref(), Some("0.0"), "stopped, and may start again");
    drop(next);
    let text = text(&exporter);
    assert!(!text.contains("\"up\""), "{text}");
    // What the program measures itself stays.
    exporter.observer().counter("orders_total", &[]).add(2);
    assert_eq!(value(&self::text(&exporter), "loopkeeper_orders_total"), "2");
}

#[test]
fn machines_that_come_and_go_do_not_use_up_the_room() {
    let metric = || Metric::new("watcher_ready").max_series(8).series_go_with_their_instruments();
    let exporter = Exporter::new(ExporterConfig::default().describe(metric())).unwrap();
    for i in 0..1000_i64 {
        let gauge = exporter.gauge("watcher_ready", &[Attr::new("watcher", i)]).unwrap();
        gauge.set(1.0);
    }
    // With nobody scraping meanwhile.
    let kept = exporter.gauge("watcher_ready", &[Attr::new("watcher", "kept")]).unwrap();
    kept.set(1.0);
    assert_eq!(
        values(&text(&exporter), "loopkeeper_watcher_ready").into_keys().collect::<Vec<_>>(),
        ["kept"]
    );
}

#[test]
fn what_has_gone_makes_room_again_and_again() {
    let metric = || Metric::new("controller_running").max_series(64).series_go_with_their_instruments();
    let exporter = Exporter::new(ExporterConfig::default().describe(metric())).unwrap();
    let gauge = |i: i64| exporter.gauge("controller_running", &[Attr::new("controller", i)]).unwrap();
    let _stays: Vec<_> = (0..32).map(gauge).collect();
    for i in 100..2_000 {
        gauge(i).set(1.0);
    }
    // Nobody has scraped meanwhile.
    let folded = values(&text(&exporter), "loopkeeper_metrics_folded_total");
    assert_eq!(folded["loopkeeper_controller_running"], "0", "there never were more than 33");
}

#[test]
fn one_that_is_made_to_replace_another_leaves_its_gauges_alone() {
    let exporter = Exporter::default();
    let env = observed(&exporter);
    let make = || {
        let config = ControllerConfig::new("daily").interval(Duration::from_secs(86_400));
        Reconciler::new(&env, config, |_: &Context| Ok(Outcome::default())).unwrap()
    };
    let names = ["running", "last_reconcile_timestamp_seconds", "last_success_timestamp_seconds"];
    let told = || names.map(|name| value(&text(&exporter), &format!("loopkeeper_controller_{name}")));
    let first = make();
    assert_eq!(told(), ["0.0", "0.0", "0.0"]);
    first.restart().unwrap();
    assert!(first.wait_ready(PATIENCE));
    eventually("it is told", || !told().contains(&"0.0".to_owned()));
    let before = told();
    let given_up = make();
    assert_eq!(told(), before);
    drop(given_up);
    assert_eq!(told(), before);
    assert!(first.stop(PATIENCE).is_clean());
    assert_eq!(told(), ["0.0", &*before[1], &*before[2]]);
}

#[test]
fn components_are_told_with_their_states_and_restarts() {
    let exporter = Exporter::default();
    let host = Host::new(HostConfig::default().observer(exporter.observer())).unwrap();
    let api = loopkeeper::host::component(|_: &Context| Ok(()), |_: &Context| Ok(()));
    host.register("api", api).unwrap();
    let other = loopkeeper::host::component(|_: &Context| Ok(()), |_: &Context| Ok(()));
    host.register("idle", other).unwrap();
    let asking = exporter.collecting(host.handle());
    let states = || {
        let samples =
            parse(&text(&asking)).into_iter().filter(|(name, ..)| name == "loopkeeper_component_state");
        samples
            .map(|(_, labels, _)| format!("{} {}", labels["component"], labels["state"]))
            .collect::<Vec<_>>()
    };
    assert_eq!(states(), ["api registered", "idle registered"]);
    host.start().unwrap();
    assert_eq!(states(), ["api ready", "idle ready"]);
    let now = text(&asking);
    assert_eq!(values(&now, "loopkeeper_component_ready")["api"], "1.0");
    assert_eq!(values(&now, "loopkeeper_component_restarts_total")["api"], "0");
    assert_eq!(values(&now, "loopkeeper_component_starts_total")["api"], "1");
    assert!(host.undeploy("idle", PATIENCE).unwrap().is_clean());
    assert_eq!(states(), ["api ready"]);
    assert!(host.stop(PATIENCE).is_clean());
    assert_eq!(states(), ["api stopped"]);
}

#[test]
fn registries_of_the_programs_own_go_in_and_out() {
    use prometheus_client::encoding::text::encode;
    use prometheus_client::metrics::counter::Counter;
    use prometheus_client::registry::Registry;

    let mine: Counter = Counter::default();
    let mut registry = Registry::default();
    registry.register("mine", "My own", mine.clone());
    mine.inc();
    let exporter = Exporter::new(ExporterConfig::default().registry(Arc::new(registry))).unwrap();
    exporter.counter("theirs_total", &[]).unwrap().add(1);
    let in_one = text(&exporter);
    assert_eq!(value(&in_one, "mine_total"), "1");
    assert_eq!(value(&in_one, "loopkeeper_theirs_total"), "1");
    let older = exporter.render(MetricsFormat::Prometheus).unwrap();
    assert!(older.contains("# TYPE mine_total counter\nmine_total 1\n"), "{older}");

    let mut registry = Registry::with_prefix("app");
    registry.register_collector(Box::new(exporter.collector()));
    let mut out = String::new();
    encode(&mut out, &registry).unwrap();
    assert_eq!(value(&out, "app_loopkeeper_theirs_total"), "1");
}

#[test]
fn prefixes_are_checked_and_may_be_empty() {
    let exporter = Exporter::new(ExporterConfig::default().prefix("")).unwrap();
    exporter.counter("bare_total", &[]).unwrap().add(1);
    assert_eq!(value(&text(&exporter), "bare_total"), "1");
    let error = Exporter::new(ExporterConfig::default().prefix("a-b")).unwrap_err();
    assert_eq!((error.kind(), error.to_string().contains("prefix")), (ErrorKind::InvalidArgument, true));
    assert!(Exporter::new(ExporterConfig::default().measure_spans("a b")).is_err());
}

#[test]
fn an_observer_beside_the_log_hears_the_same() {
    let exporter = Exporter::default();
    let observer = Observer::log().and(exporter.observer());
    observer.counter("shared_total", &[]).add(4);
    observer.gauge("shared_level", &[]).set(2.5);
    observer.histogram("shared_seconds", &[]).observe(0.25);
    let text = text(&exporter);
    assert_eq!(value(&text, "loopkeeper_shared_total"), "4");
    assert_eq!(value(&text, "loopkeeper_shared_level"), "2.5");
    assert_eq!(value(&text, "loopkeeper_shared_seconds_sum"), "0.25");
}

// Over HTTP.

fn ask(address: SocketAddr, request: &str, headers: &str) -> Option<(u16, String, String)> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let head = format!("{request} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{headers}\r\n");
    stream.write_all(head.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head[9..12].parse().unwrap(), head.to_owned(), body.to_owned()))
}

fn serve(env: &Env, config: StatusServerConfig) -> StatusServer {
    StatusServer::start(env, config.listen("127.0.0.1:0"), Arc::new(env.clone())).unwrap()
}

#[test]
fn metrics_are_at_their_path_when_there_are_any() {
    let exporter = Exporter::default();
    let env = observed(&exporter);
    exporter.counter("asked_total", &[]).unwrap().add(1);
    let server = serve(&env, StatusServerConfig::default().metrics(exporter.clone()));
    let address = server.local_addr();

    let (status, head, body) = ask(address, "GET /metrics", "").unwrap();
    assert_eq!(status, 200);
    let content_type = "Content-Type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n";
    assert!(head.contains(content_type), "{head}");
    assert_eq!(body, text(&exporter));
    let (_, head, body) = ask(address, "GET /metrics", "Accept: text/plain;version=0.0.4\r\n").unwrap();
    assert!(head.contains("Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{head}");
    assert_eq!(body, exporter.render(MetricsFormat::Prometheus).unwrap());
    let (status, head, body) = ask(address, "HEAD /metrics", "").unwrap();
    assert_eq!((status, body.as_str()), (200, ""));
    assert!(head.contains(content_type), "{head}");
    assert_eq!(ask(address, "POST /metrics", "").unwrap().0, 405);
    assert_eq!(ask(address, "GET /metrics?x=1", "").unwrap().0, 400);
    assert!(server.stop(PATIENCE).is_clean());

    let server = serve(&env, StatusServerConfig::default());
    let (status, _, body) = ask(server.local_addr(), "GET /metrics", "").unwrap();
    assert_eq!((status, body.as_str()), (404, "no metrics are shown here\n"));
}

#[test]
fn metrics_that_cannot_be_written_are_a_500_and_cost_no_worker() {
    struct Broken(AtomicU64);
    impl MetricsSource for Broken {
        fn metrics(&self, _: MetricsFormat) -> Result<String, Error> {
            match self.0.fetch_add(1, Ordering::Relaxed) {
                0 => panic!("inside"),
                1 => Err(Error::new(ErrorKind::Io).context("no room")),
                _ => Ok("# EOF\n".to_owned()),
            }
        }
    }
    let env = Env::new().unwrap();
    let server = serve(&env, StatusServerConfig::default().metrics(Broken(AtomicU64::new(0))));
    let answers: Vec<_> = (0..3)
        .map(|_| ask(server.local_addr(), "GET /metrics", "").unwrap())
        .map(|(n, _, body)| (n, body))
        .collect();
    assert_eq!(answers[0].0, 500);
    assert_eq!(answers[1], (500, "no room\n".to_owned()));
    assert_eq!(answers[2], (200, "# EOF\n".to_owned()));
    assert_eq!(ask(server.local_addr(), "GET /livez", "").unwrap().0, 200);
}

#[test]
fn a_scrape_during_a_stop_is_whole_or_refused() {
    let exporter = Exporter::default();
    let env = observed(&exporter);
    let host = Host::new(HostConfig::default().env(&env)).unwrap();
    for i in 0..50 {
        let watcher =
            Watcher::new(host.env(), WatcherConfig::new(format!("w{i}"), |_: &Context| Ok(()))).unwrap();
        host.register(format!("w{i}"), watcher).unwrap();
    }
    host.start().unwrap();
    let metrics = exporter.clone().collecting(host.handle());
    let server = Arc::new(serve(&env, StatusServerConfig::default().metrics(metrics)));
    let address = server.local_addr();
    let (ended, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let scrapers: Vec<_> = (0..3)
        .map(|_| {
            let (ended, answered) = (ended.clone(), answered.clone());
            thread::spawn(move || {
                while !ended.load(Ordering::Acquire) {
                    let Some((status, _, body)) = ask(address, "GET /metrics", "") else { continue };
                    assert_eq!(status, 200, "{body}");
                    let samples = parse(&body);
                    assert!(samples.iter().any(|(name, ..)| name == "loopkeeper_metrics_refused_total"));
                    answered.fetch_add(1, Ordering::AcqRel);
                }
            })
        })
        .collect();
    eventually("there are answers", || answered.load(Ordering::Acquire) > 10);
    let half: Vec<String> = (0..25).map(|i| format!("w{i}")).collect();
    half.iter().for_each(|name| _ = host.undeploy(name, PATIENCE).unwrap());
    assert!(host.stop(PATIENCE).is_clean());
    let at_stop = answered.load(Ordering::Acquire);
    eventually("a stopped host is told, too", || answered.load(Ordering::Acquire) > at_stop + 3);
    let report = server.stop(PATIENCE);
    assert!(report.is_clean(), "{report}");
    ended.store(true, Ordering::Release);
    scrapers.into_iter().for_each(|scraper| scraper.join().unwrap());
    assert!(!text(&exporter).contains("\"w0\""), "what was undeployed is gone");
    assert!(text(&exporter).contains("loopkeeper_watcher_ready{watcher=\"w49\"} 0.0\n"));
}
