//! Waiting for many sockets at once, with poll(2).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

/// What a descriptor is waited for. Errors and hang-ups are always noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Interest {
    /// Something to read, or the other side's end of writing.
    pub(crate) read: bool,
    /// Room to write.
    pub(crate) write: bool,
    /// The other side's end of writing, and not what came before it. Where
    /// the system cannot tell, it is not noticed.
    pub(crate) end: bool,
}

#[cfg(any(target_os = "linux", target_os = "android"))]
const END: libc::c_short = libc::POLLRDHUP;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const END: libc::c_short = 0;

/// Descriptors to wait for, and after a wait what became of each.
///
/// A descriptor that was closed meanwhile, or that now means another file,
/// does no harm: it is reported as broken, or as ready when it is not, and
/// all of ours are non-blocking.
#[derive(Default)]
pub(crate) struct PollSet {
    fds: Vec<libc::pollfd>,
}

impl PollSet {
    /// Forgets all descriptors and keeps the memory.
    pub(crate) fn clear(&mut self) {
        self.fds.clear();
    }

    /// Adds a descriptor and returns its place in the set.
    pub(crate) fn add(&mut self, fd: BorrowedFd<'_>, interest: Interest) -> usize {
        let read = if interest.read { libc::POLLIN } else { 0 };
        let write = if interest.write { libc::POLLOUT } else { 0 };
        let end = if interest.end { END } else { 0 };
        self.fds.push(libc::pollfd { fd: fd.as_raw_fd(), events: read | write | end, revents: 0 });
        self.fds.len() - 1
    }

    /// Waits until a descriptor is ready or `timeout` has passed (`None`: for
    /// ever). May return early with nothing ready.
    ///
    /// # Errors
    ///
    /// Out of memory, or more descriptors than the process may have.
    pub(crate) fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        #[cfg(shuttle)]
        return self.wait_in_a_model(timeout);
        #[cfg(not(shuttle))]
        self.poll(timeout)
    }

    /// Real time does not pass in a model, and a thread that sleeps in the
    /// kernel would hold up all others: waits until something is ready.
    #[cfg(shuttle)]
    fn wait_in_a_model(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        loop {
            self.poll(Some(Duration::ZERO))?;
            if timeout == Some(Duration::ZERO) || self.fds.iter().any(|fd| fd.revents != 0) {
                return Ok(());
            }
            shuttle::thread::yield_now();
        }
    }

    fn poll(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        // Rounded up: a wait that ends before its deadline would be repeated.
        let millis = timeout
            .map_or(-1, |timeout| i32::try_from(timeout.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX));
        for fd in &mut self.fds {
            fd.revents = 0;
        }
        // A set can hold no more than memory does, which is less than nfds_t.
        let n_fds = self.fds.len() as libc::nfds_t;
        // SAFETY: the pointer is to `n_fds` initialised entries that the
        // kernel may write.
        let n_ready = unsafe { libc::poll(self.fds.as_mut_ptr(), n_fds, millis) };
        if n_ready < 0 {
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
        Ok(())
    }

    /// Whether the descriptor at this place is ready for what it was waited
    /// for, or broken; a read or write then says which.
    pub(crate) fn is_ready(&self, idx: usize) -> bool {
        self.fds[idx].revents != 0
    }
}

impl std::fmt::Debug for PollSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PollSet").field("n_fds", &self.fds.len()).finish()
    }
}

/// Whether an accept failed because files, buffers or memory are used up, and
/// not because of the one connection.
pub(crate) fn is_shortage(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    const READ: Interest = Interest { read: true, write: false, end: false };
    const WRITE: Interest = Interest { read: false, write: true, end: false };
    const NOTHING: Interest = Interest { read: false, write: false, end: false };

    #[test]
    fn readiness_is_told_per_descriptor() {
        let (mut near, far) = UnixStream::pair().unwrap();
        let mut set = PollSet::default();
        let reading = set.add(far.as_fd(), READ);
        let writing = set.add(near.as_fd(), WRITE);
        set.wait(Some(Duration::ZERO)).unwrap();
        assert!(!set.is_ready(reading) && set.is_ready(writing));
        near.write_all(b"x").unwrap();
        set.wait(None).unwrap();
        assert!(set.is_ready(reading));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn an_end_of_writing_is_told_apart_from_what_came_before() {
        let (mut near, far) = UnixStream::pair().unwrap();
        let mut set = PollSet::default();
        let idx = set.add(far.as_fd(), Interest { end: true, ..NOTHING });
        near.write_all(b"x").unwrap();
        set.wait(Some(Duration::ZERO)).unwrap();
        assert!(!set.is_ready(idx));
        near.shutdown(std::net::Shutdown::Write).unwrap();
        set.wait(None).unwrap();
        assert!(set.is_ready(idx));
    }

    #[test]
    fn a_hang_up_is_told_though_nothing_was_asked() {
        let (near, far) = UnixStream::pair().unwrap();
        let mut set = PollSet::default();
        let idx = set.add(far.as_fd(), NOTHING);
        set.wait(Some(Duration::from_micros(1))).unwrap();
        assert!(!set.is_ready(idx));
        drop(near);
        set.wait(None).unwrap();
        assert!(set.is_ready(idx));
        set.clear();
        set.wait(Some(Duration::ZERO)).unwrap();
    }

    #[test]
    fn a_shortage_is_not_the_fault_of_one_connection() {
        assert!(is_shortage(&io::Error::from_raw_os_error(libc::EMFILE)));
        assert!(!is_shortage(&io::Error::from_raw_os_error(libc::ECONNABORTED)));
        assert!(!is_shortage(&io::Error::other("x")));
    }
}
