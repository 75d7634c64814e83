//! Parameters: texts and numbers that come from C, and places where C wants
//! something written.

use std::cell::Cell;
use std::ffi::{CStr, c_char};
use std::time::Duration;

use super::failure::{Answer, Failure};
use crate::capi::status::{LK_ERR_BUFFER, LK_ERR_INVALID, LK_ERR_RANGE, LK_ERR_UTF8, LK_FOREVER};

thread_local! {
    /// Where JSON is written before its size is known.
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// No thread keeps more room than this.
const MAX_SCRATCH: usize = 16 * 1024;

/// A text from C: NUL-terminated UTF-8.
#[derive(Debug, Clone, Copy)]
#[repr(transparent)]
pub struct Text(*const c_char);

impl Text {
    pub(in crate::capi) const NONE: Self = Self(std::ptr::null());

    pub(in crate::capi) fn read(&self, what: &str) -> Answer<&str> {
        self.optional(what)?.ok_or_else(|| Failure::null(what))
    }

    /// The text; `None` for NULL.
    pub(in crate::capi) fn optional(&self, what: &str) -> Answer<Option<&str>> {
        if self.0.is_null() {
            return Ok(None);
        }
        // SAFETY: not NULL, and then NUL-terminated and unchanged during the
        // call, as the contract says.
        let text = unsafe { CStr::from_ptr(self.0) };
        text.to_str().map(Some).map_err(|error| {
            Failure::new(LK_ERR_UTF8, format!("{what}: is not UTF-8 at byte {}", error.valid_up_to()))
        })
    }
}

/// Where something is written when a call succeeds.
#[derive(Debug)]
#[repr(transparent)]
pub struct Out<T>(pub(super) *mut T);

/// An [`Out`] that can be written to.
#[must_use]
pub(in crate::capi) struct Place<T>(pub(super) *mut T);

impl<T> Out<T> {
    pub(in crate::capi) fn check(&self, what: &str) -> Answer<Place<T>> {
        if self.0.is_null() { Err(Failure::null(what)) } else { Ok(Place(self.0)) }
    }

    pub(in crate::capi) fn optional(&self) -> Option<Place<T>> {
        (!self.0.is_null()).then_some(Place(self.0))
    }
}

impl<T> Place<T> {
    pub(in crate::capi) fn set(self, value: T) {
        // SAFETY: not NULL, and then the caller's to be written to. C may
        // have it at any address, so no alignment is assumed.
        unsafe { self.0.write_unaligned(value) }
    }
}

/// The buffer of the caller that a text is written to.
#[derive(Debug)]
#[repr(transparent)]
pub struct Buffer(*mut c_char);

/// Where a text goes: a buffer, its size, and where to say how much is needed.
#[must_use]
pub(in crate::capi) struct TextPlace {
    buf: *mut c_char,
    len: usize,
    needed: Option<Place<usize>>,
}

impl Buffer {
    /// Checks a buffer of `len` bytes; NULL is one of none.
    pub(in crate::capi) fn check(&self, len: usize, needed: &Out<usize>) -> Answer<TextPlace> {
        if self.0.is_null() && len > 0 {
            return Err(Failure::null("buf"));
        }
        if self.0.is_null() && needed.0.is_null() {
            return Err(Failure::null("buf and needed"));
        }
        Ok(TextPlace { buf: self.0, len, needed: needed.optional() })
    }
}

impl TextPlace {
    /// Writes a text and its NUL, or how much room they need.
    pub(in crate::capi) fn set(self, text: &str) -> Answer {
        self.set_bytes(text.as_bytes())
    }

    fn set_bytes(self, text: &[u8]) -> Answer {
        let needed = text.len() + 1;
        if let Some(place) = self.needed {
            place.set(needed);
        }
        if needed > self.len {
            let text = format!("buf: has {} bytes, {needed} are needed", self.len);
            return Err(Failure::new(LK_ERR_BUFFER, text));
        }
        // SAFETY: the buffer is not NULL, because its size is not zero, and
        // has room for the text and the NUL.
        unsafe {
            self.buf.cast::<u8>().copy_from_nonoverlapping(text.as_ptr(), text.len());
            self.buf.add(text.len()).write(0);
        }
        Ok(())
    }

    pub(in crate::capi) fn set_json(self, value: &impl serde::Serialize) -> Answer {
        self.set_written(&mut |room| serde_json::to_writer(room, value))
    }

    fn set_written(self, write: &mut dyn FnMut(&mut Vec<u8>) -> serde_json::Result<()>) -> Answer {
        // Each thread keeps the room that it writes in: whoever asks once asks
        // again.
        let mut room = SCRATCH.try_with(Cell::take).unwrap_or_default();
        room.clear();
        let written =
            write(&mut room).map_err(|error| Failure::new(LK_ERR_INVALID, format!("as JSON: {error}")));
        let answer = written.and_then(|()| self.set_bytes(&room));
        if room.capacity() <= MAX_SCRATCH {
            let _ = SCRATCH.try_with(|scratch| scratch.set(room));
        }
        answer
    }
}

/// A truth value from C.
pub(in crate::capi) fn flag(value: i32, what: &str) -> Answer<bool> {
    match value {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(Failure::new(LK_ERR_RANGE, format!("{what}: must be 0 or 1, found {other}"))),
    }
}

/// A duration from C; [`LK_FOREVER`] has no end.
pub(in crate::capi) fn millis(value: u64) -> Duration {
    if value == LK_FOREVER { Duration::MAX } else { Duration::from_millis(value) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capi::status::{LK_ERR_NULL, LK_OK, lk_status};

    fn status<T>(answer: Answer<T>) -> lk_status {
        answer.map_or_else(|failure| failure.tell(), |_| LK_OK)
    }

    #[test]
    fn a_text_is_written_whole_or_not_at_all() {
        let mut bytes = [b'x' as c_char; 6];
        let mut needed = 0;
        let mut write = |len, text: &str| {
            let place = Buffer(bytes.as_mut_ptr()).check(len, &Out(&raw mut needed)).unwrap();
            let status = status(place.set(text));
            (status, needed, bytes.map(|byte| byte as u8))
        };
        assert_eq!(write(3, "abc"), (LK_ERR_BUFFER, 4, *b"xxxxxx"));
        assert_eq!(write(4, "abc"), (LK_OK, 4, *b"abc\0xx"));
        assert_eq!(write(0, ""), (LK_ERR_BUFFER, 1, *b"abc\0xx"));
        let nowhere = Buffer(std::ptr::null_mut());
        assert_eq!(status(nowhere.check(1, &Out(&raw mut needed))), LK_ERR_NULL);
        assert_eq!(status(nowhere.check(0, &Out(std::ptr::null_mut()))), LK_ERR_NULL);
        assert_eq!(
            status(nowhere.check(0, &Out(&raw mut needed)).and_then(|place| place.set("a"))),
            LK_ERR_BUFFER
        );
    }
    #[test]
    fn what_stands_for_nothing_is_refused() {
        let bad = [0x61_u8, 0x80, 0];
        assert_eq!(status(Text(bad.as_ptr().cast()).read("x")), LK_ERR_UTF8);
        assert_eq!((flag(1, "x").unwrap(), status(flag(2, "x"))), (true, LK_ERR_RANGE));
    }
}
