//! A clock that stands still until it is told to go on: for tests in C.

use super::boundary::{Answer, Failure, guard, guard_or, millis};
use super::call::refuse_inside;
use super::handle::{New, Own, Ref, object};
use super::status::{LK_ERR_TIMEOUT, lk_status};
use crate::clock::{Busy, ManualClock, Tick};

/// A clock that stands still until it is told to go on. Environments made
/// with it have its time; with none, the machine's.
#[derive(Debug)]
pub struct lk_clock {
    _private: [u8; 0],
}

object!(lk_clock => ManualClock);

/// Makes a clock that stands still.
///
/// out: a new handle, the caller's to free with lk_clock_free.
/// Returns: LK_OK; LK_ERR_NULL. Thread: any. Does not block. Next: set `clock`
/// of an lk_env_config to it.
#[unsafe(no_mangle)]
pub extern "C" fn lk_clock_new(out: New<lk_clock>) -> lk_status {
    guard(move || out.check("out")?.set(ManualClock::default()))
}

/// Waits until all loops are asleep and every event was told.
///
/// clock: not consumed.
/// Returns: LK_OK; LK_ERR_TIMEOUT after 30 s without rest, naming who is
/// busy; LK_ERR_STATE from inside a callback; LK_ERR_NULL; LK_ERR_STALE.
/// Thread: owner. Blocks until then, for 30 s at most.
#[unsafe(no_mangle)]
pub extern "C" fn lk_clock_settle(clock: Ref<lk_clock>) -> lk_status {
    guard(move || {
        let clock = clock.get("clock")?;
        patiently("lk_clock_settle", || clock.try_settle())
    })
}

/// Lets time go on, from one moment at which something is due to the next,
/// and waits until all is at rest after each.
///
/// clock: not consumed. run_ms: by how much; by more when another thread moves
/// the clock meanwhile: it never goes back.
/// Returns: as lk_clock_settle. Thread: owner. Blocks until all is at rest.
#[unsafe(no_mangle)]
pub extern "C" fn lk_clock_run_for(clock: Ref<lk_clock>, run_ms: u64) -> lk_status {
    guard(move || {
        let clock = clock.get("clock")?;
        patiently("lk_clock_run_for", || clock.try_run_for(millis(run_ms)))
    })
}

/// Lets time jump, as after a machine was asleep: all that fell due meanwhile
/// wakes together. After 584 years in all the clock is at its end: it stands
/// still, and what waits for a later moment waits for ever.
///
/// clock: not consumed. jump_ms: by how much.
/// Returns: as lk_clock_settle. Thread: owner. Blocks until all is at rest.
#[unsafe(no_mangle)]
pub extern "C" fn lk_clock_jump(clock: Ref<lk_clock>, jump_ms: u64) -> lk_status {
    guard(move || {
        let clock = clock.get("clock")?;
        patiently("lk_clock_jump", || clock.try_jump(millis(jump_ms)))
    })
}

/// What the clock says.
///
/// clock: not consumed.
/// Returns: milliseconds since it was made; 0 when `clock` is no such handle.
/// Thread: any. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_clock_now_ms(clock: Ref<lk_clock>) -> u64 {
    guard_or(0, move || {
        let now = clock.get("clock")?.now().since(Tick::default());
        Ok(u64::try_from(now.as_millis()).unwrap_or(u64::MAX))
    })
}

/// Lets go of the handle. Environments that have the clock keep it.
///
/// clock: consumed; NULL does nothing.
/// Returns: LK_OK; LK_ERR_STALE when it was freed already. Thread: any. Does
/// not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_clock_free(clock: Own<lk_clock>) -> lk_status {
    guard(move || clock.release("clock"))
}

/// Does what waits for all to come to rest.
fn patiently(what: &str, wait: impl FnOnce() -> Result<(), Busy>) -> Answer {
    refuse_inside(what)?;
    wait().map_err(|Busy(text)| Failure::new(LK_ERR_TIMEOUT, text))
}
