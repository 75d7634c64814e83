//! The line to a server: closed when a statement is late or cancelled and the
//! server does not hear of it.
//!
//! A server ends a statement at its timeout and says so. When the network
//! swallows what is said, nobody hears it: libpq waits for as long as the
//! other end's kernel answers, which may be for ever. So each statement has a
//! second deadline on this side, at which its socket is shut down.

use std::collections::BTreeMap;
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::clock::{Clock, Tick};
use crate::error::{ErrorKind, Result};
use crate::primitive::Mutex;
use crate::slot::{Phase, Slot};
use crate::sys::socket::{hold, open_sockets};
use crate::thread::{Budget, STACK_SIZE};
use crate::watchdog::{Guard, Guarded, Watchdog};

/// How long the server's own word about a timeout may be under way.
const GRACE: Duration = Duration::from_secs(2);
/// For how long a server that was not reached is not asked again to cancel.
const AWAY: Duration = Duration::from_secs(10);

/// One thread for all lines of the process.
struct Deadlines {
    clock: Clock,
    watchdog: Watchdog,
    servers: Mutex<BTreeMap<String, Weak<Server>>>,
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
        let watchdog = Watchdog::start(&clock, &Budget::default(), STACK_SIZE)?;
        let new = Arc::new(Self { clock, watchdog, servers: Mutex::default() });
        *shared = Arc::downgrade(&new);
        Ok(new)
    }

    /// What all lines to one server know of it.
    fn server(&self, url: &str) -> Arc<Server> {
        let mut servers = self.servers.lock();
        if let Some(known) = servers.get(url).and_then(Weak::upgrade) {
            return known;
        }
        let new = Arc::new(Server { clock: self.clock.clone(), missed: Mutex::default() });
        servers.retain(|_, server| server.strong_count() > 0);
        servers.insert(url.to_owned(), Arc::downgrade(&new));
        new
    }
}

/// A server, and when it was last not reached.
///
/// Cancels come one after the other, and each that is sent to a server that
/// does not answer takes as long as connecting may. So the first one asks for
/// all that come soon after it.
struct Server {
    clock: Clock,
    missed: Mutex<Option<Tick>>,
}

impl Server {
    fn is_away(&self) -> bool {
        self.missed.lock().is_some_and(|missed| self.clock.now().since(missed) < AWAY)
    }

    fn note(&self, is_reached: bool) {
        *self.missed.lock() = (!is_reached).then(|| self.clock.now());
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
    server: Arc<Server>,
}

impl Plug {
    fn pull(&self, why: ErrorKind) {
        *self.pulled.lock() = Some(why);
        // An error says that it is closed already.
        let _ = self.socket.shutdown(Shutdown::Both);
    }

    /// Whether its server was not reached a moment ago by who wanted to cancel
    /// something there.
    pub(super) fn is_away(&self) -> bool {
        self.server.is_away()
    }

    /// Whether its server was reached by who wanted that.
    pub(super) fn note(&self, is_reached: bool) {
        self.server.note(is_reached);
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

/// How often a connection is made anew that cannot be told from others.
const AGAIN: u32 = 3;

/// That several sockets were made in one moment.
struct Several;

/// A connection's line.
pub(super) struct Line {
    plug: Arc<Plug>,
    guard: Guard,
    calls: u64,
    deadlines: Arc<Deadlines>,
}

impl Line {
    /// What `connect` has made, and its line to the server at `url`. Others may
    /// make sockets in the same moment: then it is the one that leads to port
    /// `to`, and of several that which the server sees come from port `from`.
    /// Behind a proxy the server sees another's port: then it is made anew,
    /// one after the other. There is no line when it cannot be told even so.
    pub(super) fn of<T>(
        url: &str,
        to: Option<u16>,
        mut connect: impl FnMut() -> Result<T>,
        mut from: impl FnMut(&mut T) -> Option<u16>,
    ) -> Result<(T, Option<Self>)> {
        static ALONE: Mutex<()> = Mutex::new(());
        let (mut connection, mut socket) = Self::tell_apart(to, &mut connect, &mut from)?;
        for _ in 0..AGAIN {
            if socket.is_ok() {
                break;
            }
            let alone = ALONE.lock();
            // One is not held while the other is made: a server may have no
            // room for both.
            drop(connection);
            (connection, socket) = Self::tell_apart(to, &mut connect, &mut from)?;
            drop(alone);
        }
        let line = socket.ok().flatten().map(|socket| Self::new(socket, url)).transpose()?;
        Ok((connection, line))
    }

    /// What `connect` makes, and its socket, if it has one; an error when there
    /// are several that may be it.
    fn tell_apart<T>(
        to: Option<u16>,
        connect: &mut impl FnMut() -> Result<T>,
        from: &mut impl FnMut(&mut T) -> Option<u16>,
    ) -> Result<(T, std::result::Result<Option<TcpStream>, Several>)> {
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
        let several = new.len() > 1;
        if several {
            let from = from(&mut connection);
            new.retain(|socket| socket.local_addr().ok().map(|address| address.port()) == from);
        }
        let socket = new.pop();
        let is_told = new.is_empty() && (socket.is_some() || !several);
        Ok((connection, if is_told { Ok(socket) } else { Err(Several) }))
    }

    fn new(socket: TcpStream, url: &str) -> Result<Self> {
        let deadlines = Deadlines::shared()?;
        let server = deadlines.server(url);
        let plug = Arc::new(Plug { slot: Slot::new(), socket, pulled: Mutex::new(None), server });
        let guard = deadlines.watchdog.guard(plug.clone());
        Ok(Self { plug, guard, calls: 0, deadlines })
    }

    pub(super) fn plug(&self) -> &Arc<Plug> {
        &self.plug
    }

    /// A statement begins that the server ends after `timeout`, or not at all.
    pub(super) fn enter(&mut self, timeout: Option<Duration>) {
        self.calls += 1;
        let end = timeout.map_or(Tick::NEVER, |timeout| self.deadlines.clock.now() + timeout + GRACE);
        self.guard.enter(self.calls, end);
    }

    /// It is over. Answers why the line was pulled, if it was.
    pub(super) fn leave(&mut self) -> Option<ErrorKind> {
        // Late and answered at the last moment is answered, if it is.
        let _ = self.guard.leave(self.calls);
        *self.plug.pulled.lock()
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;
    use crate::clock::{ManualClock, real_deadline};
    use crate::thread::Task;

    #[test]
    fn a_server_that_was_not_reached_is_away_for_a_while() {
        let time = ManualClock::default();
        let server = Server { clock: Clock::from(&time), missed: Mutex::default() };
        assert!(!server.is_away());
        server.note(false);
        time.jump(AWAY - Duration::from_millis(1));
        assert!(server.is_away());
        server.note(true);
        assert!(!server.is_away());
        server.note(false);
        time.jump(AWAY);
        assert!(!server.is_away(), "it may be back");
    }

    #[test]
    fn who_connects_at_once_behind_a_proxy_has_a_line_too() {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let all = Arc::new(std::sync::Barrier::new(4));
        let made = Arc::new(Mutex::new(Vec::new()));
        let connect_with_all = || {
            let (all, made) = (all.clone(), made.clone());
            let mut is_first = true;
            let connect = move || {
                let is_first = std::mem::take(&mut is_first);
                let together = || is_first.then(|| all.wait());
                together();
                let stream = TcpStream::connect(address).unwrap();
                together();
                Ok(stream)
            };
            // A proxy's port is none of ours.
            let body = move || {
                let one = Line::of("proxy", Some(address.port()), connect, |_| Some(1));
                made.lock().push(one);
            };
            Task::spawn(&Budget::default(), "t/connect".to_owned(), STACK_SIZE, body).unwrap()
        };
        let tasks: Vec<_> = (0..4).map(|_| connect_with_all()).collect();
        for task in &tasks {
            assert!(task.join_until(real_deadline(Duration::from_secs(10))).is_some());
        }
        let made = std::mem::take(&mut *made.lock());
        assert_eq!(made.len(), 4);
        for made in made {
            let (stream, line) = made.unwrap();
            let line = line.expect("a line");
            assert_eq!(line.plug().socket.local_addr().unwrap(), stream.local_addr().unwrap());
        }
    }

    #[test]
    fn lines_to_one_server_share_what_is_known_of_it() {
        let deadlines = Deadlines::shared().unwrap();
        let [one, same, other] = ["a", "a", "b"].map(|url| deadlines.server(url));
        one.note(false);
        assert!(same.is_away() && !other.is_away());
        drop((one, same));
        assert!(!deadlines.server("a").is_away());
        assert_eq!(deadlines.servers.lock().len(), 2);
    }
}
