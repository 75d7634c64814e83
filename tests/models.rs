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

use loopkeeper::testing::Gate;
use loopkeeper::watch::BackoffConfig;
use loopkeeper::{CancelToken, Context, Env, Health, ManualClock, Watcher, WatcherConfig};

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
