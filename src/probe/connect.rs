//! Looking up a service's addresses and connecting to one of them.

use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::os::fd::AsFd;

use super::text::{local, reason};
use super::wait::{Stop, Wait};
use crate::error::{Error, ErrorKind};
use crate::sys::limits::is_out_of_descriptors;
use crate::sys::net::begin_connect;
use crate::sys::wait::{Interest, Waker};

/// The most addresses of one name that are tried.
const MAX_ADDRESSES: usize = 16;

/// Why there is no connection.
#[derive(Debug)]
pub(crate) enum Failure {
    Cancelled,
    /// The time is over; the text says what was waited for.
    TimedOut(String),
    /// The service, or the way to it.
    Unreachable(String),
    /// This machine.
    Local(io::Error),
}

/// Looks a `host:port` up. A literal address needs no resolver; a name is
/// looked up by the system's, which cannot be told to end.
pub(crate) fn resolve(wait: &Wait, host_and_port: &str) -> Result<Vec<SocketAddr>, Failure> {
    if let Ok(address) = host_and_port.parse() {
        return Ok(vec![address]);
    }
    let host = host_and_port.rsplit_once(':').map_or(host_and_port, |(host, _)| host);
    let addresses = lookup(wait, host, || host_and_port.to_socket_addrs())?;
    wait.detail(|| format!("{host} is {}", list(&addresses)));
    Ok(addresses)
}

/// The addresses of a name, each once, on which their loop's thread waits for
/// the system's resolver: what says so is what names a lookup that hangs.
pub(crate) fn lookup<I: Iterator<Item = SocketAddr>>(
    wait: &Wait,
    host: &str,
    ask: impl FnOnce() -> io::Result<I>,
) -> Result<Vec<SocketAddr>, Failure> {
    wait.check().map_err(|stop| match stop {
        Stop::Cancelled => Failure::Cancelled,
        Stop::TimedOut => Failure::TimedOut("not asked any more".to_owned()),
        Stop::Refused(error) => Failure::Local(error),
    })?;
    wait.step(format_args!("looking up {host}"));
    let found = ask();
    match wait.check() {
        Err(Stop::Cancelled) => return Err(Failure::Cancelled),
        Err(_) => return Err(Failure::TimedOut("no answer from the resolver".to_owned())),
        Ok(()) => {}
    }
    let mut addresses: Vec<SocketAddr> = Vec::new();
    // A resolver without a descriptor says that the name is not there.
    let failed = |error: io::Error| match Waker::new() {
        _ if is_out_of_descriptors(&error) => Failure::Local(error),
        Err(shortage) if is_out_of_descriptors(&shortage) => Failure::Local(shortage),
        _ => Failure::Unreachable(reason(&error)),
    };
    for address in found.map_err(failed)? {
        if addresses.len() < MAX_ADDRESSES && !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.is_empty() {
        return Err(Failure::Unreachable("the name has no address".to_owned()));
    }
    Ok(addresses)
}

pub(super) fn list(addresses: &[SocketAddr]) -> String {
    let addresses: Vec<String> = addresses.iter().map(|address| address.ip().to_string()).collect();
    addresses.join(", ")
}

/// Connects to the first address that answers. Each may take its share of
/// the time that is left, so that a silent one does not hide the others.
pub(crate) fn connect(wait: &Wait, addresses: &[SocketAddr]) -> Result<TcpStream, Failure> {
    let mut tried: Vec<(SocketAddr, String)> = Vec::new();
    let mut silent = false;
    for (idx, address) in addresses.iter().enumerate() {
        let share = u32::try_from(addresses.len() - idx).unwrap_or(u32::MAX);
        let why = match connect_one(wait, address, wait.remaining() / share) {
            Ok(stream) => return Ok(stream),
            Err(Trial::Stopped(Stop::Cancelled)) => return Err(Failure::Cancelled),
            Err(Trial::Stopped(Stop::Refused(error)) | Trial::Local(error)) => {
                return Err(Failure::Local(error));
            }
            Err(Trial::Stopped(Stop::TimedOut)) => {
                silent = true;
                "no answer".to_owned()
            }
            Err(Trial::Refused(why)) => why,
        };
        tried.push((*address, why));
    }
    let out_of_time = wait.remaining().is_zero();
    let text = match &tried[..] {
        [(_, why)] => why.clone(),
        all => {
            let all: Vec<String> = all.iter().map(|(address, why)| format!("{address} {why}")).collect();
            all.join(", ") + ","
        }
    };
    Err(if silent && out_of_time { Failure::TimedOut(text) } else { Failure::Unreachable(text) })
}

enum Trial {
    Stopped(Stop),
    /// The other side, or the network, said no.
    Refused(String),
    /// There is no socket to be had.
    Local(io::Error),
}

fn connect_one(wait: &Wait, address: &SocketAddr, limit: std::time::Duration) -> Result<TcpStream, Trial> {
    wait.check().map_err(Trial::Stopped)?;
    wait.step(format_args!("connecting to {address}"));
    let stream = begin_connect(address).map_err(|error| match error.kind() {
        io::ErrorKind::ConnectionRefused
        | io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkUnreachable
        | io::ErrorKind::NetworkDown
        | io::ErrorKind::AddrNotAvailable
        | io::ErrorKind::PermissionDenied
        | io::ErrorKind::InvalidInput => Trial::Refused(reason(&error)),
        // An address family that this machine does not have shows as one of
        // the kinds without a name.
        _ if error.raw_os_error().is_some_and(crate::sys::net::is_no_such_family) => {
            Trial::Refused("address family not supported".to_owned())
        }
        _ => Trial::Local(error),
    })?;
    wait.ready(stream.as_fd(), Interest::Write, limit).map_err(Trial::Stopped)?;
    match stream.take_error() {
        Ok(None) => {}
        Ok(Some(error)) | Err(error) => return Err(Trial::Refused(reason(&error))),
    }
    // A connect to an own port that nobody listens on may meet itself.
    if stream.local_addr().is_ok_and(|own| own == *address) {
        return Err(Trial::Refused("connection refused".to_owned()));
    }
    wait.step(format_args!("connected to {address}"));
    Ok(stream)
}

impl Failure {
    /// The error for people: what was tried, what came back, how long it took.
    pub(crate) fn into_error(self, what: &str, wait: &Wait) -> Error {
        let took = wait.took();
        match self {
            Self::Cancelled => {
                Error::new(ErrorKind::Cancelled).context(format!("{what}: cancelled after {took}"))
            }
            Self::TimedOut(text) => {
                Error::new(ErrorKind::Timeout).context(format!("{what}: {text} after {took}"))
            }
            Self::Unreachable(text) => {
                Error::new(ErrorKind::Probe).context(format!("{what}: {text} after {took}"))
            }
            Self::Local(error) => {
                let (kind, text) = local(&error);
                Error::new(kind).context(format!("{what}: {text} after {took}"))
            }
        }
    }
}
