//! The library's sides, all in one place: one function each, put into [`OURS`].
//!
//! A hook that is `None` is a part that is not there yet; its line prints the
//! floor alone. A hook uses the public API, as a program would, and does what
//! the floor it stands against does: `floors.rs` is the other half of its
//! contract.

use std::sync::Arc;
use std::time::Duration;

use super::measure::{Started, Tally};

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
    /// calls `tally.ran(now - due)` and does nothing else.
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
    idle: None,
    periodic: None,
    guarded_calls: None,
    hung_calls: None,
    events: None,
    callbacks: None,
    inert_counts: None,
    inert_spans: None,
    snapshots: None,
};
