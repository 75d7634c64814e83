//! Monitors, through the public surface, on a clock that the tests move.
//! `cum` names what the behaviour must be, `wum` a weakness of earlier designs
//! that must not come back.

mod support;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use loopkeeper::monitor::{CheckerConfig, Principal, Report, Role, Verdict};
use loopkeeper::observe::{Attr, Counter, Gauge, Histogram, Observer};
use loopkeeper::status::{CheckerStatus, LoopStatus, MonitorStatus, Phase};
use loopkeeper::testing::Gate;
use loopkeeper::{
    BoxError, CancelToken, Checker, Context, Env, EnvConfig, Error, ErrorKind, EventKind, Health, Host,
    HostConfig, ManualClock, Monitor, MonitorConfig, Stamp, Subscription, Tick,
};
use support::{PATIENCE, alone, eventually, scenario, threads_named};

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Whoever panicked with it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Since the clock was made.
fn seconds(cx: &Context) -> u64 {
    cx.env().clock().now().since(Tick::ZERO).as_secs()
}

type Answer = Box<dyn FnMut(&Context, &Report) -> Result<Verdict, BoxError> + Send>;

/// A checker that writes down when it looked, and answers what it is told to.
#[derive(Clone)]
struct Scripted {
    name: &'static str,
    log: Log,
    answer: Arc<Mutex<Answer>>,
}

/// Who looked when, of all checkers that share it.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<(u64, &'static str)>>>);

impl Log {
    fn checker(
        &self,
        name: &'static str,
        answer: impl FnMut(&Context, &Report) -> Result<Verdict, BoxError> + Send + 'static,
    ) -> Scripted {
        Scripted { name, log: self.clone(), answer: Arc::new(Mutex::new(Box::new(answer))) }
    }

    fn ready(&self, name: &'static str) -> Scripted {
        self.checker(name, |_, _| Ok(Verdict::Ready))
    }

    /// Since the last look.
    fn take(&self) -> Vec<(u64, &'static str)> {
        std::mem::take(&mut *lock(&self.0))
    }
}

impl Scripted {
    fn answers(&self, answer: impl FnMut(&Context, &Report) -> Result<Verdict, BoxError> + Send + 'static) {
        *lock(&self.answer) = Box::new(answer);
    }
}

impl Checker for Scripted {
    fn check(&mut self, cx: &Context, report: &Report) -> Result<Verdict, BoxError> {
        lock(&self.log.0).push((seconds(cx), self.name));
        let mut answer = lock(&self.answer);
        answer(cx, report)
    }
}

fn monitor(env: &Env, config: MonitorConfig) -> Monitor {
    Monitor::start_in(env, config).expect("settings that can be used")
}

fn about(status: &LoopStatus) -> &MonitorStatus {
    status.monitor.as_ref().expect("a monitor says what it is")
}

fn checker(monitor: &Monitor, name: &str) -> CheckerStatus {
    let status = monitor.status();
    let found = about(&status).checkers.iter().find(|checker| checker.name.as_str() == name);
    found.expect("a checker of that name").clone()
}

fn words(subscription: &Subscription) -> Vec<&'static str> {
    std::iter::from_fn(|| subscription.try_recv()).map(|delivery| delivery.event.what.as_str()).collect()
}

/// What the events say, as people read them.
fn told(subscription: &Subscription) -> Vec<String> {
    std::iter::from_fn(|| subscription.try_recv()).map(|delivery| delivery.event.what.to_string()).collect()
}

#[test]
fn cum_01_checkers_look_in_the_order_in_which_they_were_added() {
    scenario(|clock, env| {
        let log = Log::default();
        let mut config = MonitorConfig::new("m");
        for name in ["c", "a", "b"] {
            config = config.check(name, log.ready(name));
        }
        let monitor = monitor(env, config);
        clock.settle();
        assert_eq!(log.take(), [(0, "c"), (0, "a"), (0, "b")]);
        clock.run_for(secs(120));
        let expected = [(60, "c"), (60, "a"), (60, "b"), (120, "c"), (120, "a"), (120, "b")];
        assert_eq!(log.take(), expected);
        let status = monitor.status();
        assert_eq!((status.health, status.runs, about(&status).passes), (Health::Ready, 9, 3));
        assert!(monitor.stop(PATIENCE).is_clean());
    });
}

#[test]
fn wum_04_the_first_pass_is_at_once() {
    scenario(|clock, env| {
        clock.run_for(secs(7));
        let log = Log::default();
        let monitor = monitor(env, MonitorConfig::new("m").check("a", log.ready("a")));
        clock.settle();
        assert_eq!(log.take(), [(7, "a")]);
        assert_eq!(monitor.status().health, Health::Ready);
    });
}

#[test]
fn cum_04_the_period_is_a_minute_unless_it_is_told() {
    scenario(|clock, env| {
        let log = Log::default();
        let default = monitor(env, MonitorConfig::new("m").check("a", log.ready("a")));
        let config = MonitorConfig::new("n").poll_period(secs(25)).check("b", log.ready("b"));
        let other = monitor(env, config);
        clock.run_for(secs(60));
        let mut looks = log.take();
        looks.sort_unstable();
        assert_eq!(looks, [(0, "a"), (0, "b"), (25, "b"), (50, "b"), (60, "a")]);
        assert_eq!(about(&default.status()).poll_period, secs(60));
        assert_eq!(about(&other.status()).poll_period, secs(25));
    });
}

#[test]
fn wum_12_passes_keep_their_rate_and_missed_ones_are_counted() {
    scenario(|clock, env| {
        let log = Log::default();
        let slow = log.checker("a", |cx, _| {
            let nap = if seconds(cx) == 60 { 190 } else { 1 };
            cx.sleep(secs(nap))?;
            Ok(Verdict::Ready)
        });
        let config = MonitorConfig::new("m").deadline(secs(600)).check("a", slow);
        let monitor = monitor(env, config);
        clock.run_for(secs(299));
        assert_eq!(monitor.status().missed, 3, "those of 120, 180 and 240");
        clock.run_for(secs(61));
        let looks: Vec<u64> = log.take().into_iter().map(|(at, _)| at).collect();
        assert_eq!(looks, [0, 60, 300, 360]);
        assert_eq!(monitor.status().missed, 3);
    });
}

#[test]
fn wum_12_monitors_that_start_together_look_apart() {
    alone(|| {
        let clock = ManualClock::default();
        let env = Env::with(EnvConfig::default().clock(&clock).spread(true).seed(0)).unwrap();
        let log = Log::default();
        let names = ["a", "b", "c", "d"];
        let start =
            |name: &&'static str| monitor(&env, MonitorConfig::new(*name).check("x", log.ready(name)));
        let monitors: Vec<Monitor> = names.iter().map(start).collect();
        let in_phase = MonitorConfig::new("e").in_phase().check("x", log.ready("e"));
        let in_phase = monitor(&env, in_phase);
        clock.run_for(secs(120));
        let looks = log.take();
        let of = |name: &str| -> Vec<u64> {
            looks.iter().filter(|(_, who)| *who == name).map(|(at, _)| *at).collect()
        };
        assert_eq!(of("e"), [0, 60, 120]);
        let second: Vec<u64> = names.iter().map(|name| of(name)[1]).collect();
        assert!(second.iter().all(|at| *at <= 60) && second.iter().any(|at| *at != second[0]), "{second:?}");
        for (name, second) in names.iter().zip(second) {
            assert_eq!(of(name)[2], second + 60);
        }
        drop((monitors, in_phase));
    });
}

#[test]
fn cum_02_a_checker_that_fails_is_told_and_stops_nobody() {
    scenario(|clock, env| {
        let log = Log::default();
        let failing = log.checker("a", |_, _| Err("no route".into()));
        let config = MonitorConfig::new("m").check("a", failing.clone()).check("b", log.ready("b"));
        let monitor = monitor(env, config);
        let events = monitor.subscribe();
        clock.run_for(secs(60));
        assert_eq!(log.take(), [(0, "a"), (0, "b"), (60, "a"), (60, "b")]);
        let status = monitor.status();
        assert_eq!((status.health, status.failures), (Health::Degraded, 2));
        let (a, b) = (checker(&monitor, "a"), checker(&monitor, "b"));
        assert_eq!((a.health, b.health), (Health::Down, Health::Ready));
        assert_eq!(a.last_error.as_deref(), Some("no route"));
        assert_eq!((a.checks.failed, a.checks.ok, b.checks.ok), (2, 0, 2));
        failing.answers(|_, _| Ok(Verdict::Ready));
        clock.run_for(secs(60));
        assert_eq!(monitor.status().health, Health::Ready);
        assert!(checker(&monitor, "a").last_error.is_none());
        let words = words(&events);
        let changes = words.iter().filter(|word| **word == "checker_changed").count();
        assert!((2..=3).contains(&changes), "{words:?}");
    });
}

#[test]
fn wum_03_wum_09_a_panic_is_a_result_with_its_checker_and_duration() {
    scenario(|clock, env| {
        let log = Log::default();
        let bad = log.checker("bad", |cx, _| {
            cx.sleep(secs(2))?;
            panic!("index out of range")
        });
        let gate = Gate::default();
        let (held, time) = (gate.clone(), clock.clone());
        let first = log.checker("first", move |_, _| {
            held.pass(&time);
            Ok(Verdict::Ready)
        });
        let config = MonitorConfig::new("m").check("first", first).check("bad", bad);
        let monitor = monitor(env, config.check("last", log.ready("last")));
        let events = monitor.subscribe();
        gate.open();
        clock.run_for(secs(62));
        assert_eq!(
            told(&events),
            [
                "first is ready, was unknown (0.0ns)",
                "bad is down, was unknown (2.0s): panicked: index out of range",
                "last is ready, was unknown (0.0ns)",
                "degraded, was unknown: bad is down: panicked: index out of range",
            ]
        );
        let bad = checker(&monitor, "bad");
        assert_eq!((bad.checks.panics, bad.duration, bad.age), (2, Some(secs(2)), Some(secs(0))));
        let expected = [(0, "first"), (0, "bad"), (2, "last"), (60, "first"), (60, "bad"), (62, "last")];
        assert_eq!(log.take(), expected);
        assert_eq!(monitor.status().panics, 2);
    });
}

#[test]
fn cum_03_a_cancel_ends_the_monitor_in_a_wait_between_checkers_and_in_a_look() {
    for held in [false, true] {
        scenario(|clock, env| {
            let log = Log::default();
            let cancel = CancelToken::new();
            let between = cancel.clone();
            let first = log.checker("a", move |cx, _| {
                if held {
                    cx.sleep(secs(3600))?;
                } else if seconds(cx) == 60 {
                    between.cancel();
                }
                Ok(Verdict::Ready)
            });
            let config = MonitorConfig::new("m").deadline(secs(7200)).cancelled_by(&cancel);
            let monitor = monitor(env, config.check("a", first).check("b", log.ready("b")));
            clock.run_for(secs(60));
            if held {
                cancel.cancel();
                assert!(monitor.wait_timeout(PATIENCE));
                assert_eq!(log.take(), [(0, "a")], "a was told to end, and b not begun");
            } else {
                assert!(monitor.wait_timeout(PATIENCE));
                assert_eq!(log.take(), [(0, "a"), (0, "b"), (60, "a")]);
            }
            let status = monitor.status();
            assert_eq!((status.health, status.phase), (Health::Unknown, Phase::Stopped));
            // Told to end: that is no failure.
            assert_eq!((status.failures, status.last_error.is_some()), (0, true));
            assert!(monitor.stop(PATIENCE).is_clean());
        });
    }
    scenario(|clock, env| {
        let log = Log::default();
        let monitor = monitor(env, MonitorConfig::new("m").check("a", log.ready("a")));
        clock.settle();
        // In the middle of a wait, and time does not move.
        assert!(monitor.stop(PATIENCE).is_clean());
        assert!(!monitor.is_running() && monitor.wait_timeout(PATIENCE));
        clock.run_for(secs(120));
        assert_eq!(log.take(), [(0, "a")]);
    });
}

#[test]
#[allow(clippy::disallowed_methods, reason = "a caller of its own, that blocks")]
fn run_blocks_until_it_is_cancelled() {
    scenario(|clock, env| {
        let log = Log::default();
        let monitor =
            Arc::new(Monitor::new(env, MonitorConfig::new("m").check("a", log.ready("a"))).unwrap());
        let cancel = CancelToken::new();
        let (theirs, token) = (monitor.clone(), cancel.clone());
        let runner = std::thread::spawn(move || theirs.run(&token));
        eventually("the monitor to run", || monitor.is_running());
        clock.run_for(secs(60));
        assert_eq!(log.take(), [(0, "a"), (60, "a")]);
        assert!(!runner.is_finished());
        cancel.cancel();
        runner.join().unwrap().unwrap();
        assert!(!monitor.is_running());
        // Cancelled already: nothing is begun.
        monitor.run(&cancel).unwrap();
        clock.settle();
        assert_eq!(log.take(), []);
        // It ends also when somebody else stops the monitor.
        let theirs = monitor.clone();
        let runner = std::thread::spawn(move || theirs.run(&CancelToken::new()));
        eventually("the monitor to run", || monitor.is_running());
        assert!(monitor.stop(PATIENCE).is_clean());
        runner.join().unwrap().unwrap();
    });
}

#[test]
fn cum_05_wum_06_without_checkers_it_idles_and_is_unknown() {
    scenario(|clock, env| {
        let monitor = monitor(env, MonitorConfig::new("m"));
        clock.run_for(secs(3600));
        monitor.trigger();
        clock.settle();
        let status = monitor.status();
        assert_eq!((status.health, status.ready, status.runs), (Health::Unknown, false, 0));
        assert_eq!((about(&status).passes, status.next_run), (0, None));
        let why = loopkeeper::status::why("m", status.since, std::slice::from_ref(&status), &[]).unwrap();
        assert_eq!(why.causes[0].what, "it has no checkers");
        assert_eq!(why.next.what, "nothing: there is nobody to look");
        assert!(monitor.stop(PATIENCE).is_clean());
        assert!(monitor.wait_timeout(Duration::ZERO));
    });
}

#[test]
fn wum_06_a_checker_without_items_is_unknown() {
    scenario(|clock, env| {
        let log = Log::default();
        let servers = log.checker("servers", |_, _| Ok(Verdict::Items));
        let monitor = monitor(env, MonitorConfig::new("m").check("servers", servers));
        clock.settle();
        let servers = checker(&monitor, "servers");
        assert_eq!((servers.health, servers.checks.ok), (Health::Unknown, 1));
        assert_eq!(servers.reason.as_deref(), Some("there are no items"));
        assert_eq!(monitor.status().health, Health::Unknown);
    });
}

#[test]
fn cum_06_the_states_of_checkers_and_items_roll_up() {
    use Health::{Degraded, Down, Ready, Unknown};
    for (items, expected) in [
        (&[Ready, Ready][..], Ready),
        (&[Down, Down], Down),
        (&[Unknown, Unknown], Unknown),
        (&[Ready, Down], Degraded),
        (&[Ready, Unknown], Degraded),
        (&[Degraded], Degraded),
        (&[Down, Unknown, Degraded], Degraded),
    ] {
        scenario(|clock, env| {
            let checker = |health: Health| {
                move |_: &Context, report: &Report| {
                    report.state("x", health, "told so");
                    Ok(Verdict::Items)
                }
            };
            let mut config = MonitorConfig::new("checkers");
            for (n, health) in items.iter().enumerate() {
                config = config.check(format!("c{n}"), checker(*health));
            }
            let of_checkers = monitor(env, config);
            let states = items.to_vec();
            let all = move |_: &Context, report: &Report| {
                for (n, health) in states.iter().enumerate() {
                    report.state(format!("i{n}"), *health, "told so");
                }
                Ok(Verdict::Items)
            };
            let of_items = monitor(env, MonitorConfig::new("items").check("all", all));
            clock.settle();
            assert_eq!(of_checkers.status().health, expected, "{items:?}");
            assert_eq!(of_items.status().health, expected, "{items:?}");
            let tally = about(&of_items.status()).items;
            assert_eq!(tally.total(), items.len() as u64);
            assert_eq!(tally.down, items.iter().filter(|health| **health == Down).count() as u64);
        });
    }
}

#[test]
fn wum_01_one_bad_item_hides_none_of_the_rest() {
    scenario(|clock, env| {
        let log = Log::default();
        let servers = log.checker("servers", |_, report| {
            for n in 0..120 {
                let result = if n % 2 == 0 { Ok(()) } else { Err(format!("{n} is odd")) };
                report.item(format!("s{n:03}"), result);
            }
            Ok(Verdict::Items)
        });
        let monitor = monitor(env, MonitorConfig::new("m").check("servers", servers.clone()));
        clock.settle();
        let found = checker(&monitor, "servers");
        assert_eq!((found.health, found.items.ready, found.items.down), (Health::Degraded, 60, 60));
        assert_eq!((found.not_ready.len(), found.more_not_ready), (50, 10));
        assert_eq!(found.not_ready[0].name, "s001");
        assert_eq!(found.not_ready[0].reason.as_deref(), Some("1 is odd"));
        assert_eq!(found.reason.as_deref(), Some("s001 is down: 1 is odd (and 59 more of 120)"));
        // Those that are gone are gone, also from what is not ready.
        servers.answers(|_, report| {
            report.item("s001", Err("still"));
            report.item("s002", Ok::<(), String>(()));
            Ok(Verdict::Items)
        });
        clock.run_for(secs(60));
        let found = checker(&monitor, "servers");
        assert_eq!((found.items.total(), found.not_ready.len(), found.more_not_ready), (2, 1, 0));
        assert_eq!(found.not_ready[0].since, Stamp::from_micros(0), "down since the first look");
        assert_eq!(found.not_ready[0].age, secs(0));
    });
}

#[test]
fn items_that_are_too_many_to_be_kept_count_in_the_state() {
    scenario(|clock, env| {
        let log = Log::default();
        let many = log.checker("many", |_, report| {
            for n in 0..10_000 {
                report.item(format!("s{n}"), Ok::<(), String>(()));
            }
            report.item("one more", Ok::<(), String>(()));
            report.item("and another", Err("no room"));
            Ok(Verdict::Items)
        });
        let monitor = monitor(env, MonitorConfig::new("m").check("many", many.clone()));
        clock.settle();
        let found = checker(&monitor, "many");
        assert_eq!((found.health, found.items.ready, found.left_out), (Health::Degraded, 10_000, 2));
        assert_eq!(
            found.reason.as_deref(),
            Some("not ready are 1 of the items that are too many to be kept")
        );
        many.answers(|_, report| {
            for n in 0..10_001 {
                report.item(format!("s{n:05}"), Err("no room"));
            }
            Ok(Verdict::Items)
        });
        clock.run_for(secs(60));
        let found = checker(&monitor, "many");
        assert_eq!((found.health, found.items.down, found.left_out), (Health::Down, 10_000, 1));
        assert_eq!(found.reason.as_deref(), Some("s00000 is down: no room (and 10000 more of 10001)"));
    });
}

#[test]
fn names_that_begin_alike_and_are_too_long_stay_apart() {
    let report = Report::new();
    let long = "é".repeat(200);
    report.item(format!("{long}1"), Err("no"));
    report.item(format!("{long}2"), Ok::<(), String>(()));
    report.item(format!("{long}2"), Ok::<(), String>(()));
    let items = report.items();
    let states: Vec<_> = items.values().map(|item| item.health).collect();
    assert!(states == [Health::Down, Health::Ready] || states == [Health::Ready, Health::Down], "{items:?}");
    assert!(items.keys().all(|name| name.starts_with("éé") && name.len() < 280), "{items:?}");
    report.item("e".repeat(256), Ok::<(), String>(()));
    assert!(report.items().contains_key(&"e".repeat(256)));
}

#[test]
fn what_was_reported_before_an_error_counts_and_the_rest_ages() {
    scenario(|clock, env| {
        let log = Log::default();
        let pages = log.checker("pages", |_, report| {
            report.item("a", Ok::<(), String>(()));
            report.item("b", Ok::<(), String>(()));
            Ok(Verdict::Items)
        });
        let monitor =
            monitor(env, MonitorConfig::new("m").stale_after(secs(180)).check("pages", pages.clone()));
        clock.settle();
        pages.answers(|_, report| {
            report.item("a", Err("gone"));
            Err("page 2: 500".into())
        });
        clock.run_for(secs(60));
        let found = checker(&monitor, "pages");
        assert_eq!((found.health, found.last_error.as_deref()), (Health::Down, Some("page 2: 500")));
        assert_eq!((found.items.ready, found.items.down), (1, 1), "b is as it was");
        // Not reported for three periods: nothing is known of b.
        clock.run_for(secs(120));
        let found = checker(&monitor, "pages");
        assert_eq!((found.items.unknown, found.items.down), (1, 1));
        let b = &found.not_ready[1];
        assert_eq!((b.name.as_str(), b.health, b.age), ("b", Health::Unknown, secs(180)));
        // A part that could be looked at is worth something.
        pages.answers(|_, report| {
            report.item("a", Ok::<(), String>(()));
            Err("page 2: 500".into())
        });
        clock.run_for(secs(60));
        assert_eq!(checker(&monitor, "pages").health, Health::Degraded);
    });
}

#[test]
fn cum_07_status_is_sorted_and_the_same_for_the_same() {
    let text = |order: &[&'static str]| {
        let mut text = String::new();
        scenario(|clock, env| {
            let mut config = MonitorConfig::new("m");
            for name in order {
                config = config.check(*name, |_: &Context, report: &Report| {
                    for item in ["z", "k", "a"] {
                        report.item(item, Err("no"));
                    }
                    report.state("m", Health::Degraded, "half");
                    Ok(Verdict::Items)
                });
            }
            let monitor = monitor(env, config);
            clock.settle();
            let status = monitor.status();
            let names: Vec<_> = about(&status).checkers.iter().map(|checker| checker.name.as_str()).collect();
            assert_eq!(names, ["a", "b", "c"]);
            let items: Vec<_> =
                checker(&monitor, "b").not_ready.iter().map(|item| item.name.clone()).collect();
            assert_eq!(items, ["a", "k", "z", "m"], "the worst first, then by name");
            text = serde_json::to_string(about(&status)).unwrap();
        });
        text
    };
    let once = text(&["c", "a", "b"]);
    assert_eq!(once, text(&["b", "c", "a"]));
    assert_eq!(once, text(&["c", "a", "b"]));
    assert!(once.contains(r#""role":"observation","state":"degraded""#), "{once}");
}

#[test]
fn wum_02_a_checker_that_hangs_holds_up_nobody_and_is_left_out() {
    scenario(|clock, env| {
        let log = Log::default();
        let gate = Gate::default();
        let (held, time) = (gate.clone(), clock.clone());
        let hung = log.checker("b", move |_, report| {
            report.item("early", Err("seen"));
            held.pass(&time);
            report.item("late", Ok::<(), String>(()));
            Ok(Verdict::Items)
        });
        let config = MonitorConfig::new("m").check("a", log.ready("a")).check("b", hung);
        let monitor = monitor(env, config.check("c", log.ready("c")));
        let events = monitor.subscribe();
        clock.run_for(secs(9));
        assert_eq!(log.take(), [(0, "a"), (0, "b")]);
        assert_eq!(monitor.status().running_for, Some(secs(9)));
        clock.run_for(secs(1));
        assert_eq!(log.take(), [(10, "c")], "the others go on once its deadline has passed");
        let b = checker(&monitor, "b");
        assert_eq!((b.health, b.checks.timeouts, b.stuck_for), (Health::Down, 1, Some(secs(10))));
        assert_eq!(b.last_error.as_deref(), Some("not done within 10s"));
        assert_eq!((b.items.down, b.items.total()), (1, 1), "what it found in time counts");
        assert_eq!(monitor.status().health, Health::Degraded);
        clock.run_for(secs(110));
        let expected = [(60, "a"), (60, "c"), (120, "a"), (120, "c")];
        assert_eq!(log.take(), expected, "the rate is as it was");
        let b = checker(&monitor, "b");
        assert_eq!((b.checks.skipped, b.checks.timeouts, b.stuck_for), (2, 1, Some(secs(120))));
        assert_eq!(threads_named("mon/m"), 2, "one that is stuck, one that goes on");
        gate.open();
        clock.settle();
        let b = checker(&monitor, "b");
        assert_eq!((b.stuck_for, monitor.status().late), (None, 1));
        assert_eq!(b.items.total(), 1, "what it found too late does not");
        clock.run_for(secs(60));
        assert_eq!(log.take(), [(180, "a"), (180, "b"), (180, "c")]);
        assert_eq!(checker(&monitor, "b").health, Health::Degraded);
        let words = words(&events);
        let of = |word: &str| words.iter().filter(|other| **other == word).count();
        assert_eq!((of("check_timed_out"), of("check_late")), (1, 1), "{words:?}");
        eventually("the thread that was stuck to end", || threads_named("mon/m") == 1);
        assert!(monitor.stop(PATIENCE).is_clean());
    });
}

#[test]
fn wum_02_all_may_hang_and_each_holds_one_thread() {
    scenario(|clock, env| {
        let log = Log::default();
        let gate = Gate::default();
        let mut config = MonitorConfig::new("m").poll_period(secs(60)).deadline(secs(5));
        for name in ["a", "b", "c"] {
            let (held, time) = (gate.clone(), clock.clone());
            config = config.check(
                name,
                log.checker(name, move |cx, _| {
                    cx.step(format_args!("counting {name}"));
                    held.pass(&time);
                    Ok(Verdict::Ready)
                }),
            );
        }
        let monitor = monitor(env, config);
        clock.run_for(secs(600));
        assert_eq!(log.take(), [(0, "a"), (5, "b"), (10, "c")], "none looks twice at once");
        assert_eq!(threads_named("mon/m"), 4);
        let status = monitor.status();
        assert_eq!((status.health, status.timeouts), (Health::Unknown, 3), "known down, then for too long");
        // The status names the first by name, and how it is stuck.
        assert!(
            status.to_string().contains("a is unknown: last looked at 9m55s ago, stuck for 10m0s"),
            "{status}"
        );
        for name in ["a", "b", "c"] {
            let stuck = checker(&monitor, name);
            let (call, thread) = (stuck.call.unwrap(), stuck.thread.unwrap());
            assert_eq!((&*call.phase, call.stuck), (&*format!("counting {name}"), true));
            assert_eq!((thread.name.as_str(), thread.tid > 0), ("mon/m", true));
            // On a machine that is busy it may be seen on its way into the gate.
            eventually("it is seen to be blocked", || {
                let is =
                    checker(&monitor, name).call.and_then(|call| call.activity).map(|activity| activity.is);
                is == Some(loopkeeper::status::ActivityKind::Blocked)
            });
        }
        let report = monitor.stop(Duration::from_millis(200));
        let stragglers: Vec<_> = report.stragglers().iter().map(ToString::to_string).collect();
        assert_eq!(stragglers.len(), 3, "{report}");
        assert!(
            stragglers[0].starts_with("m/a is still in its check after 600.0s (thread mon/m, tid "),
            "{report}"
        );
        assert!(stragglers[0].ends_with("): counting a"), "{report}");
        assert!(stragglers[2].starts_with("m/c is still in its check after 590.0s"), "{report}");
        // Started again with all of them still stuck: they are left out.
        monitor.restart().unwrap();
        clock.run_for(secs(60));
        assert_eq!((log.take(), checker(&monitor, "a").checks.skipped), (vec![], 12));
        gate.open();
        clock.run_for(secs(60));
        assert_eq!(log.take(), [(720, "a"), (720, "b"), (720, "c")]);
        assert_eq!(monitor.status().health, Health::Ready);
        assert!(monitor.stop(PATIENCE).is_clean());
    });
}

#[test]
fn a_look_that_is_given_up_is_told_to_end_and_its_report_is_closed() {
    scenario(|clock, env| {
        let log = Log::default();
        let gate = Gate::default();
        let kept: Arc<Mutex<Option<Report>>> = Arc::default();
        let saw_cancel = Arc::new(AtomicBool::new(false));
        let (held, time, keep, saw) = (gate.clone(), clock.clone(), kept.clone(), saw_cancel.clone());
        let stubborn = log.checker("a", move |cx, report| {
            *lock(&keep) = Some(report.clone());
            held.pass(&time);
            saw.store(cx.is_cancelled(), Ordering::SeqCst);
            Ok(Verdict::Ready)
        });
        let quick: Arc<Mutex<Option<Report>>> = Arc::default();
        let keep = quick.clone();
        let sharing = log.checker("b", move |cx, report| {
            assert!(!cx.is_cancelled());
            report.item("mine", Ok::<(), String>(()));
            *lock(&keep) = Some(report.clone());
            Ok(Verdict::Items)
        });
        let monitor = monitor(env, MonitorConfig::new("m").check("a", stubborn).check("b", sharing));
        clock.run_for(secs(10));
        // What is reported after a look has ended is of no look.
        for kept in [&kept, &quick] {
            lock(kept).as_ref().unwrap().item("theirs", Err("too late"));
        }
        gate.open();
        clock.settle();
        assert!(saw_cancel.load(Ordering::SeqCst));
        clock.run_for(secs(50));
        let (a, b) = (checker(&monitor, "a"), checker(&monitor, "b"));
        assert_eq!((a.health, a.items.total()), (Health::Ready, 0));
        assert_eq!((b.health, b.items.total()), (Health::Ready, 1));
        assert!(!saw_cancel.load(Ordering::SeqCst), "the next look has a token of its own");
        assert!(monitor.stop(PATIENCE).is_clean());
    });
}

#[test]
fn wum_07_what_was_found_too_long_ago_is_unknown() {
    scenario(|clock, env| {
        let log = Log::default();
        let gate = Gate::default();
        let (held, time) = (gate.clone(), clock.clone());
        let hangs = log.checker("a", move |cx, report| {
            report.item("x", Ok::<(), String>(()));
            if seconds(cx) >= 60 {
                held.pass(&time);
            }
            Ok(Verdict::Items)
        });
        let slow = CheckerConfig::new("b", log.ready("b")).stale_after(secs(20));
        let config = MonitorConfig::new("m").stale_after(secs(90)).check("a", hangs).checker(slow);
        let monitor = monitor(env, config);
        let events = monitor.subscribe();
        clock.run_for(secs(19));
        assert_eq!(monitor.status().health, Health::Ready);
        assert_eq!(checker(&monitor, "b").age, Some(secs(19)));
        let _ = told(&events);
        // Nobody has looked for longer than it counts: told at that moment.
        clock.run_for(secs(1));
        assert_eq!(checker(&monitor, "b").health, Health::Unknown);
        assert_eq!(
            told(&events),
            [
                "b is unknown, was ready: last looked at 20s ago",
                "degraded, was ready: b is unknown: last looked at 20s ago",
            ]
        );
        clock.run_for(secs(60));
        let a = checker(&monitor, "a");
        // It hangs since 60 and was given up at 70; one item it had seen.
        assert_eq!((a.health, a.age), (Health::Degraded, Some(secs(10))));
        clock.run_for(secs(80));
        let a = checker(&monitor, "a");
        assert_eq!((a.health, a.age, a.items.unknown), (Health::Unknown, Some(secs(90)), 1));
        assert_eq!(a.reason.as_deref(), Some("last looked at 1m30s ago, stuck for 1m40s"));
        gate.open();
        assert!(monitor.stop(PATIENCE).is_clean());
        // Nobody looks any more: nothing is known.
        let status = monitor.status();
        assert_eq!((status.health, checker(&monitor, "b").health), (Health::Unknown, Health::Unknown));
        assert_eq!(about(&status).items.total(), 0);
    });
}

#[test]
fn wum_07_what_is_too_old_is_unknown_also_during_a_long_look() {
    scenario(|clock, env| {
        let log = Log::default();
        let long = log.checker("b", |cx, _| {
            cx.sleep(secs(500))?;
            Ok(Verdict::Ready)
        });
        let config = MonitorConfig::new("m")
            .deadline(secs(600))
            .stale_after(secs(180))
            .check("a", log.ready("a"))
            .check("b", long);
        let monitor = monitor(env, config);
        let events = monitor.subscribe();
        clock.run_for(secs(180));
        assert_eq!(checker(&monitor, "a").health, Health::Unknown);
        assert!(told(&events).contains(&"a is unknown, was ready: last looked at 3m0s ago".to_owned()));
        // A machine that was asleep wakes up with old results.
        clock.run_for(secs(360));
        assert_eq!(checker(&monitor, "a").health, Health::Ready);
        assert!(monitor.stop(PATIENCE).is_clean());
    });
}

/// What the origin's status had: two writers, each with a copy of the whole.
/// Here each state has one writer, under one lock, so what proves it is that
/// of many who look, trigger and read at once none sees a count go back, and
/// that the events tell every change once, each from what the last left.
#[test]
#[allow(clippy::disallowed_methods, reason = "callers that look at once")]
fn wum_08_no_change_is_lost_and_none_is_told_that_was_none() {
    alone(|| {
        let env = Env::new().unwrap();
        let flapping = AtomicU32::new(0);
        let looks = Arc::new(AtomicU64::new(0));
        let count = looks.clone();
        let checker = move |_: &Context, report: &Report| {
            count.fetch_add(1, Ordering::SeqCst);
            let n = flapping.fetch_add(1, Ordering::SeqCst);
            report.item("x", if n / 2 % 2 == 0 { Ok(()) } else { Err("flaps") });
            Ok(Verdict::Items)
        };
        let config = MonitorConfig::new("m").poll_period(secs(3600)).in_phase().check("a", checker);
        let monitor = Monitor::new(&env, config).unwrap();
        let events = monitor.subscribe();
        monitor.restart().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    let mut seen = 0;
                    for _ in 0..50 {
                        monitor.trigger();
                        let status = monitor.status();
                        let checker = &about(&status).checkers[0];
                        assert!(checker.checks.ok >= seen, "{} after {seen}", checker.checks.ok);
                        assert!(checker.items.total() <= 1 && status.runs >= checker.checks.ok);
                        seen = checker.checks.ok;
                    }
                });
            }
        });
        eventually("all that was asked for", || {
            let status = monitor.status();
            let later = |next: Stamp| {
                status.last_check.is_some_and(|last| next.as_micros() > last.as_micros() + 60_000_000)
            };
            status.running_for.is_none() && status.next_run.is_some_and(later)
        });
        assert!(monitor.stop(PATIENCE).is_clean());
        assert_eq!(about(&monitor.status()).checkers[0].checks.ok, looks.load(Ordering::SeqCst));
        let mut last = (Health::Unknown, Health::Unknown);
        let mut numbers = Vec::new();
        for delivery in events.iter() {
            numbers.push(delivery.event.n);
            match delivery.event.what {
                EventKind::CheckerChanged { from, to, .. } => {
                    assert_eq!(from, last.0);
                    assert_ne!(from, to);
                    last.0 = to;
                }
                EventKind::HealthChanged { from, to, .. } => {
                    assert_eq!(from, last.1);
                    assert_ne!(from, to);
                    last.1 = to;
                }
                _ => {}
            }
        }
        assert!(numbers.len() >= 4, "started, two verdicts, stopped: {numbers:?}");
        assert!(numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{numbers:?}");
    });
}

#[test]
fn wum_08_nothing_is_told_when_nothing_has_changed() {
    scenario(|clock, env| {
        let log = Log::default();
        let failing = log.checker("b", |cx, _| Err(format!("failed at {}", seconds(cx)).into()));
        let config = MonitorConfig::new("m").check("a", log.ready("a")).check("b", failing);
        let monitor = monitor(env, config);
        let events = monitor.subscribe();
        clock.settle();
        let first = words(&events).len();
        clock.run_for(secs(600));
        assert!(first <= 3 && words(&events).is_empty());
        // The status is of the last look all the same.
        assert_eq!(checker(&monitor, "b").last_error.as_deref(), Some("failed at 600"));
    });
}

#[test]
fn bad_news_is_told_at_once_and_good_news_when_all_were_asked() {
    scenario(|clock, env| {
        let log = Log::default();
        let nap = |answer: fn(u64) -> Result<Verdict, BoxError>| {
            move |cx: &Context, _: &Report| {
                let at = seconds(cx);
                cx.sleep(secs(1))?;
                answer(at / 60)
            }
        };
        let fine_unless_1 = |n| if n == 1 { Err("no".into()) } else { Ok(Verdict::Ready) };
        let config = MonitorConfig::new("m")
            .check("a", log.checker("a", nap(fine_unless_1)))
            .check("b", log.checker("b", nap(fine_unless_1)));
        let monitor = monitor(env, config);
        let events = monitor.subscribe();
        let changes = || {
            let all = std::iter::from_fn(|| events.try_recv());
            let of = all.filter_map(|delivery| match delivery.event.what {
                EventKind::HealthChanged { to, .. } => Some((delivery.event.at.as_micros() / 1_000_000, to)),
                _ => None,
            });
            of.collect::<Vec<_>>()
        };
        clock.run_for(secs(10));
        assert_eq!(changes(), [(2, Health::Ready)]);
        clock.run_for(secs(60));
        assert_eq!(changes(), [(61, Health::Degraded), (62, Health::Down)]);
        clock.run_for(secs(60));
        assert_eq!(changes(), [(122, Health::Ready)]);
    });
}

#[test]
fn a_trigger_during_a_pass_means_one_more_right_after_it() {
    scenario(|clock, env| {
        let log = Log::default();
        let gate = Gate::default();
        let (held, time) = (gate.clone(), clock.clone());
        let slow = log.checker("a", move |_, _| {
            held.pass(&time);
            Ok(Verdict::Ready)
        });
        let monitor = monitor(env, MonitorConfig::new("m").check("a", slow).check("b", log.ready("b")));
        clock.settle();
        for _ in 0..3 {
            monitor.trigger();
        }
        gate.release_waiting();
        clock.settle();
        gate.open();
        clock.run_for(secs(60));
        let expected = [(0, "a"), (0, "b"), (0, "a"), (0, "b"), (60, "a"), (60, "b")];
        assert_eq!(log.take(), expected);
        clock.run_for(secs(30));
        env.trigger("m").unwrap();
        clock.run_for(secs(30));
        assert_eq!(log.take(), [(90, "a"), (90, "b"), (120, "a"), (120, "b")]);
        assert_eq!(monitor.status().missed, 0);
    });
}

#[test]
fn a_trigger_is_not_lost_with_the_thread_that_heard_it() {
    scenario(|clock, env| {
        let log = Log::default();
        let gate = Gate::default();
        let (held, time) = (gate.clone(), clock.clone());
        let hung = log.checker("a", move |_, _| {
            held.pass(&time);
            Ok(Verdict::Ready)
        });
        let monitor = monitor(env, MonitorConfig::new("m").check("a", hung).check("b", log.ready("b")));
        clock.settle();
        monitor.trigger();
        clock.run_for(secs(10));
        assert_eq!(log.take(), [(0, "a"), (10, "b"), (10, "b")]);
        gate.open();
    });
}

#[test]
fn wum_05_settings_that_cannot_be_meant_are_refused() {
    fn fine(_: &Context, _: &Report) -> Result<Verdict, BoxError> {
        Ok(Verdict::Ready)
    }
    struct Wrong;
    impl Checker for Wrong {
        fn check(&mut self, _: &Context, _: &Report) -> Result<Verdict, BoxError> {
            Ok(Verdict::Ready)
        }
        fn validate(&self) -> Result<(), Error> {
            Err(Error::invalid("path: must not be empty"))
        }
    }
    let named = || MonitorConfig::new("m");
    let own = || CheckerConfig::new("c", fine);
    for (config, kind, expected) in [
        (
            named().poll_period(Duration::ZERO),
            ErrorKind::InvalidArgument,
            "poll_period: must be more than zero",
        ),
        (named().deadline(Duration::ZERO), ErrorKind::InvalidArgument, "deadline: must be more than zero"),
        (
            named().stale_after(Duration::ZERO),
            ErrorKind::InvalidArgument,
            "stale_after: must be more than zero",
        ),
        (
            named().checker(own().deadline(Duration::ZERO)),
            ErrorKind::InvalidArgument,
            "checker \"c\": deadline: must be more than zero",
        ),
        (
            named().checker(own().stale_after(Duration::ZERO)),
            ErrorKind::InvalidArgument,
            "checker \"c\": stale_after: must be more than zero",
        ),
        (named().check("c", fine).check("c", fine), ErrorKind::Duplicate, "checkers: two are called c"),
        (named().check("c", Wrong), ErrorKind::InvalidArgument, "checker \"c\": path: must not be empty"),
        (named().principal(&Principal::new("")), ErrorKind::InvalidArgument, "principal: must not be empty"),
    ] {
        let error = Monitor::start(config).unwrap_err();
        assert_eq!((error.kind(), error.to_string().as_str()), (kind, expected));
    }
    for config in [MonitorConfig::new(""), MonitorConfig::new("a b"), named().check("x y", fine)] {
        assert_eq!(Monitor::start(config).unwrap_err().kind(), ErrorKind::InvalidArgument);
    }
}

#[test]
fn wum_07_what_was_found_counts_for_as_long_as_a_pass_may_take() {
    scenario(|clock, env| {
        let log = Log::default();
        let slow = CheckerConfig::new("slow", log.ready("slow")).deadline(secs(100)).stale_after(secs(7));
        let config =
            MonitorConfig::new("m").poll_period(secs(2)).check("quick", log.ready("quick")).checker(slow);
        let monitor = monitor(env, config);
        clock.settle();
        let status = monitor.status();
        let counts: Vec<Duration> =
            about(&status).checkers.iter().map(|checker| checker.stale_after).collect();
        assert_eq!(counts, [secs(3 * 2 + 10 + 100), secs(7)]);
        assert!(monitor.stop(PATIENCE).is_clean());
    });
}

#[test]
fn times_without_end_are_taken_as_that() {
    scenario(|clock, env| {
        let log = Log::default();
        let config = MonitorConfig::new("m")
            .poll_period(Duration::MAX)
            .deadline(Duration::MAX)
            .stale_after(Duration::MAX)
            .check("a", log.ready("a"));
        let monitor = monitor(env, config);
        clock.run_for(secs(1_000_000));
        assert_eq!(log.take(), [(0, "a")]);
        monitor.trigger();
        clock.settle();
        assert_eq!(log.take(), [(1_000_000, "a")]);
        let status = monitor.status();
        assert_eq!((status.health, status.missed), (Health::Ready, 0));
        assert!(serde_json::to_string(&status).is_ok());
        assert!(monitor.stop(PATIENCE).is_clean());
    });
}

#[test]
fn checkers_say_what_their_findings_are() {
    scenario(|clock, env| {
        struct Drift;
        impl Checker for Drift {
            fn check(&mut self, cx: &Context, _: &Report) -> Result<Verdict, BoxError> {
                assert_eq!(cx.name().as_str(), "drift");
                Ok(Verdict::Degraded("one too few".into()))
            }
            fn role(&self) -> Role {
                Role::DriftDetection
            }
        }
        let log = Log::default();
        let config = MonitorConfig::new("m")
            .principal(&Principal::new("cluster-monitor"))
            .check("drift", Drift)
            .check("plain", log.ready("plain"))
            .checker(CheckerConfig::new("told", Drift2(Drift)).role(Role::MetricsProjection));
        struct Drift2(Drift);
        impl Checker for Drift2 {
            fn check(&mut self, _: &Context, _: &Report) -> Result<Verdict, BoxError> {
                Ok(Verdict::Ready)
            }
            fn role(&self) -> Role {
                self.0.role()
            }
        }
        let monitor = monitor(env, config);
        clock.settle();
        let roles: BTreeMap<_, _> = about(&monitor.status())
            .checkers
            .iter()
            .map(|checker| (checker.name.to_string(), checker.role))
            .collect();
        let expected = [
            ("drift", Role::DriftDetection),
            ("plain", Role::Observation),
            ("told", Role::MetricsProjection),
        ];
        assert_eq!(roles, expected.map(|(name, role)| (name.to_owned(), role)).into());
        let status = monitor.status();
        assert!(status.to_string().ends_with(": drift is degraded: one too few"), "{status}");
        assert_eq!(about(&status).principal.as_deref(), Some("cluster-monitor"));
        assert!(status.ready, "in part");
    });
}

#[test]
fn callbacks_are_told_of_the_whole_and_of_each_checker() {
    scenario(|clock, env| {
        let log = Log::default();
        let checker = log.checker("a", |_, _| Err("no".into()));
        let said: Arc<Mutex<Vec<String>>> = Arc::default();
        let (whole, each) = (said.clone(), said.clone());
        let config = MonitorConfig::new("m")
            .check("a", checker.clone())
            .on_change(move |to, why| lock(&whole).push(format!("m {to} {}", why.unwrap_or("-"))))
            .on_checker_change(move |name, to, why| {
                lock(&each).push(format!("{name} {to} {}", why.unwrap_or("-")));
            });
        let monitor = monitor(env, config);
        clock.settle();
        checker.answers(|_, _| Ok(Verdict::Ready));
        clock.run_for(secs(60));
        assert_eq!(*lock(&said), ["a down no", "m down a is down: no", "a ready -", "m ready -"]);
        assert!(monitor.stop(PATIENCE).is_clean());
    });
}

#[test]
fn a_stop_from_a_checker_only_cancels() {
    scenario(|clock, env| {
        let slot: Arc<Mutex<Option<Arc<Monitor>>>> = Arc::default();
        let own = slot.clone();
        let report = Arc::new(Mutex::new(None));
        let theirs = report.clone();
        let checker = move |_: &Context, _: &Report| {
            if let Some(monitor) = lock(&own).take() {
                *lock(&theirs) = Some(monitor.stop(PATIENCE));
            }
            Ok(Verdict::Ready)
        };
        let monitor = Arc::new(monitor(env, MonitorConfig::new("m").check("a", checker)));
        clock.settle();
        *lock(&slot) = Some(monitor.clone());
        monitor.trigger();
        assert!(monitor.wait_timeout(PATIENCE));
        let report = lock(&report).take().unwrap();
        assert_eq!(report.errors()[0].kind(), ErrorKind::InvalidState);
        assert!(monitor.stop(PATIENCE).is_clean());
    });
}

#[test]
fn it_is_refused_to_start_twice_and_starts_again_after_a_stop() {
    scenario(|clock, env| {
        let log = Log::default();
        let monitor = monitor(env, MonitorConfig::new("m").check("a", log.ready("a")));
        assert_eq!(monitor.restart().unwrap_err().kind(), ErrorKind::InvalidState);
        clock.run_for(secs(30));
        assert!(monitor.stop(PATIENCE).is_clean());
        assert!(monitor.stop(PATIENCE).is_clean());
        clock.run_for(secs(40));
        let events = monitor.subscribe();
        monitor.restart().unwrap();
        clock.run_for(secs(60));
        assert_eq!(log.take(), [(0, "a"), (70, "a"), (130, "a")]);
        assert_eq!(words(&events), ["started", "checker_changed", "health_changed"]);
        assert!(monitor.is_running());
    });
}

#[test]
fn a_host_refuses_a_second_monitor_of_a_name_and_alone_both_run() {
    scenario(|clock, env| {
        let log = Log::default();
        let config = || MonitorConfig::new("m").check("a", log.ready("a"));
        let host = Host::new(HostConfig::default().env(env)).unwrap();
        host.register("m", Monitor::new(env, config()).unwrap()).unwrap();
        let error = host.register("m", Monitor::new(env, config()).unwrap()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Duplicate);
        let alone = monitor(env, config());
        host.start().unwrap();
        clock.settle();
        assert_eq!(log.take().len(), 2);
        assert!(alone.stop(PATIENCE).is_clean());
        assert!(host.stop(PATIENCE).is_clean());
    });
}

#[test]
fn as_a_component_it_is_up_after_a_pass_whatever_was_found() {
    for (health, is_ready) in
        [(Health::Ready, true), (Health::Degraded, true), (Health::Down, false), (Health::Unknown, false)]
    {
        scenario(|clock, env| {
            let log = Log::default();
            let checker = log.checker("a", move |_, report| {
                report.state("x", health, "told so");
                Ok(Verdict::Items)
            });
            let host = Host::new(HostConfig::default().env(env)).unwrap();
            host.register("m", Monitor::new(env, MonitorConfig::new("m").check("a", checker)).unwrap())
                .unwrap();
            host.register("idle", Monitor::new(env, MonitorConfig::new("idle")).unwrap()).unwrap();
            host.start().unwrap();
            clock.settle();
            let up = |name: &str| host.component(name).unwrap();
            assert!(up("m").up, "{health}");
            assert_eq!(up("m").ready, is_ready, "{health}");
            assert!(up("idle").up && up("idle").ready);
            assert!(host.stop(PATIENCE).is_clean());
        });
    }
}

#[test]
fn what_a_monitor_is_given_is_dropped_with_it() {
    struct Dropped(Arc<AtomicU32>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    scenario(|clock, env| {
        let n = Arc::new(AtomicU32::new(0));
        let gate = Gate::default();
        let (held, time) = (gate.clone(), clock.clone());
        let (first, second) = (Dropped(n.clone()), Dropped(n.clone()));
        let config = MonitorConfig::new("m")
            .drop_grace(Duration::ZERO)
            .check("a", move |_: &Context, _: &Report| {
                let _held = &first;
                held.pass(&time);
                Ok(Verdict::Ready)
            })
            .check("b", move |_: &Context, _: &Report| {
                let _held = &second;
                Ok(Verdict::Ready)
            });
        let monitor = monitor(env, config);
        clock.run_for(secs(10));
        drop(monitor);
        assert_eq!(n.load(Ordering::SeqCst), 1, "the other is stuck");
        gate.open();
        eventually("the stuck one to be dropped", || n.load(Ordering::SeqCst) == 2);
    });
}

#[test]
fn checkers_that_panic_when_they_are_dropped_take_nothing_with_them() {
    struct Bad(Arc<AtomicU32>);
    impl Drop for Bad {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
            panic!("dropped badly");
        }
    }
    scenario(|clock, env| {
        let n = Arc::new(AtomicU32::new(0));
        let gate = Gate::default();
        let mut config = MonitorConfig::new("m").drop_grace(Duration::ZERO);
        for name in ["a", "b", "c"] {
            let (bad, held, time) = (Bad(n.clone()), gate.clone(), clock.clone());
            config = config.check(name, move |_: &Context, _: &Report| {
                let _held = &bad;
                if name == "b" {
                    held.pass(&time);
                }
                Ok(Verdict::Ready)
            });
        }
        let monitor = monitor(env, config);
        clock.run_for(secs(10));
        drop(monitor);
        assert_eq!(n.load(Ordering::SeqCst), 2, "the other is stuck");
        gate.open();
        eventually("the stuck one to be dropped", || n.load(Ordering::SeqCst) == 3);
    });
}

/// Series as an observer of the test keeps them.
#[derive(Clone, Default)]
struct Series(Arc<Mutex<BTreeMap<String, Arc<AtomicU64>>>>);

impl Series {
    fn cell(&self, name: &str, labels: &[Attr]) -> Arc<AtomicU64> {
        let labels: Vec<String> = labels.iter().map(ToString::to_string).collect();
        let key = format!("{name}{{{}}}", labels.join(","));
        lock(&self.0).entry(key).or_default().clone()
    }

    fn observer(&self) -> Observer {
        let (counters, gauges, histograms) = (self.clone(), self.clone(), self.clone());
        Observer {
            counter: Some(Arc::new(move |name, labels| Counter::atomic(counters.cell(name, labels)))),
            gauge: Some(Arc::new(move |name, labels| Gauge::atomic(gauges.cell(name, labels)))),
            histogram: Some(Arc::new(move |name, labels| Histogram::atomic(histograms.cell(name, labels)))),
            ..Observer::default()
        }
    }

    fn names(&self) -> Vec<String> {
        lock(&self.0).keys().cloned().collect()
    }

    fn count(&self, key: &str) -> u64 {
        lock(&self.0)[key].load(Ordering::Relaxed)
    }

    fn value(&self, key: &str) -> f64 {
        f64::from_bits(self.count(key))
    }
}

#[test]
fn wum_09_checks_are_measured_by_checker_from_zero_on() {
    alone(|| {
        let clock = ManualClock::default();
        let series = Series::default();
        let config = EnvConfig::default().clock(&clock).spread(false).seed(0).observer(series.observer());
        let env = Env::with(config).unwrap();
        let log = Log::default();
        let a = log.checker("a", |cx, _| {
            cx.sleep(secs(2))?;
            match seconds(cx) / 60 {
                0 => Ok(Verdict::Ready),
                1 => Err("no".into()),
                2 => panic!("boom"),
                _ => {
                    cx.sleep(secs(60))?;
                    Ok(Verdict::Ready)
                }
            }
        });
        let monitor = Monitor::new(&env, MonitorConfig::new("m").check("a", a)).unwrap();
        let expected = [
            "loop_missed_ticks_total{loop=m}",
            "monitor_check_duration_seconds{monitor=m,checker=a}",
            "monitor_checks_total{monitor=m,checker=a,result=error}",
            "monitor_checks_total{monitor=m,checker=a,result=panic}",
            "monitor_checks_total{monitor=m,checker=a,result=success}",
            "monitor_checks_total{monitor=m,checker=a,result=timeout}",
            "monitor_last_success_timestamp_seconds{monitor=m,checker=a}",
            "monitor_ready{monitor=m}",
        ];
        assert_eq!(series.names(), expected);
        assert!(series.names().iter().all(|name| series.count(name) == 0));
        monitor.restart().unwrap();
        clock.run_for(secs(10));
        assert_eq!(series.value("monitor_last_success_timestamp_seconds{monitor=m,checker=a}"), 2.0);
        assert_eq!(series.value("monitor_ready{monitor=m}"), 1.0);
        clock.run_for(secs(190));
        for result in ["success", "error", "panic", "timeout"] {
            let key = format!("monitor_checks_total{{monitor=m,checker=a,result={result}}}");
            assert_eq!(series.count(&key), 1, "{result}");
        }
        assert_eq!(series.value("monitor_ready{monitor=m}"), 0.0);
        assert!(series.value("monitor_check_duration_seconds{monitor=m,checker=a}") >= 6.0);
        assert!(monitor.stop(PATIENCE).is_clean());
    });
}
