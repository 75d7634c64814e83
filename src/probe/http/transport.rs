//! How the HTTP client reaches the network: over sockets that end at the
//! deadline of the call and at once on cancel.
//!
//! A few clients serve all calls of an environment, and each call has a
//! deadline and a cancel of its own. The client works on its caller's thread
//! from the lookup to the last byte, so the call in progress is kept for that
//! thread while it lasts.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use ureq::config::{Config, ConfigBuilder};
use ureq::http::uri::{Authority, Scheme};
use ureq::http::{Request, Uri};
use ureq::typestate::AgentScope;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport,
};
use ureq::{Agent, Error};

use crate::env::AGENTS;
use crate::primitive::Mutex;
use crate::probe::connect::{Failure, connect, resolve};
use crate::probe::wait::{Stop, Wait};
use crate::sys::net::{peek_now, send_now};
use crate::sys::wait::Interest;

/// The longest head of an answer that is read, in bytes.
const MAX_HEAD: usize = 16 * 1024;

/// How many connections are kept for later calls, each with buffers of
/// `MAX_HEAD`.
const MAX_IDLE: usize = 128;
const MAX_IDLE_PER_SERVER: usize = 32;
/// What most servers keep longer.
const MAX_IDLE_AGE: Duration = Duration::from_secs(45);

/// Makes an agent of an environment.
pub(crate) fn agent() -> Agent {
    with_connector(Config::builder(), AGENTS)
}

/// Makes a client with keys and roots of its own.
#[cfg(feature = "tls")]
pub(crate) fn agent_with(tls: ureq::tls::TlsConfig) -> Agent {
    with_connector(Config::builder().tls_config(tls), 1)
}

/// One of so many that share what may be kept.
fn with_connector(builder: ConfigBuilder<AgentScope>, among: usize) -> Agent {
    let config = builder
        .proxy(None)
        .http_status_as_error(false)
        .max_redirects(0)
        .max_idle_connections(MAX_IDLE / among)
        .max_idle_connections_per_host(MAX_IDLE_PER_SERVER / among)
        .max_idle_age(MAX_IDLE_AGE)
        .allow_non_standard_methods(true)
        .user_agent(concat!("loopkeeper/", env!("CARGO_PKG_VERSION")))
        .max_response_header_size(MAX_HEAD)
        // Has to hold a whole head, and one byte to see that it is too long.
        .input_buffer_size(MAX_HEAD + 4096)
        .output_buffer_size(MAX_HEAD)
        .build();
    Agent::with_parts(config, connector(), Lookup)
}

/// Marks a request that neither takes a kept connection nor leaves its own.
pub(crate) fn apart<S: ureq::AsSendBody>(agent: &Agent, request: Request<S>) -> Request<S> {
    // Of the settings that set a request apart from its agent's connections
    // this is the one that our connector does not read.
    agent.configure_request(request).no_delay(false).build()
}

#[cfg(feature = "tls")]
fn connector() -> impl Connector {
    Connect.chain(ureq::unversioned::transport::RustlsConnector::default())
}

#[cfg(not(feature = "tls"))]
fn connector() -> impl Connector {
    Connect
}

/// One call, with what it has come to.
#[derive(Debug)]
pub(crate) struct Exchange {
    wait: Wait,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// What ended the call, where it was not the server.
    failure: Option<Failure>,
    /// Since the last request was begun.
    received: u64,
    /// How many connections were made.
    connects: u32,
    /// Kept connections are not to be trusted, until one was made.
    fresh: bool,
}

thread_local! {
    static CURRENT: RefCell<Option<Arc<Exchange>>> = const { RefCell::new(None) };
}

impl Exchange {
    pub(crate) fn new(wait: Wait) -> Self {
        Self { wait, state: Mutex::new(State::default()) }
    }

    pub(crate) fn wait(&self) -> &Wait {
        &self.wait
    }

    /// What ended the call, where it was not the server; told once.
    pub(crate) fn failure(&self) -> Option<Failure> {
        self.state.lock().failure.take()
    }

    /// Whether a request may have met a connection whose server was gone:
    /// nothing came back, by one that was kept since `before` connects.
    pub(crate) fn may_be_stale(&self, before: u32) -> bool {
        let state = self.state.lock();
        state.failure.is_none() && state.received == 0 && state.connects == before
    }

    /// How many connections were made so far.
    pub(crate) fn connects(&self) -> u32 {
        self.state.lock().connects
    }

    /// Has the next request make a connection.
    pub(crate) fn renew(&self) {
        self.state.lock().fresh = true;
    }

    /// Makes this the call in progress on this thread, until the guard goes.
    pub(crate) fn enter(self: &Arc<Self>) -> Entered {
        let before = CURRENT.with_borrow_mut(|current| current.replace(self.clone()));
        Entered { before }
    }

    fn current() -> Result<Arc<Self>, Error> {
        CURRENT.with_borrow(Clone::clone).ok_or(Error::ConnectionFailed)
    }

    /// Remembers what ended the call; the client only hears that it ended.
    fn end(&self, failure: Failure) -> Error {
        self.state.lock().failure.get_or_insert(failure);
        // A kind that the client does not take for the end of a body.
        Error::Io(io::Error::other("ended by the call"))
    }
}

/// Keeps a call in progress on a thread until dropped, also in a panic.
pub(crate) struct Entered {
    before: Option<Arc<Exchange>>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        let before = self.before.take();
        drop(CURRENT.with_borrow_mut(|current| std::mem::replace(current, before)));
    }
}

/// Looks names up on the calling thread; the client's own resolver makes a
/// thread for each lookup that has a timeout.
#[derive(Debug)]
struct Lookup;

impl Resolver for Lookup {
    fn resolve(&self, uri: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        let exchange = Exchange::current()?;
        let (Some(scheme), Some(authority)) = (uri.scheme(), uri.authority()) else {
            return Err(Error::HostNotFound);
        };
        if *scheme == Scheme::HTTPS && !cfg!(feature = "tls") {
            return Err(Error::TlsRequired);
        }
        let mut addresses = self.empty();
        if let Some(address) = literal(scheme, authority) {
            addresses.push(address);
            return Ok(addresses);
        }
        let host_and_port = DefaultResolver::host_and_port(scheme, authority).ok_or(Error::HostNotFound)?;
        let found = resolve(&exchange.wait, &host_and_port).map_err(|failure| exchange.end(failure))?;
        for address in found {
            addresses.push(address);
        }
        Ok(addresses)
    }
}

/// The address of a host that is one, as it is for each request.
fn literal(scheme: &Scheme, authority: &Authority) -> Option<SocketAddr> {
    let host = authority.host();
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let port = match authority.port() {
        Some(port) => port.as_str().parse().ok()?,
        None if *scheme == Scheme::HTTPS => 443,
        None => 80,
    };
    Some(SocketAddr::new(bare.parse().ok()?, port))
}

#[derive(Debug)]
struct Connect;

impl Connector for Connect {
    type Out = Socket;

    fn connect(&self, details: &ConnectionDetails<'_>, _: Option<()>) -> Result<Option<Socket>, Error> {
        let exchange = Exchange::current()?;
        let stream = connect(&exchange.wait, &details.addrs).map_err(|failure| exchange.end(failure))?;
        {
            let mut state = exchange.state.lock();
            state.received = 0;
            state.connects += 1;
            state.fresh = false;
        }
        // A head and a body are two writes; on a kept connection the second
        // would wait for the first to be acknowledged.
        let _ = stream.set_nodelay(true);
        exchange.wait.prepare(&stream)?;
        let stream = Arc::new(stream);
        let peer = stream.peer_addr().ok();
        let buffers =
            LazyBuffers::new(details.config.input_buffer_size(), details.config.output_buffer_size());
        Ok(Some(Socket { stream, peer, buffers, asks: true, is_read: false }))
    }
}

/// One connection. Waits as the call in progress on its thread does, so that
/// it may serve one after the other.
struct Socket {
    stream: Arc<TcpStream>,
    peer: Option<SocketAddr>,
    buffers: LazyBuffers,
    /// Whether what was last done was to read: what is written next is a new
    /// request.
    asks: bool,
    /// Whether nothing was done since an answer was read.
    is_read: bool,
}

impl Socket {
    fn wait(&self, exchange: &Exchange, interest: Interest) -> Result<(), Error> {
        let ready = exchange.wait.ready(self.stream.as_fd(), interest, Duration::MAX);
        ready.map_err(|stop| self.stopped(exchange, interest, stop))
    }

    fn stopped(&self, exchange: &Exchange, interest: Interest, stop: Stop) -> Error {
        exchange.end(match stop {
            Stop::Cancelled => Failure::Cancelled,
            Stop::TimedOut => Failure::TimedOut(self.waited_for(exchange, interest)),
            Stop::Refused(error) => Failure::Local(error),
        })
    }

    fn peer(&self) -> String {
        self.peer.map_or_else(|| "the server".to_owned(), |peer| peer.to_string())
    }

    fn waited_for(&self, exchange: &Exchange, interest: Interest) -> String {
        let peer = self.peer();
        match (interest, exchange.state.lock().received) {
            (Interest::Write, _) => format!("request not taken by {peer}"),
            (Interest::Read, 0) => format!("no answer from {peer}"),
            (Interest::Read, n) => format!("answer from {peer} not over, {n} bytes so far,"),
        }
    }
}

impl Transport for Socket {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, _: NextTimeout) -> Result<(), Error> {
        let exchange = Exchange::current()?;
        if std::mem::replace(&mut self.asks, false) {
            exchange.wait.step(format_args!("sending the request to {}", self.peer()));
            exchange.state.lock().received = 0;
        }
        let mut sent = 0;
        while sent < amount {
            exchange.wait.check().map_err(|stop| self.stopped(&exchange, Interest::Write, stop))?;
            match send_now(&self.stream, &self.buffers.output()[sent..amount]) {
                Ok(n) => sent += n,
                Err(error) if again(&error) => self.wait(&exchange, Interest::Write)?,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn await_input(&mut self, _: NextTimeout) -> Result<bool, Error> {
        let exchange = Exchange::current()?;
        if !std::mem::replace(&mut self.asks, true) {
            exchange.wait.step(format_args!("waiting for the answer of {}", self.peer()));
        }
        self.is_read = true;
        loop {
            let read = exchange.wait.read(&self.stream, self.buffers.input_append_buf());
            match read.map_err(|stop| self.stopped(&exchange, Interest::Read, stop))? {
                Ok(n) => {
                    exchange.state.lock().received += n as u64;
                    self.buffers.input_appended(n);
                    return Ok(n > 0);
                }
                Err(error) if again(&error) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Whether another call may use it: nobody has closed it, or sent what
    /// was not asked for.
    fn is_open(&mut self) -> bool {
        // Asked twice: before it is kept, and before it is used again.
        if std::mem::replace(&mut self.is_read, false) {
            return true;
        }
        let renewed = Exchange::current().is_ok_and(|exchange| exchange.state.lock().fresh);
        let silent = peek_now(&self.stream).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
        silent && !renewed
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket").field("stream", &self.stream).finish_non_exhaustive()
    }
}

fn again(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
