//! Noticing a fork: threads stay in the parent.

use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

static IS_CHILD: AtomicBool = AtomicBool::new(false);
static WATCHED: Once = Once::new();

/// Runs in the child, where only what is safe in a signal handler may.
extern "C" fn note() {
    IS_CHILD.store(true, Ordering::Relaxed);
}

/// Notices forks from now on.
pub(crate) fn watch() {
    WATCHED.call_once(|| {
        // SAFETY: the function stays where it is as long as this library is
        // loaded; the system forgets it when that is unloaded. It stores to an
        // atomic and does nothing else. That there is no memory for it is no
        // reason to refuse work: then a fork is not noticed.
        let _ = unsafe { libc::pthread_atfork(None, None, Some(note)) };
    });
}

/// Whether this process was forked from one that watched for it.
#[inline]
pub(crate) fn is_child() -> bool {
    IS_CHILD.load(Ordering::Relaxed)
}
