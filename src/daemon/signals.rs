//! What the system tells the program: to stop, or to look again.

use std::io::{self, ErrorKind, Read};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::{flag, low_level::pipe};

use super::Exit;

/// How long after the first signal to stop another one counts as the same:
/// terminals and `timeout` tell the process and then its whole group.
const TWIN: Duration = Duration::from_millis(20);

/// A signal that arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    /// SIGTERM or SIGINT, under its name.
    Stop(&'static str),
    /// SIGHUP.
    Hangup,
}

/// The signals that are handled from the moment this is made.
///
/// A handler only stores a flag and writes a byte; all else is done by the
/// thread that waits.
#[derive(Debug)]
pub(crate) struct Signals {
    wake: UnixStream,
    stop: Arc<AtomicUsize>,
    hangup: Arc<AtomicBool>,
    /// Whether the next signal to stop ends the process at once.
    armed: Arc<AtomicBool>,
}

impl Signals {
    /// Handles SIGTERM, SIGINT and SIGHUP.
    pub(crate) fn install() -> io::Result<Self> {
        let (wake, ring) = UnixStream::pair()?;
        let signals = Self { wake, stop: Arc::default(), hangup: Arc::default(), armed: Arc::default() };
        // In the order in which they act: end the process, note, wake up.
        for signal in [SIGTERM, SIGINT] {
            flag::register_conditional_shutdown(signal, Exit::Killed as i32, signals.armed.clone())?;
            flag::register_usize(signal, signals.stop.clone(), signal as usize)?;
        }
        flag::register(SIGHUP, signals.hangup.clone())?;
        for signal in [SIGTERM, SIGINT, SIGHUP] {
            pipe::register(signal, ring.try_clone()?)?;
        }
        Ok(signals)
    }

    /// Waits for the next signal.
    pub(crate) fn wait(&mut self) -> io::Result<Signal> {
        loop {
            if self.hangup.swap(false, Ordering::SeqCst) {
                return Ok(Signal::Hangup);
            }
            match self.stop.load(Ordering::SeqCst) {
                0 => {}
                signal if signal == SIGINT as usize => return Ok(Signal::Stop("SIGINT")),
                _ => return Ok(Signal::Stop("SIGTERM")),
            }
            self.read()?;
        }
    }

    /// Lets the next signal to stop end the process, as soon as it cannot be
    /// the twin of the first.
    pub(crate) fn arm(&mut self) -> io::Result<()> {
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
