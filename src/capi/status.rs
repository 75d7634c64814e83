//! What calls answer: the numbers, and what each stands for.

use std::ffi::CStr;

use crate::error::ErrorKind;

/// What a call answers: LK_OK, or why it did not do what it was asked.
/// Numbers are only ever added; a new library may answer one that this header
/// does not have.
pub type lk_status = i32;

/// It was done.
pub const LK_OK: lk_status = 0;
/// A setting or argument cannot be used: the text says which and why.
pub const LK_ERR_INVALID: lk_status = 1;
/// Not allowed in the present state, or from this thread or callback.
pub const LK_ERR_STATE: lk_status = 2;
/// A thread could not be made.
pub const LK_ERR_SPAWN: lk_status = 3;
/// A deadline passed.
pub const LK_ERR_TIMEOUT: lk_status = 4;
/// A configuration file or descriptor is wrong.
pub const LK_ERR_CONFIG: lk_status = 5;
/// Code of the program's returned an error.
pub const LK_ERR_COMPONENT: lk_status = 6;
/// Code of the program's panicked; C code cannot.
pub const LK_ERR_PANICKED: lk_status = 7;
/// The work was cancelled; never counted as a failure.
pub const LK_ERR_CANCELLED: lk_status = 8;
/// A name is taken already.
pub const LK_ERR_DUPLICATE: lk_status = 9;
/// Nothing has this name.
pub const LK_ERR_NOT_FOUND: lk_status = 10;
/// A limit of the machine or of the process would be passed.
pub const LK_ERR_BUDGET: lk_status = 11;
/// The operating system refused something.
pub const LK_ERR_IO: lk_status = 12;
/// A probe reached what it asked and did not like the answer.
pub const LK_ERR_PROBE: lk_status = 13;
/// The handle or member was freed, removed or redeployed; nothing was touched.
pub const LK_ERR_STALE: lk_status = 14;
/// A database refused something or did not answer.
pub const LK_ERR_STORE: lk_status = 15;

/// A pointer is NULL that must not be.
pub const LK_ERR_NULL: lk_status = 100;
/// A text is not UTF-8.
pub const LK_ERR_UTF8: lk_status = 101;
/// A number stands for nothing: a choice that does not exist, a truth value
/// that is neither 0 nor 1.
pub const LK_ERR_RANGE: lk_status = 102;
/// The buffer is too small; how much it needs was written to `needed`.
pub const LK_ERR_BUFFER: lk_status = 103;
/// The `size` of a struct is one that no header ever had, or the struct sets
/// what this library does not know.
pub const LK_ERR_SIZE: lk_status = 104;
/// The handle is one of another kind, or was never given.
pub const LK_ERR_HANDLE: lk_status = 105;
/// The process was forked after the library was in use: its threads are in
/// the parent.
pub const LK_ERR_FORKED: lk_status = 106;
/// A mistake in the library, caught at its border; please report it.
pub const LK_ERR_PANIC: lk_status = 107;
/// Nothing more comes: the source of these events has ended.
pub const LK_ERR_ENDED: lk_status = 108;

/// A time without end, for every parameter and field that ends in `_ms`.
pub const LK_FOREVER: u64 = u64::MAX;

/// The version of the binary interface that this header describes.
pub const LK_ABI_VERSION: u32 = 1;

macro_rules! names {
    ($($name:ident),* $(,)?) => {
        /// The name of a status in C.
        pub(super) fn name_of(status: lk_status) -> &'static CStr {
            match status {
                $($name => const {
                    match CStr::from_bytes_with_nul(concat!(stringify!($name), "\0").as_bytes()) {
                        Ok(name) => name,
                        Err(_) => c"",
                    }
                },)*
                _ => c"LK_ERR_UNKNOWN",
            }
        }
    };
}

names!(
    LK_OK,
    LK_ERR_INVALID,
    LK_ERR_STATE,
    LK_ERR_SPAWN,
    LK_ERR_TIMEOUT,
    LK_ERR_CONFIG,
    LK_ERR_COMPONENT,
    LK_ERR_PANICKED,
    LK_ERR_CANCELLED,
    LK_ERR_DUPLICATE,
    LK_ERR_NOT_FOUND,
    LK_ERR_BUDGET,
    LK_ERR_IO,
    LK_ERR_PROBE,
    LK_ERR_STALE,
    LK_ERR_STORE,
    LK_ERR_NULL,
    LK_ERR_UTF8,
    LK_ERR_RANGE,
    LK_ERR_BUFFER,
    LK_ERR_SIZE,
    LK_ERR_HANDLE,
    LK_ERR_FORKED,
    LK_ERR_PANIC,
    LK_ERR_ENDED,
);

/// The kind that a status stands for which a callback returned.
pub(super) fn kind_of(status: lk_status) -> Option<ErrorKind> {
    ErrorKind::ALL.into_iter().find(|kind| *kind as lk_status == status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_status_of_its_number() {
        for kind in ErrorKind::ALL {
            let name = name_of(kind as lk_status);
            assert_ne!(name, c"LK_ERR_UNKNOWN", "{kind:?}");
            assert_eq!(kind_of(kind as lk_status), Some(kind));
        }
        assert_eq!(kind_of(0), None);
        assert_eq!(kind_of(LK_ERR_NULL), None);
        assert_eq!(name_of(-1), c"LK_ERR_UNKNOWN");
        assert_eq!(name_of(LK_ERR_STALE), c"LK_ERR_STALE");
    }
}
