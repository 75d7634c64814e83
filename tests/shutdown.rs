//! Stopping in every state and with every kind of probe: the report says what
//! holds, the stop is bounded, nothing is told after it, no thread is left.

#![allow(clippy::unwrap_used, reason = "a failed set-up is a failed test")]
#![allow(clippy::disallowed_methods, reason = "bounds on a stop are real time, and blocking probes block")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use loopkeeper::status::Phase;
use loopkeeper::watch::BackoffConfig;
use loopkeeper::{BoxError, Context, Env, Health, StopReport, WatchManager, Watcher, WatcherConfig};
use support::{PATIENCE, alone, eventually, threads_named};

/// For a stop that must leave something behind.
const GRACE: Duration = Duration::from_millis(100);

/// How long a stop may wait: what must end in it has time to, on any machine.
fn grace(state: State, kind: Kind) -> Duration {
    match (state, kind) {
        (State::Stopped, _) => PATIENCE,
        (_, Kind::Blocking) => GRACE,
        (State::InCallback, _) => 4 * GRACE,
        _ => PATIENCE,
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    BeforeVerdict,
    Ready,
    Down,
    Recovering,
    InCall,
    Stuck,
    InCallback,
    Stopped,
}

/// What the probe does while the stop comes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Clean,
    Failing,
    Panicking,
    /// Sees no cancel and no deadline.
    Blocking,
    /// Sleeps in its context.
    Cooperative,
}

const STATES: [State; 8] = [
    State::BeforeVerdict,
    State::Ready,
    State::Down,
    State::Recovering,
    State::InCall,
    State::Stuck,
    State::InCallback,
    State::Stopped,
];
const KINDS: [Kind; 5] = [Kind::Clean, Kind::Failing, Kind::Panicking, Kind::Blocking, Kind::Cooperative];

/// What the probe is told to do now.
const OK: u8 = 0;
const FAIL: u8 = 1;
/// As its kind says, at once where it can.
const ACT: u8 = 2;
/// As its kind says, but not before the cancel.
const ACT_LATE: u8 = 3;

#[derive(Default)]
struct Shared {
    mode: AtomicU8,
    /// How many calls have begun to act as their kind says.
    acting: AtomicU32,
    released: AtomicBool,
    in_callback: AtomicBool,
    holds_callback: AtomicBool,
}

impl Shared {
    fn hold(&self) {
        while !self.released.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn probe(&self, kind: Kind, cx: &Context) -> Result<(), BoxError> {
        let mode = self.mode.load(Ordering::SeqCst);
        match mode {
            OK => return Ok(()),
            FAIL => return Err("no".into()),
            _ => self.acting.fetch_add(1, Ordering::SeqCst),
        };
        if mode == ACT_LATE && kind != Kind::Blocking {
            cx.cancel_token().wait();
        }
        match kind {
            Kind::Clean => Ok(()),
            Kind::Failing => Err("no".into()),
            // Without the hook: printing a backtrace takes longer than a grace.
            Kind::Panicking => std::panic::resume_unwind(Box::new("probe")),
            Kind::Blocking => {
                self.hold();
                Ok(())
            }
            Kind::Cooperative => Ok(cx.sleep(Duration::from_secs(3600))?),
        }
    }

    fn act(&self, watcher: &Watcher, mode: u8) {
        self.mode.store(mode, Ordering::SeqCst);
        watcher.trigger();
    }

    fn wait_until_acting(&self) {
        eventually("the call", || self.acting.load(Ordering::SeqCst) > 0);
    }
}

fn bring_to(state: State, kind: Kind, watcher: &Watcher, shared: &Shared) {
    let is = |health| eventually("the health", || watcher.status().health == health);
    match state {
        State::BeforeVerdict => eventually("a first probe", || watcher.status().failures > 0),
        State::Ready | State::InCall | State::Stuck | State::Stopped => is(Health::Ready),
        State::InCallback => eventually("the callback", || shared.in_callback.load(Ordering::SeqCst)),
        State::Down => is(Health::Down),
        State::Recovering => {
            is(Health::Ready);
            shared.act(watcher, FAIL);
            eventually("the phase", || watcher.status().phase == Phase::Recovering);
        }
    }
    match state {
        State::Stuck => {
            shared.act(watcher, ACT_LATE);
            eventually("a timeout", || watcher.status().timeouts > 0);
        }
        State::InCall => {
            shared.act(watcher, ACT_LATE);
            shared.wait_until_acting();
        }
        State::Stopped => {
            assert!(watcher.stop(PATIENCE).is_clean());
            shared.act(watcher, ACT);
        }
        _ => {
            shared.act(watcher, ACT);
            // The others race with the stop.
            if kind == Kind::Blocking {
                shared.wait_until_acting();
            }
        }
    }
}

fn check(state: State, kind: Kind, stop: impl FnOnce(&WatchManager, &Watcher) -> StopReport) {
    let env = Env::new().unwrap();
    let manager = WatchManager::new(&env);
    let shared = Arc::new(Shared::default());
    let first = if matches!(state, State::BeforeVerdict | State::Down) { FAIL } else { OK };
    shared.mode.store(first, Ordering::SeqCst);
    shared.holds_callback.store(state == State::InCallback, Ordering::SeqCst);
    let timeout = if state == State::Stuck { Duration::from_millis(20) } else { Duration::from_secs(60) };
    let backoff = BackoffConfig { probe_timeout: timeout, ..BackoffConfig::default() };
    let (in_probe, in_callback) = (shared.clone(), shared.clone());
    let config = WatcherConfig::new("a", move |cx: &Context| in_probe.probe(kind, cx))
        .backoff(backoff)
        .failure_threshold(if state == State::BeforeVerdict { 100 } else { 1 })
        .on_ready(move || {
            if in_callback.holds_callback.load(Ordering::SeqCst) {
                in_callback.in_callback.store(true, Ordering::SeqCst);
                in_callback.hold();
            }
        });
    let watcher = manager.watch(config).unwrap();
    bring_to(state, kind, &watcher, &shared);

    let begun = Instant::now();
    let report = stop(&manager, &watcher);
    let took = begun.elapsed();
    assert!(took < PATIENCE, "{state:?}, {kind:?}: {took:?}");

    let mut expected = Vec::new();
    if kind == Kind::Blocking && state != State::Stopped {
        expected.push("its call");
    }
    if state == State::InCallback {
        expected.push("its callback");
    }
    let phases: Vec<_> = report.stragglers().iter().map(|straggler| straggler.phase).collect();
    assert_eq!(phases, expected, "{state:?}, {kind:?}: {report}");
    assert!(report.stragglers().iter().all(|straggler| straggler.name == "a" && straggler.tid > 0));
    assert!(report.errors().is_empty(), "{report}");
    // Only behind a callback that holds up the others is one not made.
    assert!(report.dropped_callbacks() == 0 || state == State::InCallback, "{report}");

    let events = env.events_after(0, 1000);
    assert_eq!(events.events.last().unwrap().what.as_str(), "stopped");
    let stopped = |word: &str| word == "stopped";
    assert_eq!(events.events.iter().filter(|event| stopped(event.what.as_str())).count(), 1);
    let status = watcher.status();
    assert_eq!((status.health, status.phase), (Health::Unknown, Phase::Stopped));
    watcher.trigger();

    shared.released.store(true, Ordering::SeqCst);
    eventually("its thread to end", || threads_named("w/") == 0);
    eventually("a clean stop", || watcher.stop(PATIENCE).is_clean());
    assert_eq!(env.events_after(0, 1000).next, events.next, "{state:?}, {kind:?}: told after the stop");

    // Nothing of it stands in the way of another run.
    shared.mode.store(OK, Ordering::SeqCst);
    watcher.restart().unwrap();
    assert!(watcher.wait_ready(PATIENCE));
    assert!(watcher.stop(PATIENCE).is_clean());
}

#[test]
fn a_watcher_stops_in_every_state_with_every_probe() {
    for state in STATES {
        for kind in KINDS {
            alone(|| check(state, kind, |_, watcher| watcher.stop(grace(state, kind))));
        }
    }
}

#[test]
fn a_manager_stops_in_every_state_with_every_probe() {
    for state in STATES {
        for kind in KINDS {
            alone(|| check(state, kind, |manager, _| manager.stop(grace(state, kind))));
        }
    }
}

#[test]
fn two_threads_stop_in_every_state_with_every_probe() {
    for state in STATES {
        for kind in KINDS {
            alone(|| {
                check(state, kind, |manager, watcher| {
                    thread::scope(|scope| {
                        let other = scope.spawn(|| watcher.stop(grace(state, kind)));
                        let report = manager.stop(grace(state, kind));
                        let phases = |report: &StopReport| -> Vec<_> {
                            report.stragglers().iter().map(|straggler| straggler.phase).collect()
                        };
                        assert_eq!(phases(&other.join().unwrap()), phases(&report));
                        report
                    })
                });
            });
        }
    }
}

#[test]
fn a_manager_that_watches_nothing_stops() {
    alone(|| {
        let manager = WatchManager::new(&Env::new().unwrap());
        assert!(manager.stop(GRACE).is_clean());
        assert!(manager.stop(Duration::ZERO).is_clean());
        drop(manager);
        drop(WatchManager::new(&Env::new().unwrap()));
    });
}
