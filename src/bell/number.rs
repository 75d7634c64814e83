//! The doorbell as one number, which the kernel itself waits for.
//!
//! The parking place of a thread, as std has it, stands in memory of its own. A
//! loop that wakes once a second finds nothing of its own in the caches, and
//! one page more to be looked up is a tenth of what its turn takes.

#[cfg(loom)]
use loom::sync::atomic::{AtomicU32, Ordering};
#[cfg(not(loom))]
use std::sync::atomic::{AtomicU32, Ordering};

use crate::sys::futex;
use crate::sys::time::monotonic;

/// Nobody sleeps, and nobody has rung.
const QUIET: u32 = 0;
/// The next wait ends at once.
const RUNG: u32 = 1;
/// The owner sleeps: whoever rings wakes it.
const ASLEEP: u32 = 2;

/// A doorbell with room for one ring, for one thread at a time.
#[derive(Debug)]
pub(crate) struct Bell(AtomicU32);

impl Default for Bell {
    fn default() -> Self {
        Self(AtomicU32::new(QUIET))
    }
}

impl Bell {
    pub(crate) fn ring(&self) {
        // Release: what was written before the ring is seen after the wait.
        if self.0.swap(RUNG, Ordering::Release) == ASLEEP {
            futex::wake(&self.0);
        }
    }

    pub(crate) fn wait(&self) {
        self.sleep(None);
    }

    /// Waits for a ring until `deadline`, in nanoseconds of the monotonic clock;
    /// says whether it rang.
    pub(crate) fn wait_until(&self, deadline: u64) -> bool {
        if deadline <= monotonic() {
            // Without the kernel, for one that is busy all the time.
            return self.take();
        }
        self.sleep(Some(deadline))
    }

    /// Lets another thread wait on the bell from now on.
    pub(crate) fn hand_over(&self) {}

    fn sleep(&self, deadline: Option<u64>) -> bool {
        if self.0.compare_exchange(QUIET, ASLEEP, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            return self.take();
        }
        loop {
            let is_over = futex::wait(&self.0, ASLEEP, deadline);
            // A wake may be left over from an earlier ring.
            if is_over || self.0.load(Ordering::Relaxed) != ASLEEP {
                return self.take();
            }
        }
    }

    /// Takes a ring, if there is one; nobody sleeps any more. One step, so that
    /// a ring that comes meanwhile is either this one or kept for the next.
    fn take(&self) -> bool {
        self.0.swap(QUIET, Ordering::Acquire) == RUNG
    }
}
