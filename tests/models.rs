//! Whole loops under shuttle's scheduler, always on the manual clock: watcher,
//! watchdog, dispatcher and the clock itself, in thousands of interleavings.
//!
//!     RUSTFLAGS='--cfg shuttle' cargo test --release --features test-util,http --test models
//!
//! Each test names the mutant that it catches; how each was seen to catch it
//! is in the test's comment.
#![cfg(shuttle)]
#![allow(clippy::unwrap_used, reason = "a failed set-up is a failed model")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use loopkeeper::controller::Outcome;
use loopkeeper::decode::Object;
use loopkeeper::event::RecoveryStep;
use loopkeeper::host::ComponentState;
use loopkeeper::host::deploy::{Deployer, DeployerConfig, Registry};
use loopkeeper::monitor::{Report, Verdict};
use loopkeeper::recovery::{
    Checkpoint, Executor, ExecutorConfig, Metadata, Recover, RecoveryMonitor, RecoveryMonitorConfig,
    RecoveryPolicy, Remedy, Restore, Restored, TrainingRun,
};
use loopkeeper::status::Phase;
use loopkeeper::testing::Gate;
use loopkeeper::watch::BackoffConfig;
use loopkeeper::{
    BoxError, CancelToken, Component, ComponentConfig, Context, ControllerConfig, ControllerManager,
    ControllerManagerConfig, Env, ErrorKind, EventKind, Health, Host, HostConfig, ManualClock, Monitor,
    MonitorConfig, Watcher, WatcherConfig,
};

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn rounds() -> usize {
    std::env::var("ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(10_000)
}

/// Runs a model under random schedules and under PCT, which finds what needs
/// one thread to be held back for long.
fn model(test: impl Fn() + Send + Sync + Clone + 'static) {
    shuttle::check_random(test.clone(), rounds());
    shuttle::check_pct(test, rounds(), 3);
}

fn exact() -> BackoffConfig {
    BackoffConfig { jitter: 0.0, ..BackoffConfig::default() }
}

/// The words of all events so far, whoever subscribed.
fn log(env: &Env) -> Vec<&'static str> {
    env.events_after(0, 100).events.iter().map(|event| event.what.as_str()).collect()
}

fn counted(count: &Arc<AtomicU32>) -> impl FnMut() + Send + use<> {
    let count = count.clone();
    move || {
        count.fetch_add(1, Ordering::SeqCst);
    }
}

/// Mutant: `Alarm::misses` always false (the loop never rings). The hang is
/// then noticed at the next regular deadline, 60 s later.
#[test]
fn a_hang_after_a_trigger_is_published_at_its_deadline() {
    model(|| {
        let clock = ManualClock::default();
        let env = Env::manual(&clock).unwrap();
        let gate = Gate::default();
        gate.open();
        let config = WatcherConfig::new("a", gate.probe(&clock)).backoff(exact());
        let watcher = Watcher::start_in(&env, config).unwrap();
        clock.run_for(secs(1));
        gate.shut();
        watcher.trigger();
        clock.run_for(secs(10));
        let status = watcher.status();
        assert_eq!((status.health, status.timeouts), (Health::Down, 1));
        gate.open();
        clock.settle();
        assert_eq!(watcher.status().late, 1);
        assert!(watcher.stop(secs(1)).is_clean());
    });
}

/// Mutant: the watchdog does not look again after it has set its alarm (the
/// inner loop of `Watchdog::run` taken out).
#[test]
fn a_hang_of_the_very_first_call_is_published() {
    model(|| {
        let clock = ManualClock::default();
        let env = Env::manual(&clock).unwrap();
        let gate = Gate::default();
        let config = WatcherConfig::new("a", gate.probe(&clock)).backoff(exact());
        let watcher = Watcher::start_in(&env, config).unwrap();
        clock.run_for(secs(10));
        assert_eq!(watcher.status().health, Health::Down);
        gate.open();
        assert!(watcher.stop(secs(1)).is_clean());
    });
}

/// Mutant: `Source::begin` without its look at the stage. A call then begins
/// after `stop` has returned its report.
#[test]
fn nothing_begins_after_a_stop_and_nothing_is_told() {
    model(|| {
        let clock = ManualClock::default();
        let env = Env::manual(&clock).unwrap();
        let calls = Arc::new(AtomicU32::new(0));
        let count = calls.clone();
        let probe = move |_: &Context| {
            count.fetch_add(1, Ordering::SeqCst);
            Ok(())
        };
        let watcher = Watcher::start_in(&env, WatcherConfig::new("a", probe).backoff(exact())).unwrap();
        let events = watcher.subscribe();
        watcher.trigger();
        assert!(watcher.stop(secs(1)).is_clean());
        let at_stop = calls.load(Ordering::SeqCst);
        watcher.trigger();
        let told: Vec<_> = std::iter::from_fn(|| events.try_recv()).map(|d| d.event.what.as_str()).collect();
        assert_eq!(told.last(), Some(&"stopped"), "{told:?}");
        drop(watcher);
        assert_eq!(calls.load(Ordering::SeqCst), at_stop);
    });
}

/// Mutants: `put_back` forgets the rest of the queue; `Dispatcher::push` rings
/// before it pushes, so the thread looks too early and sleeps.
#[test]
fn callbacks_are_made_in_order_and_none_is_forgotten() {
    model(|| {
        let clock = ManualClock::default();
        let env = Env::manual(&clock).unwrap();
        let told = Arc::new(std::sync::Mutex::new(Vec::new()));
        let (ready, down) = (told.clone(), told.clone());
        let mut up = false;
        let flapping = move |_: &Context| {
            up = !up;
            if up { Ok(()) } else { Err("down".into()) }
        };
        let config = WatcherConfig::new("a", flapping)
            .backoff(exact())
            .on_ready(move || ready.lock().unwrap().push("ready"))
            .on_down(move |_| down.lock().unwrap().push("down"));
        let watcher = Watcher::start_in(&env, config).unwrap();
        for _ in 0..2 {
            watcher.trigger();
        }
        clock.run_for(secs(62));
        clock.settle();
        let told = told.lock().unwrap().clone();
        assert!(told.len() >= 2, "{told:?}");
        for (i, word) in told.iter().enumerate() {
            assert_eq!(*word, if i % 2 == 0 { "ready" } else { "down" }, "{told:?}");
        }
        let last = if watcher.is_ready() { "ready" } else { "down" };
        assert_eq!(told.last(), Some(&last), "{told:?}");
        assert!(watcher.stop(secs(1)).is_clean());
    });
}

/// Mutant: `CancelToken::child` hangs itself on its parent before it looks
/// whether the parent is cancelled, without the parent's lock.
#[test]
fn a_cancel_reaches_a_child_made_at_the_same_time() {
    model(|| {
        let root = CancelToken::new();
        let theirs = root.clone();
        let cancels = shuttle::thread::spawn(move || theirs.cancel());
        let child = root.child();
        cancels.join().unwrap();
        assert!(child.is_cancelled());
    });
}

/// Mutant: `State::wake` leaves a rung sleeper in the list of the sleeping,
/// so `settle` takes a watcher that has just been triggered for settled.
#[test]
fn settle_waits_for_what_was_just_triggered() {
    model(|| {
        let clock = ManualClock::default();
        let env = Env::manual(&clock).unwrap();
        let config = WatcherConfig::new("a", |_: &Context| Ok(())).backoff(exact());
        let watcher = Watcher::start_in(&env, config).unwrap();
        clock.settle();
        assert_eq!(watcher.status().runs, 1);
        watcher.trigger();
        clock.settle();
        assert_eq!(watcher.status().runs, 2);
        assert!(watcher.stop(secs(1)).is_clean());
    });
}

/// Mutant: `Retire::overdue` does not ring the successor, so what waited
/// behind the hung callback waits for ever.
#[test]
fn a_hung_callback_is_retired_while_the_others_are_called() {
    model(|| {
        let clock = ManualClock::default();
        let env = Env::manual(&clock).unwrap();
        let gate = Gate::default();
        let (inside, their_clock) = (gate.clone(), clock.clone());
        let told = Arc::new(AtomicU32::new(0));
        let ok = |_: &Context| Ok(());
        let hangs = WatcherConfig::new("a", ok).backoff(exact()).on_ready(move || inside.pass(&their_clock));
        let a = Watcher::start_in(&env, hangs).unwrap();
        clock.settle();
        let config = WatcherConfig::new("b", ok).backoff(exact()).on_ready(counted(&told));
        let b = Watcher::start_in(&env, config).unwrap();
        clock.run_for(secs(10));
        assert_eq!((told.load(Ordering::SeqCst), env.retired_dispatchers()), (1, 1));
        gate.open();
        assert!(a.stop(secs(1)).is_clean() && b.stop(secs(1)).is_clean());
    });
}

/// Mutant: `Source::overdue` without its look at the stage: a timeout is told
/// of a loop that has said that it stopped.
#[test]
fn a_timeout_at_the_moment_of_a_stop_is_not_told_after_it() {
    model(|| {
        let clock = ManualClock::default();
        let env = Env::manual(&clock).unwrap();
        let gate = Gate::default();
        let config = WatcherConfig::new("a", gate.probe(&clock)).backoff(exact());
        let watcher = Arc::new(Watcher::start_in(&env, config).unwrap());
        clock.settle();
        let theirs = watcher.clone();
        let stops = shuttle::thread::spawn(move || theirs.stop(secs(1)).is_clean());
        clock.jump(secs(10));
        gate.open();
        assert!(stops.join().unwrap());
        let told = log(&env);
        assert_eq!(told.last(), Some(&"stopped"), "{told:?}");
        let status = watcher.status();
        assert_eq!((status.health, status.phase), (Health::Unknown, Phase::Stopped));
    });
}

/// Mutant: `Source::end` without its look at the stage: the end is told twice.
#[test]
fn of_two_stops_at_once_one_tells() {
    model(|| {
        let clock = ManualClock::default();
        let env = Env::manual(&clock).unwrap();
        let told = Arc::new(AtomicU32::new(0));
        let config = WatcherConfig::new("a", |_: &Context| Ok(())).backoff(exact()).on_ready(counted(&told));
        let watcher = Arc::new(Watcher::start_in(&env, config).unwrap());
        let theirs = watcher.clone();
        let stops = shuttle::thread::spawn(move || theirs.stop(secs(1)).is_clean());
        assert!(watcher.stop(secs(1)).is_clean());
        assert!(stops.join().unwrap());
        assert_eq!(log(&env).iter().filter(|word| **word == "stopped").count(), 1);
    });
}

/// Mutant: `Hub::subscribe` takes the list, adds to it and puts it back in two
/// steps, so that a subscriber is lost; or a dropped `Subscriber` does not say
/// that it has ended.
#[test]
fn subscribers_come_and_go_while_events_are_sent() {
    model(|| {
        let clock = ManualClock::default();
        let env = Env::manual(&clock).unwrap();
        let mut up = false;
        let flapping = move |_: &Context| {
            up = !up;
            if up { Ok(()) } else { Err("down".into()) }
        };
        let config = WatcherConfig::new("a", flapping).backoff(exact());
        let watcher = Arc::new(Watcher::start_in(&env, config).unwrap());
        let kept = watcher.subscribe();
        let theirs = watcher.clone();
        let goes = shuttle::thread::spawn(move || {
            for _ in 0..2 {
                let events = theirs.subscribe();
                theirs.trigger();
                drop(events.try_recv());
            }
            theirs.subscribe()
        });
        watcher.trigger();
        let late = goes.join().unwrap();
        assert!(watcher.stop(secs(1)).is_clean());
        for events in [kept, late] {
            let mut last = None;
            while let Some(delivery) = events.try_recv() {
                assert_eq!(delivery.lost, 0);
                assert!(last.is_none_or(|n| delivery.event.n == n + 1));
                last = Some(delivery.event.n);
            }
            assert_eq!(last, Some(env.events_after(0, 100).next), "up to the end");
            assert!(events.has_ended());
        }
    });
}

/// Mutant: `Loop::start` without its look at `stops`: the end of an old stop
/// closes the callbacks of the new run, or takes its thread for a straggler.
#[test]
fn a_restart_during_a_stop_is_refused_or_whole() {
    model(|| {
        let clock = ManualClock::default();
        let env = Env::manual(&clock).unwrap();
        let told = Arc::new(AtomicU32::new(0));
        let config = WatcherConfig::new("a", |_: &Context| Ok(())).backoff(exact()).on_ready(counted(&told));
        let watcher = Arc::new(Watcher::start_in(&env, config).unwrap());
        clock.settle();
        let theirs = watcher.clone();
        let stops = shuttle::thread::spawn(move || theirs.stop(secs(1)).is_clean());
        let restarted = watcher.wait_timeout(secs(1)) && {
            let result = watcher.restart();
            let refused = result.as_ref().is_err_and(|error| error.kind() == ErrorKind::InvalidState);
            assert!(result.is_ok() || refused);
            result.is_ok()
        };
        assert!(stops.join().unwrap());
        clock.settle();
        if restarted {
            assert_eq!((told.load(Ordering::SeqCst), watcher.is_ready()), (2, true));
        } else {
            watcher.restart().unwrap();
            clock.settle();
            assert_eq!((told.load(Ordering::SeqCst), watcher.is_ready()), (2, true));
        }
        assert!(watcher.stop(secs(1)).is_clean());
        assert_eq!(log(&env), ["started", "ready", "stopped", "started", "ready", "stopped"]);
    });
}

/// Mutant: dropping the guard leaves the call in the token: it is then called
/// at a cancel long after.
#[test]
fn on_cancel_is_called_at_most_once_and_not_after_its_guard() {
    model(|| {
        let clock = ManualClock::default();
        let env = Env::manual(&clock).unwrap();
        let called = Arc::new(AtomicU32::new(0));
        let gone = Arc::new(AtomicU32::new(0));
        let (count, over) = (called.clone(), gone.clone());
        let probe = move |cx: &Context| {
            let guard = cx.on_cancel(counted(&count));
            drop(guard);
            over.store(1, Ordering::SeqCst);
            Ok(())
        };
        let watcher = Watcher::start_in(&env, WatcherConfig::new("a", probe).backoff(exact())).unwrap();
        shuttle::thread::yield_now();
        let was_over = gone.load(Ordering::SeqCst);
        assert!(watcher.stop(secs(1)).is_clean());
        clock.settle();
        let called = called.load(Ordering::SeqCst);
        assert!(called <= 1 - was_over, "{called} calls");
    });
}

/// Mutants: `Dispatcher::stop` or `Task::join_until` of the own thread without
/// its look at who calls: the callback waits for itself.
#[test]
fn a_callback_may_drop_the_last_of_everything() {
    model(|| {
        let clock = ManualClock::default();
        let cell: Arc<shuttle::sync::Mutex<Option<Watcher>>> = Arc::default();
        let dropped = Arc::new(AtomicU32::new(0));
        let (inside, count) = (cell.clone(), dropped.clone());
        let on_ready = move || {
            if let Some(watcher) = inside.lock().unwrap().take() {
                drop(watcher);
                count.fetch_add(1, Ordering::SeqCst);
            }
        };
        let config = WatcherConfig::new("a", |_: &Context| Ok(())).backoff(exact()).on_ready(on_ready);
        let watcher = Watcher::start_in(&Env::manual(&clock).unwrap(), config).unwrap();
        *cell.lock().unwrap() = Some(watcher);
        clock.settle();
        let left = cell.lock().unwrap().take();
        assert!(left.is_some() || dropped.load(Ordering::SeqCst) == 1);
    });
}

struct Kept;

impl Drop for Kept {
    fn drop(&mut self) {
        let thread = shuttle::thread::current();
        assert_ne!(thread.name(), Some("lk/watchdog"), "user code on the watchdog's thread");
    }
}

/// Mutant: `Guard::drop` does not wait for the watchdog to be done with its
/// entry, which may then be the last to hold the loop and all it was given.
#[test]
fn nothing_of_a_users_is_dropped_on_the_watchdogs_thread() {
    model(|| {
        let clock = ManualClock::default();
        let env = Env::manual(&clock).unwrap();
        let gate = Gate::default();
        let kept = Kept;
        let config = WatcherConfig::new("a", gate.probe(&clock)).backoff(exact()).on_ready(move || {
            let _ = &kept;
        });
        let watcher = Watcher::start_in(&env, config).unwrap();
        clock.settle();
        let drops = shuttle::thread::spawn(move || {
            gate.open();
            drop(watcher);
        });
        clock.jump(secs(10));
        drops.join().unwrap();
        assert_eq!(env.callback_panics(), 0);
    });
}

/// Mutant: `Slot::postpone` with a plain store: what the watchdog says of a
/// call that is over overwrites the deadline of the next, which then hangs
/// unnoticed.
#[test]
fn a_hang_right_after_a_late_call_is_published() {
    model(|| {
        let clock = ManualClock::default();
        let env = Env::manual(&clock).unwrap();
        let gate = Gate::default();
        let config = WatcherConfig::new("a", gate.probe(&clock)).backoff(exact());
        let watcher = Watcher::start_in(&env, config).unwrap();
        clock.settle();
        watcher.trigger();
        let theirs = gate.clone();
        let lets_go = shuttle::thread::spawn(move || theirs.release_waiting());
        clock.jump(secs(10));
        lets_go.join().unwrap();
        clock.settle();
        let before = watcher.status();
        assert_eq!(before.runs, 2);
        clock.run_for(secs(10));
        // Begun before the jump, it was published by then.
        let new = u64::from(before.running_for == Some(Duration::ZERO));
        assert_eq!(watcher.status().timeouts, before.timeouts + new);
        assert!(watcher.status().timeouts > 0);
        gate.open();
        assert!(watcher.stop(secs(1)).is_clean());
    });
}

/// A component that counts how many of its calls run at once, and whether it
/// is at work.
struct Counted {
    at_work: Arc<AtomicU32>,
    in_call: Arc<AtomicU32>,
}

impl Counted {
    fn call(&self, change: impl FnOnce(&AtomicU32)) {
        assert_eq!(self.in_call.fetch_add(1, Ordering::SeqCst), 0, "two calls at once");
        change(&self.at_work);
        self.in_call.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Component for Counted {
    fn start(&mut self, _: &Context) -> Result<(), BoxError> {
        self.call(|at_work| assert_eq!(at_work.fetch_add(1, Ordering::SeqCst), 0, "started twice"));
        Ok(())
    }

    fn stop(&mut self, _: &Context) -> Result<(), BoxError> {
        self.call(|at_work| {
            at_work.fetch_sub(1, Ordering::SeqCst);
        });
        Ok(())
    }
}

/// Mutant: `Supervisor::turn` takes a host for idle while a component is in its
/// `start`: the stop then returns before it.
#[test]
fn deploy_undeploy_and_stop_at_once_leave_nothing_at_work() {
    model(|| {
        let clock = ManualClock::default();
        let env = Env::manual(&clock).unwrap();
        let host = Host::new(HostConfig::default().env(&env)).unwrap();
        let at_work = Arc::new(AtomicU32::new(0));
        let counted = || Counted { at_work: at_work.clone(), in_call: Arc::default() };
        host.start().unwrap();
        let handle = host.handle();
        let config = ComponentConfig::new("x", counted());
        let deploys = shuttle::thread::spawn(move || handle.deploy(config).is_ok());
        let handle = host.handle();
        let undeploys = shuttle::thread::spawn(move || handle.undeploy("x", secs(1)).is_ok());
        let report = host.stop(secs(1));
        assert!(report.is_clean(), "{report}");
        let (deployed, undeployed) = (deploys.join().unwrap(), undeploys.join().unwrap());
        // Deployed after the stop was over: registered only, and not started.
        assert_eq!(at_work.load(Ordering::SeqCst), 0, "deployed: {deployed}, undeployed: {undeployed}");
        drop(host);
    });
}

/// Mutants: `Shared::apply` does not ring the one who minds the time when a job
/// finds no free thread; `Shared::finish` puts the component back only after
/// the machine has heard of its return, so that the next call finds none.
#[test]
fn a_deploy_from_inside_a_start_gets_a_thread_of_its_own() {
    model(|| {
        let clock = ManualClock::default();
        let env = Env::manual(&clock).unwrap();
        let host = Host::new(HostConfig::default().env(&env)).unwrap();
        let at_work = Arc::new(AtomicU32::new(0));
        let (handle, theirs) = (host.handle(), at_work.clone());
        let start = move |_: &Context| {
            let x = Counted { at_work: theirs.clone(), in_call: Arc::default() };
            Ok(handle.deploy(ComponentConfig::new("x", x))?)
        };
        host.register("a", loopkeeper::host::component(start, |_: &Context| Ok(()))).unwrap();
        host.start().unwrap();
        assert_eq!(at_work.load(Ordering::SeqCst), 1);
        assert!(host.stop(secs(1)).is_clean());
        assert_eq!(at_work.load(Ordering::SeqCst), 0);
        drop(host);
    });
}

/// Mutant: `Supervisor::ended` does not look whether the component is wanted:
/// one that fails just before a stop is left to be started again.
#[test]
fn a_component_that_fails_while_the_host_stops_is_stopped_once() {
    model(|| {
        let clock = ManualClock::default();
        let env = Env::manual(&clock).unwrap();
        let host = Host::new(HostConfig::default().env(&env)).unwrap();
        let stops = Arc::new(AtomicU32::new(0));
        let count = stops.clone();
        let reporter = Arc::new(std::sync::Mutex::new(None));
        let kept = reporter.clone();
        let start = move |cx: &Context| {
            *kept.lock().unwrap() = Some(cx.reporter().clone());
            Ok(())
        };
        let stop = move |_: &Context| {
            count.fetch_add(1, Ordering::SeqCst);
            Ok(())
        };
        host.register("a", loopkeeper::host::component(start, stop)).unwrap();
        host.start().unwrap();
        let reporter = reporter.lock().unwrap().take().unwrap();
        let fails = shuttle::thread::spawn(move || reporter.fail("gone"));
        assert!(host.stop(secs(1)).is_clean());
        fails.join().unwrap();
        assert_eq!(stops.load(Ordering::SeqCst), 1);
        let state = host.component("a").unwrap().state;
        assert!(matches!(state, ComponentState::Stopped | ComponentState::Failed), "{state}");
        drop(host);
    });
}

/// A folder of two descriptors, the second of which requires the first; the
/// same for every schedule.
fn folder() -> &'static std::path::Path {
    static FOLDER: std::sync::OnceLock<std::path::PathBuf> = std::sync::OnceLock::new();
    FOLDER.get_or_init(|| {
        let path = std::env::temp_dir().join(format!("loopkeeper-models-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        for (name, requires) in [("a", ""), ("b", "\"a\"")] {
            let text = format!(
                r#"{{"name": "{name}", "type": "counted", "requires": [{requires}], "config": {{}}}}"#
            );
            std::fs::write(path.join(format!("{name}.json")), text).unwrap();
        }
        path
    })
}

/// A host and a deployer that puts the components of [`folder`] into it.
fn deployed(env: &Env, at_work: &Arc<AtomicU32>) -> (Host, Deployer) {
    let host = Host::new(HostConfig::default().env(env)).unwrap();
    let mut registry = Registry::new();
    let at_work = at_work.clone();
    let factory = move |_: &str, o: &mut Object<'_, '_>| {
        o.done()?;
        let at_work = at_work.clone();
        // Each has a count of its own: two of them are two components.
        Some(move |_: &Env| Ok(Each { all: at_work, own: AtomicU32::new(0) }))
    };
    registry.register("counted", factory).unwrap();
    let deployer =
        Deployer::new(env, DeployerConfig::new(folder()), registry, Arc::new(host.handle())).unwrap();
    host.start().unwrap();
    (host, deployer)
}

/// One of several components that are counted together.
struct Each {
    all: Arc<AtomicU32>,
    own: AtomicU32,
}

impl Component for Each {
    fn start(&mut self, _: &Context) -> Result<(), BoxError> {
        assert_eq!(self.own.fetch_add(1, Ordering::SeqCst), 0, "started twice");
        self.all.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    fn stop(&mut self, _: &Context) -> Result<(), BoxError> {
        self.all.fetch_sub(self.own.swap(0, Ordering::SeqCst), Ordering::SeqCst);
        Ok(())
    }
}

/// Mutant: `Supervisor::end` does not take the wish to run from those that
/// were only just deployed (`member.wanted = false` left out for a member with
/// an `op`): the stop then waits for them without end.
#[test]
fn a_scan_while_deployer_and_host_stop_leaves_nothing_at_work() {
    model(|| {
        let clock = ManualClock::default();
        let env = Env::manual(&clock).unwrap();
        let at_work = Arc::new(AtomicU32::new(0));
        let (host, deployer) = deployed(&env, &at_work);
        deployer.start().unwrap();
        let theirs = deployer.clone();
        let stops = shuttle::thread::spawn(move || theirs.stop(secs(1)).is_clean());
        let report = host.stop(secs(1));
        assert!(report.is_clean(), "{report}");
        assert!(stops.join().unwrap());
        assert_eq!(at_work.load(Ordering::SeqCst), 0);
        // Neither begins anything by itself.
        clock.run_for(secs(60));
        assert_eq!(at_work.load(Ordering::SeqCst), 0);
        drop((deployer, host));
    });
}

/// Mutants: `Supervisor::end` does not answer those who wait for a start
/// (`member.op` is dropped); `Target::begin` of a host does not tell what was
/// refused. The deployer then waits for ever, for these names.
#[test]
fn what_a_scan_began_is_answered_though_the_host_stops() {
    model(|| {
        let clock = ManualClock::default();
        let env = Env::manual(&clock).unwrap();
        let at_work = Arc::new(AtomicU32::new(0));
        let (host, deployer) = deployed(&env, &at_work);
        deployer.start().unwrap();
        let handle = host.handle();
        let stops = shuttle::thread::spawn(move || handle.stop(secs(1)).is_clean());
        deployer.rescan();
        assert!(stops.join().unwrap());
        clock.settle();
        let board = deployer.board();
        assert!(board.under_way.is_empty(), "{board:?}");
        assert_eq!(at_work.load(Ordering::SeqCst), 0);
        assert!(deployer.stop(secs(1)).is_clean());
        drop((deployer, host));
    });
}

fn every_30_s(name: &str) -> ControllerConfig {
    ControllerConfig::new(name).interval(secs(30)).jitter(0.0)
}

/// A controller of which two must never be at work.
fn alone(
    runs: &Arc<AtomicU32>,
    at_work: &Arc<AtomicU32>,
) -> impl Fn(&Context) -> Result<Outcome, BoxError> + use<> {
    let (runs, at_work) = (runs.clone(), at_work.clone());
    move |_| {
        assert_eq!(at_work.fetch_add(1, Ordering::SeqCst), 0, "two at work");
        runs.fetch_add(1, Ordering::SeqCst);
        shuttle::thread::yield_now();
        at_work.fetch_sub(1, Ordering::SeqCst);
        Ok(Outcome::default())
    }
}

/// Mutant: `ControllerManager::check_free` without its look at `stops`: a
/// controller is added and started that the stop does not know of, and is at
/// work when the stop has returned.
#[test]
fn a_controller_that_is_triggered_removed_and_added_is_not_at_work_after_a_stop() {
    model(|| {
        let clock = ManualClock::default();
        let env = Env::manual(&clock).unwrap();
        let manager = ControllerManager::new(ControllerManagerConfig::default().env(&env)).unwrap();
        let manager = Arc::new(manager);
        let (runs, at_work) = (Arc::<AtomicU32>::default(), Arc::<AtomicU32>::default());
        manager.register(every_30_s("a"), alone(&runs, &at_work)).unwrap();
        manager.start().unwrap();
        let theirs = manager.clone();
        let triggers = shuttle::thread::spawn(move || theirs.trigger("a").is_ok());
        let (theirs, next) = (manager.clone(), alone(&runs, &at_work));
        let replaces = shuttle::thread::spawn(move || {
            assert!(theirs.remove("a", secs(1)).unwrap().is_clean());
            theirs.register(every_30_s("a"), next).is_ok()
        });
        let report = manager.stop(secs(1));
        assert!(report.is_clean(), "{report}");
        triggers.join().unwrap();
        let replaced = replaces.join().unwrap();
        assert_eq!(manager.count(), usize::from(replaced));
        assert!(!manager.is_running(), "replaced: {replaced}");
        let at_stop = runs.load(Ordering::SeqCst);
        assert_eq!(at_work.load(Ordering::SeqCst), 0);
        clock.run_for(secs(60));
        assert_eq!(runs.load(Ordering::SeqCst), at_stop);
    });
}

/// Mutant: `ControllerManager::wind_down` leaves `started` as it is: what was
/// stopped says that it runs, and cannot be started.
#[test]
fn of_a_start_and_a_stop_at_once_one_is_the_last() {
    model(|| {
        let clock = ManualClock::default();
        let env = Env::manual(&clock).unwrap();
        let manager = ControllerManager::new(ControllerManagerConfig::default().env(&env)).unwrap();
        let manager = Arc::new(manager);
        let (runs, at_work) = (Arc::<AtomicU32>::default(), Arc::<AtomicU32>::default());
        for name in ["a", "b"] {
            let own = Arc::default();
            manager.register(every_30_s(name), alone(&runs, &own)).unwrap();
        }
        manager.start().unwrap();
        let theirs = manager.clone();
        let stops = shuttle::thread::spawn(move || theirs.stop(secs(1)).is_clean());
        let started = manager.start().is_ok();
        assert!(stops.join().unwrap());
        clock.settle();
        assert_eq!(manager.is_running(), started);
        let running = manager.status().values().filter(|status| status.thread.is_some()).count();
        assert_eq!(running, if started { 2 } else { 0 });
        assert!(manager.stop(secs(1)).is_clean());
        assert_eq!(at_work.load(Ordering::SeqCst), 0);
    });
}

/// Mutant: `Source::begin` without its look at the due: a run whose time has
/// come begins after a pause has returned.
#[test]
fn no_run_begins_by_itself_after_a_pause() {
    model(|| {
        let clock = ManualClock::default();
        let env = Env::manual(&clock).unwrap();
        let manager = ControllerManager::new(ControllerManagerConfig::default().env(&env)).unwrap();
        let (runs, at_work) = (Arc::<AtomicU32>::default(), Arc::<AtomicU32>::default());
        manager.register(every_30_s("a"), alone(&runs, &at_work)).unwrap();
        manager.start().unwrap();
        let theirs = clock.clone();
        let moves = shuttle::thread::spawn(move || theirs.jump(secs(30)));
        manager.pause("a").unwrap();
        let begun = manager.status()["a"].runs;
        moves.join().unwrap();
        clock.run_for(secs(60));
        assert_eq!(manager.status()["a"].runs, begun);
        manager.resume("a").unwrap();
        clock.settle();
        assert_eq!(manager.status()["a"].runs, begun + 1);
        assert!(manager.stop(secs(1)).is_clean());
    });
}

/// A monitor of three checkers of which the second waits at a gate.
fn with_one_that_hangs(clock: &ManualClock, gate: &Gate, looks: [&Arc<AtomicU32>; 3]) -> MonitorConfig {
    let looked = |count: &Arc<AtomicU32>| {
        let mut count = counted(count);
        move |_: &Context, _: &Report| {
            count();
            Ok(Verdict::Ready)
        }
    };
    let (held, time, mut count) = (gate.clone(), clock.clone(), counted(looks[1]));
    let hangs = move |_: &Context, report: &Report| {
        count();
        report.item("early", Ok::<(), String>(()));
        held.pass(&time);
        report.item("late", Ok::<(), String>(()));
        Ok(Verdict::Items)
    };
    MonitorConfig::new("m").check("a", looked(looks[0])).check("b", hangs).check("c", looked(looks[2]))
}

fn three() -> [Arc<AtomicU32>; 3] {
    [Arc::default(), Arc::default(), Arc::default()]
}

/// Mutants: `Shared::overdue` puts no successor in office (c never looks);
/// it does not mark the look as timed out, or `take_in` takes a thread that
/// was retired for the one in office (the late answer counts, and c looks
/// twice).
#[test]
fn a_hung_checker_keeps_its_thread_and_a_successor_goes_on() {
    model(|| {
        let clock = ManualClock::default();
        let env = Env::manual(&clock).unwrap();
        let (gate, looks) = (Gate::default(), three());
        let config = with_one_that_hangs(&clock, &gate, looks.each_ref());
        let monitor = Monitor::start_in(&env, config).unwrap();
        clock.run_for(secs(10));
        let count = |n: usize| looks[n].load(Ordering::SeqCst);
        assert_eq!((count(0), count(1), count(2)), (1, 1, 1));
        let status = monitor.status();
        assert_eq!((status.timeouts, status.late), (1, 0));
        gate.open();
        clock.settle();
        let status = monitor.status();
        assert_eq!((status.timeouts, status.late), (1, 1));
        assert_eq!(status.monitor.as_ref().unwrap().items.total(), 1, "what it said too late is dropped");
        clock.run_for(secs(50));
        assert_eq!((count(0), count(1), count(2)), (2, 2, 2));
        assert!(monitor.stop(secs(1)).is_clean());
    });
}

/// Mutants: `Shared::begin` without its look at the stage (a look begins after
/// the stop); `overdue` without its look at the office (a successor of a
/// monitor that was stopped).
#[test]
fn a_look_that_times_out_at_the_moment_of_a_stop_has_no_successor_after_it() {
    model(|| {
        let clock = ManualClock::default();
        let env = Env::manual(&clock).unwrap();
        let (gate, looks) = (Gate::default(), three());
        let config = with_one_that_hangs(&clock, &gate, looks.each_ref());
        let monitor = Arc::new(Monitor::start_in(&env, config).unwrap());
        let events = monitor.subscribe();
        clock.settle();
        let count = move || looks.each_ref().map(|count| count.load(Ordering::SeqCst));
        let (theirs, at_end) = (monitor.clone(), count.clone());
        let stops = shuttle::thread::spawn(move || (theirs.stop(secs(1)), at_end()));
        clock.run_for(secs(10));
        gate.open();
        let (report, at_stop) = stops.join().unwrap();
        assert!(report.is_clean(), "{report}");
        clock.settle();
        assert_eq!(count(), at_stop, "nothing begins after a stop");
        let told: Vec<_> = std::iter::from_fn(|| events.try_recv()).map(|d| d.event.what.as_str()).collect();
        assert_eq!(told.last(), Some(&"stopped"), "{told:?}");
        assert_eq!(log(&env).last(), Some(&"stopped"));
        // Started again, the one that hung is asked again.
        monitor.restart().unwrap();
        clock.settle();
        assert_eq!(count()[1], at_stop[1] + 1);
        assert!(monitor.stop(secs(1)).is_clean());
    });
}

/// Mutant: `Shared::poke` rings without telling the machine: a trigger that
/// the thread heard which is retired then is lost.
#[test]
fn a_trigger_is_heard_whoever_is_in_office() {
    model(|| {
        let clock = ManualClock::default();
        let env = Env::manual(&clock).unwrap();
        let (gate, looks) = (Gate::default(), three());
        let config = with_one_that_hangs(&clock, &gate, looks.each_ref());
        let monitor = Arc::new(Monitor::start_in(&env, config).unwrap());
        clock.settle();
        let (theirs, mover) = (monitor.clone(), clock.clone());
        let moves = shuttle::thread::spawn(move || mover.run_for(secs(10)));
        theirs.trigger();
        moves.join().unwrap();
        clock.settle();
        gate.open();
        clock.settle();
        assert!(looks[2].load(Ordering::SeqCst) >= 2, "one pass, and the one that was asked for");
        assert!(monitor.stop(secs(1)).is_clean());
    });
}

/// Runs that were made anew, and how many of them somebody has.
#[derive(Clone, Default)]
struct Made {
    all: Arc<AtomicU32>,
    discarded: Arc<AtomicU32>,
    at_work: Arc<AtomicU32>,
}

impl Remedy for Made {
    fn restore(&self, cx: &Context, _: &Restore) -> Result<Restored, BoxError> {
        assert_eq!(self.at_work.fetch_add(1, Ordering::SeqCst), 0, "two attempts in one place");
        shuttle::thread::yield_now();
        self.at_work.fetch_sub(1, Ordering::SeqCst);
        cx.check()?;
        let n = self.all.fetch_add(1, Ordering::SeqCst);
        Ok(Restored::new(format!("new-{n}")))
    }

    fn discard(&self, _: &Context, _: &Restored) -> Result<(), BoxError> {
        self.discarded.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

fn well(_: &Context, run: &str) -> Result<TrainingRun, BoxError> {
    Ok(TrainingRun::new(run))
}

fn exact_recovery() -> RecoveryPolicy {
    RecoveryPolicy::default().enabled(true).jitter(0.0)
}

fn steps(env: &Env, step: RecoveryStep) -> u32 {
    let events = env.events_after(0, 100).events;
    let is_it = |what: &EventKind| matches!(what, EventKind::Recovery(event) if event.step == step);
    u32::try_from(events.iter().filter(|event| is_it(&event.what)).count()).unwrap()
}

/// Mutants: `Engine::end` does not cancel what is under way (a run that was
/// asked for has no end); `Engine::carry_out_attempt` drops what nobody wants
/// (a run was made that nobody has, and nobody let go of).
#[test]
fn every_run_that_is_recovered_while_others_cancel_and_stop_has_one_end() {
    model(|| {
        let clock = ManualClock::default();
        let env = Env::manual(&clock).unwrap();
        let made = Made::default();
        let config = ExecutorConfig::new("x");
        let executor = Arc::new(Executor::start_in(&env, config, well, made.clone()).unwrap());
        let theirs = executor.clone();
        let asks = shuttle::thread::spawn(move || {
            let ask = |run: &str| {
                let request = Recover::new(run, exact_recovery()).last_checkpoint(Checkpoint::new("7"));
                u32::from(theirs.recover(request).is_ok())
            };
            ask("a") + ask("b")
        });
        let theirs = executor.clone();
        let cancels = shuttle::thread::spawn(move || u32::from(theirs.cancel("a").is_ok()));
        let stops = executor.stop(secs(1));
        assert!(stops.is_clean(), "{stops}");
        let (asked, _) = (asks.join().unwrap(), cancels.join().unwrap());
        clock.run_for(secs(60));
        let (completed, cancelled) =
            (steps(&env, RecoveryStep::Completed), steps(&env, RecoveryStep::Cancelled));
        assert_eq!(completed + cancelled, asked);
        // Whoever made a run has it, or let go of it.
        let kept = made.all.load(Ordering::SeqCst) - made.discarded.load(Ordering::SeqCst);
        assert_eq!(kept, completed);
        assert_eq!(made.at_work.load(Ordering::SeqCst), 0);
        assert!(executor.runs().is_empty());
        drop(executor);
    });
}

/// Mutant: `Engine::staff` without the lookout: the retry that is due finds
/// nobody awake.
#[test]
fn an_attempt_that_comes_back_at_its_deadline_is_in_time_or_late_but_not_both() {
    model(|| {
        let clock = ManualClock::default();
        let env = Env::manual(&clock).unwrap();
        let (gate, made) = (Gate::default(), Made::default());
        let (held, theirs, counts) = (gate.clone(), clock.clone(), made.clone());
        let source = move |_: &Context, run: &str| {
            // The first attempt waits here, in its choice of a checkpoint.
            held.pass(&theirs);
            Ok(TrainingRun::new(run).last_checkpoint(Checkpoint::new("7")))
        };
        let executor = Executor::start_in(&env, ExecutorConfig::new("x"), source, counts).unwrap();
        let policy = exact_recovery().attempt_timeout(secs(10));
        executor.recover(Recover::new("a", policy)).unwrap();
        clock.run_for(secs(9));
        let (opens, theirs) = (gate.clone(), clock.clone());
        let moves = shuttle::thread::spawn(move || theirs.run_for(secs(1)));
        opens.open();
        moves.join().unwrap();
        clock.run_for(secs(60));
        assert_eq!(steps(&env, RecoveryStep::Completed), 1);
        assert_eq!(steps(&env, RecoveryStep::Started), 1 + steps(&env, RecoveryStep::Failed));
        assert_eq!(
            made.all.load(Ordering::SeqCst),
            1,
            "an attempt that was too late to choose makes nothing"
        );
        assert!(executor.stop(secs(1)).is_clean());
    });
}

/// Mutant: `Engine::unwatch` does not cancel what is under way: it goes on, and
/// its run is restored though nobody watches it.
#[test]
fn a_run_that_is_not_watched_any_more_is_not_restored() {
    model(|| {
        let clock = ManualClock::default();
        let env = Env::manual(&clock).unwrap();
        let made = Made::default();
        let source = |_: &Context, run: &str| {
            let state = TrainingRun::new(run).last_checkpoint(Checkpoint::new("7"));
            Ok(state.corrupted(run == "a"))
        };
        let config = RecoveryMonitorConfig::new("m", exact_recovery()).max_polls(2);
        let monitor = Arc::new(RecoveryMonitor::start_in(&env, config, source, made.clone()).unwrap());
        let theirs = monitor.clone();
        let watches = shuttle::thread::spawn(move || theirs.watch_run("a", Metadata::default()).unwrap());
        watches.join().unwrap();
        monitor.stop_watching("a");
        clock.settle();
        let completed = steps(&env, RecoveryStep::Completed);
        let begun = completed + steps(&env, RecoveryStep::Cancelled);
        assert_eq!(begun, steps(&env, RecoveryStep::Detected));
        let discarded = made.discarded.load(Ordering::SeqCst);
        assert_eq!(made.all.load(Ordering::SeqCst) - discarded, completed);
        // Nothing goes on by itself.
        let before = made.all.load(Ordering::SeqCst);
        clock.run_for(secs(300));
        if monitor.runs().is_empty() {
            assert_eq!(made.all.load(Ordering::SeqCst), before);
        }
        assert!(monitor.stop(secs(1)).is_clean());
        drop(monitor);
    });
}

/// The status server with real sockets: only waiting for them is the model's.
#[cfg(feature = "http")]
mod http {
    use std::io::{ErrorKind, Read, Write};
    use std::net::{SocketAddr, TcpStream};
    use std::sync::atomic::AtomicBool;

    use loopkeeper::{StatusServer, StatusServerConfig};

    use super::*;

    /// A tenth of the others: each round opens a handful of sockets.
    fn model(test: impl Fn() + Send + Sync + Clone + 'static) {
        let rounds = (rounds() / 10).max(1);
        shuttle::check_random(test.clone(), rounds);
        shuttle::check_pct(test, rounds, 3);
    }

    fn server(env: &Env) -> StatusServer {
        let config = StatusServerConfig::default().listen("127.0.0.1:0");
        StatusServer::start(env, config, Arc::new(env.clone())).unwrap()
    }

    fn ask(address: SocketAddr, path: &str) -> TcpStream {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_nonblocking(true).unwrap();
        let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        stream
    }

    /// All that comes until the end of the connection, however it ends.
    fn rest(mut stream: TcpStream) -> String {
        let mut all = Vec::new();
        loop {
            match stream.read_to_end(&mut all) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => shuttle::thread::yield_now(),
                _ => return String::from_utf8(all).unwrap(),
            }
        }
    }

    /// Mutants: `Lot::ready` sets the bell after its look at the log; `Poller::run`
    /// lets requests out before it takes those that are to wait. The event rings
    /// nobody then, and its reader waits for ever.
    #[test]
    fn an_event_finds_who_waits_for_it() {
        model(|| {
            let clock = ManualClock::default();
            let env = Env::manual(&clock).unwrap();
            let server = server(&env);
            let theirs = env.clone();
            let starts = shuttle::thread::spawn(move || {
                let probe = |_: &Context| Ok(());
                Watcher::start_in(&theirs, WatcherConfig::new("a", probe).backoff(exact())).unwrap()
            });
            let answer = rest(ask(server.local_addr(), "/events?after=0&wait=5m"));
            assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("\"seq\":1,"), "{answer}");
            let watcher = starts.join().unwrap();
            assert!(watcher.stop(secs(1)).is_clean());
            assert!(server.stop(secs(1)).is_clean());
        });
    }

    /// Mutants: `Poller::wind_up` closes the listener without accepting what waits
    /// there, or lets nobody out who waits for an event. What was sent before the
    /// stop is then not answered, or the stop never ends.
    #[test]
    fn a_stop_answers_who_waits_and_what_was_sent_before_it() {
        model(|| {
            let clock = ManualClock::default();
            let env = Env::manual(&clock).unwrap();
            let server = server(&env);
            let address = server.local_addr();
            let waits = ask(address, "/events?after=0&wait=5m");
            let is_sent = Arc::new(AtomicBool::new(false));
            let says = is_sent.clone();
            let asks = shuttle::thread::spawn(move || {
                // After the stop nobody listens.
                let mut stream = TcpStream::connect(address).ok()?;
                stream.set_nonblocking(true).unwrap();
                shuttle::thread::yield_now();
                let head = b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
                stream.write_all(head).ok()?;
                says.store(true, Ordering::SeqCst);
                Some(stream)
            });
            shuttle::thread::yield_now();
            let was_sent = is_sent.load(Ordering::SeqCst);
            assert!(server.stop(secs(1)).is_clean());
            let answer = rest(waits);
            assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\"events\":[]}"), "{answer}");
            let answer = asks.join().unwrap().map(rest).unwrap_or_default();
            assert!(
                answer.ends_with("\r\n\r\nok\n") || answer.is_empty() && !was_sent,
                "{was_sent} {answer}"
            );
        });
    }
}
