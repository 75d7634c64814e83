//! Contexts: what a callback asks and says about the call that it is in.

use std::time::Duration;

use super::boundary::{Buffer, Out, Text, flag, guard, guard_or, millis};
use super::call::Cx;
use super::cancel::{Cancel, lk_cancel};
use super::handle::New;
use super::status::{LK_FOREVER, lk_status};

/// Says in words why the callback is going to fail. What it returns then is
/// the kind of the error: one of 1 to 15, or any other for LK_ERR_COMPONENT.
///
/// cx: the call's context. text: copied before the call returns.
/// Returns: LK_OK; LK_ERR_NULL; LK_ERR_UTF8; LK_ERR_STALE when `cx` is not of
/// a call that this thread is in. Thread: one, the callback's. Does not block.
/// Next: return a status other than LK_OK from the callback.
#[unsafe(no_mangle)]
pub extern "C" fn lk_context_set_error(cx: Cx, text: Text) -> lk_status {
    guard(move || {
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
    guard(move || {
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
    guard(move || cx.say(|said| said.retry_after = Some(millis(wait_ms))))
}

/// Gives the text that the callback answers with, where it answers with one:
/// which, its table says.
///
/// cx: the call's context. text: copied before the call returns.
/// Returns: LK_OK; LK_ERR_NULL; LK_ERR_UTF8; LK_ERR_STALE. Thread: one, the
/// callback's. Does not block. Next: return LK_OK from the callback.
#[unsafe(no_mangle)]
pub extern "C" fn lk_context_set_answer(cx: Cx, text: Text) -> lk_status {
    guard(move || {
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
    guard(move || cx.say(|said| said.items = items))
}

/// Asks for another run of a controller soon, if the next regular one is not
/// before it.
///
/// cx: the call's context. delay_ms: when.
/// Returns: LK_OK; LK_ERR_NULL; LK_ERR_STALE. Thread: one, the callback's.
/// Does not block. Next: return LK_OK from the callback.
#[unsafe(no_mangle)]
pub extern "C" fn lk_context_set_requeue(cx: Cx, delay_ms: u64) -> lk_status {
    guard(move || cx.say(|said| said.requeue_after = Some(millis(delay_ms))))
}

/// Who the call is for: the name of the loop or component.
///
/// cx: the call's context. buf, len: where the name goes, with its NUL; 64
/// bytes are always enough. needed: how many bytes it needs; may be NULL.
/// Returns: LK_OK; LK_ERR_NULL; LK_ERR_BUFFER; LK_ERR_STALE. Thread: one, the
/// callback's. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_context_name(cx: Cx, buf: Buffer, len: usize, needed: Out<usize>) -> lk_status {
    guard(move || {
        let place = buf.check(len, &needed)?;
        cx.context(|cx| place.set(cx.name().as_str()))
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
    guard(move || {
        let text = text.read("text")?;
        cx.context(|cx| {
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
    guard_or(0, move || {
        cx.context(|cx| {
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
    guard_or(1, move || cx.context(|cx| Ok(i32::from(cx.is_cancelled()))))
}

/// Whether the call is to say what it would do, and to change nothing.
///
/// cx: the call's context.
/// Returns: 1 when it is, also when `cx` is not of a call that this thread is
/// in; else 0. Thread: one, the callback's. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_context_is_dry_run(cx: Cx) -> i32 {
    guard_or(1, move || cx.context(|cx| Ok(i32::from(cx.is_dry_run()))))
}

/// Sleeps, unless the call is told to end, and not past its deadline.
///
/// cx: the call's context. sleep_ms: how long.
/// Returns: LK_OK when the time has passed; LK_ERR_CANCELLED when told to end;
/// LK_ERR_TIMEOUT when the deadline came first; LK_ERR_NULL; LK_ERR_STALE.
/// Thread: one, the callback's. Blocks for `sleep_ms` at most.
#[unsafe(no_mangle)]
pub extern "C" fn lk_context_sleep(cx: Cx, sleep_ms: u64) -> lk_status {
    guard(move || cx.context(|cx| Ok(cx.sleep(millis(sleep_ms))?)))
}

/// What is cancelled when the call should end early: for other threads that
/// work for it. To cancel it by lk_cancel_cancel ends what waits for it, and
/// neither the call nor its loop.
///
/// cx: the call's context. out: a new handle, the caller's to free with
/// lk_cancel_free; it may be kept for longer than the call.
/// Returns: LK_OK; LK_ERR_NULL; LK_ERR_STALE. Thread: one, the callback's.
/// Does not block. Next: lk_cancel_wait, lk_cancel_is_cancelled.
#[unsafe(no_mangle)]
pub extern "C" fn lk_context_cancel(cx: Cx, out: New<lk_cancel>) -> lk_status {
    guard(move || {
        let place = out.check("out")?;
        cx.context(|cx| place.set(Cancel::new(cx.cancel_token().child())))
    })
}
