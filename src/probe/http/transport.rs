//! How the HTTP client reaches the network: over sockets that end at the
//! deadline of the call and at once on cancel.
//!
//! One client serves all probes of an environment, but each call has a
//! deadline and a cancel of its own. The client works on its caller's thread
//! from the lookup to the last byte, so the call in progress is kept for that
//! thread while it lasts.

use std::cell::RefCell;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use ureq::config::Config;
use ureq::http::Uri;
use ureq::http::uri::Scheme;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport,
};
use ureq::{Agent, Error};

use crate::primitive::Mutex;
use crate::probe::connect::{Failure, connect, resolve};
use crate::probe::wait::{Stop, Wait};
use crate::sys::wait::Interest;

/// The longest head of an answer that is read, in bytes.
const MAX_HEAD: usize = 16 * 1024;

/// Makes the client of an environment.
pub(in crate::probe) fn agent() -> Agent {
    let config = Config::builder()
        .proxy(None)
        .http_status_as_error(false)
        .max_redirects(0)
        .max_idle_connections(0)
        .max_idle_connections_per_host(0)
        .allow_non_standard_methods(true)
        .user_agent(concat!("loopkeeper/", env!("CARGO_PKG_VERSION")))
        .max_response_header_size(MAX_HEAD)
        // Has to hold a whole head, and one byte to see that it is too long.
        .input_buffer_size(MAX_HEAD + 4096)
        .output_buffer_size(MAX_HEAD)
        .build();
    Agent::with_parts(config, connector(), Lookup)
}

#[cfg(feature = "tls")]
fn connector() -> impl Connector {
    Connect.chain(ureq::unversioned::transport::RustlsConnector::default())
}

#[cfg(not(feature = "tls"))]
fn connector() -> impl Connector {
    Connect
}

/// One call of a probe, with what it has come to.
#[derive(Debug)]
pub(in crate::probe) struct Exchange {
    wait: Wait,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// What ended the call, where it was not the server.
    failure: Option<Failure>,
    /// Since the last connect.
    received: u64,
}

thread_local! {
    static CURRENT: RefCell<Option<Arc<Exchange>>> = const { RefCell::new(None) };
}

impl Exchange {
    pub(in crate::probe) fn new(wait: Wait) -> Self {
        Self { wait, state: Mutex::new(State::default()) }
    }

    pub(in crate::probe) fn wait(&self) -> &Wait {
        &self.wait
    }

    /// What ended the call, where it was not the server; told once.
    pub(in crate::probe) fn failure(&self) -> Option<Failure> {
        self.state.lock().failure.take()
    }

    /// Makes this the call in progress on this thread, until the guard goes.
    pub(in crate::probe) fn enter(self: &Arc<Self>) -> Entered {
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
        Error::Io(io::Error::other("ended by the probe"))
    }
}

/// Keeps a call in progress on a thread until dropped, also in a panic.
pub(in crate::probe) struct Entered {
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
        let host_and_port = DefaultResolver::host_and_port(scheme, authority).ok_or(Error::HostNotFound)?;
        let found = resolve(&exchange.wait, &host_and_port).map_err(|failure| exchange.end(failure))?;
        let mut addresses = self.empty();
        for address in found {
            addresses.push(address);
        }
        Ok(addresses)
    }
}

#[derive(Debug)]
struct Connect;

impl Connector for Connect {
    type Out = Socket;

    fn connect(&self, details: &ConnectionDetails<'_>, _: Option<()>) -> Result<Option<Socket>, Error> {
        let exchange = Exchange::current()?;
        let stream = connect(&exchange.wait, &details.addrs).map_err(|failure| exchange.end(failure))?;
        exchange.state.lock().received = 0;
        let peer = stream.peer_addr().ok();
        let buffers =
            LazyBuffers::new(details.config.input_buffer_size(), details.config.output_buffer_size());
        Ok(Some(Socket { exchange, stream, peer, buffers }))
    }
}

/// One connection, which lasts as long as its call.
struct Socket {
    exchange: Arc<Exchange>,
    stream: TcpStream,
    peer: Option<SocketAddr>,
    buffers: LazyBuffers,
}

impl Socket {
    fn wait(&self, interest: Interest) -> Result<(), Error> {
        self.exchange.wait.ready(self.stream.as_fd(), interest, Duration::MAX).map_err(|stop| {
            self.exchange.end(match stop {
                Stop::Cancelled => Failure::Cancelled,
                Stop::TimedOut => Failure::TimedOut(self.waited_for(interest)),
                Stop::Refused(error) => Failure::Local(error),
            })
        })
    }

    fn waited_for(&self, interest: Interest) -> String {
        let peer = self.peer.map_or_else(|| "the server".to_owned(), |peer| peer.to_string());
        match (interest, self.exchange.state.lock().received) {
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
        let mut sent = 0;
        while sent < amount {
            self.wait(Interest::Write)?;
            match self.stream.write(&self.buffers.output()[sent..amount]) {
                Ok(n) => sent += n,
                Err(error) if again(&error) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn await_input(&mut self, _: NextTimeout) -> Result<bool, Error> {
        loop {
            // Looked at first also when there is something to read: a server
            // that never stops must not outrun the deadline.
            self.wait(Interest::Read)?;
            match self.stream.read(self.buffers.input_append_buf()) {
                Ok(n) => {
                    self.exchange.state.lock().received += n as u64;
                    self.buffers.input_appended(n);
                    return Ok(n > 0);
                }
                Err(error) if again(&error) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Never: what is not open is not kept for another call.
    fn is_open(&mut self) -> bool {
        false
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
