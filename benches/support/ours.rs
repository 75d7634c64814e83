//! The library's sides, all in one place: one function each, put into [`OURS`].
//!
//! A hook that is `None` is a part that is not there yet; its line prints the
//! floor alone. A hook uses the public API, as a program would, and does what
//! the floor it stands against does: `floors.rs` is the other half of its
//! contract.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use loopkeeper::controller::Outcome;
use loopkeeper::monitor::{Report, Verdict};
use loopkeeper::observe::Observer;
use loopkeeper::status::StatusSource;
use loopkeeper::watch::BackoffConfig;
use loopkeeper::{
    BoxError, Context, ControllerConfig, ControllerManager, ControllerManagerConfig, Env, ErrorKind,
    EventKind, Monitor, MonitorConfig, Probe, Stamp, WatchManager, Watcher, WatcherConfig, bench_hooks,
};
use parking_lot::Mutex;

use super::floors::LULL;
use super::measure::{Beat, Started, Tally};

/// Stops what a hook started, and comes back when all threads are gone.
pub(crate) type Stop = Box<dyn FnOnce()>;

/// Starts loops whose first run calls `started.one()`.
pub(crate) type IdleLoops = fn(n: usize, started: &Arc<Started>) -> Stop;

/// Starts loops that run at a period.
pub(crate) type PeriodicLoops = fn(n: usize, period: Duration, tally: &Arc<Tally>) -> Stop;

/// A fleet whose status is read as a whole.
pub(crate) struct Snapshots {
    /// Takes one snapshot of all and lets go of it.
    pub(crate) read: Box<dyn FnMut()>,
    /// Has one more loop of the fleet run without a pause, on one thread,
    /// until it is stopped: its status changes all the time.
    pub(crate) writer: Box<dyn Fn() -> Stop>,
    pub(crate) stop: Stop,
}

/// How late a call was told of that hangs past its timeout.
pub(crate) struct Hung {
    /// Until its event was made.
    pub(crate) published: Vec<Duration>,
    /// Until a sleeping subscriber had it.
    pub(crate) told: Vec<Duration>,
}

/// One field a promise. Fill in `Some(function)` when the part is there.
pub(crate) struct Ours {
    /// Starts `n` loops with default settings and a closure to run; the next
    /// run is an hour away.
    pub(crate) idle: Option<IdleLoops>,
    /// The same with an HTTP probe and a server on loopback.
    pub(crate) idle_http: Option<IdleLoops>,
    /// The same with a callback each.
    pub(crate) idle_with_callbacks: Option<IdleLoops>,
    /// Starts loops until there is an error, stops them all, and says how
    /// many ran; `None` where the error was not the budget's.
    pub(crate) capacity: Option<fn() -> Option<usize>>,
    /// Starts `n` loops with default settings that run at `period`; each run
    /// calls `tally.ran(now - due)`, with a `Beat` where the due is not told.
    pub(crate) periodic: Option<PeriodicLoops>,
    /// Makes `calls` guarded calls of an empty boxed closure, on one thread,
    /// with a live watchdog; the time of all.
    pub(crate) guarded_calls: Option<fn(calls: u32) -> Duration>,
    /// Has a manager's controller run `runs` times, each right after the one
    /// before; the time of all.
    pub(crate) reconciles: Option<fn(runs: u32) -> Duration>,
    /// Has a monitor's `checkers`, which do nothing, look in `passes` passes,
    /// each right after the one before; the time of all.
    pub(crate) passes: Option<fn(passes: u32, checkers: u32) -> Duration>,
    /// A call that hangs past its `timeout`, `samples` times one after
    /// another.
    pub(crate) hung_calls: Option<fn(samples: usize, timeout: Duration) -> Hung>,
    /// From a loop's decision until a sleeping subscriber has the event; a
    /// pause of `floors::LULL` before each.
    pub(crate) events: Option<fn(samples: usize) -> Vec<Duration>>,
    /// The same until a callback runs.
    pub(crate) callbacks: Option<fn(samples: usize) -> Vec<Duration>>,
    /// Adds one to a counter of an observer without slots, `calls` times.
    pub(crate) inert_counts: Option<fn(calls: u32) -> Duration>,
    /// Begins and ends a span of an observer without slots, `calls` times.
    pub(crate) inert_spans: Option<fn(calls: u32) -> Duration>,
    /// Starts `n` loops whose status can be read as a whole.
    pub(crate) snapshots: Option<fn(n: usize) -> Snapshots>,
}

pub(crate) const OURS: Ours = Ours {
    idle: Some(idle),
    idle_http: IDLE_HTTP,
    idle_with_callbacks: Some(idle_with_callbacks),
    capacity: Some(capacity),
    periodic: Some(periodic),
    guarded_calls: Some(guarded_calls),
    reconciles: Some(reconciles),
    passes: Some(passes),
    hung_calls: Some(hung_calls),
    events: Some(events),
    callbacks: Some(callbacks),
    inert_counts: Some(inert_counts),
    inert_spans: Some(inert_spans),
    snapshots: Some(snapshots),
};

const HOUR: Duration = Duration::from_secs(3600);

fn idle(n: usize, started: &Arc<Started>) -> Stop {
    watchers(n, HOUR, |name| WatcherConfig::new(name, first_run_of(started)))
}

fn idle_with_callbacks(n: usize, started: &Arc<Started>) -> Stop {
    watchers(n, HOUR, |name| WatcherConfig::new(name, first_run_of(started)).on_ready(|| ()).on_down(|_| ()))
}

fn first_run_of(started: &Arc<Started>) -> impl Probe + use<> {
    let mut started = Some(Arc::clone(started));
    move |_: &Context| {
        if let Some(started) = started.take() {
            started.one();
        }
        Ok(())
    }
}

#[cfg(not(feature = "http-client"))]
const IDLE_HTTP: Option<IdleLoops> = None;
#[cfg(feature = "http-client")]
const IDLE_HTTP: Option<IdleLoops> = Some(idle_http);

/// An HTTP probe that says when it has had its first answer.
#[cfg(feature = "http-client")]
struct Asking<P>(loopkeeper::probe::HttpProbe, P);

#[cfg(feature = "http-client")]
impl<P: Probe> Probe for Asking<P> {
    fn probe(&mut self, cx: &Context) -> Result<(), BoxError> {
        self.0.probe(cx).expect("the server answers");
        self.1.probe(cx)
    }
}

#[cfg(feature = "http-client")]
fn idle_http(n: usize, started: &Arc<Started>) -> Stop {
    use std::io::{Read, Write};

    let server = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let url = format!("http://{}/", server.local_addr().expect("it is bound"));
    // Not joined: it ends with the measuring child.
    let serve = move || {
        let mut head = [0; 1024];
        for mut connection in server.incoming().flatten() {
            // A request without a body, in one piece.
            let _ = connection.read(&mut head);
            let _ =
                connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok");
        }
    };
    drop(std::thread::spawn(serve));
    let probe = || Asking(loopkeeper::probe::http(url.clone()), first_run_of(started));
    watchers(n, HOUR, |name| WatcherConfig::new(name, probe()))
}

fn capacity() -> Option<usize> {
    let manager = manager();
    let refused = (0..).find_map(|i| {
        let config = WatcherConfig::new(format!("watcher-{i}"), |_: &Context| Ok(()));
        let config = config.backoff(BackoffConfig { poll_interval: HOUR, ..Default::default() });
        manager.watch(config).err().map(|error| (i, error))
    });
    let (n, error) = refused?;
    let running = manager.statuses().iter().filter(|status| status.thread.is_some()).count();
    let report = manager.stop(Duration::from_secs(60));
    let left = report.stragglers().len();
    assert_eq!(left, 0, "all of {n} end");
    (error.kind() == ErrorKind::Budget && running == n).then_some(n)
}

fn periodic(n: usize, period: Duration, tally: &Arc<Tally>) -> Stop {
    watchers(n, period, |name| {
        let tally = Arc::clone(tally);
        let mut beat = Beat::new(period);
        WatcherConfig::new(name, move |_: &Context| {
            tally.ran(beat.late(Instant::now()));
            Ok(())
        })
    })
}

fn manager() -> WatchManager {
    WatchManager::new(&Env::new().expect("a watchdog can be started"))
}

/// One manager of `n` watchers.
fn watchers(n: usize, poll_interval: Duration, config: impl Fn(String) -> WatcherConfig) -> Stop {
    let manager = manager();
    let backoff = BackoffConfig { poll_interval, ..Default::default() };
    for i in 0..n {
        let config = config(format!("watcher-{i}")).backoff(backoff.clone());
        manager.watch(config).expect("the machine allows as many watchers");
    }
    Box::new(move || {
        let report = manager.stop(Duration::from_secs(10));
        assert!(report.is_clean(), "{report}");
    })
}

fn guarded_calls(calls: u32) -> Duration {
    let env = Env::new().expect("a watchdog can be started");
    let mut state = 0_u64;
    let probe: Box<dyn Probe> = black_box(Box::new(move |_: &Context| {
        state += 1;
        black_box(state);
        Ok(())
    }));
    let begin = Instant::now();
    let in_time = bench_hooks::guarded_calls(&env, calls, probe);
    let time = begin.elapsed();
    assert_eq!(in_time.ok(), Some(calls), "every call is in time");
    time
}

fn reconciles(runs: u32) -> Duration {
    let manager = ControllerManager::new(ControllerManagerConfig::default()).expect("an environment");
    let (tell, told) = bounded(1);
    let mut begin = Instant::now();
    let mut run = 0;
    let reconcile = move |_: &Context| {
        if run == 0 {
            begin = Instant::now();
        } else if run == runs {
            tell.send(begin.elapsed())?;
        }
        run += 1;
        let outcome = Outcome::default();
        Ok(if run <= runs { outcome.requeue_after(Duration::ZERO) } else { outcome })
    };
    let hourly = ControllerConfig::new("empty").interval(HOUR);
    manager.register(hourly, reconcile).expect("its name is free");
    manager.start().expect("a thread");
    let time = told.recv().expect("it runs");
    assert!(manager.stop(Duration::from_secs(5)).is_clean());
    time
}

fn passes(passes: u32, checkers: u32) -> Duration {
    let (tell, told) = bounded(1);
    let mut begin = Instant::now();
    let mut pass = 0;
    let first = move |_: &Context, _: &Report| {
        if pass == 0 {
            begin = Instant::now();
        } else if pass == passes {
            tell.send(begin.elapsed())?;
        }
        pass += 1;
        Ok(Verdict::Ready)
    };
    // A period that is over by the end of each pass.
    let config = MonitorConfig::new("empty").poll_period(Duration::from_nanos(1)).stale_after(HOUR);
    let rest = (1..checkers).fold(config.check("c0", first), |config, i| {
        let mut state = 0_u64;
        config.check(format!("c{i}"), move |_: &Context, _: &Report| {
            state += 1;
            black_box(state);
            Ok(Verdict::Ready)
        })
    });
    let monitor = Monitor::start(rest).expect("a thread");
    let time = told.recv().expect("it runs");
    assert!(monitor.stop(Duration::from_secs(5)).is_clean());
    time
}

fn hung_calls(samples: usize, timeout: Duration) -> Hung {
    let (tell, begun) = unbounded();
    let (release, released) = bounded::<()>(1);
    let probe = move |_: &Context| {
        // The deadline counts from a moment before this one, less than a
        // microsecond.
        tell.send((Instant::now(), SystemTime::now()))?;
        // An error: the bench is over.
        let _ = released.recv();
        Ok(())
    };
    let backoff = BackoffConfig {
        initial_delay: HOUR,
        max_delay: HOUR,
        poll_interval: HOUR,
        probe_timeout: timeout,
        ..Default::default()
    };
    let watcher = Watcher::start(WatcherConfig::new("hung", probe).backoff(backoff)).expect("one thread");
    let events = watcher.subscribe();
    let await_event = |wanted: fn(&EventKind) -> bool| loop {
        let delivery = events.recv().expect("the watcher runs");
        if wanted(&delivery.event.what) {
            return delivery.event;
        }
    };
    let mut hung = Hung { published: Vec::new(), told: Vec::new() };
    for _ in 0..samples {
        let (instant, wall) = begun.recv().expect("the probe is called");
        let event = await_event(|what| matches!(what, EventKind::TimedOut { .. }));
        hung.told.push((instant + timeout).elapsed());
        let due = Stamp::from(wall + timeout).as_micros();
        hung.published.push(Duration::from_micros(event.at.as_micros().saturating_sub(due)));
        release.send(()).expect("the probe waits for it");
        await_event(|what| matches!(what, EventKind::Late { .. }));
        watcher.trigger();
    }
    drop(release);
    let report = watcher.stop(Duration::from_secs(5));
    assert!(report.is_clean(), "{report}");
    hung
}

/// A watcher whose service turns up and down in turn, a `LULL` apart: each
/// probe says when it decided.
fn turning(decided: Sender<Instant>) -> WatcherConfig {
    let mut up = false;
    let probe = move |_: &Context| {
        up = !up;
        let answer = if up { Ok(()) } else { Err(BoxError::from("down")) };
        // Nobody hears of the last ones.
        let _ = decided.send(Instant::now());
        answer
    };
    let backoff =
        BackoffConfig { initial_delay: LULL, poll_interval: LULL, jitter: 0.0, ..Default::default() };
    WatcherConfig::new("turning", probe).backoff(backoff)
}

fn events(samples: usize) -> Vec<Duration> {
    let (tell, decided) = unbounded();
    let manager = manager();
    let events = manager.subscribe();
    let _watcher = manager.watch(turning(tell)).expect("one thread");
    let turns = events.iter().filter(|delivery| {
        assert_eq!(delivery.lost, 0, "the subscriber keeps up");
        matches!(delivery.event.what, EventKind::Ready { .. } | EventKind::Down { .. })
    });
    turns.map(|_| since(&decided)).take(samples).collect()
}

fn callbacks(samples: usize) -> Vec<Duration> {
    let (tell, decided) = unbounded();
    let seen = Arc::new((Mutex::new(Vec::with_capacity(samples)), Started::expect(samples)));
    let called = || {
        let (decided, seen) = (decided.clone(), Arc::clone(&seen));
        move || {
            let latency = since(&decided);
            let mut latencies = seen.0.lock();
            if latencies.len() < samples {
                latencies.push(latency);
                seen.1.one();
            }
        }
    };
    let (ready, down) = (called(), called());
    let watcher = Watcher::start(turning(tell).on_ready(ready).on_down(move |_| down())).expect("one thread");
    seen.1.wait();
    drop(watcher);
    std::mem::take(&mut *seen.0.lock())
}

fn since(decided: &Receiver<Instant>) -> Duration {
    decided.try_recv().expect("an event comes after its decision").elapsed()
}

fn inert_counts(calls: u32) -> Duration {
    let counter = Observer::default().counter("calls_total", &[]);
    let begin = Instant::now();
    for _ in 0..calls {
        black_box(&counter).add(1);
    }
    begin.elapsed()
}

fn inert_spans(calls: u32) -> Duration {
    let observer = Observer::default();
    let begin = Instant::now();
    for _ in 0..calls {
        black_box(&observer).start_span("call", &[]).end();
    }
    begin.elapsed()
}

fn snapshots(n: usize) -> Snapshots {
    let manager = Arc::new(manager());
    let all = Arc::new(Started::expect(n));
    for i in 0..n {
        // One in ten has an error to show.
        let mut first = first_run_of(&all);
        let probe = move |cx: &Context| {
            first.probe(cx)?;
            if i % 10 == 0 { Err("connection refused".into()) } else { Ok(()) }
        };
        let backoff =
            BackoffConfig { initial_delay: HOUR, max_delay: HOUR, poll_interval: HOUR, ..Default::default() };
        let config = WatcherConfig::new(format!("watcher-{i}"), probe).backoff(backoff);
        manager.watch(config).expect("the machine allows as many watchers");
    }
    all.wait();
    let (reader, writers) = (Arc::clone(&manager), Arc::clone(&manager));
    let writer = move || -> Stop {
        let without_pause = BackoffConfig { poll_interval: Duration::from_nanos(1), ..Default::default() };
        let config = WatcherConfig::new("writer", |_: &Context| Ok(())).backoff(without_pause);
        let watcher = writers.watch(config).expect("one more thread");
        while watcher.status().runs < 100 {
            std::thread::yield_now();
        }
        let writers = Arc::clone(&writers);
        Box::new(move || {
            let report =
                writers.unwatch(watcher.name().as_str(), Duration::from_secs(5)).expect("it is watched");
            assert!(report.is_clean(), "{report}");
        })
    };
    Snapshots {
        read: Box::new(move || drop(black_box(reader.statuses()))),
        writer: Box::new(writer),
        stop: Box::new(move || {
            let report = manager.stop(Duration::from_secs(10));
            assert!(report.is_clean(), "{report}");
        }),
    }
}
