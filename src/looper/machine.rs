//! The decisions of a loop, as its skeleton knows them: pure.

use std::time::Duration;

use crate::clock::Tick;
use crate::error::Result;
use crate::event::EventKind;
use crate::record::Record;
use crate::stamp::Stamp;
use crate::status::LoopStatus;

/// What happened to a loop's call.
pub(crate) enum Input<T> {
    /// It returned in time, or failed, or panicked.
    Returned { result: Result<T>, took: Duration },
    /// It passed its deadline, for the first time or again, and is stuck.
    TimedOut { stuck_for: Duration },
    /// It came back after its deadline; its answer is dropped.
    Late,
    /// Somebody asked for a run now.
    Poked,
}

/// The decisions of a loop. Pure: time comes in, events go out.
pub(crate) trait Machine: Send + 'static {
    /// What a call yields.
    type Output: Send + 'static;

    /// Begins, for the first time or after a stop: the first call is due now.
    fn start(&mut self, now: Tick);
    /// Takes in what happened and decides when the next call is due.
    fn step(&mut self, now: Tick, input: Input<Self::Output>, events: &mut Vec<EventKind>);
    /// How long a call may take.
    fn timeout(&self) -> Duration;
    /// Whether a further timeout of a call that is already overdue would
    /// still change anything.
    fn counts_timeouts(&self) -> bool;
    /// Whether the whole is down when this is.
    fn is_critical(&self) -> bool;
    /// What it knows of its calls, and when the next is due.
    fn record(&self) -> &Record;
    /// The same, for those who keep it.
    fn record_mut(&mut self) -> &mut Record;
    /// Adds what only its kind has to say, at the moment `at`.
    fn detail(&self, _at: Stamp, _status: &mut LoopStatus) {}

    /// The loop was told to end: nothing is known any more.
    fn stop(&mut self, now: Tick) {
        self.record_mut().stop(now);
    }
}

/// What of a [`Machine`] has nothing to do with what its calls yield: the
/// skeleton knows no more, so that it is there once and not for each kind of
/// loop.
pub(crate) trait Decide: Send {
    fn start(&mut self, now: Tick);
    fn hear(&mut self, now: Tick, heard: Heard, events: &mut Vec<EventKind>);
    fn timeout(&self) -> Duration;
    fn counts_timeouts(&self) -> bool;
    fn is_critical(&self) -> bool;
    fn record(&self) -> &Record;
    fn detail(&self, at: Stamp, status: &mut LoopStatus);
    fn stop(&mut self, now: Tick);
}

/// An [`Input`] that is no answer of a call.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Heard {
    TimedOut { stuck_for: Duration },
    Late,
    Poked,
}

impl<M: Machine> Decide for M {
    fn start(&mut self, now: Tick) {
        Machine::start(self, now);
    }

    fn hear(&mut self, now: Tick, heard: Heard, events: &mut Vec<EventKind>) {
        let input = match heard {
            Heard::TimedOut { stuck_for } => Input::TimedOut { stuck_for },
            Heard::Late => Input::Late,
            Heard::Poked => Input::Poked,
        };
        self.step(now, input, events);
    }

    fn timeout(&self) -> Duration {
        Machine::timeout(self)
    }

    fn counts_timeouts(&self) -> bool {
        Machine::counts_timeouts(self)
    }

    fn is_critical(&self) -> bool {
        Machine::is_critical(self)
    }

    fn record(&self) -> &Record {
        Machine::record(self)
    }

    fn detail(&self, at: Stamp, status: &mut LoopStatus) {
        Machine::detail(self, at, status);
    }

    fn stop(&mut self, now: Tick) {
        Machine::stop(self, now);
    }
}
