//! Child processes: their groups, their signals, and when they end.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};

/// A child that leads a process group of its own, with everything in it.
///
/// Dropped, it is killed as a whole and waited for, so that nothing of it is
/// left: no process, no zombie.
#[derive(Debug)]
pub(crate) struct Group {
    child: Child,
    /// Once it was waited for, its number may be somebody else's.
    reaped: bool,
}

impl Group {
    /// Runs a command in a group of its own, with no signal blocked. Threads
    /// of ours block most signals, and a child would inherit that: it could
    /// not be asked to end.
    pub(crate) fn spawn(command: &mut Command) -> io::Result<Self> {
        // SAFETY: between fork and exec only functions may run that are safe
        // in a signal handler; sigemptyset and sigprocmask are, and nothing
        // is allocated.
        unsafe {
            command.pre_exec(|| {
                let mut none = MaybeUninit::<libc::sigset_t>::uninit();
                super::check(libc::sigemptyset(none.as_mut_ptr()))?;
                super::check(libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), std::ptr::null_mut()))?;
                Ok(())
            });
        }
        let child = command.process_group(0).spawn()?;
        Ok(Self { child, reaped: false })
    }

    /// The number of its leader, which is that of the group.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// A descriptor that is ready to read once the leader has ended, where
    /// the system has such.
    #[cfg(target_os = "linux")]
    pub(crate) fn end(&self) -> Option<OwnedFd> {
        if self.reaped {
            return None;
        }
        // SAFETY: pidfd_open takes no pointers; the descriptor it answers is
        // new, belongs to nobody else, and is closed in children. The number
        // is the leader's, because it was not waited for.
        unsafe {
            let fd = libc::syscall(libc::SYS_pidfd_open, self.child.id(), 0);
            let fd = libc::c_int::try_from(fd).ok().filter(|fd| *fd >= 0)?;
            Some(OwnedFd::from_raw_fd(fd))
        }
    }

    /// A descriptor that is ready to read once the leader has ended, where
    /// the system has such.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn end(&self) -> Option<OwnedFd> {
        None
    }

    /// Whether the leader has ended. It stays to be waited for, so its number
    /// and its group's stay its own.
    pub(crate) fn has_ended(&self) -> io::Result<bool> {
        if self.reaped {
            return Ok(true);
        }
        // SAFETY: all-zero bytes are a valid siginfo_t.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        let how = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        // SAFETY: `info` is valid for writes.
        super::check(unsafe { libc::waitid(libc::P_PID, self.child.id(), &mut info, how) })?;
        // SAFETY: waitid filled in the member for children, or left the zeroes.
        Ok(unsafe { info.si_pid() } != 0)
    }

    /// Kills every process of the group.
    pub(crate) fn kill(&self) {
        // Where the program ignores SIGCHLD, children vanish unwaited: then
        // there is nothing to wait for, and the number is not ours any more.
        if self.reaped || self.has_ended().is_err() {
            return;
        }
        if let Ok(group) = libc::pid_t::try_from(self.child.id()) {
            // SAFETY: killpg takes no pointers; the number is the group's,
            // because its leader was not waited for. That nobody is left in
            // it is no error worth telling.
            unsafe { libc::killpg(group, libc::SIGKILL) };
        }
    }

    /// Kills what is left of the group, waits for the leader and tells how it
    /// ended. Blocks only as long as the kernel takes to end it.
    pub(crate) fn reap(&mut self) -> io::Result<ExitStatus> {
        self.kill();
        let status = self.child.wait();
        self.reaped = true;
        status
    }
}

/// Whether a wait failed because there is no such child: the kernel has
/// thrown its exit code away, as it does where SIGCHLD is ignored.
pub(crate) fn is_no_child(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ECHILD)
}

impl Drop for Group {
    fn drop(&mut self) {
        if !self.reaped {
            // There is nobody to tell, and nothing more that could be done.
            let _ = self.reap();
        }
    }
}

/// Makes a pipe whose ends are closed in child processes, and whose reading
/// end does not block. First the end to read.
pub(crate) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut fds = [-1; 2];
    // SAFETY: `fds` has room for two; the descriptors are new and belong to
    // nobody else.
    let (read, write) = unsafe {
        make_pipe(&mut fds)?;
        (OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1]))
    };
    // SAFETY: the descriptor is open, and its only flag is the one set.
    super::check(unsafe { libc::fcntl(read.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) })?;
    Ok((read, write))
}

/// # Safety
///
/// None beyond that what is answered in `fds` is to be owned.
#[cfg(target_os = "linux")]
unsafe fn make_pipe(fds: &mut [libc::c_int; 2]) -> io::Result<()> {
    // SAFETY: `fds` has room for two.
    super::check(unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC) }).map(drop)
}

/// # Safety
///
/// None beyond that what is answered in `fds` is to be owned.
#[cfg(not(target_os = "linux"))]
unsafe fn make_pipe(fds: &mut [libc::c_int; 2]) -> io::Result<()> {
    // SAFETY: `fds` has room for two, and both are open afterwards.
    unsafe {
        super::check(libc::pipe(fds.as_mut_ptr()))?;
        for fd in fds {
            super::check(libc::fcntl(*fd, libc::F_SETFD, libc::FD_CLOEXEC))?;
        }
    }
    Ok(())
}
