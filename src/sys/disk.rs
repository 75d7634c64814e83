//! Space on file systems.

use std::ffi::CString;
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Space on a file system, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Space {
    /// What users without privileges may still write.
    pub(crate) free: u64,
    /// All there is; zero where the file system has no size, such as `/proc`.
    pub(crate) total: u64,
}

/// Asks for the space on the file system that holds `path`.
pub(crate) fn space(path: &Path) -> io::Result<Space> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut answer = MaybeUninit::<libc::statvfs>::uninit();
    let answer = loop {
        // SAFETY: `path` ends with a zero byte, `answer` is valid for writes
        // and filled in when the call succeeds.
        match super::check(unsafe { libc::statvfs(path.as_ptr(), answer.as_mut_ptr()) }) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
            // SAFETY: see above.
            Ok(_) => break unsafe { answer.assume_init() },
        }
    };
    // How wide these are depends on the machine.
    #[allow(clippy::useless_conversion, clippy::unnecessary_cast)]
    let (unit, free, total) = (answer.f_frsize as u64, answer.f_bavail as u64, answer.f_blocks as u64);
    Ok(Space { free: free.saturating_mul(unit), total: total.saturating_mul(unit) })
}
