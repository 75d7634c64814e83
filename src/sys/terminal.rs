//! What a terminal says of itself.

use std::os::fd::{AsRawFd, BorrowedFd};

/// How many rows and columns the terminal has that a descriptor leads to, if it
/// does and says so.
pub(crate) fn size(fd: BorrowedFd<'_>) -> Option<(usize, usize)> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: `size` is what the call fills in, and the descriptor is open.
    let answer = unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCGWINSZ, &mut size) };
    (answer == 0 && size.ws_col > 0).then_some((size.ws_row.into(), size.ws_col.into()))
}
