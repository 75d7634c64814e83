//! The line to a server: closed when a statement is late or cancelled and the
//! server does not hear of it.
//!
//! A server ends a statement at its timeout and says so. When the network
//! swallows what is said, nobody hears it: libpq waits for as long as the
//! other end's kernel answers, which may be for ever. So each statement has a
//! second deadline on this side, at which its socket is shut down.

use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::clock::{Clock, Tick};
use crate::error::{ErrorKind, Result};
use crate::primitive::Mutex;
use crate::slot::{Phase, Slot};
use crate::sys::socket::{hold, open_sockets};
use crate::thread::Budget;
use crate::watchdog::{Guard, Guarded, Watchdog};

/// How long the server's own word about a timeout may be under way.
const GRACE: Duration = Duration::from_secs(2);

/// One thread for all lines of the process.
struct Deadlines {
    clock: Clock,
    watchdog: Watchdog,
}

impl Deadlines {
    /// Those of the process, as long as there is a line.
    fn shared() -> Result<Arc<Self>> {
        static SHARED: Mutex<Weak<Deadlines>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock();
        if let Some(known) = shared.upgrade() {
            return Ok(known);
        }
        let clock = Clock::system();
        let watchdog = Watchdog::start(&clock, &Budget::default())?;
        let new = Arc::new(Self { clock, watchdog });
        *shared = Arc::downgrade(&new);
        Ok(new)
    }
}

impl Drop for Deadlines {
    fn drop(&mut self) {
        self.watchdog.stop();
    }
}

/// What others do with a line while a statement runs on it.
pub(super) struct Plug {
    slot: Slot,
    socket: TcpStream,
    /// Why it was pulled.
    pulled: Mutex<Option<ErrorKind>>,
}

impl Plug {
    fn pull(&self, why: ErrorKind) {
        *self.pulled.lock() = Some(why);
        // An error says that it is closed already.
        let _ = self.socket.shutdown(Shutdown::Both);
    }

    /// Ends the statement that runs, if one does.
    pub(super) fn cancel(&self) {
        if self.slot.state().phase() != Phase::Waiting {
            self.pull(ErrorKind::Cancelled);
        }
    }
}

impl Guarded for Plug {
    fn slot(&self) -> &Slot {
        &self.slot
    }

    fn overdue(&self, _: u64, _: Tick) -> Tick {
        self.pull(ErrorKind::Timeout);
        Tick::NEVER
    }

    fn starved(&self, _: Tick) -> Tick {
        Tick::NEVER
    }
}

/// A connection's line.
pub(super) struct Line {
    plug: Arc<Plug>,
    guard: Guard,
    calls: u64,
    deadlines: Arc<Deadlines>,
}

impl Line {
    /// What `connect` has made, and its line. Others may make sockets in the
    /// same moment: then it is the one that leads to port `to`, and of several
    /// that which the server sees come from port `from`. There is no line when
    /// it cannot be told.
    pub(super) fn of<T>(
        to: Option<u16>,
        connect: impl FnOnce() -> Result<T>,
        from: impl FnOnce(&mut T) -> Option<u16>,
    ) -> Result<(T, Option<Self>)> {
        let before = open_sockets();
        let mut connection = connect()?;
        let mut new: Vec<_> = open_sockets()
            .iter()
            .filter(|(name, _)| !before.contains_key(*name))
            .filter_map(|(name, fd)| hold(name, *fd))
            .collect();
        if let Some(to) = to.filter(|_| new.len() > 1) {
            new.retain(|socket| socket.peer_addr().is_ok_and(|peer| peer.port() == to));
        }
        if new.len() > 1 {
            let from = from(&mut connection);
            new.retain(|socket| socket.local_addr().ok().map(|address| address.port()) == from);
        }
        let line = new.pop().filter(|_| new.is_empty()).map(Self::new).transpose()?;
        Ok((connection, line))
    }

    fn new(socket: TcpStream) -> Result<Self> {
        let deadlines = Deadlines::shared()?;
        let plug = Arc::new(Plug { slot: Slot::new(), socket, pulled: Mutex::new(None) });
        let guard = deadlines.watchdog.guard(plug.clone());
        Ok(Self { plug, guard, calls: 0, deadlines })
    }

    pub(super) fn plug(&self) -> &Arc<Plug> {
        &self.plug
    }

    /// A statement begins that the server ends after `timeout`.
    pub(super) fn enter(&mut self, timeout: Duration) {
        self.calls += 1;
        self.guard.enter(self.calls, self.deadlines.clock.now() + timeout + GRACE);
    }

    /// It is over. Answers why the line was pulled, if it was.
    pub(super) fn leave(&mut self) -> Option<ErrorKind> {
        // Late and answered at the last moment is answered, if it is.
        let _ = self.guard.leave(self.calls);
        *self.plug.pulled.lock()
    }
}
