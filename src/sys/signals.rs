//! Signal masks: threads of ours take no signals that a program may handle.

#[cfg(feature = "signals")]
use std::io;
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

/// SIGTERM and SIGINT, blocked on this thread so that it can wait for them.
#[cfg(feature = "capi")]
#[derive(Debug)]
pub(crate) struct EndSignals {
    before: libc::sigset_t,
    set: libc::sigset_t,
    /// The mask is this thread's.
    _one_thread: std::marker::PhantomData<*const ()>,
}

#[cfg(feature = "capi")]
impl EndSignals {
    /// Blocks them until this is dropped.
    pub(crate) fn block() -> Self {
        let mut set = MaybeUninit::<libc::sigset_t>::uninit();
        let mut before = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: both sets are valid for writes; sigemptyset initialises the
        // first before it is read, pthread_sigmask initialises the second.
        unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            libc::sigaddset(set.as_mut_ptr(), libc::SIGTERM);
            libc::sigaddset(set.as_mut_ptr(), libc::SIGINT);
            libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), before.as_mut_ptr());
            Self {
                before: before.assume_init(),
                set: set.assume_init(),
                _one_thread: std::marker::PhantomData,
            }
        }
    }

    /// Waits for one of them.
    pub(crate) fn wait(&self) {
        let mut signal = 0;
        // SAFETY: the set is initialised, `signal` is valid for writes. It
        // fails only for sets that no thread can wait for.
        unsafe { libc::sigwait(&self.set, &mut signal) };
    }
}

#[cfg(feature = "capi")]
impl Drop for EndSignals {
    fn drop(&mut self) {
        // SAFETY: both sets are initialised; a null pointer asks for nothing.
        // What came once more meanwhile was meant for what has ended by now.
        unsafe {
            let now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
            while libc::sigtimedwait(&self.set, std::ptr::null_mut(), &now) > 0 {}
            libc::pthread_sigmask(libc::SIG_SETMASK, &self.before, std::ptr::null_mut());
        }
    }
}

/// Undoes what a process may inherit: SIGCHLD is not ignored in the process
/// any more, and the calling thread does not block it or the signals that end
/// a program or have it look at its files again.
#[cfg(feature = "signals")]
pub(crate) fn reset_inherited() -> io::Result<()> {
    let mut action = MaybeUninit::<libc::sigaction>::uninit();
    let mut blocked = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: a null action only asks for the one in force, which fills in
    // `action`; sigemptyset initialises `blocked` before it is read. SIG_DFL
    // runs no code of the program's.
    unsafe {
        super::check(libc::sigaction(libc::SIGCHLD, std::ptr::null(), action.as_mut_ptr()))?;
        let mut action = action.assume_init();
        if action.sa_sigaction == libc::SIG_IGN {
            action.sa_sigaction = libc::SIG_DFL;
            action.sa_flags = 0;
            super::check(libc::sigaction(libc::SIGCHLD, &action, std::ptr::null_mut()))?;
        }
        super::check(libc::sigemptyset(blocked.as_mut_ptr()))?;
        for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGCHLD] {
            super::check(libc::sigaddset(blocked.as_mut_ptr(), signal))?;
        }
        match libc::pthread_sigmask(libc::SIG_UNBLOCK, blocked.as_ptr(), std::ptr::null_mut()) {
            0 => Ok(()),
            errno => Err(io::Error::from_raw_os_error(errno)),
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
