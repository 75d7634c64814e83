//! What a loop calls: the user's code, in a slot that the watchdog guards.

use std::time::Duration;

use crate::clock::Tick;
use crate::component::Context;
use crate::error::{BoxError, Error, Result};
use crate::thread::caught;
use crate::watchdog::Guard;

/// What a loop calls. One at a time, on the loop's thread.
pub(crate) trait Work<T>: Send + 'static {
    fn call(&mut self, cx: &Context) -> std::result::Result<T, BoxError>;

    /// Whether its calls are to change nothing.
    fn is_dry_run(&self) -> bool {
        false
    }
}

/// Makes one call in its slot. True: it was in time.
pub(crate) fn guarded_call<T>(
    guard: &Guard,
    generation: u64,
    deadline: Tick,
    work: &mut impl Work<T>,
    cx: &Context,
) -> (Result<T>, bool) {
    guard.enter(generation, deadline);
    let result = call(work, cx);
    (result, guard.leave(generation))
}

/// By how much the deadline that a call sees lies before the watchdog's, so
/// that a call which ends at its deadline tells what it waited for instead of
/// being taken for stuck.
pub(crate) fn deadline_lead(timeout: Duration) -> Duration {
    (timeout / 20).min(Duration::from_millis(50))
}

/// Calls user code; a panic is a result, and what a user's error holds is
/// dropped here, on the loop's thread and in its slot.
fn call<T>(work: &mut impl Work<T>, cx: &Context) -> Result<T> {
    caught(|| match work.call(cx) {
        Ok(output) => Ok(output),
        Err(error) => Err(Error::from_user(&*error)),
    })
    .and_then(|result| result)
}
