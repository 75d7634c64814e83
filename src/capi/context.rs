//! What a callback is handed, and the way into every callback.
//!
//! A context is known by its address in the frame of the call. It is looked up
//! in the list of the calls that this thread is in and never followed, so one
//! that is kept for longer, or taken to another thread, is found out.

use std::cell::{Cell, RefCell};
use std::ffi::{c_char, c_void};
use std::time::Duration;

use super::boundary::{Answer, Buffer, Failure, Out, Text, flag, guard, guard_or, millis};
use super::cancel::{Cancel, lk_cancel};
use super::handle::New;
use super::status::{LK_ERR_NULL, LK_ERR_STALE, LK_ERR_STATE, LK_FOREVER, LK_OK, kind_of, lk_status};
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
    error: Option<String>,
    is_terminal: bool,
    retry_after: Option<Duration>,
    answer: Option<String>,
    items: u64,
    requeue_after: Option<Duration>,
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
    let (status, said) = enter_with(Some(cx), report, call);
    if status == LK_OK { Ok(said) } else { Err(said.into_error(status).into()) }
}

impl Said {
    /// What the program gave as its answer.
    pub(super) fn answer(&mut self) -> Option<String> {
        self.answer.take()
    }

    pub(super) fn items(&self) -> u64 {
        self.items
    }

    pub(super) fn requeue_after(&self) -> Option<Duration> {
        self.requeue_after
    }

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

    fn with_context<R>(self, body: impl FnOnce(&Context) -> Answer<R>) -> Answer<R> {
        self.with(|frame| match frame.cx {
            Some(cx) => body(cx),
            None => Err(Failure::new(LK_ERR_STATE, "cx: this callback has no deadline and no cancel")),
        })
    }

    fn say(self, say: impl FnOnce(&mut Said)) -> Answer {
        self.with(|frame| {
            say(&mut frame.said.borrow_mut());
            Ok(())
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

    /// Runs `body` with the context of this call.
    pub(super) fn context<R>(self, body: impl FnOnce(&Context) -> Answer<R>) -> Answer<R> {
        self.with_context(body)
    }
}

/// Says in words why the callback is going to fail. What it returns then is
/// the kind of the error: one of 1 to 15, or any other for LK_ERR_COMPONENT.
///
/// cx: the call's context. text: copied before the call returns.
/// Returns: LK_OK; LK_ERR_NULL; LK_ERR_UTF8; LK_ERR_STALE when `cx` is not of
/// a call that this thread is in. Thread: one, the callback's. Does not block.
/// Next: return a status other than LK_OK from the callback.
#[unsafe(no_mangle)]
pub extern "C" fn lk_context_set_error(cx: Cx, text: Text) -> lk_status {
    guard(|| {
        let text = text.read("text")?.to_owned();
        cx.say(|said| said.error = Some(text))
    })
}

/// Says that trying again cannot help: the loop waits for its next regular
/// run, a recovery ends, a deployment is rejected until it changes.
///
/// cx: the call's context. is_terminal: 0 or 1.
/// Returns: LK_OK; LK_ERR_NULL; LK_ERR_RANGE; LK_ERR_STALE. Thread: one, the
/// callback's. Does not block. Next: return a status other than LK_OK.
#[unsafe(no_mangle)]
pub extern "C" fn lk_context_set_terminal(cx: Cx, is_terminal: i32) -> lk_status {
    guard(|| {
        let is_terminal = flag(is_terminal, "is_terminal")?;
        cx.say(|said| said.is_terminal = is_terminal)
    })
}

/// Says how long whoever refused asks to be left alone; what tries again
/// waits at least so long.
///
/// cx: the call's context. wait_ms: how long.
/// Returns: LK_OK; LK_ERR_NULL; LK_ERR_STALE. Thread: one, the callback's.
/// Does not block. Next: return a status other than LK_OK.
#[unsafe(no_mangle)]
pub extern "C" fn lk_context_set_retry_after(cx: Cx, wait_ms: u64) -> lk_status {
    guard(|| cx.say(|said| said.retry_after = Some(millis(wait_ms))))
}

/// Gives the text that the callback answers with, where it answers with one:
/// which, its table says.
///
/// cx: the call's context. text: copied before the call returns.
/// Returns: LK_OK; LK_ERR_NULL; LK_ERR_UTF8; LK_ERR_STALE. Thread: one, the
/// callback's. Does not block. Next: return LK_OK from the callback.
#[unsafe(no_mangle)]
pub extern "C" fn lk_context_set_answer(cx: Cx, text: Text) -> lk_status {
    guard(|| {
        let text = text.read("text")?;
        cx.answer(text)
    })
}

/// Says how many items a run of a controller dealt with.
///
/// cx: the call's context. items: how many.
/// Returns: LK_OK; LK_ERR_NULL; LK_ERR_STALE. Thread: one, the callback's.
/// Does not block. Next: return LK_OK from the callback.
#[unsafe(no_mangle)]
pub extern "C" fn lk_context_set_items(cx: Cx, items: u64) -> lk_status {
    guard(|| cx.say(|said| said.items = items))
}

/// Asks for another run of a controller soon, if the next regular one is not
/// before it.
///
/// cx: the call's context. delay_ms: when.
/// Returns: LK_OK; LK_ERR_NULL; LK_ERR_STALE. Thread: one, the callback's.
/// Does not block. Next: return LK_OK from the callback.
#[unsafe(no_mangle)]
pub extern "C" fn lk_context_set_requeue(cx: Cx, delay_ms: u64) -> lk_status {
    guard(|| cx.say(|said| said.requeue_after = Some(millis(delay_ms))))
}

/// Who the call is for: the name of the loop or component.
///
/// cx: the call's context. buf, len: where the name goes, with its NUL; 64
/// bytes are always enough. needed: how many bytes it needs; may be NULL.
/// Returns: LK_OK; LK_ERR_NULL; LK_ERR_BUFFER; LK_ERR_STALE. Thread: one, the
/// callback's. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_context_name(cx: Cx, buf: Buffer, len: usize, needed: Out<usize>) -> lk_status {
    guard(|| {
        let place = buf.check(len, &needed)?;
        cx.with_context(|cx| place.set(cx.name().as_str()))
    })
}

/// Says what the call begins to do now, or what it has found. The latest is
/// shown in the loop's status while the call has not returned, and in the
/// report of a stop that it holds up: say it before what may hang.
///
/// cx: the call's context. text: copied, cut at 512 bytes; no secrets.
/// Returns: LK_OK; LK_ERR_NULL; LK_ERR_UTF8; LK_ERR_STALE when `cx` is not of
/// a call that this thread is in. Thread: one, the callback's. Does not block.
/// Next: call_phase of lk_loop_status.
#[unsafe(no_mangle)]
pub extern "C" fn lk_context_step(cx: Cx, text: Text) -> lk_status {
    guard(|| {
        let text = text.read("text")?;
        cx.with_context(|cx| {
            cx.step(text);
            Ok(())
        })
    })
}

/// How much time the call has left. When it is over the call is told as timed
/// out while it still runs, and what it returns later is thrown away.
///
/// cx: the call's context.
/// Returns: milliseconds, rounded down; 0 when there is none left or `cx` is
/// not of a call that this thread is in; LK_FOREVER without a deadline.
/// Thread: one, the callback's. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_context_remaining_ms(cx: Cx) -> u64 {
    guard_or(0, || {
        cx.with_context(|cx| {
            let remaining = cx.remaining();
            // Nobody waits for a century.
            let is_endless = remaining > Duration::from_secs(100 * 365 * 86_400);
            Ok(if is_endless {
                LK_FOREVER
            } else {
                u64::try_from(remaining.as_millis()).unwrap_or(LK_FOREVER)
            })
        })
    })
}

/// Whether the call should end early, because its loop was told to end.
///
/// cx: the call's context.
/// Returns: 1 when it should, also when `cx` is not of a call that this thread
/// is in; else 0. Thread: one, the callback's. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_context_is_cancelled(cx: Cx) -> i32 {
    guard_or(1, || cx.with_context(|cx| Ok(i32::from(cx.is_cancelled()))))
}

/// Whether the call is to say what it would do, and to change nothing.
///
/// cx: the call's context.
/// Returns: 1 when it is, also when `cx` is not of a call that this thread is
/// in; else 0. Thread: one, the callback's. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_context_is_dry_run(cx: Cx) -> i32 {
    guard_or(1, || cx.with_context(|cx| Ok(i32::from(cx.is_dry_run()))))
}

/// Sleeps, unless the call is told to end, and not past its deadline.
///
/// cx: the call's context. sleep_ms: how long.
/// Returns: LK_OK when the time has passed; LK_ERR_CANCELLED when told to end;
/// LK_ERR_TIMEOUT when the deadline came first; LK_ERR_NULL; LK_ERR_STALE.
/// Thread: one, the callback's. Blocks for `sleep_ms` at most.
#[unsafe(no_mangle)]
pub extern "C" fn lk_context_sleep(cx: Cx, sleep_ms: u64) -> lk_status {
    guard(|| cx.with_context(|cx| Ok(cx.sleep(millis(sleep_ms))?)))
}

/// What is cancelled when the call should end early: for other threads that
/// work for it.
///
/// cx: the call's context. out: a new handle, the caller's to free with
/// lk_cancel_free; it may be kept for longer than the call.
/// Returns: LK_OK; LK_ERR_NULL; LK_ERR_STALE. Thread: one, the callback's.
/// Does not block. Next: lk_cancel_wait, lk_cancel_is_cancelled.
#[unsafe(no_mangle)]
pub extern "C" fn lk_context_cancel(cx: Cx, out: New<lk_cancel>) -> lk_status {
    guard(|| {
        let place = out.check("out")?;
        cx.with_context(|cx| place.set(Cancel::new(cx.cancel_token().clone())))
    })
}

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
