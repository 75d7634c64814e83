//! Files that must not be waited for, and files that only one may use.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Opens a file to read it, without waiting when it is a pipe after all.
pub(crate) fn open_without_waiting(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)
}

/// The lock of a file that stands for something that only one may use. Given
/// up when it is dropped, and when the process ends, in whatever way.
#[derive(Debug)]
pub(crate) struct FileLock(File);

impl FileLock {
    /// Takes the lock of the file at `path`, which is made if there is none;
    /// where another has it, says its process as far as that is known.
    pub(crate) fn take(path: &Path) -> io::Result<Result<Self, Option<u32>>> {
        let flags = libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_NOFOLLOW;
        let open = |write: bool| {
            let mut options = OpenOptions::new();
            options.read(true).write(write).create(write).truncate(false).custom_flags(flags).open(path)
        };
        let mut file = match open(true) {
            // Another user's may still be locked.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => open(false)?,
            file => file?,
        };
        match flock(&file, libc::LOCK_EX | libc::LOCK_NB) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let mut holder = String::new();
                let _ = file.take(16).read_to_string(&mut holder);
                return Ok(Err(holder.trim().parse().ok()));
            }
            Err(error) => return Err(error),
        }
        // For who is refused; the lock holds without it.
        let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
        Ok(Ok(Self(file)))
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        let _ = self.0.set_len(0);
        // A child between its fork and its exec still has the file open.
        let _ = flock(&self.0, libc::LOCK_UN);
    }
}

fn flock(file: &File, operation: libc::c_int) -> io::Result<()> {
    // SAFETY: the descriptor is open for as long as the file is borrowed.
    super::check(unsafe { libc::flock(file.as_raw_fd(), operation) }).map(drop)
}
