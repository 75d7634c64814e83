//! How a shipped probe waits: until a descriptor is ready, the deadline of
//! its call comes, or the call is told to end.

use std::cell::Cell;
use std::fmt;
#[cfg(feature = "http-client")]
use std::io::Read;
use std::net::{Shutdown, TcpStream};
#[cfg(feature = "http-client")]
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

use super::text::local;
use crate::cancel::{CancelToken, LinkGuard};
use crate::clock::{Clock, Tick};
use crate::component::Context;
use crate::error::{BoxError, Error};
use crate::number::Fixed;
use crate::primitive::{AtomicU64, Mutex, Ordering};
use crate::step::Notes;
#[cfg(feature = "http-client")]
use crate::sys::net::receive_now;
use crate::sys::wait::{Interest, PollFd, Waker, poll};

/// One call of a probe: until when it waits, and what ends it before.
///
/// Sockets and processes know real time only, so a call on a manual clock has
/// as much real time as its context has time of that clock.
pub(crate) struct Wait {
    waker: Arc<Ends>,
    cancel: CancelToken,
    notes: Notes,
    /// Real time, counted from the beginning of the call.
    stopwatch: Clock,
    deadline: AtomicU64,
    hook: Option<LinkGuard>,
    /// Whether the next call of this thread may have the waker.
    keeps: bool,
}

/// How long a read blocks at most before its deadline is looked at again.
#[cfg(feature = "http-client")]
const READ_TIMEOUT: Duration = Duration::from_secs(1);

/// What ends a wait: a poll sees that a descriptor is ready, a read that its
/// socket is shut down.
struct Ends {
    waker: Waker,
    /// The socket that is read from, while a read blocks.
    read: Mutex<Option<Arc<TcpStream>>>,
}

impl Ends {
    fn end(&self) {
        self.waker.wake();
        let read = self.read.lock().take();
        if let Some(stream) = read {
            // Refused where it is closed already: then no read blocks.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

thread_local! {
    /// What the last call left to the next.
    static KEPT: Cell<Option<Arc<Ends>>> = const { Cell::new(None) };
}

/// Why a wait ended before what was waited for.
#[derive(Debug)]
pub(crate) enum Stop {
    Cancelled,
    TimedOut,
    /// The operating system refused to wait, or could not tell.
    Refused(std::io::Error),
}

impl Wait {
    /// Begins a call; errors begin with `what` is asked.
    pub(crate) fn begin(cx: &Context, what: &str) -> Result<Self, BoxError> {
        Ok(Self::with(cx, None, new_waker(what)?, false))
    }

    /// The same for a thread that makes many calls and is one of few: it
    /// keeps a descriptor from one call to the next. The call has `limit`, if
    /// that is less than its context has left.
    #[cfg(feature = "http-client")]
    pub(crate) fn begin_kept(cx: &Context, limit: Option<Duration>, what: &str) -> Result<Self, BoxError> {
        let waker = KEPT.take().map_or_else(|| new_waker(what), Ok)?;
        Ok(Self::with(cx, limit, waker, true))
    }

    fn with(cx: &Context, limit: Option<Duration>, waker: Arc<Ends>, keeps: bool) -> Self {
        let stopwatch = Clock::system();
        let remaining = cx.remaining().min(limit.unwrap_or(Duration::MAX));
        let theirs = waker.clone();
        let cancel = cx.cancel_token().clone();
        let hook = cancel.hook(move || theirs.end());
        let deadline = AtomicU64::new((Tick::ZERO + remaining).nanos());
        Self { waker, cancel, notes: cx.notes(), stopwatch, deadline, hook: Some(hook), keeps }
    }

    /// Says what the call begins to do, or has found.
    pub(crate) fn step(&self, what: impl fmt::Display) {
        self.notes.step(what);
    }

    /// Says what is of use to one alone who wants to be told everything.
    pub(crate) fn detail(&self, what: impl FnOnce() -> String) {
        if self.notes.steps.is_kept() {
            self.notes.step(what());
        }
    }

    /// How long the call has taken so far.
    pub(crate) fn took(&self) -> Took {
        Took(self.now().since(Tick::ZERO))
    }

    /// How much time is left.
    pub(crate) fn remaining(&self) -> Duration {
        self.deadline().since(self.now())
    }

    /// Moves the deadline to `left` from now, if that is earlier.
    pub(crate) fn hurry(&self, left: Duration) {
        // One thread waits; the atomic only lets it share the wait.
        self.deadline.fetch_min((self.now() + left).nanos(), Ordering::Relaxed);
    }

    /// Fails when the call was told to end or its time is over.
    pub(crate) fn check(&self) -> Result<(), Stop> {
        self.check_at(self.now())
    }

    fn check_at(&self, now: Tick) -> Result<(), Stop> {
        if self.cancel.is_cancelled() {
            return Err(Stop::Cancelled);
        }
        if self.deadline() <= now { Err(Stop::TimedOut) } else { Ok(()) }
    }

    /// Waits until the descriptor is ready, for at most `limit`.
    pub(crate) fn ready(&self, fd: BorrowedFd<'_>, interest: Interest, limit: Duration) -> Result<(), Stop> {
        let until = if limit == Duration::MAX { Tick::NEVER } else { self.now() + limit };
        let until = until.min(self.deadline());
        loop {
            let [ready, _] = self.either([PollFd::new(fd, interest), PollFd::NONE], until)?;
            if ready {
                return Ok(());
            }
            if self.now() >= until {
                return Err(Stop::TimedOut);
            }
        }
    }

    /// Makes a socket one that [`read`](Self::read) can read from.
    #[cfg(feature = "http-client")]
    pub(crate) fn prepare(&self, stream: &TcpStream) -> std::io::Result<()> {
        stream.set_read_timeout(Some(READ_TIMEOUT))?;
        stream.set_nonblocking(false)
    }

    /// Reads from a socket once there is something. Blocks in the read itself,
    /// which is half of what a poll and a read cost; the last second is polled,
    /// because a read's own timeout would have to be set for each.
    #[cfg(feature = "http-client")]
    pub(crate) fn read(
        &self,
        stream: &Arc<TcpStream>,
        buffer: &mut [u8],
    ) -> Result<std::io::Result<usize>, Stop> {
        // Looked at first also when there is something to read: a server
        // that never stops must not outrun the deadline.
        let now = self.now();
        self.check_at(now)?;
        if self.deadline().since(now) <= READ_TIMEOUT {
            self.ready(stream.as_fd(), Interest::Read, Duration::MAX)?;
            return Ok(receive_now(stream, buffer));
        }
        *self.waker.read.lock() = Some(stream.clone());
        // After it can be found: a cancel before that has found nothing.
        let result = if self.cancel.is_cancelled() { Ok(0) } else { (&**stream).read(buffer) };
        drop(self.waker.read.lock().take());
        // What a socket that was shut down answers is not the server's.
        if self.cancel.is_cancelled() { Err(Stop::Cancelled) } else { Ok(result) }
    }

    /// Waits until one of two descriptors is ready or `limit` has passed, and
    /// tells which is. May return early with none.
    pub(crate) fn any(&self, fds: [PollFd<'_>; 2], limit: Duration) -> Result<[bool; 2], Stop> {
        self.either(fds, (self.now() + limit).min(self.deadline()))
    }

    fn either(&self, [first, second]: [PollFd<'_>; 2], until: Tick) -> Result<[bool; 2], Stop> {
        let now = self.now();
        self.check_at(now)?;
        let mut fds = [PollFd::new(self.waker.waker.fd(), Interest::Read), first, second];
        poll(&mut fds, until.since(now)).map_err(Stop::Refused)?;
        if fds[0].is_ready() { Err(Stop::Cancelled) } else { Ok([fds[1].is_ready(), fds[2].is_ready()]) }
    }

    fn now(&self) -> Tick {
        self.stopwatch.now()
    }

    fn deadline(&self) -> Tick {
        Tick::from_nanos(self.deadline.load(Ordering::Relaxed))
    }
}

fn new_waker(what: &str) -> Result<Arc<Ends>, BoxError> {
    let waker = Waker::new().map_err(|error| {
        let (kind, text) = local(&error);
        Error::new(kind).context(format!("{what}: {text}"))
    })?;
    Ok(Arc::new(Ends { waker, read: Mutex::new(None) }))
}

impl Drop for Wait {
    fn drop(&mut self) {
        // First, so that no cancel begins to wake who comes next.
        drop(self.hook.take());
        let is_silent = !self.cancel.is_cancelled() && Arc::strong_count(&self.waker) == 1;
        if self.keeps && is_silent {
            // A thread that ends has nowhere to keep it.
            let _ = KEPT.try_with(|kept| kept.set(Some(self.waker.clone())));
        }
    }
}

impl fmt::Debug for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wait").field("deadline", &self.deadline()).finish_non_exhaustive()
    }
}

/// A duration as people read it in an error: `0.34ms`, `12ms`, `1.5s`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Took(pub(crate) Duration);

impl fmt::Display for Took {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secs = self.0.as_secs_f64();
        match secs * 1e3 {
            ms if ms < 0.995 => write!(f, "{}ms", Fixed(ms, 2)),
            ms if ms < 9.95 => write!(f, "{}ms", Fixed(ms, 1)),
            ms if ms < 999.5 => write!(f, "{}ms", Fixed(ms, 0)),
            _ => write!(f, "{}s", Fixed(secs, 1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A call, and a socket whose other end says nothing for as long as it is
    /// there.
    #[cfg(all(feature = "http-client", not(shuttle)))]
    fn silence(limit: Duration) -> (Wait, CancelToken, Arc<TcpStream>, TcpStream) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (other, _) = listener.accept().unwrap();
        let env = crate::Env::new().unwrap();
        let cx = Context::detached(&env, crate::Name::new("silence").unwrap(), limit);
        (Wait::begin(&cx, "x").unwrap(), cx.cancel_token().clone(), Arc::new(stream), other)
    }

    #[cfg(all(feature = "http-client", not(shuttle)))]
    #[test]
    fn a_cancel_ends_a_read_that_blocks() {
        let (wait, token, stream, _other) = silence(Duration::from_secs(3600));
        // It has no timeout here: nothing but the cancel ends it.
        let ends = wait.waker.clone();
        let (tell, told) = std::sync::mpsc::channel();
        let body = move || _ = tell.send(wait.read(&stream, &mut [0]).map(drop));
        let budget = crate::thread::Budget::default();
        let _task = crate::thread::Task::spawn(&budget, "reader".to_owned(), crate::thread::STACK_SIZE, body)
            .unwrap();
        while ends.read.lock().is_none() {
            std::thread::yield_now();
        }
        token.cancel();
        let result = told.recv_timeout(Duration::from_secs(10));
        assert!(matches!(result, Ok(Err(Stop::Cancelled))), "{result:?}");
    }

    #[cfg(all(feature = "http-client", not(shuttle)))]
    #[test]
    fn a_read_is_held_to_its_deadline_also_where_that_is_later_than_its_own_timeout() {
        let limit = READ_TIMEOUT + Duration::from_millis(100);
        let (wait, _token, stream, mut other) = silence(limit);
        wait.prepare(&stream).unwrap();
        let stop = loop {
            match wait.read(&stream, &mut [0]) {
                // A child of another test may end meanwhile, and be heard of.
                Ok(read) => assert!(matches!(
                    read.unwrap_err().kind(),
                    std::io::ErrorKind::WouldBlock | std::io::ErrorKind::Interrupted
                )),
                Err(stop) => break stop,
            }
        };
        assert!(matches!(stop, Stop::TimedOut), "{stop:?}");
        assert!(wait.took().0 > READ_TIMEOUT, "{}", wait.took());
        // Also when there is something to read.
        std::io::Write::write_all(&mut other, &[7]).unwrap();
        assert!(matches!(wait.read(&stream, &mut [0]), Err(Stop::TimedOut)));
    }

    #[test]
    fn durations_have_the_digits_that_matter() {
        for (micros, text) in [
            (0, "0.00ms"),
            (340, "0.34ms"),
            (4_340, "4.3ms"),
            (9_940, "9.9ms"),
            (9_960, "10ms"),
            (12_400, "12ms"),
            (999_400, "999ms"),
            (999_600, "1.0s"),
            (61_230_000, "61.2s"),
        ] {
            assert_eq!(Took(Duration::from_micros(micros)).to_string(), text);
        }
    }
}
