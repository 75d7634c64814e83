//! Whole loops under shuttle's scheduler, always on the manual clock: watcher,
//! watchdog, dispatcher and the clock itself, in thousands of interleavings.
//!
//!     RUSTFLAGS='--cfg shuttle' cargo test --release --features test-util --test models
//!
//! Each test names the mutant that it catches; how each was seen to catch it
//! is in the test's comment.
#![cfg(shuttle)]
#![allow(clippy::unwrap_used, reason = "a failed set-up is a failed model")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use loopkeeper::host::ComponentState;
use loopkeeper::testing::Gate;
use loopkeeper::watch::BackoffConfig;
use loopkeeper::{
    BoxError, CancelToken, Component, ComponentConfig, Context, Env, Health, Host, HostConfig, ManualClock,
    Watcher, WatcherConfig,
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

/// Mutant: the mailbox pushes itself without looking at `scheduled`, so two
/// entries of one mailbox are in the dispatcher's list; or `put_back` forgets
/// the rest of the queue.
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
