//! Waiting for file descriptors, in a way that another thread can end.

use std::fs::File;
use std::io::{self, Write};
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// What is waited for on a descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interest {
    /// There is something to read, or the other end is gone.
    Read,
    /// There is room to write, a connect is over, or the other end is gone.
    Write,
}

/// One descriptor of a [`poll`].
#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct PollFd<'fd>(libc::pollfd, PhantomData<BorrowedFd<'fd>>);

impl<'fd> PollFd<'fd> {
    /// An entry that is never ready.
    pub(crate) const NONE: Self = Self(libc::pollfd { fd: -1, events: 0, revents: 0 }, PhantomData);

    pub(crate) fn new(fd: BorrowedFd<'fd>, interest: Interest) -> Self {
        let events = match interest {
            Interest::Read => libc::POLLIN,
            Interest::Write => libc::POLLOUT,
        };
        Self(libc::pollfd { fd: fd.as_raw_fd(), events, revents: 0 }, PhantomData)
    }

    /// Whether the last poll found it ready, or broken: what is done next
    /// with the descriptor does not block and tells which.
    pub(crate) fn is_ready(&self) -> bool {
        self.0.revents != 0
    }
}

/// Waits until a descriptor is ready or `timeout` has passed. A signal ends
/// the wait early, with nothing ready.
pub(crate) fn poll(fds: &mut [PollFd<'_>], timeout: Duration) -> io::Result<()> {
    // Rounded up: a wait that ends a little early would be repeated at once.
    let millis = timeout.as_nanos().div_ceil(1_000_000);
    let millis = libc::c_int::try_from(millis).unwrap_or(libc::c_int::MAX);
    let count = fds.len() as libc::nfds_t;
    // SAFETY: `PollFd` is a transparent `pollfd`, `count` is how many there
    // are, and the descriptors are borrowed, so they are open.
    let answer = unsafe { libc::poll(fds.as_mut_ptr().cast::<libc::pollfd>(), count, millis) };
    match super::check(answer) {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => {
            for fd in fds {
                fd.0.revents = 0;
            }
            Ok(())
        }
        answer => answer.map(drop),
    }
}

/// Wakes a thread that polls: once woken, it is ready to read for ever.
#[derive(Debug)]
pub(crate) struct Waker {
    read: OwnedFd,
    /// Where the two ends are not one.
    write: Option<File>,
}

impl Waker {
    #[cfg(target_os = "linux")]
    pub(crate) fn new() -> io::Result<Self> {
        use std::os::fd::FromRawFd;
        // SAFETY: eventfd takes no pointers; the descriptor it answers is new
        // and belongs to nobody else.
        let read = unsafe {
            let fd = super::check(libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK))?;
            OwnedFd::from_raw_fd(fd)
        };
        Ok(Self { write: None, read })
    }

    #[cfg(not(target_os = "linux"))]
    pub(crate) fn new() -> io::Result<Self> {
        let (read, write) = super::process::pipe()?;
        Ok(Self { read, write: Some(File::from(write)) })
    }

    /// Wakes. Does not block: both kinds have room for one write.
    pub(crate) fn wake(&self) {
        // Eight bytes are what an eventfd takes, and a pipe does not mind.
        let one = 1_u64.to_ne_bytes();
        let result = match &self.write {
            Some(write) => (&*write).write(&one),
            None => write(self.read.as_fd(), &one),
        };
        debug_assert!(result.is_ok(), "a waker is written to once: {result:?}");
    }

    /// Takes back one wake. Does not block: neither kind waits for a write.
    pub(crate) fn calm(&self) {
        let mut one = [0; 8];
        // SAFETY: the bytes are valid for writes, the descriptor is open. That
        // there is nothing is no mistake of ours: a program that was given the
        // descriptor may have read from it.
        let _ = unsafe { libc::read(self.read.as_raw_fd(), one.as_mut_ptr().cast(), one.len()) };
    }

    /// What to poll for reading.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.read.as_fd()
    }
}

fn write(fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    // SAFETY: the bytes are valid for reads, the descriptor is open.
    let answer = unsafe { libc::write(fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len()) };
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(answer.unsigned_abs()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_waker_ends_a_wait_and_stays_awake() {
        let waker = Waker::new().unwrap();
        let mut fds = [PollFd::new(waker.fd(), Interest::Read), PollFd::NONE];
        poll(&mut fds, Duration::from_millis(1)).unwrap();
        assert!(!fds[0].is_ready());
        waker.wake();
        poll(&mut fds, Duration::from_secs(30)).unwrap();
        assert!(fds[0].is_ready() && !fds[1].is_ready());
        poll(&mut fds, Duration::ZERO).unwrap();
        assert!(fds[0].is_ready());
    }
}
