//! What the log says of spans, metrics and events: alone in its process,
//! because a logger is for all of it.

#![allow(clippy::disallowed_methods, reason = "a span is used from another thread on purpose")]

use std::sync::{Mutex, OnceLock};
use std::thread;
use std::time::Duration;

use log::{Level, LevelFilter, Log, Metadata, Record};
use loopkeeper::observe::{Attr, Observer};
use loopkeeper::{Context, Env, EnvConfig, WatchManager, WatcherConfig};

type Line = (Level, String, String);

/// Keeps what is logged.
struct Kept(Mutex<Vec<Line>>);

impl Log for Kept {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let line = (record.level(), record.target().to_owned(), record.args().to_string());
        self.0.lock().expect("no test panics here").push(line);
    }

    fn flush(&self) {}
}

fn kept() -> &'static Kept {
    static KEPT: OnceLock<Kept> = OnceLock::new();
    let kept = KEPT.get_or_init(|| Kept(Mutex::new(Vec::new())));
    if log::set_logger(kept).is_ok() {
        log::set_max_level(LevelFilter::Debug);
    }
    kept
}

/// The lines that have `text` in them.
fn lines(text: &str) -> Vec<Line> {
    let lines = kept().0.lock().expect("no test panics here");
    lines.iter().filter(|(_, _, line)| line.contains(text)).cloned().collect()
}

#[test]
fn wrt_39_two_spans_of_one_name_are_told_apart_and_each_ends_once_with_its_duration() {
    kept();
    let observer = Observer::log();
    let first = observer.start_span("pass", &[Attr::new("watcher", "first")]);
    let second = observer.start_span("pass", &[Attr::new("watcher", "second")]);
    second.set_attr(Attr::new("items", 3_i64));
    // From another thread, as a span may be used.
    thread::scope(|scope| scope.spawn(|| second.set_error(&"broke")).join()).expect("it ends");
    second.end();
    drop(first);

    let number = |line: &str| line.split(' ').nth(1).expect("a number").to_owned();
    let begun = lines("pass begins");
    assert_eq!(begun.len(), 2);
    assert_ne!(number(&begun[0].2), number(&begun[1].2));

    let failed = lines("pass failed after");
    let [(level, target, line)] = &failed[..] else { panic!("{failed:?}") };
    assert_eq!((*level, target.as_str()), (Level::Debug, "loopkeeper::watcher::second"));
    assert_eq!(number(line), number(&begun[1].2), "the end belongs to its beginning");
    assert!(line.ends_with(" watcher=second items=3: broke"), "all of it in one line: {line}");
    let took = line.split(' ').nth(5).expect("a duration");
    assert!(took.ends_with('s') && took.starts_with(|c: char| c.is_ascii_digit()), "{took}");

    let ended = lines("pass ended after");
    let [(_, target, line)] = &ended[..] else { panic!("{ended:?}") };
    assert_eq!((target.as_str(), number(line)), ("loopkeeper::watcher::first", number(&begun[0].2)));
}

#[test]
fn a_span_inside_another_names_it() {
    kept();
    let observer = Observer::all([Observer::default(), Observer::log()]);
    let outer = observer.start_span("outing", &[Attr::new("watcher", "nested")]);
    let inner = outer.child("detour", &[Attr::new("leg", 2_i64)]);
    inner.child("stop", &[]).end();
    // It may outlive what it is inside of.
    outer.end();
    inner.end();
    let number = |text: &str| lines(text)[0].2.split(' ').nth(1).expect("a number").to_owned();
    let (outer, inner) = (number("outing begins"), number("detour begins"));
    assert_ne!(outer, inner);
    let ended = lines("detour ended after");
    let [(_, target, line)] = &ended[..] else { panic!("{ended:?}") };
    assert_eq!(target, "loopkeeper::watcher::nested");
    assert!(line.ends_with(&format!(" parent={outer} leg=2")), "{line}");
    assert!(lines("stop begins")[0].2.ends_with(&format!(" parent={inner}")));
    let begun = &lines("outing begins")[0].2;
    assert!(!begun.contains("parent"), "{begun}");
}

#[test]
fn a_call_begins_spans_inside_its_own() {
    kept();
    let env = Env::with(EnvConfig::default().observer(Observer::log())).expect("an environment");
    let config = WatcherConfig::new("inside", |cx: &Context| {
        cx.span("nibble", &[]).end();
        Ok(())
    });
    let watcher = loopkeeper::Watcher::start_in(&env, config).expect("it starts");
    assert!(watcher.wait_ready(Duration::from_secs(5)));
    assert!(watcher.stop(Duration::from_secs(5)).is_clean());
    let of = |text: &str| {
        let lines = lines(text).into_iter().filter(|(_, target, _)| target.ends_with("::inside"));
        lines.map(|(_, _, line)| line).next().expect("a line")
    };
    let probe = of("probe begins");
    let id = probe.split(' ').nth(1).expect("a number");
    assert!(of("nibble begins").ends_with(&format!(" parent={id}")), "{probe}");
}

#[test]
fn wrt_39_counters_only_count_up() {
    kept();
    // `add` takes no negative number: the type has none.
    Observer::log().counter("kept_total", &[Attr::new("of", "x")]).add(2);
    assert_eq!(lines("kept_total")[0].2, "counter kept_total of=x +2");
}

#[test]
fn what_code_of_a_user_says_is_one_line() {
    kept();
    let env = Env::with(EnvConfig::default().observer(Observer::log())).expect("an environment");
    let config = WatcherConfig::new("forger", |_: &Context| {
        Err("no\r\nERROR: \u{1b}[2Jall \u{202e}\u{61c}lost".into())
    });
    let watcher = loopkeeper::Watcher::start_in(&env, config).expect("it starts");
    while watcher.status().last_check.is_none() {
        thread::yield_now();
    }
    assert!(watcher.stop(Duration::from_secs(5)).is_clean());
    let of = |text: &str| {
        let lines = lines(text).into_iter().filter(|(_, target, _)| target.ends_with("::forger"));
        lines.map(|(_, _, line)| line).next().expect("a line")
    };
    let said = "no\\r\\nERROR: \\u{1b}[2Jall \\u{202e}\\u{61c}lost";
    // The event, and the span of the call.
    for line in [of("down"), of("probe failed")] {
        assert!(line.ends_with(said), "{line}");
    }
}

#[test]
fn each_loop_logs_under_a_target_of_its_own() {
    kept();
    let env = Env::with(EnvConfig::default().observer(Observer::log())).expect("an environment");
    let manager = WatchManager::new(&env);
    let up = manager.watch(WatcherConfig::new("up", |_: &Context| Ok(()))).expect("it starts");
    let down = manager.watch(WatcherConfig::new("down", |_: &Context| Err("no".into()))).expect("it starts");
    assert!(up.wait_ready(Duration::from_secs(5)));
    while down.status().last_check.is_none() {
        thread::yield_now();
    }
    // A stop waits for what is to be told.
    assert!(manager.stop(Duration::from_secs(5)).is_clean());
    let of = |level: Level, target: &str, text: &str| {
        lines(text).iter().any(|(at, of, _)| *at == level && of == target)
    };
    assert!(of(Level::Info, "loopkeeper::watcher::up", "watcher up: ready"));
    assert!(of(Level::Warn, "loopkeeper::watcher::down", "watcher down: down"));
}
