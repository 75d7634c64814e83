//! The way into every callback: the calls into the program that a thread is
//! in.
//!
//! A context is known by its address in the frame of the call. It is looked up
//! in the list of the calls that this thread is in and never followed, so one
//! that is kept for longer, or taken to another thread, is found out.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use super::boundary::{Answer, Failure};
use super::status::{
    LK_ERR_CANCELLED, LK_ERR_COMPONENT, LK_ERR_NULL, LK_ERR_STALE, LK_ERR_STATE, LK_OK, kind_of, lk_status,
};
use crate::component::Context;
use crate::error::{BoxError, Error, ErrorClass, ErrorKind};
use crate::monitor::Report;

/// What a callback is handed about the call that it is in. Valid until it
/// returns, on its thread only.
#[derive(Debug)]
pub struct lk_context {
    _private: [u8; 0],
}

/// A context as callbacks pass it back.
#[derive(Debug, Clone, Copy)]
#[repr(transparent)]
pub struct Cx(*const lk_context);

/// One call into the program.
struct Frame<'a> {
    cx: Option<&'a Context>,
    report: Option<&'a Report>,
    said: RefCell<Said>,
    below: *const Frame<'static>,
}

/// What the program said during a call.
#[derive(Default)]
pub(super) struct Said {
    pub(super) error: Option<String>,
    pub(super) is_terminal: bool,
    pub(super) retry_after: Option<Duration>,
    pub(super) answer: Option<String>,
    /// What of the one thing that a checker looks at does not work.
    pub(super) degraded: Option<String>,
    /// A checker has said how an item is.
    pub(super) has_items: bool,
    pub(super) items: u64,
    pub(super) requeue_after: Option<Duration>,
}

thread_local! {
    static TOP: Cell<*const Frame<'static>> = const { Cell::new(std::ptr::null()) };
}

/// Whether this thread is in a callback.
pub(super) fn is_inside() -> bool {
    !TOP.get().is_null()
}

/// Refuses what would wait for the callback that it is called from.
pub(super) fn refuse_inside(what: &str) -> Answer {
    if is_inside() {
        return Err(Failure::new(LK_ERR_STATE, format!("{what}: not from inside a callback")));
    }
    Ok(())
}

/// Takes a frame off the list also when the call unwinds.
struct Pop(*const Frame<'static>);

impl Drop for Pop {
    fn drop(&mut self) {
        TOP.set(self.0);
    }
}

/// Makes a call into the program.
pub(super) fn enter<R>(cx: Option<&Context>, call: impl FnOnce(Cx) -> R) -> (R, Said) {
    enter_with(cx, None, call)
}

fn enter_with<R>(cx: Option<&Context>, report: Option<&Report>, call: impl FnOnce(Cx) -> R) -> (R, Said) {
    let below = TOP.get();
    let frame = Frame { cx, report, said: RefCell::default(), below };
    let at = (&raw const frame).cast::<Frame<'static>>();
    let pop = Pop(below);
    TOP.set(at);
    let returned = call(Cx(at.cast()));
    drop(pop);
    (returned, frame.said.into_inner())
}

/// Makes a call into the program that has no context and whose answer does
/// not matter.
pub(super) fn notify(call: impl FnOnce() -> i32) {
    let _ = enter(None, |_| call());
}

/// Makes a call into the program that may fail.
pub(super) fn attempt(cx: &Context, call: impl FnOnce(Cx) -> i32) -> Result<Said, BoxError> {
    attempt_with(cx, None, call)
}

/// The same for a checker, which has somewhere to report to.
pub(super) fn attempt_with(
    cx: &Context,
    report: Option<&Report>,
    call: impl FnOnce(Cx) -> i32,
) -> Result<Said, BoxError> {
    let (status, mut said) = enter_with(Some(cx), report, call);
    match status {
        LK_OK => Ok(said),
        // Nothing was cancelled: to be no failure it takes more than a number
        // that a program counts with.
        LK_ERR_CANCELLED if !cx.is_cancelled() => {
            let text = "the callback returned LK_ERR_CANCELLED, and nothing was cancelled";
            said.error.get_or_insert_with(|| text.to_owned());
            Err(said.into_error(LK_ERR_COMPONENT).into())
        }
        status => Err(said.into_error(status).into()),
    }
}

impl Said {
    /// The error that a callback returned.
    fn into_error(self, status: lk_status) -> Error {
        let kind = kind_of(status);
        let text = self.error.unwrap_or_else(|| match kind {
            Some(kind) => kind.as_str().to_owned(),
            None => format!("the callback returned {status}"),
        });
        let mut error = Error::new(kind.unwrap_or(ErrorKind::Component)).context(text);
        if self.is_terminal {
            error = error.with_class(ErrorClass::Terminal);
        }
        match self.retry_after {
            Some(wait) => error.with_retry_after(wait),
            None => error,
        }
    }
}

impl Cx {
    /// Runs `body` with the call that this context is of.
    fn with<R>(self, body: impl FnOnce(&Frame<'_>) -> Answer<R>) -> Answer<R> {
        if self.0.is_null() {
            return Err(Failure::new(LK_ERR_NULL, "cx: must not be NULL"));
        }
        let mut at = TOP.get();
        // SAFETY: what is in the list are frames of calls that this thread is
        // in, further down its stack, each taken off when its call returns.
        while let Some(frame) = unsafe { at.as_ref() } {
            if at.addr() == self.0.addr() {
                return body(frame);
            }
            at = frame.below;
        }
        Err(Failure::new(LK_ERR_STALE, "cx: is not of a call that this thread is in"))
    }

    /// Notes what the program says.
    pub(super) fn say(self, say: impl FnOnce(&mut Said)) -> Answer {
        self.with(|frame| {
            say(&mut frame.said.borrow_mut());
            Ok(())
        })
    }

    /// Runs `body` with the context of this call.
    pub(super) fn context<R>(self, body: impl FnOnce(&Context) -> Answer<R>) -> Answer<R> {
        self.with(|frame| match frame.cx {
            Some(cx) => body(cx),
            None => Err(Failure::new(LK_ERR_STATE, "cx: this callback has no deadline and no cancel")),
        })
    }

    /// Runs `body` with what the checker whose call this is reports to.
    pub(super) fn report(self, body: impl FnOnce(&Report) -> Answer) -> Answer {
        self.with(|frame| match frame.report {
            Some(report) => body(report),
            None => Err(Failure::new(LK_ERR_STATE, "cx: this callback is no checker's")),
        })
    }

    pub(super) fn answer(self, text: &str) -> Answer {
        let text = text.to_owned();
        self.say(|said| said.answer = Some(text))
    }
}
