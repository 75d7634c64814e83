//! Why a call is refused, and what is kept of the last one for each thread.

use std::borrow::Cow;
use std::cell::RefCell;
use std::ffi::c_char;

use crate::capi::status::{LK_ERR_NULL, kind_of, lk_status};
use crate::error::{Error, ErrorKind};

/// Why a call is refused: its status, and the text for people. A pointer, so
/// that answers without one are small.
#[derive(Debug)]
pub(in crate::capi) struct Failure(Box<Refusal>);

#[derive(Debug)]
struct Refusal {
    status: lk_status,
    text: Cow<'static, str>,
}

pub(in crate::capi) type Answer<T = ()> = Result<T, Failure>;

impl Failure {
    pub(in crate::capi) fn new(status: lk_status, text: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Refusal { status, text: text.into() }))
    }

    #[cold]
    #[inline(never)]
    pub(in crate::capi) fn null(what: &str) -> Self {
        Self::new(LK_ERR_NULL, format!("{what}: must not be NULL"))
    }

    /// The same for Rust, where a call goes on there.
    pub(in crate::capi) fn into_error(self) -> Error {
        let Refusal { status, text } = *self.0;
        Error::new(kind_of(status).unwrap_or(ErrorKind::InvalidArgument)).context(text)
    }

    /// Keeps the text for this thread to ask for.
    #[cold]
    #[inline(never)]
    pub(super) fn tell(self) -> lk_status {
        let Refusal { status, text } = *self.0;
        let mut text = text.into_owned().into_bytes();
        // C would see the text end there.
        text.iter_mut().filter(|byte| **byte == 0).for_each(|byte| *byte = b' ');
        text.push(0);
        // A thread that is ending keeps no text any more.
        let _ = LAST.try_with(|last| last.try_borrow_mut().map(|mut last| *last = text));
        status
    }
}

thread_local! {
    static LAST: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The text of the last failure on this thread.
pub(in crate::capi) fn last_error() -> *const c_char {
    let text = LAST.try_with(|last| match last.try_borrow() {
        Ok(last) if !last.is_empty() => last.as_ptr().cast(),
        _ => c"".as_ptr(),
    });
    text.unwrap_or(c"".as_ptr())
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::new(error.kind() as lk_status, error.report().to_string())
    }
}
