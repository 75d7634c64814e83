//! Waiting for a number in memory to be another, as the kernel offers it to
//! those who make locks.

use std::ptr;
use std::sync::atomic::AtomicU32;

/// Waits while `word` is `expected`, until it is woken or until `deadline`, in
/// nanoseconds of [`monotonic`](super::time::monotonic). Says whether that has
/// passed; may come back for no reason before.
pub(crate) fn wait(word: &AtomicU32, expected: u32, deadline: Option<u64>) -> bool {
    #[allow(clippy::cast_possible_wrap, reason = "64 bits of nanoseconds are centuries")]
    let deadline = deadline.map(|deadline| libc::timespec {
        tv_sec: (deadline / 1_000_000_000) as libc::time_t,
        tv_nsec: (deadline % 1_000_000_000) as libc::c_long,
    });
    let deadline = deadline.as_ref().map_or(ptr::null(), ptr::from_ref);
    // SAFETY: `word` is a number of 32 bits that is there for the whole call,
    // and so is the time, where there is one. A number that is another already
    // and a signal are no faults: they end the wait.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAIT_BITSET | libc::FUTEX_PRIVATE_FLAG,
            expected,
            deadline,
            ptr::null::<u32>(),
            libc::FUTEX_BITSET_MATCH_ANY,
        )
    };
    answer == -1 && std::io::Error::last_os_error().raw_os_error() == Some(libc::ETIMEDOUT)
}

/// Wakes one thread that waits for `word`.
pub(crate) fn wake(word: &AtomicU32) {
    // SAFETY: the kernel takes the address for a name and does not follow it.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG, 1) };
}
