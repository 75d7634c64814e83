//! The one loop skeleton: wait, call, step, tell; cancel is looked at first.
//!
//! What a loop decides is in its [`Machine`], which is pure: no threads, no
//! clock. What it calls is its [`Work`], on the loop's own thread, in a slot
//! the watchdog guards. The machine, the counters and the number of the last
//! event live under one short lock in the [`Source`](source::Source), stepped by
//! the loop or, for a call that hangs, by the watchdog.

mod handle;
mod instruments;
mod machine;
mod source;
mod status;
mod work;

pub(crate) use handle::{Loop, Spec, StopDeadlines};
pub(crate) use instruments::{Instruments, RunInstruments, show_health};
pub(crate) use machine::{Input, Machine};
pub(crate) use work::{Work, deadline_lead, guarded_call};
