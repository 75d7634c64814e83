//! Many watchers on the real clock, used from many threads at once, all at
//! random. Only what must hold in every order of things is asserted.

#![allow(clippy::unwrap_used, reason = "a failed set-up is a failed test")]
#![allow(clippy::disallowed_methods, reason = "the users of the library bring threads and time of their own")]

mod support;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use loopkeeper::watch::BackoffConfig;
use loopkeeper::{BoxError, Context, Env, ErrorKind, ManualClock, Name, WatchManager, WatcherConfig};
use support::{PATIENCE, eventually, threads_named};

const WATCHERS: u64 = 200;
const CALM: Duration = Duration::from_millis(1500);

/// Small, seeded, good enough to mix things up.
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % sides
    }
}

/// What all probes and callbacks look at.
#[derive(Default)]
struct World {
    /// The manager was stopped: nobody need go on.
    stopped: AtomicBool,
    /// All stops have returned: nothing may begin.
    over: AtomicBool,
    calls: AtomicU64,
    callbacks: AtomicU64,
    wrong: Mutex<Vec<String>>,
}

impl World {
    fn expect(&self, holds: bool, what: &str) {
        if !holds {
            self.wrong.lock().unwrap().push(what.to_owned());
        }
    }
}

fn service(world: &Arc<World>, name: u64, seed: u64) -> WatcherConfig {
    let (theirs, busy, in_callback) =
        (world.clone(), Arc::new(AtomicBool::new(false)), AtomicBool::new(false));
    let mut dice = Dice::new(seed);
    let probe = move |cx: &Context| -> Result<(), BoxError> {
        theirs.expect(!busy.swap(true, Ordering::SeqCst), "two calls of one probe at once");
        theirs.expect(!theirs.over.load(Ordering::SeqCst), "a call after the stop");
        theirs.calls.fetch_add(1, Ordering::SeqCst);
        let flag = busy.clone();
        let result = match dice.roll(12) {
            0..4 => Ok(()),
            4..6 => Err("no".into()),
            6 => cx.sleep(Duration::from_micros(dice.roll(3000))).map_err(Into::into),
            // Past its deadline, deaf to everything.
            7 => {
                thread::sleep(Duration::from_millis(dice.roll(60)));
                Ok(())
            }
            8 => {
                flag.store(false, Ordering::SeqCst);
                panic!("probe");
            }
            9 => {
                let (tx, rx) = crossbeam_channel::bounded::<()>(1);
                let _guard = cx.on_cancel(move || drop(tx));
                let _ = rx.recv_timeout(Duration::from_millis(5));
                Ok(())
            }
            10 => {
                let _ = cx.cancel_token().wait_timeout(Duration::from_millis(2));
                cx.check().map_err(Into::into)
            }
            _ => cx.sleep(Duration::from_secs(3600)).map_err(Into::into),
        };
        flag.store(false, Ordering::SeqCst);
        result
    };
    let in_callback = Arc::new(in_callback);
    let told = |world: &Arc<World>| {
        let (world, busy) = (world.clone(), in_callback.clone());
        move || {
            world.expect(!busy.swap(true, Ordering::SeqCst), "two callbacks of one source at once");
            world.expect(!world.over.load(Ordering::SeqCst), "a callback after the stop");
            world.callbacks.fetch_add(1, Ordering::SeqCst);
            busy.store(false, Ordering::SeqCst);
        }
    };
    let (on_ready, on_down, on_gave_up) = (told(world), told(world), told(world));
    let backoff = BackoffConfig {
        initial_delay: Duration::from_millis(1),
        max_delay: Duration::from_millis(20),
        poll_interval: Duration::from_millis(10),
        probe_timeout: Duration::from_millis(15),
        ..BackoffConfig::default()
    };
    WatcherConfig::new(format!("s{name}"), probe)
        .backoff(backoff)
        .drop_grace(PATIENCE)
        .on_ready(on_ready)
        .on_down(move |_| on_down())
        .on_gave_up(move |_| on_gave_up())
}

/// Watches, replaces, unwatches, triggers and reads, until the manager is
/// stopped.
fn meddle(manager: &WatchManager, world: &Arc<World>, seed: u64) {
    let mut dice = Dice::new(seed);
    let mut made = 0;
    while !world.stopped.load(Ordering::SeqCst) {
        let n = dice.roll(WATCHERS);
        let name = Name::new(&format!("s{n}")).unwrap();
        made += 1;
        let result = match dice.roll(10) {
            0 => manager.unwatch(name.as_str(), PATIENCE).map(|report| {
                world.expect(report.stragglers().is_empty(), "a straggler at an unwatch");
            }),
            1 => manager.replace(service(world, n, seed ^ made), PATIENCE).map(|(_, report)| {
                world.expect(report.stragglers().is_empty(), "a straggler at a replace");
            }),
            2..5 => manager.watch(service(world, n, seed ^ made)).map(drop),
            5 => {
                let status = manager.status();
                let sound =
                    |status: &loopkeeper::LoopStatus| status.ready == (status.health.as_str() == "ready");
                world.expect(status.values().all(sound), "half a status");
                Ok(())
            }
            6 => manager.get(name.as_str()).map_or(Ok(()), |watcher| {
                world.expect(watcher.stop(PATIENCE).stragglers().is_empty(), "a straggler at a stop");
                watcher.restart()
            }),
            _ => manager.trigger(name.as_str()),
        };
        if let Err(error) = result {
            match error.kind() {
                ErrorKind::Duplicate | ErrorKind::NotFound => {}
                // Stopped, or stopped by another at the same time.
                ErrorKind::InvalidState => {}
                _ => world.expect(false, &error.report().to_string()),
            }
        }
    }
}

#[test]
fn nothing_breaks_whatever_is_done_at_once() {
    let world = Arc::new(World::default());
    let seed = u64::from(std::process::id());
    println!("seed {seed}");
    let env = Env::new().unwrap();
    let manager = WatchManager::new(&env);
    for n in 0..WATCHERS {
        manager.watch(service(&world, n, seed ^ (n << 20))).unwrap();
    }
    // One that nobody meddles with, heard by one who keeps up: no gap at all.
    let steady = manager.watch(service(&world, 2 * WATCHERS, seed)).unwrap();
    let numbered = steady.subscribe();
    let all = manager.subscribe();
    thread::scope(|scope| {
        for n in 1..=4 {
            let (manager, world) = (&manager, &world);
            scope.spawn(move || meddle(manager, world, n));
        }
        let reader = scope.spawn(|| all.iter().map(|delivery| 1 + delivery.lost).sum::<u64>());
        let strict = scope.spawn(|| {
            let mut last = 0;
            for delivery in numbered.iter() {
                // The first events were told before the subscription.
                let follows = last == 0 || delivery.event.n == last + 1 + delivery.lost;
                world.expect(follows, "a gap that nobody reported");
                last = delivery.event.n;
            }
            last
        });
        let comes_and_goes = scope.spawn(|| {
            let begun = Instant::now();
            let mut dice = Dice::new(7);
            while begun.elapsed() < CALM {
                let events = manager.subscribe();
                for _ in 0..dice.roll(50) {
                    let _ = events.recv_timeout(Duration::from_micros(200));
                }
            }
        });
        thread::sleep(CALM);
        let begun = Instant::now();
        let report = manager.stop(PATIENCE);
        world.stopped.store(true, Ordering::SeqCst);
        assert!(report.stragglers().is_empty(), "{report}");
        assert!(begun.elapsed() < 2 * PATIENCE);
        assert!(reader.join().unwrap() > 0);
        assert!(strict.join().unwrap() > 0);
        comes_and_goes.join().unwrap();
    });
    // Those who meddled may have started one again in the very last moment.
    assert!(manager.stop(PATIENCE).stragglers().is_empty());
    drop(steady);
    drop(manager);
    world.over.store(true, Ordering::SeqCst);
    let at_stop = (world.calls.load(Ordering::SeqCst), env.events_after(0, 0).next);
    assert!(at_stop.0 > WATCHERS && world.callbacks.load(Ordering::SeqCst) > 0);
    eventually("all loops to end", || threads_named("w/") == 0);
    assert_eq!((world.calls.load(Ordering::SeqCst), env.events_after(0, 0).next), at_stop);
    drop(env);
    eventually("all threads to end", || threads_named("lk/") == 0);
    assert_eq!(*world.wrong.lock().unwrap(), Vec::<String>::new());
}

/// Each of two threads moves it by what it asks for, or more.
#[test]
fn a_clock_that_two_threads_move_never_goes_back() {
    const TURNS: u32 = 5_000;
    let clock = ManualClock::default();
    let run = |by: Duration| {
        for _ in 0..TURNS {
            let before = clock.now();
            clock.run_for(by);
            assert!(clock.now() >= before + by);
        }
    };
    thread::scope(|scope| {
        scope.spawn(|| run(Duration::from_secs(10)));
        run(Duration::from_millis(1));
    });
}
