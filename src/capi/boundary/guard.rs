//! The guard around every export: whatever happens in its body is a status.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::failure::{Answer, Failure};
use crate::capi::status::{LK_ERR_FORKED, LK_ERR_PANIC, LK_OK, lk_status};
use crate::sys::fork;
use crate::thread::panicked;

/// Whether a call may be made in a child of a process that was using the
/// library.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::capi) enum Forked {
    Refused,
    Allowed,
}

/// The body of an exported function, without its type: a pointer to what it
/// uses and one to its code. Of a `dyn` there would be a table for each export.
#[derive(Clone, Copy)]
struct Body {
    at: *mut (),
    call: unsafe fn(*mut ()) -> Answer,
}

impl Body {
    fn of<F: FnMut() -> Answer>(body: &mut F) -> Self {
        /// # Safety
        ///
        /// There is such a body, and nobody else uses it.
        unsafe fn call<F: FnMut() -> Answer>(at: *mut ()) -> Answer {
            // SAFETY: as the caller says.
            unsafe { (*at.cast::<F>())() }
        }
        Self { at: (&raw mut *body).cast(), call: call::<F> }
    }
}

/// Runs the body of an exported function: whatever happens in it is a status.
/// Here once for all of them, and not in each; as a function of C, so that none
/// of them has code for a panic that comes out of it.
///
/// # Safety
///
/// The body is there and nobody else uses it.
#[inline(never)]
#[allow(improper_ctypes_definitions, reason = "only Rust calls it")]
unsafe extern "C" fn run(forked: Forked, body: Body) -> lk_status {
    if forked == Forked::Refused && fork::is_child() {
        return refuse_child();
    }
    // SAFETY: as the caller says.
    match catch_unwind(AssertUnwindSafe(|| unsafe { (body.call)(body.at) })) {
        Ok(Ok(())) => LK_OK,
        Ok(Err(failure)) => failure.tell(),
        Err(payload) => Failure::new(LK_ERR_PANIC, panicked(payload).to_string()).tell(),
    }
}

#[cold]
fn refuse_child() -> lk_status {
    let text = "the process was forked after the library was in use, and its threads are in the parent: \
                fork first, or run another program";
    Failure::new(LK_ERR_FORKED, text).tell()
}

/// Runs the body of an exported function: whatever happens in it is a status.
#[inline]
pub(in crate::capi) fn guard(mut body: impl FnMut() -> Answer) -> lk_status {
    let body = Body::of(&mut body);
    // SAFETY: it is this call's.
    unsafe { run(Forked::Refused, body) }
}

/// The same for one that returns a value: the fallback, when it fails.
#[inline]
pub(in crate::capi) fn guard_or<T>(fallback: T, body: impl FnMut() -> Answer<T>) -> T {
    quietly(Forked::Refused, fallback, body)
}

#[inline]
pub(in crate::capi) fn quietly<T>(forked: Forked, fallback: T, mut body: impl FnMut() -> Answer<T>) -> T {
    let mut value = fallback;
    let mut body = || {
        value = body()?;
        Ok(())
    };
    let body = Body::of(&mut body);
    // SAFETY: it is this call's.
    unsafe { run(forked, body) };
    value
}

#[cfg(test)]
mod tests {
    use std::ffi::CStr;

    use super::super::failure::last_error;
    use super::*;
    use crate::capi::status::LK_ERR_STATE;

    #[test]
    fn whatever_happens_in_a_body_is_a_status_with_a_text() {
        let last = || {
            // SAFETY: the text is this thread's and unchanged meanwhile.
            unsafe { CStr::from_ptr(last_error()) }.to_str().unwrap().to_owned()
        };
        assert_eq!((guard(move || Ok(())), last().as_str()), (LK_OK, ""));
        assert_eq!(guard(move || Err(Failure::new(LK_ERR_STATE, "no\0w"))), LK_ERR_STATE);
        assert_eq!(last(), "no w");
        assert_eq!(guard(move || panic!("boom")), LK_ERR_PANIC);
        assert_eq!(last(), "panicked: boom");
        assert_eq!((guard(move || Ok(())), last().as_str()), (LK_OK, "panicked: boom"));
        assert_eq!(guard_or(7, move || panic!("again")), 7);
    }
}
