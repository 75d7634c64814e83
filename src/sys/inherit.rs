//! Descriptors that the program which started this one has left open for it.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering};

/// Which of the first 64 descriptors were taken: each has one owner.
static TAKEN: AtomicU64 = AtomicU64::new(0);

/// Takes a descriptor that was inherited, and keeps children from inheriting
/// it, too. The first three belong to the process, and each other one can be
/// taken once.
pub(crate) fn take(fd: RawFd) -> io::Result<OwnedFd> {
    if !(3..64).contains(&fd) {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    // SAFETY: asks about a number, whatever it stands for.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
    if flags < 0 {
        return Err(io::Error::last_os_error());
    }
    if flags & libc::FD_CLOEXEC != 0 {
        // What is closed on exec was not inherited: it is this program's own.
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    if TAKEN.fetch_or(1 << fd, Ordering::Relaxed) & (1 << fd) != 0 {
        return Err(io::Error::from_raw_os_error(libc::EBUSY));
    }
    // SAFETY: sets a flag of a descriptor that is open.
    if unsafe { libc::fcntl(fd, libc::F_SETFD, flags | libc::FD_CLOEXEC) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is open, everything this program opens itself is closed on
    // exec, so nobody here owns it, and it is given away once.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Whether a descriptor is a socket that listens for streams.
pub(crate) fn is_listening(fd: &OwnedFd) -> bool {
    use std::os::fd::AsRawFd;
    let mut value: libc::c_int = 0;
    let mut length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the value and its length are ours and as long as they say.
    let status = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ACCEPTCONN,
            (&raw mut value).cast(),
            &raw mut length,
        )
    };
    status == 0 && value != 0
}
