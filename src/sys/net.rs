//! Connects that do not block.

use std::io;
use std::mem::size_of;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// Opens a socket and begins to connect it. Once it is ready to write,
/// `take_error` tells how that went.
///
/// The socket does not block and is closed in child processes.
pub(crate) fn begin_connect(address: &SocketAddr) -> io::Result<TcpStream> {
    let stream = socket(address)?;
    let answer = match address {
        SocketAddr::V4(address) => {
            // SAFETY: all-zero bytes are a valid sockaddr_in.
            let mut raw: libc::sockaddr_in = unsafe { std::mem::zeroed() };
            raw.sin_family = libc::AF_INET as libc::sa_family_t;
            raw.sin_port = address.port().to_be();
            raw.sin_addr.s_addr = u32::from_ne_bytes(address.ip().octets());
            connect(&stream, &raw)
        }
        SocketAddr::V6(address) => {
            // SAFETY: all-zero bytes are a valid sockaddr_in6.
            let mut raw: libc::sockaddr_in6 = unsafe { std::mem::zeroed() };
            raw.sin6_family = libc::AF_INET6 as libc::sa_family_t;
            raw.sin6_port = address.port().to_be();
            raw.sin6_addr.s6_addr = address.ip().octets();
            raw.sin6_flowinfo = address.flowinfo();
            raw.sin6_scope_id = address.scope_id();
            connect(&stream, &raw)
        }
    };
    match answer {
        // An interrupted connect goes on by itself.
        Err(error) if matches!(error.raw_os_error(), Some(libc::EINPROGRESS | libc::EINTR)) => Ok(stream),
        answer => answer.map(|()| stream),
    }
}

fn connect<A>(stream: &TcpStream, address: &A) -> io::Result<()> {
    let len = size_of::<A>() as libc::socklen_t;
    // SAFETY: `address` is one of the socket address types and `len` its
    // size; the socket is open.
    let answer = unsafe { libc::connect(stream.as_raw_fd(), std::ptr::from_ref(address).cast(), len) };
    super::check(answer).map(drop)
}

/// Sends what there is room for now, also by a socket that blocks.
#[cfg(feature = "http-client")]
pub(crate) fn send_now(stream: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    // That the other end is gone is an error, not a signal.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    const FLAGS: libc::c_int = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    const FLAGS: libc::c_int = libc::MSG_DONTWAIT;
    // SAFETY: the pointer and the length are those of one slice, which is only
    // read; the socket is open.
    let sent = unsafe { libc::send(stream.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), FLAGS) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// Receives what is there now, also by a socket that blocks.
#[cfg(feature = "http-client")]
pub(crate) fn receive_now(stream: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    receive(stream, buffer, libc::MSG_DONTWAIT)
}

/// How much could be received now, at most a byte, which stays where it is.
#[cfg(feature = "http-client")]
pub(crate) fn peek_now(stream: &TcpStream) -> io::Result<usize> {
    receive(stream, &mut [0], libc::MSG_DONTWAIT | libc::MSG_PEEK)
}

#[cfg(feature = "http-client")]
fn receive(stream: &TcpStream, buffer: &mut [u8], flags: libc::c_int) -> io::Result<usize> {
    // SAFETY: the pointer and the length are those of one slice, which is
    // borrowed for writing; the socket is open.
    let received = unsafe { libc::recv(stream.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), flags) };
    usize::try_from(received).map_err(|_| io::Error::last_os_error())
}

fn family(address: &SocketAddr) -> libc::c_int {
    if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 }
}

#[cfg(target_os = "linux")]
fn socket(address: &SocketAddr) -> io::Result<TcpStream> {
    let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: socket takes no pointers; the descriptor it answers is new and
    // belongs to nobody else.
    let fd = unsafe { OwnedFd::from_raw_fd(super::check(libc::socket(family(address), kind, 0))?) };
    Ok(TcpStream::from(fd))
}

#[cfg(not(target_os = "linux"))]
fn socket(address: &SocketAddr) -> io::Result<TcpStream> {
    // SAFETY: as above; the flags are set on a descriptor that is ours.
    let fd = unsafe {
        let fd = OwnedFd::from_raw_fd(super::check(libc::socket(family(address), libc::SOCK_STREAM, 0))?);
        super::check(libc::fcntl(fd.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC))?;
        fd
    };
    let stream = TcpStream::from(fd);
    stream.set_nonblocking(true)?;
    Ok(stream)
}

/// Whether an error's number says that this machine does not have the
/// address family, such as IPv6 where it is switched off.
pub(crate) fn is_no_such_family(errno: i32) -> bool {
    errno == libc::EAFNOSUPPORT
}
