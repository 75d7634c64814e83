//! Every call into the operating system that std does not offer.
//!
//! With the C interface this is the only place where `unsafe` may stand. Each
//! function here is safe to call; what it needs from the caller is in its
//! types.
#![allow(unsafe_code, reason = "the one module for calls into the system")]

pub(crate) mod disk;
pub(crate) mod file;
#[cfg(feature = "capi")]
pub(crate) mod fork;
#[cfg(all(target_os = "linux", target_pointer_width = "64", not(shuttle), not(loom)))]
pub(crate) mod futex;
#[cfg(feature = "daemon")]
pub(crate) mod inherit;
pub(crate) mod limits;
#[cfg(feature = "daemon")]
pub(crate) mod memory;
pub(crate) mod net;
#[cfg(feature = "http")]
pub(crate) mod poll;
pub(crate) mod process;
pub(crate) mod program;
pub(crate) mod signals;
#[cfg(feature = "postgres")]
pub(crate) mod socket;
#[cfg(target_os = "linux")]
mod spawn;
#[cfg(feature = "daemon")]
pub(crate) mod terminal;
pub(crate) mod thread_stat;
pub(crate) mod time;
pub(crate) mod wait;

use std::io;

/// Turns the answer of a call that fails with -1 into a result.
fn check(answer: libc::c_int) -> io::Result<libc::c_int> {
    if answer == -1 { Err(io::Error::last_os_error()) } else { Ok(answer) }
}
