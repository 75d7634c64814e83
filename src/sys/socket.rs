//! Sockets that a library in C has made and keeps to itself.

use std::net::TcpStream;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

use crate::map::Map;

/// The sockets that this process has open: the kernel's name of each, and its
/// descriptor. None where the kernel does not say.
pub(crate) fn open_sockets() -> Map<String, RawFd> {
    let descriptors = std::fs::read_dir("/proc/self/fd").into_iter().flatten();
    let descriptors = descriptors.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    descriptors.filter_map(|fd: RawFd| Some((name(fd)?, fd))).collect()
}

fn name(fd: RawFd) -> Option<String> {
    let target = std::fs::read_link(format!("/proc/self/fd/{fd}")).ok()?;
    Some(target.to_str().filter(|name| name.starts_with("socket:"))?.to_owned())
}

/// A second hold on a socket of which both are known; `None` when it is gone.
pub(crate) fn hold(wanted: &str, fd: RawFd) -> Option<TcpStream> {
    // SAFETY: the descriptor is borrowed for the one call that makes another
    // of it, and a call on one that is closed meanwhile fails.
    let held: OwnedFd = unsafe { BorrowedFd::borrow_raw(fd) }.try_clone_to_owned().ok()?;
    if name(held.as_raw_fd()).as_deref() == Some(wanted) {
        return Some(TcpStream::from(held));
    }
    // Another file by now. To close any descriptor of a file takes away the
    // locks that this process has on it, so this one stays open.
    std::mem::forget(held);
    None
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::{Shutdown, TcpListener};

    use super::*;

    #[test]
    fn a_held_socket_is_closed_for_its_owner() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut theirs = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let sockets = open_sockets();
        let (name, fd) = sockets.iter().find(|(_, fd)| **fd == theirs.as_raw_fd()).unwrap();
        let held = hold(name, *fd).unwrap();
        assert_eq!(held.local_addr().unwrap(), theirs.local_addr().unwrap());
        held.shutdown(Shutdown::Both).unwrap();
        assert_eq!(theirs.read(&mut [0]).unwrap(), 0);
        assert!(hold("socket:[0]", theirs.as_raw_fd()).is_none());
    }
}
