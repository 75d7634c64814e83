//! Watchers and their manager, through the public surface, on a clock that
//! the tests move. `ccw` names what the behaviour must be, `wcw` a weakness of
//! earlier designs that must not come back.

mod support;

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;

use loopkeeper::alert::{Action, AlertConfig, Alerts, AlertsConfig};
use loopkeeper::observe::Observer;
use loopkeeper::status::Phase;
use loopkeeper::testing::{Gate, Recorder, Script};
use loopkeeper::watch::BackoffConfig;
use loopkeeper::{
    BoxError, CancelToken, Context, Env, EnvConfig, Error, ErrorClass, ErrorKind, EventKind, Health,
    ManualClock, Subscription, WatchManager, Watcher, WatcherConfig,
};
use support::{PATIENCE, alone, eventually, scenario};

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

const fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// No jitter, so that the moments are exact.
fn exact() -> BackoffConfig {
    BackoffConfig { jitter: 0.0, ..BackoffConfig::default() }
}

fn config(name: &str, probe: impl loopkeeper::Probe + 'static) -> WatcherConfig {
    WatcherConfig::new(name, probe).backoff(exact())
}

fn words(subscription: &Subscription) -> Vec<&'static str> {
    std::iter::from_fn(|| subscription.try_recv()).map(|delivery| delivery.event.what.as_str()).collect()
}

fn counter() -> (Arc<AtomicU32>, impl Fn() + Clone + Send + 'static) {
    let count = Arc::new(AtomicU32::new(0));
    let theirs = count.clone();
    (count, move || {
        theirs.fetch_add(1, Ordering::SeqCst);
    })
}

#[test]
fn ccw_01_default_values() {
    let backoff = BackoffConfig::default();
    assert_eq!(backoff.initial_delay, secs(2));
    assert_eq!(backoff.max_delay, secs(60));
    assert_eq!(backoff.multiplier, 2.0);
    assert_eq!(backoff.max_retries, 10);
    assert_eq!(backoff.poll_interval, secs(60));
    assert_eq!(backoff.probe_timeout, secs(10));
    assert_eq!(backoff.jitter, 0.1);
    assert_eq!(backoff.explain().unwrap().total, secs(302));
}

#[test]
fn ccw_02_immediate_success() {
    scenario(|clock, env| {
        let (ready, on_ready) = counter();
        let watcher = Watcher::start_in(env, config("a", Script::new([true])).on_ready(on_ready)).unwrap();
        clock.settle();
        assert!(watcher.is_ready() && watcher.last_error().is_none());
        assert_eq!(ready.load(Ordering::SeqCst), 1);
        assert_eq!(watcher.status().phase, Phase::Polling);
    });
}

#[test]
fn ccw_03_fails_three_times_then_succeeds() {
    scenario(|clock, env| {
        let (ready, on_ready) = counter();
        let (down, on_down) = counter();
        let script = Script::new([false, false, false, true]);
        let config = config("a", script.clone()).on_ready(on_ready).on_down(move |_| on_down());
        let watcher = Watcher::start_in(env, config).unwrap();
        for (wait, calls) in [(0, 1), (2, 2), (4, 3), (8, 4)] {
            clock.run_for(secs(wait));
            clock.settle();
            assert_eq!(script.calls(), calls);
        }
        assert!(watcher.is_ready());
        assert_eq!((ready.load(Ordering::SeqCst), down.load(Ordering::SeqCst)), (1, 0));
    });
}

#[test]
fn ccw_04_retries_exhausted() {
    scenario(|clock, env| {
        let script = Script::new([false]);
        let watcher = Watcher::start_in(env, config("a", script.clone())).unwrap();
        clock.run_for(secs(301));
        assert_eq!((script.calls(), watcher.status().phase), (9, Phase::Starting));
        clock.run_for(secs(1));
        assert_eq!((script.calls(), watcher.status().phase), (10, Phase::Polling));
        assert!(!watcher.is_ready());
        assert_eq!(watcher.last_error().unwrap().to_string(), "no");
        clock.run_for(secs(59));
        assert_eq!(script.calls(), 10);
        clock.run_for(secs(1));
        assert_eq!(script.calls(), 11);
    });
}

#[test]
fn ccw_05_ready_then_failing() {
    scenario(|clock, env| {
        let errors = Arc::new(Mutex::new(Vec::new()));
        let theirs = errors.clone();
        let config = config("a", Script::new([true, false]))
            .on_down(move |error| theirs.lock().unwrap().push(error.to_string()));
        let watcher = Watcher::start_in(env, config).unwrap();
        clock.run_for(secs(60));
        assert_eq!(*errors.lock().unwrap(), ["no"]);
        assert_eq!(watcher.status().health, Health::Down);
    });
}

#[test]
fn ccw_06_exhausted_then_recovers_in_the_background() {
    scenario(|clock, env| {
        let (ready, on_ready) = counter();
        let script = Script::new([false; 10]);
        script.push([true]);
        let watcher = Watcher::start_in(env, config("a", script).on_ready(on_ready)).unwrap();
        clock.run_for(secs(302));
        assert_eq!(ready.load(Ordering::SeqCst), 0);
        clock.run_for(secs(60));
        assert!(watcher.is_ready());
        assert_eq!(ready.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn ccw_07_a_cancelled_token_ends_it() {
    alone(|| {
        let token = CancelToken::new();
        let probe = |cx: &Context| Ok(cx.sleep(secs(3600))?);
        let config = WatcherConfig::new("a", probe).cancelled_by(&token);
        let watcher = Watcher::start(config).unwrap();
        token.cancel();
        assert!(watcher.wait_timeout(PATIENCE));
        assert_eq!(watcher.status().phase, Phase::Stopped);
    });
}

#[test]
fn ccw_08_stop_returns() {
    alone(|| {
        let watcher =
            Watcher::start(WatcherConfig::new("a", |cx: &Context| Ok(cx.sleep(secs(3600))?))).unwrap();
        eventually("the probe to begin", || watcher.status().runs == 1);
        assert!(watcher.stop(PATIENCE).is_clean());
        assert!(watcher.stop(Duration::ZERO).is_clean(), "a second stop does nothing");
        watcher.wait();
    });
}

#[test]
fn ccw_09_a_probe_that_waits_for_its_context_times_out() {
    scenario(|clock, env| {
        let watcher = Watcher::start_in(env, config("a", |cx: &Context| Ok(cx.sleep(secs(3600))?))).unwrap();
        clock.run_for(secs(9));
        assert_eq!(watcher.status().health, Health::Unknown);
        clock.run_for(secs(1));
        let status = watcher.status();
        assert_eq!((status.health, status.timeouts, status.late), (Health::Down, 1, 0));
        let error = watcher.last_error().unwrap();
        assert_eq!((error.kind(), error.class()), (ErrorKind::Timeout, ErrorClass::TimedOut));
    });
}

#[test]
fn ccw_10_on_ready_is_not_repeated_while_ready() {
    scenario(|clock, env| {
        let (ready, on_ready) = counter();
        let script = Script::new([true]);
        let _watcher = Watcher::start_in(env, config("a", script.clone()).on_ready(on_ready)).unwrap();
        clock.run_for(secs(240));
        assert_eq!((script.calls(), ready.load(Ordering::SeqCst)), (5, 1));
    });
}

#[test]
fn ccw_11_two_watchers_are_independent() {
    scenario(|clock, env| {
        let gate = Gate::default();
        let stuck = Watcher::start_in(env, config("stuck", gate.probe(clock))).unwrap();
        let script = Script::new([true]);
        let other = Watcher::start_in(env, config("other", script.clone())).unwrap();
        clock.run_for(secs(600));
        assert_eq!(stuck.status().health, Health::Down);
        assert!(other.is_ready());
        assert_eq!(script.calls(), 11);
        gate.open();
    });
}

#[test]
fn ccw_12_the_status_map_tells_them_apart() {
    scenario(|clock, env| {
        let manager = WatchManager::new(env);
        manager.watch(config("up", Script::new([true]))).unwrap();
        manager.watch(config("down", Script::new([false]))).unwrap();
        clock.settle();
        let status = manager.status();
        assert_eq!(status.len(), 2);
        assert!(status["up"].ready && status["up"].last_error.is_none());
        assert!(!status["down"].ready && status["down"].last_error.as_deref() == Some("no"));
    });
}

#[test]
fn an_environment_lists_the_loops_that_run() {
    scenario(|clock, env| {
        let listed = || env.statuses().iter().map(|status| status.name.to_string()).collect::<Vec<_>>();
        let b = Watcher::start_in(env, config("b", |_: &Context| Ok(()))).unwrap();
        let a = Watcher::new(env, config("a", |_: &Context| Ok(()))).unwrap();
        assert_eq!(listed(), ["b"]);
        a.restart().unwrap();
        clock.settle();
        assert_eq!(listed(), ["a", "b"]);
        assert_eq!(env.statuses()[1].thread, b.status().thread);
        assert!(b.stop(PATIENCE).is_clean());
        drop(a);
        assert_eq!(listed(), Vec::<String>::new());
    });
}

#[test]
fn ccw_13_manager_stop_returns() {
    alone(|| {
        let manager = WatchManager::new(&Env::new().unwrap());
        for i in 0..20 {
            let probe = |cx: &Context| Ok(cx.sleep(secs(3600))?);
            manager.watch(WatcherConfig::new(format!("w{i}"), probe)).unwrap();
        }
        assert!(manager.stop(PATIENCE).is_clean());
        assert!(manager.stop(PATIENCE).is_clean());
    });
}

#[test]
fn ccw_14_a_wrong_name_is_an_error() {
    scenario(|_, env| {
        for name in ["", "a b", "../x", &"x".repeat(64)] {
            let error = Watcher::start_in(env, config(name, Script::new([true]))).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{name:?}");
            assert!(error.to_string().starts_with("name: "), "{error}");
        }
    });
}

/// CCW-15, a watcher without a probe, cannot be written down: `WatcherConfig`
/// has no other constructor. What is left of it is a probe that is not one.
#[test]
fn ccw_15_any_closure_or_boxed_probe_is_one() {
    scenario(|clock, env| {
        let boxed: Box<dyn loopkeeper::Probe> = Box::new(|_: &Context| Ok(()));
        let watcher = Watcher::start_in(env, config("a", boxed)).unwrap();
        clock.settle();
        assert!(watcher.is_ready());
    });
}

#[test]
fn ccw_16_zero_is_an_error_and_absent_is_the_default() {
    scenario(|_, env| {
        let zero = Duration::ZERO;
        let table = [
            (BackoffConfig { initial_delay: zero, ..exact() }, "backoff.initial_delay"),
            (BackoffConfig { max_delay: zero, ..exact() }, "backoff.max_delay"),
            (BackoffConfig { multiplier: 0.0, ..exact() }, "backoff.multiplier"),
            (BackoffConfig { multiplier: f64::NAN, ..exact() }, "backoff.multiplier"),
            (BackoffConfig { max_retries: 0, ..exact() }, "backoff.max_retries"),
            (BackoffConfig { max_retries: u32::MAX, ..exact() }, "backoff.max_retries"),
            (BackoffConfig { poll_interval: zero, ..exact() }, "backoff.poll_interval"),
            (BackoffConfig { probe_timeout: zero, ..exact() }, "backoff.probe_timeout"),
            (BackoffConfig { jitter: -0.5, ..exact() }, "backoff.jitter"),
        ];
        for (backoff, key) in table {
            let config = WatcherConfig::new("a", Script::new([true])).backoff(backoff);
            let error = Watcher::start_in(env, config).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument);
            assert!(error.to_string().starts_with(key), "{key}: {error}");
        }
        for config in [
            config("a", Script::new([true])).failure_threshold(0),
            config("a", Script::new([true])).success_threshold(0),
        ] {
            let error = Watcher::start_in(env, config).unwrap_err();
            assert!(error.to_string().ends_with("_threshold: must be at least 1"), "{error}");
        }
    });
}

#[test]
fn wcw_01_a_hung_probe_is_down_when_its_timeout_passes() {
    scenario(|clock, env| {
        let gate = Gate::default();
        gate.open();
        let (down, on_down) = counter();
        let config = config("db", gate.probe(clock)).on_down(move |_| on_down());
        let watcher = Watcher::start_in(env, config).unwrap();
        clock.settle();
        assert!(watcher.is_ready());
        gate.shut();
        let events = watcher.subscribe();
        clock.run_for(secs(60));
        assert_eq!(gate.waiting(), 1);
        assert!(watcher.is_ready(), "not before its timeout");
        let status = watcher.status();
        assert_eq!(status.running_for, Some(Duration::ZERO));
        let deadline = status.call.unwrap().deadline.unwrap();
        assert_eq!(deadline.as_micros() - status.last_check.unwrap().as_micros(), 70_000_000);
        clock.run_for(secs(10));
        let status = watcher.status();
        assert_eq!((status.health, status.timeouts, status.late), (Health::Down, 1, 0));
        assert_eq!(status.last_error.as_deref(), Some("no answer within 10s"));
        assert_eq!(status.overdue_for, Some(Duration::ZERO));
        assert_eq!(down.load(Ordering::SeqCst), 1);
        assert_eq!(words(&events), ["timed_out", "down"]);
        clock.run_for(secs(5));
        assert_eq!(watcher.status().overdue_for, Some(secs(5)));
        // The late answer, a success, changes nothing.
        gate.release_waiting();
        clock.settle();
        let status = watcher.status();
        assert_eq!((status.health, status.late), (Health::Down, 1));
        // The next due counted from the deadline: it is there already.
        assert_eq!(gate.arrived(), 3);
        gate.open();
        clock.settle();
        assert!(watcher.is_ready());
        assert_eq!(words(&events), ["late", "ready"]);
    });
}

#[test]
fn wcw_01_stop_of_a_hung_probe_is_bounded_and_names_it() {
    alone(|| {
        let release = Arc::new(AtomicBool::new(false));
        let (theirs, calls) = (release.clone(), Arc::new(AtomicU32::new(0)));
        let count = calls.clone();
        let manager = WatchManager::new(&Env::new().unwrap());
        let stuck = WatcherConfig::new("stuck", move |_: &Context| {
            count.fetch_add(1, Ordering::SeqCst);
            while !theirs.load(Ordering::SeqCst) {
                std::thread::yield_now();
            }
            Ok(())
        });
        let watcher = manager.watch(stuck).unwrap();
        manager.watch(WatcherConfig::new("tame", |_: &Context| Ok(()))).unwrap();
        eventually("the probe to begin", || calls.load(Ordering::SeqCst) == 1);
        let report = manager.stop(millis(50));
        assert!(!report.is_clean());
        let [straggler] = report.stragglers() else { panic!("{report}") };
        assert_eq!((straggler.name.as_str(), straggler.phase), ("stuck", "its call"));
        assert_eq!(straggler.thread, "w/stuck");
        assert!(straggler.tid > 0 && straggler.stuck_for >= millis(50), "{report}");
        assert_eq!(watcher.restart().unwrap_err().kind(), ErrorKind::InvalidState);
        release.store(true, Ordering::SeqCst);
        assert!(watcher.wait_timeout(PATIENCE));
        assert!(manager.stop(PATIENCE).is_clean());
        let status = watcher.status();
        assert_eq!((status.health, status.phase), (Health::Unknown, Phase::Stopped));
    });
}

#[test]
fn wcw_01_timeouts_of_one_stuck_call_count_toward_the_thresholds() {
    scenario(|clock, env| {
        let gate = Gate::default();
        let backoff = BackoffConfig { max_retries: 4, ..exact() };
        let config = WatcherConfig::new("a", gate.probe(clock)).backoff(backoff).failure_threshold(3);
        let watcher = Watcher::start_in(env, config).unwrap();
        let events = watcher.subscribe();
        clock.run_for(secs(20));
        let status = watcher.status();
        assert_eq!((status.health, status.consecutive_failures), (Health::Unknown, 2));
        clock.run_for(secs(10));
        assert_eq!(watcher.status().health, Health::Down);
        clock.run_for(secs(10));
        let told = words(&events);
        assert_eq!(told, ["timed_out", "timed_out", "timed_out", "down", "timed_out", "gave_up"]);
        clock.run_for(secs(1000));
        assert_eq!(words(&events), Vec::<&str>::new(), "nothing more to say of the same call");
        assert_eq!((watcher.status().runs, watcher.status().timeouts), (1, 4));
        gate.open();
    });
}

#[test]
fn wcw_02_a_stop_during_a_probe_is_no_failure() {
    scenario(|clock, env| {
        let (down, on_down) = counter();
        let mut first = true;
        let probe = move |cx: &Context| {
            if std::mem::take(&mut first) { Ok(()) } else { Ok(cx.sleep(secs(3600))?) }
        };
        let config = config("a", probe).on_down(move |_| on_down());
        let watcher = Watcher::start_in(env, config).unwrap();
        let events = watcher.subscribe();
        clock.run_for(secs(60));
        assert!(watcher.status().running_for.is_some());
        assert!(watcher.stop(PATIENCE).is_clean());
        let status = watcher.status();
        assert_eq!((status.failures, status.last_error), (0, None));
        assert_eq!(down.load(Ordering::SeqCst), 0);
        let told: Vec<_> = events.iter().map(|delivery| delivery.event.what.as_str()).collect();
        assert_eq!(told.last(), Some(&"stopped"));
        assert!(!told.contains(&"down"), "{told:?}");
    });
}

#[test]
fn wcw_03_callbacks_come_in_order_one_at_a_time_and_not_after_stop() {
    alone(|| {
        let (told, inside) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let call = |word: &'static str| {
            let (told, inside) = (told.clone(), inside.clone());
            move || {
                assert!(!inside.swap(true, Ordering::SeqCst), "two callbacks at once");
                told.lock().unwrap().push(word);
                inside.store(false, Ordering::SeqCst);
            }
        };
        let (on_ready, on_down) = (call("ready"), call("down"));
        let mut up = false;
        let flapping = move |_: &Context| {
            up = !up;
            if up { Ok(()) } else { Err("down".into()) }
        };
        let backoff = BackoffConfig {
            initial_delay: Duration::from_micros(50),
            poll_interval: Duration::from_micros(50),
            ..exact()
        };
        let config = WatcherConfig::new("flap", flapping)
            .backoff(backoff)
            .on_ready(on_ready)
            .on_down(move |_| on_down());
        let watcher = Watcher::start(config).unwrap();
        eventually("2000 callbacks", || told.lock().unwrap().len() > 2000);
        let report = watcher.stop(PATIENCE);
        assert_eq!(report.dropped_callbacks(), 0, "{report}");
        let after_stop = told.lock().unwrap().len();
        let status = watcher.status();
        if status.lost_callbacks == 0 {
            let told = told.lock().unwrap();
            assert!(told.windows(2).all(|pair| pair[0] != pair[1]), "out of order");
        }
        drop(watcher);
        assert_eq!(told.lock().unwrap().len(), after_stop);
        assert_eq!(Env::new().unwrap().callback_panics(), 0);
    });
}

#[test]
fn wcw_04_a_name_is_watched_once() {
    scenario(|clock, env| {
        let manager = WatchManager::new(env);
        let first = Script::new([true]);
        manager.watch(config("a", first.clone())).unwrap();
        let second = Script::new([true]);
        let error = manager.watch(config("a", second.clone())).unwrap_err();
        assert_eq!(
            (error.kind(), error.to_string().as_str()),
            (ErrorKind::Duplicate, "a: is watched already")
        );
        clock.settle();
        assert_eq!((first.calls(), second.calls()), (1, 0));

        let (replacement, report) = manager.replace(config("a", second.clone()), PATIENCE).unwrap();
        assert!(report.is_clean());
        clock.run_for(secs(120));
        assert_eq!((first.calls(), second.calls()), (1, 3), "the old one has ended");
        assert_eq!(manager.status().len(), 1);

        let wrong = config("a", Script::new([true])).failure_threshold(0);
        assert!(manager.replace(wrong, PATIENCE).is_err());
        assert!(replacement.is_ready(), "a refused replacement changes nothing");

        assert!(manager.unwatch("a", PATIENCE).unwrap().is_clean());
        let error = manager.unwatch("a", PATIENCE).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(manager.status().is_empty());
        clock.run_for(secs(120));
        assert_eq!(second.calls(), 3);
    });
}

#[test]
fn wcw_05_a_status_is_one_snapshot() {
    alone(|| {
        let mut up = false;
        let flapping = move |_: &Context| {
            up = !up;
            if up { Ok(()) } else { Err("down".into()) }
        };
        let backoff = BackoffConfig {
            initial_delay: Duration::from_nanos(1),
            poll_interval: Duration::from_nanos(1),
            ..exact()
        };
        let watcher = Watcher::start(WatcherConfig::new("flap", flapping).backoff(backoff)).unwrap();
        eventually("flapping", || watcher.status().transitions > 100);
        for _ in 0..100_000 {
            let status = watcher.status();
            assert_eq!(status.ready, status.last_error.is_none(), "{status:?}");
            assert_eq!(status.ready, status.consecutive_failures == 0, "{status:?}");
            assert_eq!(status.ready, status.health == Health::Ready, "{status:?}");
        }
        assert!(watcher.status().transitions > 100);
    });
}

#[test]
fn wcw_06_a_huge_multiplier_does_not_storm() {
    scenario(|clock, env| {
        let script = Script::new([false]);
        let backoff = BackoffConfig { multiplier: 1e300, max_retries: 1000, ..exact() };
        let config = WatcherConfig::new("a", script.clone()).backoff(backoff);
        let _watcher = Watcher::start_in(env, config).unwrap();
        clock.run_for(secs(602));
        assert_eq!(script.calls(), 12, "0, 2, then every 60 s");
    });
}

#[test]
fn wcw_07_giving_up_is_told_once() {
    scenario(|clock, env| {
        let (gave_up, on_gave_up) = counter();
        let script = Script::new([false]);
        let config = config("a", script.clone()).on_gave_up(move |error| {
            assert_eq!(error.to_string(), "no");
            on_gave_up();
        });
        let watcher = Watcher::new(env, config).unwrap();
        let events = watcher.subscribe();
        watcher.restart().unwrap();
        clock.run_for(secs(302));
        assert_eq!(gave_up.load(Ordering::SeqCst), 1);
        assert_eq!(words(&events), ["started", "down", "gave_up"]);
        script.push([true, false]);
        clock.run_for(secs(3600));
        assert_eq!(gave_up.load(Ordering::SeqCst), 1, "not again after a drop");
    });
}

#[test]
fn wcw_08_panics_are_results() {
    scenario(|clock, env| {
        let mut n = 0;
        let probe = move |_: &Context| -> Result<(), BoxError> {
            n += 1;
            if n == 1 { panic!("probe {n} broke") } else { Ok(()) }
        };
        let (ready, on_ready) = counter();
        let config = config("a", probe).on_ready(move || {
            on_ready();
            panic!("callback broke");
        });
        let watcher = Watcher::start_in(env, config).unwrap();
        clock.settle();
        let status = watcher.status();
        assert_eq!((status.health, status.panics, status.failures), (Health::Down, 1, 1));
        let error = watcher.last_error().unwrap();
        assert_eq!(
            (error.kind(), error.to_string().as_str()),
            (ErrorKind::Panicked, "panicked: probe 1 broke")
        );
        clock.run_for(secs(2));
        assert!(watcher.is_ready());
        assert_eq!((ready.load(Ordering::SeqCst), env.callback_panics()), (1, 1));
    });
}

#[test]
fn wcw_09_thresholds_keep_one_miss_from_flapping() {
    scenario(|clock, env| {
        let script = Script::new([false, true, true, true]);
        let config = config("a", script.clone()).failure_threshold(3).success_threshold(2);
        let watcher = Watcher::start_in(env, config).unwrap();
        let events = watcher.subscribe();
        clock.settle();
        assert_eq!(watcher.status().health, Health::Unknown, "one miss of three");
        clock.run_for(secs(2));
        assert_eq!(watcher.status().health, Health::Unknown, "one success of two");
        clock.run_for(secs(2));
        assert!(watcher.is_ready());
        script.push([false, false, true, false, false, false]);
        clock.run_for(secs(60));
        assert_eq!(script.calls(), 4);
        // Two misses, the second soon after the first; then fine again.
        clock.run_for(secs(60));
        assert!(watcher.is_ready());
        assert_eq!(watcher.status().consecutive_failures, 1);
        clock.run_for(secs(2));
        assert_eq!(watcher.status().consecutive_failures, 2);
        clock.run_for(secs(4));
        assert_eq!(watcher.status().consecutive_failures, 0);
        assert_eq!(words(&events), ["ready"]);
        clock.run_for(secs(54 + 2 + 4));
        assert_eq!(watcher.status().health, Health::Down, "three misses");
        assert_eq!(words(&events), ["down"]);
    });
}

#[test]
fn wcw_10_recovery_is_seen_in_seconds_and_on_demand() {
    scenario(|clock, env| {
        let script = Script::new([true, false, true]);
        let watcher = Watcher::start_in(env, config("a", script.clone())).unwrap();
        clock.run_for(secs(60));
        assert_eq!(watcher.status().phase, Phase::Recovering);
        clock.run_for(secs(2));
        assert!(watcher.is_ready(), "2 s after the drop, not 60");

        script.push([false]);
        watcher.trigger();
        clock.settle();
        assert_eq!(watcher.status().health, Health::Down, "probed now");
        // The whole backoff, then the interval again, and no second gave-up.
        let events = watcher.subscribe();
        let before = script.calls();
        clock.run_for(secs(302 + 60));
        assert_eq!(script.calls(), before + 10);
        assert_eq!(watcher.status().phase, Phase::Polling);
        assert_eq!(words(&events), Vec::<&str>::new());
    });
}

#[test]
fn wcw_10_a_trigger_during_a_probe_means_one_more_after_it() {
    scenario(|clock, env| {
        let gate = Gate::default();
        let watcher = Watcher::start_in(env, config("a", gate.probe(clock))).unwrap();
        clock.settle();
        for _ in 0..5 {
            watcher.trigger();
        }
        gate.release_waiting();
        clock.settle();
        assert_eq!(gate.arrived(), 2);
        gate.open();
        clock.settle();
        assert_eq!(gate.arrived(), 2, "five triggers are one more run");
        clock.run_for(secs(59));
        assert_eq!(gate.arrived(), 2);
        clock.run_for(secs(1));
        assert_eq!(gate.arrived(), 3, "the regular times stayed");
    });
}

#[test]
fn wcw_10_a_trigger_while_the_probe_sleeps_is_kept() {
    scenario(|clock, env| {
        let (probes, count) = counter();
        let probe = move |cx: &Context| {
            count();
            Ok(cx.sleep(secs(3))?)
        };
        let watcher = Watcher::start_in(env, config("a", probe)).unwrap();
        clock.settle();
        watcher.trigger();
        clock.run_for(secs(2));
        assert_eq!(probes.load(Ordering::SeqCst), 1, "the trigger does not cut the sleep short");
        clock.run_for(secs(1));
        assert_eq!(probes.load(Ordering::SeqCst), 2);
    });
}

#[test]
fn wcw_11_watchers_do_not_tick_together() {
    alone(|| {
        let clock = ManualClock::default();
        let env = Env::with(EnvConfig::default().clock(&clock).seed(1)).unwrap();
        let manager = WatchManager::new(&env);
        for i in 0..60 {
            manager.watch(config(&format!("w{i}"), Script::new([true]))).unwrap();
        }
        clock.settle();
        let mut due: Vec<_> = manager.status().values().map(|status| status.next_run.unwrap()).collect();
        due.sort_unstable();
        due.dedup();
        assert_eq!(due.len(), 60);
        assert!(due[59].as_micros() - due[0].as_micros() > 50_000_000, "{due:?}");
        clock.run_for(secs(60));
        assert!(manager.status().values().all(|status| status.runs == 2));
    });
}

#[test]
fn wcw_11_no_probe_begins_after_a_stop() {
    alone(|| {
        let env = Env::new().unwrap();
        for round in 0..200 {
            let calls = Arc::new(AtomicU64::new(0));
            let count = calls.clone();
            let probe = move |_: &Context| {
                count.fetch_add(1, Ordering::SeqCst);
                Ok(())
            };
            let backoff = BackoffConfig { poll_interval: Duration::from_nanos(1), ..exact() };
            let watcher =
                Watcher::start_in(&env, WatcherConfig::new("busy", probe).backoff(backoff)).unwrap();
            eventually("probes", || calls.load(Ordering::SeqCst) > 3);
            watcher.trigger();
            assert!(watcher.stop(PATIENCE).is_clean());
            let at_stop = calls.load(Ordering::SeqCst);
            watcher.trigger();
            assert_eq!(watcher.status().runs, at_stop, "round {round}");
            assert_eq!(calls.load(Ordering::SeqCst), at_stop, "round {round}");
        }
    });
}

#[test]
fn wcw_12_watch_after_stop_is_refused() {
    scenario(|_, env| {
        let manager = WatchManager::new(env);
        assert!(manager.stop(PATIENCE).is_clean(), "fine when nothing was ever watched");
        let error = manager.watch(config("a", Script::new([true]))).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidState);
    });
}

#[test]
fn wcw_12_stop_from_inside_its_own_probe_only_cancels() {
    alone(|| {
        let cell: Arc<OnceLock<Weak<Watcher>>> = Arc::default();
        let (inside, report) = (cell.clone(), Arc::new(Mutex::new(None)));
        let theirs = report.clone();
        let probe = move |cx: &Context| {
            let watcher = loop {
                match inside.get() {
                    Some(watcher) => break watcher.upgrade().unwrap(),
                    None => std::thread::yield_now(),
                }
            };
            *theirs.lock().unwrap() = Some((watcher.stop(PATIENCE), cx.is_cancelled()));
            Ok(())
        };
        let watcher = Arc::new(Watcher::start(WatcherConfig::new("a", probe)).unwrap());
        cell.set(Arc::downgrade(&watcher)).unwrap();
        assert!(watcher.wait_timeout(PATIENCE));
        let (report, is_cancelled) = report.lock().unwrap().take().unwrap();
        assert_eq!((report.errors()[0].kind(), is_cancelled), (ErrorKind::InvalidState, true));
        assert!(watcher.stop(PATIENCE).is_clean());
    });
}

#[test]
fn wcw_12_a_callback_may_stop_its_own_watcher_and_its_manager() {
    alone(|| {
        let manager = Arc::new(WatchManager::new(&Env::new().unwrap()));
        let (inner, reports) = (Arc::downgrade(&manager), Arc::new(Mutex::new(Vec::new())));
        let theirs = reports.clone();
        let on_ready = move || {
            let manager = inner.upgrade().unwrap();
            theirs.lock().unwrap().push(manager.get("a").unwrap().stop(PATIENCE));
            theirs.lock().unwrap().push(manager.stop(PATIENCE));
        };
        manager.watch(WatcherConfig::new("a", |_: &Context| Ok(())).on_ready(on_ready)).unwrap();
        manager.watch(WatcherConfig::new("b", |_: &Context| Ok(())).on_ready(|| ())).unwrap();
        eventually("both stops", || reports.lock().unwrap().len() == 2);
        for report in reports.lock().unwrap().iter() {
            assert!(report.stragglers().is_empty() && report.errors().is_empty(), "{report}");
        }
    });
}

#[test]
fn wcw_13_the_status_counts() {
    scenario(|clock, env| {
        let script = Script::new([true, true, false, false]);
        let watcher = Watcher::start_in(env, config("a", script.clone())).unwrap();
        let status = watcher.status();
        assert!(status.since.as_micros() == 0 && status.thread.is_some());
        clock.run_for(secs(60));
        clock.run_for(secs(60 + 2));
        let status = watcher.status();
        let at = |seconds: u64| loopkeeper::Stamp::from_micros(seconds * 1_000_000);
        assert_eq!((status.runs, status.failures, status.consecutive_failures), (4, 2, 2));
        assert_eq!((status.transitions, status.attempt), (2, 1));
        assert_eq!(status.last_success, Some(at(60)));
        assert_eq!(status.last_check, Some(at(122)));
        assert_eq!(status.since, at(120));
        assert_eq!(status.next_run, Some(at(126)));
        assert_eq!(status.latency, Some(Duration::ZERO));
        assert_eq!(status.thread.unwrap().name, "w/a");
        let json = serde_json::to_value(watcher.status()).unwrap();
        assert_eq!(
            (&json["name"], &json["state"], &json["ready"]),
            (&"a".into(), &"down".into(), &false.into())
        );
        assert_eq!((&json["kind"], &json["last_error"]), (&"watcher".into(), &"no".into()));
        assert_eq!(
            (&json["last_check"], json.get("overdue_for")),
            (&"1970-01-01T00:02:02.000Z".into(), None)
        );
    });
}

#[test]
fn wcw_13_unknown_is_a_state_of_its_own() {
    scenario(|clock, env| {
        let gate = Gate::default();
        let manager = WatchManager::new(env);
        let watcher = manager.watch(config("a", gate.probe(clock))).unwrap();
        clock.settle();
        let status = watcher.status();
        assert_eq!((status.health, status.ready, status.last_check), (Health::Unknown, false, None));
        assert_eq!(manager.health(), Health::Down, "a critical service that nobody knows of");
        gate.open();
        clock.settle();
        assert_eq!(manager.health(), Health::Ready);
    });
}

#[test]
fn wcw_14_a_stopped_watcher_does_not_say_ready() {
    scenario(|clock, env| {
        let watcher = Watcher::start_in(env, config("a", Script::new([true]))).unwrap();
        clock.settle();
        assert!(watcher.is_ready());
        assert!(watcher.stop(PATIENCE).is_clean());
        let status = watcher.status();
        assert_eq!((status.health, status.ready, status.phase), (Health::Unknown, false, Phase::Stopped));
        assert_eq!((status.next_run, status.thread), (None, None));
        assert!(!watcher.wait_ready(PATIENCE), "no wait for what will not come");

        watcher.restart().unwrap();
        clock.settle();
        assert!(watcher.is_ready());
        assert_eq!(watcher.restart().unwrap_err().kind(), ErrorKind::InvalidState);
    });
}

#[test]
fn the_whole_is_ready_degraded_or_down() {
    scenario(|clock, env| {
        let manager = WatchManager::new(env);
        assert_eq!(manager.health(), Health::Ready);
        manager.watch(config("critical", Script::new([true, false]))).unwrap();
        manager.watch(config("optional", Script::new([false])).optional()).unwrap();
        clock.settle();
        assert_eq!(manager.health(), Health::Degraded);
        manager.trigger("critical").unwrap();
        clock.settle();
        assert_eq!(manager.health(), Health::Down);
        assert_eq!(manager.trigger("nobody").unwrap_err().kind(), ErrorKind::NotFound);
        let said = |env: &Env| env.trigger("nobody").unwrap_err().to_string();
        let known = "expected \"critical\" or \"optional\"";
        assert_eq!(said(env), format!("no loop that runs is called \"nobody\", {known}"));
        assert_eq!(said(&Env::new().unwrap()), "no loop that runs is called \"nobody\", none runs");
    });
}

#[test]
fn events_are_numbered_in_order_for_every_way_to_hear_them() {
    alone(|| {
        let clock = ManualClock::default();
        let recorder = Recorder::default();
        let config_env =
            EnvConfig::default().clock(&clock).spread(false).seed(0).observer(recorder.observer());
        let env = Env::with(config_env).unwrap();
        let manager = WatchManager::new(&env);
        let all = manager.subscribe();
        let watcher = manager.watch(config("a", Script::new([true, false, true]))).unwrap();
        let own = watcher.subscribe();
        manager.watch(config("b", Script::new([false, true]))).unwrap();
        clock.run_for(secs(70));
        assert!(manager.stop(PATIENCE).is_clean());

        let of = |name: &str, events: &[(String, u64)]| -> Vec<u64> {
            events.iter().filter(|(source, _)| source == name).map(|(_, n)| *n).collect()
        };
        let page = env.events_after(0, usize::MAX);
        assert_eq!((page.lost, page.next), (0, page.events.len() as u64));
        assert!(page.events.iter().zip(1..).all(|(event, seq)| event.seq == seq));
        let logged: Vec<_> = page.events.iter().map(|e| (e.source.to_string(), e.n)).collect();
        let heard: Vec<_> = all.iter().map(|d| (d.event.source.to_string(), d.event.n)).collect();
        let recorded: Vec<_> = recorder.events().iter().map(|e| (e.source.to_string(), e.n)).collect();
        for events in [&logged, &heard, &recorded] {
            assert_eq!(of("a", events), [1, 2, 3, 4, 5], "started ready down ready stopped");
            assert_eq!(of("b", events), [1, 2, 3, 4], "started down ready stopped");
        }
        let own: Vec<_> = own.iter().collect();
        assert!(own.iter().all(|delivery| delivery.lost == 0));
        assert!(matches!(own.last().unwrap().event.what, EventKind::Stopped));
    });
}

#[test]
fn a_stalled_machine_makes_no_false_timeouts() {
    scenario(|clock, env| {
        let script = Script::new([true]);
        let watcher = Watcher::start_in(env, config("a", script.clone())).unwrap();
        clock.settle();
        clock.jump(secs(600));
        let status = watcher.status();
        assert_eq!((status.timeouts, status.failures, status.transitions), (0, 0, 1));
        assert_eq!((script.calls(), status.missed), (2, 9), "one run for ten that were due");
        clock.run_for(secs(60));
        assert_eq!(script.calls(), 3);
    });
}

#[test]
fn a_hang_after_a_trigger_is_seen_in_time() {
    // The watchdog sleeps until the next regular probe's deadline; the
    // trigger begins a call with an earlier one.
    for _ in 0..50 {
        scenario(|clock, env| {
            let gate = Gate::default();
            gate.open();
            let watcher = Watcher::start_in(env, config("a", gate.probe(clock))).unwrap();
            clock.run_for(secs(1));
            gate.shut();
            watcher.trigger();
            clock.run_for(secs(10));
            assert_eq!(watcher.status().health, Health::Down);
            gate.open();
        });
    }
}

#[test]
fn a_hung_callback_loses_its_thread_and_holds_up_nobody_else() {
    scenario(|clock, env| {
        let gate = Gate::default();
        let manager = WatchManager::new(env);
        let (inside, their_clock) = (gate.clone(), clock.clone());
        let (hung, on_hung) = counter();
        let stuck = config("stuck", Script::new([true, false, true])).on_ready(move || {
            on_hung();
            inside.pass(&their_clock);
        });
        manager.watch(stuck).unwrap();
        clock.settle();
        assert_eq!(gate.waiting(), 1);
        let (ready, on_ready) = counter();
        manager.watch(config("other", Script::new([true])).on_ready(on_ready)).unwrap();
        clock.settle();
        assert_eq!(ready.load(Ordering::SeqCst), 0, "the dispatcher is held");
        clock.run_for(secs(10));
        assert_eq!((ready.load(Ordering::SeqCst), env.retired_dispatchers()), (1, 1));
        // Its own later callbacks wait for it, and come in order.
        clock.run_for(secs(60));
        assert_eq!(hung.load(Ordering::SeqCst), 1);
        gate.open();
        clock.settle();
        assert_eq!(hung.load(Ordering::SeqCst), 2);
        assert!(manager.stop(PATIENCE).is_clean());
    });
}

#[test]
fn a_stop_drops_and_counts_callbacks_that_do_not_fit_its_grace() {
    scenario(|clock, env| {
        let gate = Gate::default();
        let (inside, their_clock) = (gate.clone(), clock.clone());
        let config = config("a", Script::new([true, false])).on_ready(move || inside.pass(&their_clock));
        let watcher = Watcher::start_in(env, config).unwrap();
        clock.run_for(secs(60));
        let report = watcher.stop(millis(10));
        assert!(report.dropped_callbacks() >= 1, "{report}");
        let [straggler] = report.stragglers() else { panic!("{report}") };
        assert_eq!(straggler.phase, "its callback");
        gate.open();
    });
}

#[test]
fn an_observer_that_panics_harms_nobody() {
    alone(|| {
        let clock = ManualClock::default();
        let observer =
            Observer { on_event: Some(Arc::new(|_| panic!("observer broke"))), ..Observer::default() };
        let env = Env::with(EnvConfig::default().clock(&clock).observer(observer)).unwrap();
        let (ready, on_ready) = counter();
        let watcher = Watcher::start_in(&env, config("a", Script::new([true])).on_ready(on_ready)).unwrap();
        clock.settle();
        assert!(watcher.is_ready());
        assert_eq!(ready.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn on_cancel_is_called_when_a_stop_comes_and_only_then() {
    alone(|| {
        let (called, on_cancel) = counter();
        let waits = Arc::new(AtomicBool::new(false));
        let (entered, cell) = (Arc::new(AtomicU32::new(0)), waits.clone());
        let count = entered.clone();
        let probe = move |cx: &Context| {
            let (free, on_cancel) = (Arc::new(AtomicBool::new(false)), on_cancel.clone());
            let signal = free.clone();
            let _guard = cx.on_cancel(move || {
                on_cancel();
                signal.store(true, Ordering::SeqCst);
            });
            count.fetch_add(1, Ordering::SeqCst);
            while cell.load(Ordering::SeqCst) && !free.load(Ordering::SeqCst) {
                std::thread::yield_now();
            }
            Ok(())
        };
        let watcher = Watcher::start(WatcherConfig::new("a", probe)).unwrap();
        eventually("the first probe", || watcher.is_ready());
        assert_eq!(called.load(Ordering::SeqCst), 0);
        waits.store(true, Ordering::SeqCst);
        watcher.trigger();
        eventually("the second probe", || entered.load(Ordering::SeqCst) == 2);
        assert!(watcher.stop(PATIENCE).is_clean());
        assert_eq!(called.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn users_errors_keep_their_class_and_lose_their_objects() {
    scenario(|clock, env| {
        static DROPPED: AtomicU32 = AtomicU32::new(0);
        #[derive(Debug)]
        struct Theirs;
        impl std::fmt::Display for Theirs {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("theirs")
            }
        }
        impl std::error::Error for Theirs {}
        impl Drop for Theirs {
            fn drop(&mut self) {
                assert!(std::thread::current().name().unwrap().starts_with("w/"));
                DROPPED.fetch_add(1, Ordering::SeqCst);
            }
        }
        let probe = |_: &Context| Err(Error::terminal(Theirs).into());
        let watcher = Watcher::start_in(env, config("a", probe)).unwrap();
        clock.settle();
        assert_eq!(DROPPED.load(Ordering::SeqCst), 1);
        let error = watcher.last_error().unwrap();
        assert_eq!((error.to_string().as_str(), error.class()), ("theirs", ErrorClass::Terminal));
    });
}

#[test]
fn a_watcher_measures_through_the_observer_from_the_start() {
    type Series = Arc<Mutex<std::collections::BTreeMap<String, f64>>>;
    alone(|| {
        let clock = ManualClock::default();
        let series: Series = Arc::default();
        let key = |name: &str, labels: &[loopkeeper::observe::Attr]| {
            let labels: Vec<_> = labels.iter().map(ToString::to_string).collect();
            format!("{name}{{{}}}", labels.join(","))
        };
        let (counters, gauges) = (series.clone(), series.clone());
        let observer = Observer {
            counter: Some(Arc::new(move |name, labels| {
                let (cell, key) = (counters.clone(), key(name, labels));
                cell.lock().unwrap().insert(key.clone(), 0.0);
                loopkeeper::observe::Counter::function(move |n| {
                    *cell.lock().unwrap().get_mut(&key).unwrap() += n as f64;
                })
            })),
            gauge: Some(Arc::new(move |name, labels| {
                let (cell, key) = (gauges.clone(), key(name, labels));
                loopkeeper::observe::Gauge::function(move |value| {
                    cell.lock().unwrap().insert(key.clone(), value);
                })
            })),
            ..Observer::default()
        };
        let env = Env::with(EnvConfig::default().clock(&clock).spread(false).observer(observer)).unwrap();
        let watcher = Watcher::start_in(&env, config("a", Script::new([true, false]))).unwrap();
        let read = |key: &str| series.lock().unwrap()[key];
        assert_eq!(read("watcher_transitions_total{watcher=a,to=down}"), 0.0);
        clock.settle();
        assert_eq!(read("watcher_ready{watcher=a}"), 1.0);
        clock.run_for(secs(60));
        assert_eq!(read("watcher_ready{watcher=a}"), 0.0);
        assert_eq!(read("watcher_transitions_total{watcher=a,to=ready}"), 1.0);
        assert_eq!(read("watcher_transitions_total{watcher=a,to=down}"), 1.0);
        clock.jump(secs(3600));
        assert!(watcher.stop(PATIENCE).is_clean());
        assert_eq!(read("watcher_transitions_total{watcher=a,to=unknown}"), 1.0);
    });
}

#[test]
fn a_wall_clock_that_jumps_moves_stamps_and_nothing_else() {
    scenario(|clock, env| {
        let script = Script::new([true]);
        let watcher = Watcher::start_in(env, config("a", script.clone())).unwrap();
        clock.run_for(secs(60));
        let year = secs(365 * 86_400);
        for wall in [std::time::SystemTime::UNIX_EPOCH + year * 60, std::time::SystemTime::UNIX_EPOCH] {
            let before = (script.calls(), watcher.status().transitions);
            clock.set_wall(wall);
            clock.settle();
            assert_eq!((script.calls(), watcher.status().transitions), before);
            clock.run_for(secs(60));
            assert_eq!(script.calls(), before.0 + 1, "the steady clock went on");
            let status = watcher.status();
            assert_eq!((status.timeouts, status.failures, status.missed), (0, 0, 0));
        }
    });
}

#[test]
fn a_probe_told_to_end_leaves_no_failed_span() {
    use loopkeeper::observe::{Attr, SpanSink};

    #[derive(Clone, Default)]
    struct Spans(Arc<Mutex<Vec<String>>>);
    impl SpanSink for Spans {
        fn attr(&self, _: Attr) {}
        fn error(&self, error: &str) {
            self.0.lock().unwrap().push(error.to_owned());
        }
        fn end(&self) {
            self.0.lock().unwrap().push("end".to_owned());
        }
    }

    alone(|| {
        let clock = ManualClock::default();
        let spans = Spans::default();
        let sink = spans.clone();
        let observer =
            Observer { span: Some(Arc::new(move |_, _| Arc::new(sink.clone()))), ..Observer::default() };
        let env = Env::with(EnvConfig::default().clock(&clock).spread(false).observer(observer)).unwrap();
        let mut first = true;
        let probe = move |cx: &Context| {
            if std::mem::take(&mut first) { Err("no".into()) } else { Ok(cx.sleep(secs(3600))?) }
        };
        let watcher = Watcher::start_in(&env, config("a", probe)).unwrap();
        clock.run_for(secs(2));
        assert!(watcher.stop(PATIENCE).is_clean());
        assert_eq!(*spans.0.lock().unwrap(), ["no", "end", "end"]);
    });
}

#[test]
fn the_gauge_is_right_although_two_threads_raced_to_set_it() {
    use loopkeeper::observe::Gauge;

    alone(|| {
        let (value, entered) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (told, theirs) = (value.clone(), entered.clone());
        let set = move |now: f64| {
            if now == 1.0 && !theirs.swap(true, Ordering::AcqRel) {
                // The loop's thread, which has just seen it ready: held back
                // until the thread that stops it has had its say.
                eventually("the stop sets it", || told.load(Ordering::Acquire) == 2.5_f64.to_bits());
            }
            let mark = if now == 0.0 && theirs.load(Ordering::Acquire) { 2.5 } else { now };
            told.store(mark.to_bits(), Ordering::Release);
        };
        let set = Arc::new(set);
        let gauge = move |name: &str| {
            let set = set.clone();
            if name == "watcher_ready" { Gauge::function(move |now| set(now)) } else { Gauge::default() }
        };
        let observer = Observer { gauge: Some(Arc::new(move |name, _| gauge(name))), ..Observer::default() };
        let env = Env::with(EnvConfig::default().observer(observer)).expect("an environment");
        let watcher = Watcher::start_in(&env, config("w", |_: &Context| Ok(()))).expect("it starts");
        eventually("the loop is in the gauge", || entered.load(Ordering::Acquire));
        assert!(watcher.stop(PATIENCE).is_clean());
        assert_eq!(f64::from_bits(value.load(Ordering::Acquire)), 2.5, "it is not ready any more");
    });
}

#[test]
fn a_heartbeat_that_stays_away_is_noticed_and_one_that_comes_back_at_once() {
    scenario(|clock, env| {
        let backoff = BackoffConfig { poll_interval: secs(10), ..exact() };
        let probe = loopkeeper::probe::heartbeat(secs(30));
        let watcher =
            Watcher::start_in(env, WatcherConfig::new("ingest", probe).backoff(backoff)).expect("it starts");
        let error = |watcher: &Watcher| watcher.last_error().map(|error| error.to_string());
        clock.settle();
        assert_eq!(error(&watcher).as_deref(), Some("heartbeat: none yet"));
        let known = |watcher: &Watcher| (watcher.status().health, watcher.status().failures);
        assert_eq!(known(&watcher), (Health::Unknown, 0));
        clock.run_for(secs(30));
        assert_eq!(error(&watcher).as_deref(), Some("heartbeat: none within 30s"));
        assert_eq!(known(&watcher), (Health::Down, 1));
        env.heartbeat("ingest").expect("it is watched");
        clock.settle();
        assert!(watcher.is_ready(), "without waiting for its next due");
        clock.run_for(secs(30));
        assert!(watcher.is_ready());
        // Not only when the next regular time has come.
        clock.run_for(Duration::from_millis(1));
        assert_eq!(error(&watcher).as_deref(), Some("heartbeat: the last was 30.001s ago, allowed is 30s"));
        env.heartbeat("ingest").expect("it is watched");
        clock.settle();
        assert!(watcher.is_ready());
        // One in time costs no probe.
        let runs = watcher.status().runs;
        env.heartbeat("ingest").expect("it is watched");
        clock.settle();
        assert_eq!(watcher.status().runs, runs);

        // Down wins at once, and until the next beat.
        let heart = loopkeeper::probe::Heartbeat::new(env, "ingest").expect("a name");
        heart.down(" no\nspace ").expect("it is watched");
        clock.settle();
        let down = "heartbeat: it says that it is down: no\\nspace";
        assert_eq!((error(&watcher).as_deref(), watcher.is_ready()), (Some(down), false));
        clock.run_for(secs(20));
        assert_eq!(error(&watcher).as_deref(), Some(down));
        heart.beat().expect("it is watched");
        clock.settle();
        assert!(watcher.is_ready());

        let unknown = env.heartbeat("ingets").unwrap_err();
        assert_eq!(unknown.kind(), ErrorKind::NotFound);
        assert!(unknown.to_string().contains("did you mean \"ingest\"?"), "{unknown}");
        drop(watcher);
        assert_eq!(env.heartbeat("other").unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(heart.beat().unwrap_err().kind(), ErrorKind::NotFound, "nobody is there any more");
        clock.run_for(secs(600));
        let again = config("ingest", loopkeeper::probe::heartbeat(secs(30)));
        let again = Watcher::start_in(env, again).expect("it starts");
        clock.settle();
        assert_eq!(error(&again).as_deref(), Some("heartbeat: none yet"), "it begins afresh");
        let forever = config("forever", loopkeeper::probe::heartbeat(Duration::MAX));
        let forever = Watcher::start_in(env, forever).expect("it starts");
        clock.settle();
        env.heartbeat("forever").expect("it is watched");
        clock.settle();
        assert!(forever.is_ready(), "{:?}", error(&forever));
        clock.run_for(secs(600));
        assert!(forever.is_ready(), "{:?}", error(&forever));
        // One that asks something else, from when that is known.
        let other = Watcher::start_in(env, config("other", |_: &Context| Ok(()))).expect("it starts");
        clock.settle();
        let unawaited = env.heartbeat("other").unwrap_err();
        assert_eq!(unawaited.kind(), ErrorKind::NotFound);
        let text = "other (watcher) waits for no heartbeat; these do: forever, ingest";
        assert_eq!(unawaited.to_string(), text);
        drop(other);
        // And one that is long in its first call.
        let gate = Gate::default();
        let long = Watcher::start_in(env, config("long", gate.probe(clock))).expect("it starts");
        clock.settle();
        clock.run_for(secs(1));
        let unawaited = env.heartbeat("long").unwrap_err();
        assert!(unawaited.to_string().starts_with("long (watcher) waits for no heartbeat"), "{unawaited}");
        gate.open();
        drop(long);
        let never = Watcher::new(env, config("never", loopkeeper::probe::heartbeat(Duration::ZERO)));
        assert_eq!(never.unwrap_err().to_string(), "grace: must be more than zero");
    });
}

#[test]
fn an_environment_tells_of_every_source_in_one_order() {
    alone(|| {
        let clock = ManualClock::default();
        let env = Env::manual(&clock).expect("an environment");
        let events = env.subscribe();
        let manager = WatchManager::new(&env);
        let watched = Watcher::start_in(&env, config("a", |_: &Context| Ok(()))).expect("it starts");
        manager.watch(config("b", |_: &Context| Ok(()))).expect("it is watched");
        clock.settle();
        let told: Vec<(u64, String)> = std::iter::from_fn(|| events.try_recv())
            .map(|delivery| (delivery.event.seq, delivery.event.source.to_string()))
            .collect();
        let numbers: Vec<u64> = told.iter().map(|(seq, _)| *seq).collect();
        assert_eq!(numbers, [1, 2, 3, 4], "{told:?}");
        assert_eq!(told.iter().filter(|(_, source)| source == "a").count(), 2, "{told:?}");
        assert!(!events.has_ended());
        drop((watched, manager, env));
        assert_eq!(words(&events), ["stopped", "stopped"]);
        assert!(events.has_ended());
    });
}

#[test]
fn one_very_watcher_is_unwatched_and_never_what_took_its_place() {
    scenario(|_, env| {
        let manager = WatchManager::new(env);
        let first = manager.watch(config("a", |_: &Context| Ok(()))).expect("it is watched");
        let (second, report) =
            manager.replace(config("a", |_: &Context| Ok(())), PATIENCE).expect("it is replaced");
        assert!(report.is_clean());
        assert_eq!(manager.unwatch_one(&first, PATIENCE).unwrap_err().kind(), ErrorKind::Stale);
        assert!(Arc::ptr_eq(&manager.get("a").expect("the second"), &second));
        assert!(manager.unwatch_one(&second, PATIENCE).expect("it is there").is_clean());
        assert!(manager.get("a").is_none());
        assert_eq!(manager.unwatch_one(&second, PATIENCE).unwrap_err().kind(), ErrorKind::Stale);
    });
}

#[test]
fn each_thread_of_alerts_that_does_not_end_tells_its_own_time() {
    scenario(|clock, env| {
        let gate = Gate::default();
        let (held, time) = (gate.clone(), clock.clone());
        let hangs = move |_: &loopkeeper::Name| {
            held.pass(&time);
            Vec::new()
        };
        let alerts = Alerts::new(env, AlertsConfig::default().requires(hangs));
        alerts.start().unwrap();
        let alert = AlertConfig::default().on_down(Action::exec(["true"]));
        let script = Script::new([true, false]);
        let watcher = Watcher::start_in(env, config("db", script).alert(alert)).unwrap();
        // It goes down at 60.
        clock.run_for(secs(70));
        assert_eq!((gate.waiting(), alerts.stop(millis(1)).stragglers().len()), (1, 1));
        alerts.start().unwrap();
        clock.run_for(secs(5));
        assert_eq!(gate.waiting(), 2);
        let stuck: Vec<_> = alerts.stop(millis(1)).stragglers().iter().map(|it| it.stuck_for).collect();
        assert_eq!(stuck, [secs(15), secs(5)]);
        gate.open();
        assert!(alerts.stop(PATIENCE).is_clean());
        assert!(watcher.stop(PATIENCE).is_clean());
    });
}
