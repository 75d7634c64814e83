//! What a table of callbacks has beside them: what they work with, and where
//! they say why they refuse.

use std::ffi::{c_char, c_void};

use super::call::enter;
use super::status::{LK_OK, kind_of};
use crate::error::{Error, ErrorKind};

/// Called once, after the last call of any other callback of the same table.
pub type lk_drop_fn = Option<extern "C" fn(userdata: *mut c_void)>;

/// Where a callback that has no context says why it refuses.
pub(super) struct Reason([u8; 512]);

impl Default for Reason {
    fn default() -> Self {
        Self([0; 512])
    }
}

impl Reason {
    /// Its place, and how much room there is.
    pub(super) fn place(&mut self) -> (*mut c_char, usize) {
        // One less, so that it ends with NUL whatever is written.
        (self.0.as_mut_ptr().cast(), self.0.len() - 1)
    }

    /// The error that a callback's answer is; `kind` where it is none of ours.
    pub(super) fn of(&self, status: i32, kind: ErrorKind) -> Result<(), Error> {
        if status == LK_OK {
            return Ok(());
        }
        let end = self.0.iter().position(|byte| *byte == 0).unwrap_or(self.0.len());
        let text = String::from_utf8_lossy(&self.0[..end]);
        let known = kind_of(status);
        let text = match known {
            _ if !text.is_empty() => text.into_owned(),
            Some(kind) => kind.as_str().to_owned(),
            None => format!("the callback returned {status}"),
        };
        Err(Error::new(known.unwrap_or(kind)).context(text))
    }
}

/// What a table's callbacks work with, and how it is let go of.
pub(super) struct Userdata {
    data: *mut c_void,
    drop: lk_drop_fn,
}

// SAFETY: the contract says that callbacks run on threads of ours, so what
// they work with may be taken there; calls are one at a time where the header
// says so.
unsafe impl Send for Userdata {}
// SAFETY: as above.
unsafe impl Sync for Userdata {}

impl Userdata {
    pub(super) fn new(data: *mut c_void, drop: lk_drop_fn) -> Self {
        Self { data, drop }
    }

    pub(super) fn get(&self) -> *mut c_void {
        self.data
    }
}

impl Drop for Userdata {
    fn drop(&mut self) {
        if let Some(call) = self.drop.take() {
            let data = self.data;
            let _ = enter(None, |_| call(data));
        }
    }
}
