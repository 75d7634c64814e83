//! Signal masks: threads of ours take no signals that a program may handle.

use std::mem::MaybeUninit;

/// Signals stay blocked until this is dropped.
#[derive(Debug)]
pub(crate) struct Blocked {
    before: libc::sigset_t,
}

/// Blocks all signals but those that report a fault of the running thread
/// itself (SEGV, BUS, ILL, FPE, TRAP, ABRT, SYS) and the profiler's, on the
/// calling thread. A thread spawned meanwhile inherits the mask.
pub(crate) fn block() -> Blocked {
    let mut blocked = MaybeUninit::<libc::sigset_t>::uninit();
    let mut before = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: both sets are valid for writes; sigfillset initialises the
    // first before it is read, pthread_sigmask initialises the second. The
    // only documented failure is an unknown `how`.
    unsafe {
        libc::sigfillset(blocked.as_mut_ptr());
        for signal in [
            libc::SIGSEGV,
            libc::SIGBUS,
            libc::SIGILL,
            libc::SIGFPE,
            libc::SIGTRAP,
            libc::SIGABRT,
            libc::SIGSYS,
            libc::SIGPROF,
        ] {
            libc::sigdelset(blocked.as_mut_ptr(), signal);
        }
        libc::pthread_sigmask(libc::SIG_SETMASK, blocked.as_ptr(), before.as_mut_ptr());
        Blocked { before: before.assume_init() }
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        // SAFETY: `before` was filled in by pthread_sigmask.
        unsafe {
            libc::pthread_sigmask(libc::SIG_SETMASK, &self.before, std::ptr::null_mut());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_blocked(signal: i32) -> bool {
        let mut now = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: a null set only asks for the mask in force.
        unsafe {
            libc::pthread_sigmask(libc::SIG_SETMASK, std::ptr::null(), now.as_mut_ptr());
            libc::sigismember(now.as_ptr(), signal) == 1
        }
    }

    #[test]
    fn handled_signals_are_blocked_and_faults_are_not() {
        assert!(!is_blocked(libc::SIGTERM));
        let blocked = block();
        for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGCHLD, libc::SIGUSR1] {
            assert!(is_blocked(signal), "{signal}");
        }
        for signal in [libc::SIGSEGV, libc::SIGABRT, libc::SIGPROF] {
            assert!(!is_blocked(signal), "{signal}");
        }
        drop(blocked);
        assert!(!is_blocked(libc::SIGTERM));
    }
}
