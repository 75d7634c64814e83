//! User code that misbehaves: objects that panic or hang when dropped, panics
//! that carry such objects, callbacks that never return, calls back into the
//! library from every place where user code runs.

#![allow(clippy::unwrap_used, reason = "a failed set-up is a failed test")]
#![allow(clippy::disallowed_methods, reason = "the user's side of a race needs threads and time of its own")]

mod support;

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::thread;
use std::time::{Duration, Instant};

use loopkeeper::observe::{Gauge, Observer};
use loopkeeper::status::{Phase, StatusSource};
use loopkeeper::testing::{Gate, Script};
use loopkeeper::watch::BackoffConfig;
use loopkeeper::{
    CancelToken, Context, Env, EnvConfig, ErrorKind, Health, ManualClock, WatchManager, Watcher,
    WatcherConfig,
};
use support::{PATIENCE, alone, eventually, scenario, threads_named};

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

const fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn exact() -> BackoffConfig {
    BackoffConfig { jitter: 0.0, ..BackoffConfig::default() }
}

fn config(name: &str, probe: impl loopkeeper::Probe + 'static) -> WatcherConfig {
    WatcherConfig::new(name, probe).backoff(exact())
}

/// Holds real calls until it is opened; counts those who came.
#[derive(Clone, Default)]
struct Hold(Arc<(AtomicBool, AtomicU32)>);

impl Hold {
    fn pass(&self) {
        self.0.1.fetch_add(1, Ordering::SeqCst);
        while !self.0.0.load(Ordering::SeqCst) {
            thread::sleep(millis(1));
        }
    }

    fn open(&self) {
        self.0.0.store(true, Ordering::SeqCst);
    }

    fn arrived(&self) -> u32 {
        self.0.1.load(Ordering::SeqCst)
    }

    fn stuck(&self, name: &str) -> WatcherConfig {
        let hold = self.clone();
        WatcherConfig::new(name, move |_: &Context| {
            hold.pass();
            Ok(())
        })
    }
}

/// Opens a hold when the test ends, however it ends.
struct Opens(Hold);

impl Drop for Opens {
    fn drop(&mut self) {
        self.0.open();
    }
}

struct PanicsInDrop;

impl Drop for PanicsInDrop {
    fn drop(&mut self) {
        panic!("dropped");
    }
}

/// Calls a function when it is dropped.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

fn counted(count: Arc<AtomicU32>) -> impl FnMut() + Send + 'static {
    move || {
        count.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn a_callback_that_panics_with_a_panicking_payload_leaves_the_others_their_callbacks() {
    scenario(|clock, env| {
        let config_a = config("a", Script::new([true])).on_ready(|| std::panic::panic_any(PanicsInDrop));
        let _a = Watcher::start_in(env, config_a).unwrap();
        clock.settle();
        let told = Arc::new(AtomicU32::new(0));
        let count = told.clone();
        let on_ready = counted(count);
        let _b = Watcher::start_in(env, config("b", Script::new([true])).on_ready(on_ready)).unwrap();
        clock.settle();
        assert_eq!((told.load(Ordering::SeqCst), env.callback_panics()), (1, 1));
    });
}

#[test]
fn an_observer_that_panics_with_a_panicking_payload_harms_nobody() {
    alone(|| {
        let clock = ManualClock::default();
        let gauge = |_: &'static str, _: &[_]| Gauge::function(|_| std::panic::panic_any(PanicsInDrop));
        let observer = Observer { gauge: Some(Arc::new(gauge)), ..Observer::default() };
        let env = Env::with(EnvConfig::default().clock(&clock).observer(observer)).unwrap();
        let gate = Gate::default();
        let watcher = Watcher::start_in(&env, config("a", gate.probe(&clock))).unwrap();
        clock.run_for(secs(10));
        assert_eq!(watcher.status().health, Health::Down, "told on the watchdog's thread");
        gate.open();
        clock.run_for(secs(60));
        assert!(watcher.is_ready());
        assert!(watcher.stop(PATIENCE).is_clean());
    });
}

#[test]
fn a_callback_whose_drop_panics_leaves_the_others_their_callbacks() {
    scenario(|clock, env| {
        let cell: Arc<Mutex<Option<Watcher>>> = Arc::default();
        let (inside, kept) = (cell.clone(), PanicsInDrop);
        let on_ready = move || {
            let _ = &kept;
            // The last handle: after this call nobody else holds the callback.
            drop(inside.lock().unwrap().take());
        };
        let gate = Gate::default();
        let probe = gate.probe(clock);
        let watcher = Watcher::start_in(env, config("a", probe).on_ready(on_ready)).unwrap();
        *cell.lock().unwrap() = Some(watcher);
        gate.open();
        clock.settle();
        assert!(cell.lock().unwrap().is_none());
        let told = Arc::new(AtomicU32::new(0));
        let count = told.clone();
        let on_ready = counted(count);
        let _b = Watcher::start_in(env, config("b", Script::new([true])).on_ready(on_ready)).unwrap();
        clock.settle();
        assert_eq!(told.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn a_callback_whose_drop_hangs_loses_its_thread_like_one_that_hangs() {
    scenario(|clock, env| {
        let cell: Arc<Mutex<Option<Watcher>>> = Arc::default();
        let gate = Gate::default();
        let (inside, held, their_clock) = (cell.clone(), gate.clone(), clock.clone());
        let kept = OnDrop(move || held.pass(&their_clock));
        let on_ready = move || {
            let _ = &kept;
            drop(inside.lock().unwrap().take());
        };
        let start = Gate::default();
        let watcher = Watcher::start_in(env, config("a", start.probe(clock)).on_ready(on_ready)).unwrap();
        *cell.lock().unwrap() = Some(watcher);
        start.open();
        clock.settle();
        assert_eq!(gate.waiting(), 1);
        let told = Arc::new(AtomicU32::new(0));
        let count = told.clone();
        let on_ready = counted(count);
        let _b = Watcher::start_in(env, config("b", Script::new([true])).on_ready(on_ready)).unwrap();
        clock.run_for(secs(10));
        assert_eq!((told.load(Ordering::SeqCst), env.retired_dispatchers()), (1, 1));
        gate.open();
        clock.settle();
    });
}

#[test]
fn dropping_a_manager_of_stuck_services_waits_once_for_all() {
    // Not at all where a stop has.
    for (is_stopped, limit) in [(false, PATIENCE), (true, millis(500))] {
        alone(|| {
            let hold = Hold::default();
            let opens = Opens(hold.clone());
            let env = Env::new().unwrap();
            let manager = WatchManager::new(&env);
            for n in 0..12 {
                manager.watch(hold.stuck(&format!("s{n}"))).unwrap();
            }
            eventually("the probes", || hold.arrived() == 12);
            if is_stopped {
                assert_eq!(manager.stop(millis(5)).stragglers().len(), 12);
            }
            let begun = Instant::now();
            drop(manager);
            assert!(begun.elapsed() < limit, "{:?}", begun.elapsed());
            drop(opens);
        });
    }
}

#[test]
fn dropping_a_watcher_whose_callback_hangs_is_bounded() {
    alone(|| {
        let hold = Hold::default();
        let opens = Opens(hold.clone());
        let inside = hold.clone();
        let config = WatcherConfig::new("a", |_: &Context| Ok(()))
            .drop_grace(millis(50))
            .on_ready(move || inside.pass());
        let watcher = Watcher::start(config).unwrap();
        eventually("the callback", || hold.arrived() == 1);
        let begun = Instant::now();
        drop(watcher);
        assert!(begun.elapsed() < secs(4), "{:?}", begun.elapsed());
        drop(opens);
    });
}

#[test]
fn a_stop_names_the_callback_that_still_runs() {
    alone(|| {
        let hold = Hold::default();
        let opens = Opens(hold.clone());
        let inside = hold.clone();
        // One event for the callback, so that none waits behind it.
        let cell: Arc<OnceLock<Weak<Watcher>>> = Arc::default();
        let config = WatcherConfig::new("a", |_: &Context| Ok(())).on_ready(move || inside.pass());
        let watcher = Arc::new(Watcher::start(config).unwrap());
        cell.set(Arc::downgrade(&watcher)).unwrap();
        eventually("the callback", || hold.arrived() == 1);
        let report = watcher.stop(millis(50));
        let [straggler] = report.stragglers() else { panic!("{report}") };
        assert_eq!((straggler.name.as_str(), straggler.phase), ("a", "its callback"));
        assert_eq!(straggler.thread, "lk/dispatch");
        assert!(straggler.tid > 0, "{report}");
        let report = watcher.stop(millis(150));
        let activity = report.stragglers()[0].activity.as_ref().unwrap();
        assert!(activity.cpu_percent.is_some(), "looked at twice: {report}");
        hold.open();
        eventually("the callback to end", || watcher.stop(PATIENCE).is_clean());
        drop(opens);
    });
}

#[test]
fn a_hung_probe_of_a_cancelled_watcher_does_not_say_ready_for_ever() {
    scenario(|clock, env| {
        let token = CancelToken::new();
        let gate = Gate::default();
        gate.open();
        let watcher = Watcher::start_in(env, config("a", gate.probe(clock)).cancelled_by(&token)).unwrap();
        let events = watcher.subscribe();
        clock.settle();
        gate.shut();
        clock.run_for(secs(60));
        token.cancel();
        clock.run_for(secs(10));
        let status = watcher.status();
        assert_eq!((status.health, status.phase), (Health::Unknown, Phase::Stopped));
        gate.open();
        let told: Vec<_> = events.iter().map(|delivery| delivery.event.what.as_str()).collect();
        assert_eq!(told.last(), Some(&"stopped"), "{told:?}");
    });
}

#[test]
fn subscriptions_end_when_a_token_ends_the_watcher() {
    scenario(|clock, env| {
        let token = CancelToken::new();
        let watcher = Watcher::start_in(env, config("a", Script::new([true])).cancelled_by(&token)).unwrap();
        let events = watcher.subscribe();
        clock.settle();
        token.cancel();
        assert!(watcher.wait_timeout(PATIENCE));
        while events.try_recv().is_some() {}
        assert!(events.has_ended());
    });
}

#[test]
fn a_stop_names_who_was_unwatched_or_replaced_and_is_stuck() {
    alone(|| {
        let manager = WatchManager::new(&Env::new().unwrap());
        let hold = Hold::default();
        manager.watch(hold.stuck("a")).unwrap();
        manager.watch(hold.stuck("b")).unwrap();
        let own = manager.watch(hold.stuck("c")).unwrap();
        eventually("the probes", || hold.arrived() == 3);
        let (_, report) = manager.replace(WatcherConfig::new("a", |_: &Context| Ok(())), millis(5)).unwrap();
        assert_eq!(report.stragglers().len(), 1, "{report}");
        assert_eq!(manager.unwatch("b", millis(5)).unwrap().stragglers().len(), 1);
        assert_eq!(manager.unwatch_one(&own, millis(5)).unwrap().stragglers().len(), 1);
        let inside = hold.clone();
        let calls = WatcherConfig::new("d", |_: &Context| Ok(())).on_ready(move || inside.pass());
        manager.watch(calls).unwrap();
        eventually("the callback", || hold.arrived() == 4);
        assert_eq!(manager.unwatch("d", millis(5)).unwrap().stragglers()[0].phase, "its callback");
        for _ in 0..2 {
            let report = manager.stop(millis(5));
            let mut stuck: Vec<_> = report.stragglers().iter().map(|one| one.name.as_str()).collect();
            stuck.sort_unstable();
            assert_eq!(stuck, ["a", "b", "c", "d"], "{report}");
        }
        // It waits for them, and not only for those that are watched.
        let open = hold.clone();
        let opener = thread::spawn(move || {
            thread::sleep(millis(50));
            open.open();
        });
        let report = manager.stop(PATIENCE);
        assert!(report.is_clean() && threads_named("w/") == 0, "{report}");
        opener.join().unwrap();
        // One that somebody has started again is theirs.
        own.restart().unwrap();
        assert!(own.wait_ready(PATIENCE) && manager.stop(PATIENCE).is_clean() && own.is_ready());
    });
}

#[test]
fn a_stop_during_an_unwatch_names_who_is_stuck() {
    alone(|| {
        let manager = WatchManager::new(&Env::new().unwrap());
        let hold = Hold::default();
        manager.watch(hold.stuck("a")).unwrap();
        eventually("the probe", || hold.arrived() == 1);
        thread::scope(|scope| {
            let unwatch = scope.spawn(|| manager.unwatch("a", PATIENCE).unwrap());
            eventually("the unwatch", || manager.get("a").is_none());
            let report = manager.stop(millis(5));
            assert_eq!(report.stragglers().len(), 1, "{report}");
            hold.open();
            drop(unwatch.join().unwrap());
        });
        eventually("the thread to end", || threads_named("w/") == 0);
        assert!(manager.stop(PATIENCE).is_clean());
    });
}

#[test]
fn what_was_unwatched_and_stuck_is_let_go_of_once_it_has_ended() {
    alone(|| {
        let manager = WatchManager::new(&Env::new().unwrap());
        let hold = Hold::default();
        let users = Arc::new(());
        let (theirs, inside) = (users.clone(), hold.clone());
        let probe = move |_: &Context| {
            let _keep = &theirs;
            inside.pass();
            Ok(())
        };
        manager.watch(WatcherConfig::new("a", probe)).unwrap();
        eventually("the probe", || hold.arrived() == 1);
        assert!(!manager.unwatch("a", millis(5)).unwrap().is_clean());
        hold.open();
        eventually("the probe to be dropped", || {
            assert!(manager.statuses().is_empty());
            Arc::strong_count(&users) == 1
        });
    });
}

#[test]
fn two_replacements_at_once_leave_one_watcher() {
    alone(|| {
        let env = Env::new().unwrap();
        let manager = WatchManager::new(&env);
        let hold = Hold::default();
        let old = manager.watch(hold.stuck("a")).unwrap();
        eventually("the probe", || hold.arrived() == 1);
        thread::scope(|scope| {
            let replace = || manager.replace(WatcherConfig::new("a", |_: &Context| Ok(())), PATIENCE);
            let both = [scope.spawn(replace), scope.spawn(replace)];
            thread::sleep(millis(50));
            hold.open();
            for one in both {
                let (_, report) = one.join().unwrap().unwrap();
                assert!(report.is_clean(), "{report}");
            }
        });
        assert_eq!(old.status().phase, Phase::Stopped);
        eventually("one thread", || threads_named("w/a") == 1);
        assert!(manager.stop(PATIENCE).is_clean());
    });
}

#[test]
fn a_refused_duplicate_does_not_touch_the_metrics_of_the_first() {
    alone(|| {
        let cell = Arc::new(std::sync::atomic::AtomicU64::new(0));
        let theirs = cell.clone();
        let gauge = move |_: &'static str, _: &[_]| Gauge::atomic(theirs.clone());
        let observer = Observer { gauge: Some(Arc::new(gauge)), ..Observer::default() };
        let env = Env::with(EnvConfig::default().observer(observer)).unwrap();
        let manager = WatchManager::new(&env);
        let first = manager.watch(WatcherConfig::new("a", |_: &Context| Ok(()))).unwrap();
        assert!(first.wait_ready(PATIENCE));
        eventually("the gauge", || f64::from_bits(cell.load(Ordering::SeqCst)) == 1.0);
        let again = manager.watch(WatcherConfig::new("a", |_: &Context| Ok(())));
        assert_eq!(again.unwrap_err().kind(), ErrorKind::Duplicate);
        assert_eq!(f64::from_bits(cell.load(Ordering::SeqCst)), 1.0);
    });
}

#[test]
fn on_cancel_is_not_called_once_its_guard_is_gone() {
    scenario(|clock, env| {
        // The dispatcher is held, so that the call about the cancel waits.
        let gate = Gate::default();
        let (held, their_clock) = (gate.clone(), clock.clone());
        let on_ready = move || held.pass(&their_clock);
        let _first = Watcher::start_in(env, config("first", Script::new([true])).on_ready(on_ready)).unwrap();
        clock.settle();
        let called = Arc::new(AtomicU32::new(0));
        let count = called.clone();
        let probe = move |cx: &Context| {
            let count = count.clone();
            let _guard = cx.on_cancel(counted(count));
            Ok(cx.sleep(secs(3600))?)
        };
        let second = Watcher::start_in(env, config("second", probe)).unwrap();
        clock.settle();
        assert!(second.stop(PATIENCE).is_clean());
        gate.open();
        clock.settle();
        assert_eq!(called.load(Ordering::SeqCst), 0, "its socket may be another's by now");
    });
}

#[test]
fn a_manual_clock_at_the_end_of_time_still_settles() {
    scenario(|clock, env| {
        let watcher = Watcher::start_in(env, config("a", Script::new([true]))).unwrap();
        clock.jump(Duration::MAX);
        clock.settle();
        assert!(watcher.is_ready());
        assert!(watcher.stop(PATIENCE).is_clean());
    });
}

#[test]
fn every_call_works_from_every_place_where_user_code_runs() {
    alone(|| {
        let manager = Arc::new(WatchManager::new(&Env::new().unwrap()));
        let places: Arc<Mutex<Vec<&'static str>>> = Arc::default();
        let weak = Arc::downgrade(&manager);
        let (seen, n) = (places.clone(), Arc::new(AtomicU32::new(0)));
        let calls = move |place: &'static str| {
            let Some(manager) = weak.upgrade() else { return };
            let _ = manager.status();
            drop(manager.subscribe());
            let _ = manager.trigger("b");
            let name = format!("extra{}", n.fetch_add(1, Ordering::SeqCst));
            let extra = manager.watch(WatcherConfig::new(name, |_: &Context| Ok(()))).unwrap();
            drop(extra.subscribe());
            let _ = (extra.status(), extra.is_ready(), extra.last_error());
            let extra_name = extra.name().clone();
            drop(extra);
            assert!(manager.unwatch(extra_name.as_str(), PATIENCE).unwrap().stragglers().is_empty());
            seen.lock().unwrap().push(place);
        };
        let in_probe = calls.clone();
        let in_drop = calls.clone();
        let in_panic = calls.clone();
        let in_callback = calls.clone();
        let mut first = true;
        let kept = OnDrop(move || in_drop("drop of a probe"));
        let probe = move |_: &Context| {
            let _ = &kept;
            if std::mem::take(&mut first) {
                in_probe("probe");
                let in_panic = in_panic.clone();
                std::panic::panic_any(OnDrop(move || in_panic("drop of a payload")));
            }
            Ok(())
        };
        let backoff = BackoffConfig { initial_delay: millis(1), ..exact() };
        let config =
            WatcherConfig::new("a", probe).backoff(backoff).on_ready(move || in_callback("callback"));
        let watcher = manager.watch(config).unwrap();
        assert!(watcher.wait_ready(PATIENCE));
        eventually("the callback", || places.lock().unwrap().contains(&"callback"));
        let name = watcher.name().clone();
        drop(watcher);
        assert!(manager.unwatch(name.as_str(), PATIENCE).unwrap().is_clean());
        let mut seen = places.lock().unwrap().clone();
        seen.sort_unstable();
        assert_eq!(seen, ["callback", "drop of a payload", "drop of a probe", "probe"]);
        assert!(manager.stop(PATIENCE).is_clean());
    });
}

#[test]
fn a_probe_that_parks_and_is_unparked_keeps_its_doorbell() {
    alone(|| {
        let thread: Arc<Mutex<Option<thread::Thread>>> = Arc::default();
        let theirs = thread.clone();
        let go = Arc::new(AtomicBool::new(false));
        let may = go.clone();
        let probe = move |_: &Context| {
            *theirs.lock().unwrap() = Some(thread::current());
            while !may.load(Ordering::SeqCst) {
                thread::park();
            }
            Ok(())
        };
        let watcher = Watcher::start(config("a", probe)).unwrap();
        eventually("the probe", || thread.lock().unwrap().is_some());
        // Rings whose wake-up the probe takes for its own.
        watcher.trigger();
        watcher.trigger();
        go.store(true, Ordering::SeqCst);
        thread.lock().unwrap().as_ref().unwrap().unpark();
        eventually("the run after the trigger", || watcher.status().runs == 2);
        for _ in 0..100 {
            thread.lock().unwrap().as_ref().unwrap().unpark();
        }
        watcher.trigger();
        eventually("one more run", || watcher.status().runs == 3);
        assert!(watcher.stop(PATIENCE).is_clean());
    });
}

#[test]
fn a_stuck_probe_outlives_its_watcher_and_takes_the_environment_along() {
    alone(|| {
        let hold = Hold::default();
        let dropped = Arc::new(AtomicU32::new(0));
        let count = dropped.clone();
        let (inside, kept) = (hold.clone(), OnDrop(counted(count)));
        let probe = move |_: &Context| {
            let _ = &kept;
            inside.pass();
            Ok(())
        };
        let config = WatcherConfig::new("a", probe).drop_grace(millis(10)).on_ready(|| ());
        let watcher = Watcher::start(config).unwrap();
        eventually("the probe", || hold.arrived() == 1);
        drop(watcher);
        assert_eq!(threads_named("w/a"), 1);
        hold.open();
        eventually("the probe to be dropped", || dropped.load(Ordering::SeqCst) == 1);
    });
}

#[test]
fn the_last_handle_may_be_dropped_on_any_thread_of_ours() {
    alone(|| {
        for place in ["probe", "callback"] {
            let cell: Arc<Mutex<Option<Watcher>>> = Arc::default();
            let (in_probe, in_callback) = (cell.clone(), cell.clone());
            let take = |cell: &Mutex<Option<Watcher>>| loop {
                if let Some(watcher) = cell.lock().unwrap().take() {
                    break drop(watcher);
                }
                thread::yield_now();
            };
            let probe = move |_: &Context| {
                if place == "probe" {
                    take(&in_probe);
                }
                Ok(())
            };
            let on_ready = move || {
                if place == "callback" {
                    take(&in_callback);
                }
            };
            // Its own environment: its threads are stopped from one of them.
            *cell.lock().unwrap() = Some(Watcher::start(config("a", probe).on_ready(on_ready)).unwrap());
            // Before it was taken its threads may not have their names yet.
            eventually(place, || {
                cell.lock().unwrap().is_none() && threads_named("w/") + threads_named("lk/") == 0
            });
        }
    });
}

#[test]
fn a_service_may_be_replaced_and_unwatched_from_its_own_calls() {
    alone(|| {
        for place in ["probe", "callback"] {
            let manager = Arc::new(WatchManager::new(&Env::new().unwrap()));
            let done = Arc::new(AtomicU32::new(0));
            let weak = Arc::downgrade(&manager);
            let count = done.clone();
            let act = move |here: &'static str| {
                if here != place || count.load(Ordering::SeqCst) > 0 {
                    return;
                }
                let manager = weak.upgrade().unwrap();
                let (new, _) =
                    manager.replace(WatcherConfig::new("a", |_: &Context| Ok(())), PATIENCE).unwrap();
                assert!(new.wait_ready(PATIENCE));
                let _ = manager.unwatch(new.name().as_str(), PATIENCE).unwrap();
                count.fetch_add(1, Ordering::SeqCst);
            };
            let in_callback = act.clone();
            let probe = move |_: &Context| {
                act("probe");
                Ok(())
            };
            let config = WatcherConfig::new("a", probe).on_ready(move || in_callback("callback"));
            manager.watch(config).unwrap();
            eventually(place, || done.load(Ordering::SeqCst) == 1);
            assert!(manager.status().is_empty());
            assert!(manager.stop(PATIENCE).is_clean());
            eventually("the old one to end", || threads_named("w/") == 0);
        }
    });
}

#[test]
fn a_subscription_to_a_stopped_manager_has_ended() {
    scenario(|clock, env| {
        let manager = WatchManager::new(env);
        let watcher = manager.watch(config("a", Script::new([true]))).unwrap();
        clock.settle();
        assert!(manager.stop(PATIENCE).is_clean());
        assert!(manager.subscribe().has_ended());
        // That of one watcher hears of its next run.
        let events = watcher.subscribe();
        assert!(!events.has_ended());
        watcher.restart().unwrap();
        clock.settle();
        assert!(watcher.stop(PATIENCE).is_clean());
        let told: Vec<_> = events.iter().map(|delivery| delivery.event.what.as_str()).collect();
        assert_eq!(told, ["started", "ready", "stopped"]);
    });
}
