//! SIGTERM, SIGINT, SIGHUP and SIGUSR1 as values for a thread that waits (feature
//! `signals`). Nothing is handled until [`Signals::install`] is called.

use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::{flag, low_level::pipe};

use crate::error::{Error, ErrorKind as Kind, Result};

/// What a process ends with that a second signal to stop has ended.
pub const KILLED: i32 = 128 + SIGTERM;

/// How long after the first signal to stop another one counts as the same:
/// terminals and `timeout` tell the process and then its whole group.
const TWIN: Duration = Duration::from_millis(20);

/// Undoes what a program may have inherited from the one that started it:
/// an ignored SIGCHLD is set back to its default, for the whole process, and
/// SIGTERM, SIGINT, SIGHUP and SIGCHLD are unblocked on the calling thread.
///
/// While SIGCHLD is ignored the kernel throws the exit codes of children
/// away, so no [`exec`](crate::probe::exec()) probe can work. Call it in
/// `main`, before there are threads; threads made later inherit the mask.
///
/// # Errors
///
/// `Io` when the system refuses it.
pub fn reset_inherited() -> Result<()> {
    crate::sys::signals::reset_inherited()
        .map_err(|error| failed("inherited signals cannot be set back", error))
}

/// A signal that arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Signal {
    /// SIGTERM or SIGINT, under its name: stop.
    Stop(&'static str),
    /// SIGHUP: look at the files again.
    Hangup,
    /// SIGUSR1: say how everything is.
    User1,
}

/// The signals that are handled from the moment this is made.
///
/// A handler only stores a flag and writes a byte; all else is done by the
/// thread that waits. Make one in a process, before the threads it has; the
/// handlers stay for the life of the process.
///
/// # Examples
///
/// ```no_run
/// use loopkeeper::signals::{Signal, Signals};
///
/// let mut signals = Signals::install()?;
/// // start what is to run
/// loop {
///     match signals.wait()? {
///         Signal::Stop(name) => break println!("{name}: stopping"),
///         _ => println!("nothing to look at again"),
///     }
/// }
/// signals.end_on_next()?;   // whoever asks twice does not want to wait
/// // stop it
/// # Ok::<(), loopkeeper::Error>(())
/// ```
#[derive(Debug)]
pub struct Signals {
    wake: UnixStream,
    stop: Arc<AtomicUsize>,
    hangup: Arc<AtomicBool>,
    user1: Arc<AtomicBool>,
    ring: UnixStream,
    /// Whether the next signal to stop ends the process at once.
    armed: Arc<AtomicBool>,
}

impl Signals {
    /// Handles SIGTERM, SIGINT, SIGHUP and SIGUSR1 from now on.
    ///
    /// # Errors
    ///
    /// `Io` when the system has no descriptors for it.
    pub fn install() -> Result<Self> {
        Self::handle().map_err(|error| failed("signals cannot be handled", error))
    }

    /// Waits for the next signal. A signal to stop comes before all others,
    /// however many there are, and is told again by each further call.
    ///
    /// # Errors
    ///
    /// `Io` when the wait itself fails.
    pub fn wait(&mut self) -> Result<Signal> {
        loop {
            if let Some(signal) = self.wait_timeout(None)? {
                return Ok(signal);
            }
        }
    }

    /// The same, for no longer than `timeout` and only until a
    /// [waker](Self::waker) is used: `None` then.
    ///
    /// # Errors
    ///
    /// `Io` when the wait itself fails.
    pub fn wait_timeout(&mut self, timeout: Option<Duration>) -> Result<Option<Signal>> {
        self.next(timeout).map_err(|error| failed("cannot wait for signals", error))
    }

    /// What ends a [`wait_timeout`](Self::wait_timeout) early, from any
    /// thread: also the next one, where nobody waits.
    ///
    /// # Errors
    ///
    /// `Io` when the system has no descriptor for it.
    pub fn waker(&self) -> Result<Waker> {
        let ring = self.ring.try_clone().and_then(|ring| ring.set_nonblocking(true).map(|()| ring));
        ring.map(|ring| Waker(Arc::new(ring))).map_err(|error| failed("a wait cannot be ended", error))
    }

    /// Lets the next signal to stop end the process at once, with [`KILLED`].
    /// Takes 20 ms, in which another one counts as the same: terminals and
    /// `timeout` tell the process and then its whole group.
    ///
    /// # Errors
    ///
    /// `Io` when the wait itself fails.
    pub fn end_on_next(&mut self) -> Result<()> {
        self.arm().map_err(|error| failed("a second signal will not end the program", error))
    }

    fn handle() -> io::Result<Self> {
        let (wake, ring) = UnixStream::pair()?;
        let signals = Self {
            wake,
            ring: ring.try_clone()?,
            stop: Arc::default(),
            hangup: Arc::default(),
            user1: Arc::default(),
            armed: Arc::default(),
        };
        // In the order in which they act: end the process, note, wake up.
        for signal in [SIGTERM, SIGINT] {
            flag::register_conditional_shutdown(signal, KILLED, signals.armed.clone())?;
            flag::register_usize(signal, signals.stop.clone(), signal as usize)?;
        }
        flag::register(SIGHUP, signals.hangup.clone())?;
        flag::register(SIGUSR1, signals.user1.clone())?;
        for signal in [SIGTERM, SIGINT, SIGHUP, SIGUSR1] {
            pipe::register(signal, ring.try_clone()?)?;
        }
        Ok(signals)
    }

    fn next(&mut self, timeout: Option<Duration>) -> io::Result<Option<Signal>> {
        if let Some(signal) = self.arrived() {
            return Ok(Some(signal));
        }
        // A timeout of zero would be none.
        self.wake.set_read_timeout(timeout.map(|timeout| timeout.max(Duration::from_millis(1))))?;
        match self.read() {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            other => other?,
        }
        Ok(self.arrived())
    }

    fn arrived(&self) -> Option<Signal> {
        match self.stop.load(Ordering::SeqCst) {
            0 => {}
            signal if signal == SIGINT as usize => return Some(Signal::Stop("SIGINT")),
            _ => return Some(Signal::Stop("SIGTERM")),
        }
        if self.hangup.swap(false, Ordering::SeqCst) {
            return Some(Signal::Hangup);
        }
        self.user1.swap(false, Ordering::SeqCst).then_some(Signal::User1)
    }

    fn arm(&mut self) -> io::Result<()> {
        self.wake.set_read_timeout(Some(TWIN))?;
        // A few bytes may wait; none is waited for longer than a twin takes.
        for _ in 0..4 {
            match self.read() {
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => break,
                other => other?,
            }
        }
        self.armed.store(true, Ordering::SeqCst);
        Ok(())
    }

    fn read(&mut self) -> io::Result<()> {
        match self.wake.read(&mut [0; 16]) {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Ok(_) => Ok(()),
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Ends a [`Signals::wait_timeout`] early. Cloning shares it.
#[derive(Debug, Clone)]
pub struct Waker(Arc<UnixStream>);

impl Waker {
    /// Ends the wait. Never blocks: where many wakes wait already, one more
    /// says nothing new.
    pub fn wake(&self) {
        let _ = (&*self.0).write(&[0]);
    }
}

fn failed(what: &'static str, error: io::Error) -> Error {
    Error::new(Kind::Io).context(what).caused_by(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_comes_before_a_hangup() {
        let (wake, ring) = UnixStream::pair().unwrap();
        let mut signals = Signals {
            wake,
            ring,
            stop: Arc::default(),
            hangup: Arc::default(),
            user1: Arc::default(),
            armed: Arc::default(),
        };
        signals.user1.store(true, Ordering::SeqCst);
        signals.hangup.store(true, Ordering::SeqCst);
        assert_eq!(signals.wait().unwrap(), Signal::Hangup);
        signals.hangup.store(true, Ordering::SeqCst);
        signals.stop.store(SIGINT as usize, Ordering::SeqCst);
        for _ in 0..2 {
            assert_eq!(signals.wait().unwrap(), Signal::Stop("SIGINT"));
        }
        signals.stop.store(0, Ordering::SeqCst);
        assert_eq!(signals.wait().unwrap(), Signal::Hangup);
        assert_eq!(signals.wait().unwrap(), Signal::User1);
        assert_eq!(signals.wait_timeout(Some(Duration::ZERO)).unwrap(), None);
        signals.waker().unwrap().wake();
        assert_eq!(signals.wait_timeout(None).unwrap(), None);
    }
}
