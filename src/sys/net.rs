//! Connects that do not block.

use std::ffi::OsStr;
use std::io;
use std::mem::size_of;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;

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

/// The longest path of a unix socket, in bytes: one less than there is room
/// for, because some systems want it to end.
pub(crate) const MAX_UNIX_PATH: usize = size_of::<libc::sockaddr_un>() - PATH_AT - 1;
const PATH_AT: usize = std::mem::offset_of!(libc::sockaddr_un, sun_path);

/// The same for a unix stream socket; a name that begins with `@` is one of
/// the abstract ones. `WouldBlock` when its queue is full.
pub(crate) fn begin_connect_unix(path: &OsStr) -> io::Result<UnixStream> {
    let bytes = path.as_bytes();
    if bytes.len() > MAX_UNIX_PATH {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let stream = UnixStream::from(open(libc::AF_UNIX)?);
    // SAFETY: all-zero bytes are a valid sockaddr_un.
    let mut raw: libc::sockaddr_un = unsafe { std::mem::zeroed() };
    raw.sun_family = libc::AF_UNIX as libc::sa_family_t;
    for (place, byte) in raw.sun_path.iter_mut().zip(bytes) {
        *place = *byte as libc::c_char;
    }
    let mut len = PATH_AT + bytes.len() + 1;
    if bytes.first() == Some(&b'@') {
        raw.sun_path[0] = 0;
        len = PATH_AT + bytes.len();
    }
    let address = std::ptr::from_ref(&raw).cast();
    // SAFETY: `raw` is a socket address of which the first `len` bytes, no
    // more than it has, are the name; the socket is open.
    let answer = unsafe { libc::connect(stream.as_raw_fd(), address, len as libc::socklen_t) };
    match super::check(answer) {
        Err(error) if matches!(error.raw_os_error(), Some(libc::EINPROGRESS | libc::EINTR)) => Ok(stream),
        answer => answer.map(|_| stream),
    }
}

/// Whether an error's number says that a socket is there and is no stream.
pub(crate) fn is_no_stream(errno: i32) -> bool {
    matches!(errno, libc::EPROTOTYPE | libc::EPROTONOSUPPORT)
}

/// Whether an error's number is about what a path leads to, or who may follow
/// it.
pub(crate) fn is_about_a_path(errno: i32) -> bool {
    matches!(
        errno,
        libc::ENOENT
            | libc::ECONNREFUSED
            | libc::EACCES
            | libc::EPERM
            | libc::ENOTDIR
            | libc::ELOOP
            | libc::ENOTSOCK
            | libc::ENAMETOOLONG
            | libc::ECONNRESET
    )
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

fn socket(address: &SocketAddr) -> io::Result<TcpStream> {
    open(family(address)).map(TcpStream::from)
}

/// A stream socket that does not block.
#[cfg(target_os = "linux")]
fn open(family: libc::c_int) -> io::Result<OwnedFd> {
    let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: socket takes no pointers; the descriptor it answers is new and
    // belongs to nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(super::check(libc::socket(family, kind, 0))?) })
}

/// A stream socket that does not block.
#[cfg(not(target_os = "linux"))]
fn open(family: libc::c_int) -> io::Result<OwnedFd> {
    // SAFETY: as above; the flags are set on a descriptor that is ours.
    unsafe {
        let fd = OwnedFd::from_raw_fd(super::check(libc::socket(family, libc::SOCK_STREAM, 0))?);
        super::check(libc::fcntl(fd.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC))?;
        super::check(libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK))?;
        Ok(fd)
    }
}

/// Whether an error's number says that this machine does not have the
/// address family, such as IPv6 where it is switched off.
pub(crate) fn is_no_such_family(errno: i32) -> bool {
    errno == libc::EAFNOSUPPORT
}
