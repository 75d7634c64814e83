//! What the library tells of itself: which one it is, and in words what a call
//! has answered.

use std::ffi::{CStr, c_char};

use super::boundary::{Forked, last_error, quietly};
use super::status::{LK_ABI_VERSION, lk_status, name_of};

/// The version of the binary interface that the library was built with. Call
/// it first: `if (lk_abi_version() != LK_ABI_VERSION) ...` tells that header
/// and library do not belong together.
///
/// Returns: the number. Thread: any. Does not block. Next: lk_env_new.
#[unsafe(no_mangle)]
pub extern "C" fn lk_abi_version() -> u32 {
    quietly(Forked::Allowed, 0, move || Ok(LK_ABI_VERSION))
}

/// The version of the library, such as "0.1.0".
///
/// Returns: a text that is valid as long as the library is loaded. Thread:
/// any. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_version() -> *const c_char {
    const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "\0");
    quietly(Forked::Allowed, std::ptr::null(), move || Ok(VERSION.as_ptr().cast()))
}

/// What went wrong with the last call that failed on this thread, in words: a
/// whole sentence for people, with what was found and what was expected.
/// Success does not clear it.
///
/// Returns: a text that is valid until the next call of the library on this
/// thread; "" before the first failure; never NULL. Thread: any. Does not
/// block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_last_error_message() -> *const c_char {
    const NOTHING: &CStr = c"";
    quietly(Forked::Allowed, NOTHING.as_ptr(), move || Ok(last_error()))
}

/// The name of a status, such as "LK_ERR_TIMEOUT".
///
/// Returns: a text that is valid as long as the library is loaded;
/// "LK_ERR_UNKNOWN" for a number that this library does not have. Thread: any.
/// Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_status_name(status: lk_status) -> *const c_char {
    quietly(Forked::Allowed, std::ptr::null(), move || Ok(name_of(status).as_ptr()))
}
