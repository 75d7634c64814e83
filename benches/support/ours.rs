//! The library's sides, all in one place: one function each, put into [`OURS`].
//!
//! A hook that is `None` is a part that is not there yet; its line prints the
//! floor alone. A hook uses the public API, as a program would, and does what
//! the floor it stands against does: `floors.rs` is the other half of its
//! contract.

use std::sync::Arc;
use std::time::{Duration, Instant};

use loopkeeper::watch::BackoffConfig;
use loopkeeper::{BoxError, Context, Env, WatchManager, WatcherConfig};

use super::measure::{Beat, Started, Tally};

/// Stops what a hook started, and comes back when all threads are gone.
pub(crate) type Stop = Box<dyn FnOnce()>;

/// Starts loops that run at a period.
pub(crate) type PeriodicLoops = fn(n: usize, period: Duration, tally: &Arc<Tally>) -> Stop;

/// A fleet whose status is read as a whole.
pub(crate) struct Snapshots {
    /// Takes one snapshot of all and lets go of it.
    pub(crate) read: Box<dyn FnMut()>,
    /// Changes the status of one, as a loop does after a run.
    pub(crate) write: Arc<dyn Fn() + Send + Sync>,
    pub(crate) stop: Stop,
}

/// One field a promise. Fill in `Some(function)` when the part is there.
pub(crate) struct Ours {
    /// Starts `n` loops with default settings whose first run calls
    /// `started.one()` and whose next is an hour away.
    pub(crate) idle: Option<fn(n: usize, started: &Arc<Started>) -> Stop>,
    /// Starts `n` loops with default settings that run at `period`; each run
    /// calls `tally.ran(now - due)`, with a `Beat` where the due is not told.
    pub(crate) periodic: Option<PeriodicLoops>,
    /// Makes `calls` guarded calls of an empty boxed closure, on one thread,
    /// with a live watchdog; the time of all.
    pub(crate) guarded_calls: Option<fn(calls: u32) -> Duration>,
    /// A call that hangs past its timeout, `samples` times one after another:
    /// from the deadline until a subscriber has the event.
    pub(crate) hung_calls: Option<fn(samples: usize) -> Vec<Duration>>,
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
    periodic: Some(periodic),
    guarded_calls: None,
    hung_calls: None,
    events: None,
    callbacks: None,
    inert_counts: None,
    inert_spans: None,
    snapshots: None,
};

fn idle(n: usize, started: &Arc<Started>) -> Stop {
    watchers(n, Duration::from_secs(3600), || {
        let mut started = Some(Arc::clone(started));
        move |_: &Context| {
            if let Some(started) = started.take() {
                started.one();
            }
            Ok(())
        }
    })
}

fn periodic(n: usize, period: Duration, tally: &Arc<Tally>) -> Stop {
    watchers(n, period, || {
        let tally = Arc::clone(tally);
        let mut beat = Beat::new(period);
        move |_: &Context| {
            tally.ran(beat.late(Instant::now()));
            Ok(())
        }
    })
}

/// One manager of `n` watchers that are always ready.
fn watchers<P>(n: usize, poll_interval: Duration, probe: impl Fn() -> P) -> Stop
where
    P: FnMut(&Context) -> Result<(), BoxError> + Send + 'static,
{
    let env = Env::new().expect("a watchdog can be started");
    let manager = WatchManager::new(&env);
    let backoff = BackoffConfig { poll_interval, ..Default::default() };
    for i in 0..n {
        let config = WatcherConfig::new(format!("watcher-{i}"), probe()).backoff(backoff.clone());
        manager.watch(config).expect("the machine allows as many watchers");
    }
    Box::new(move || {
        let report = manager.stop(Duration::from_secs(10));
        assert!(report.is_clean(), "{report}");
    })
}
