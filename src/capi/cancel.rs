//! Cancel tokens: telling work on other threads that it should end.

use std::sync::OnceLock;

use super::boundary::{Failure, guard, guard_or, millis};
use super::handle::{New, Own, Ref, object};
use super::status::{LK_ERR_STALE, LK_ERR_TIMEOUT, lk_status};
use crate::cancel::CancelToken;

/// Something that can be cancelled, once and for good; what was given it
/// ends then.
#[derive(Debug)]
pub struct lk_cancel {
    _private: [u8; 0],
}

object!(lk_cancel => Cancel, Cancel::end);

/// What is behind an [`lk_cancel`].
#[derive(Debug)]
pub struct Cancel {
    pub(super) token: CancelToken,
    /// A child, for those who wait: it ends with the handle, too.
    waited: OnceLock<CancelToken>,
}

impl Cancel {
    pub(super) fn new(token: CancelToken) -> Self {
        Self { token, waited: OnceLock::new() }
    }

    fn waited(&self) -> &CancelToken {
        self.waited.get_or_init(|| self.token.child())
    }

    fn end(&self) {
        self.waited().cancel();
    }
}

/// Makes something that can be cancelled.
///
/// out: a new handle, the caller's to free with lk_cancel_free.
/// Returns: LK_OK; LK_ERR_NULL. Thread: any. Does not block. Next:
/// lk_host_run, lk_cancel_cancel.
#[unsafe(no_mangle)]
pub extern "C" fn lk_cancel_new(out: New<lk_cancel>) -> lk_status {
    guard(move || out.check("out")?.set(Cancel::new(CancelToken::new())))
}

/// Cancels. Whoever waits for it wakes; doing it twice is doing it once.
///
/// cancel: not consumed.
/// Returns: LK_OK; LK_ERR_NULL; LK_ERR_STALE. Thread: any, callbacks included;
/// not from a signal handler. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_cancel_cancel(cancel: Ref<lk_cancel>) -> lk_status {
    guard(move || {
        cancel.get("cancel")?.token.cancel();
        Ok(())
    })
}

/// Whether it was cancelled.
///
/// cancel: not consumed.
/// Returns: 1 when it was, also when `cancel` is no such handle; else 0.
/// Thread: any. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_cancel_is_cancelled(cancel: Ref<lk_cancel>) -> i32 {
    guard_or(1, move || Ok(i32::from(cancel.get("cancel")?.token.is_cancelled())))
}

/// Waits until it is cancelled.
///
/// cancel: not consumed. timeout_ms: how long at most; LK_FOREVER.
/// Returns: LK_OK once it is cancelled; LK_ERR_TIMEOUT; LK_ERR_NULL;
/// LK_ERR_STALE, also when the handle is freed meanwhile. Thread: any. Blocks
/// for `timeout_ms` at most.
#[unsafe(no_mangle)]
pub extern "C" fn lk_cancel_wait(cancel: Ref<lk_cancel>, timeout_ms: u64) -> lk_status {
    guard(move || {
        let cancel = cancel.get("cancel")?;
        let is_over = cancel.waited().wait_timeout(millis(timeout_ms));
        if cancel.token.is_cancelled() {
            Ok(())
        } else if is_over {
            Err(Failure::new(LK_ERR_STALE, "cancel: was freed meanwhile"))
        } else {
            Err(Failure::new(LK_ERR_TIMEOUT, "not cancelled in that time"))
        }
    })
}

/// Lets go of the handle; nothing is cancelled by that. An lk_cancel_wait of
/// another thread ends; a run that was given it goes on.
///
/// cancel: consumed; NULL does nothing.
/// Returns: LK_OK; LK_ERR_STALE when it was freed already. Thread: any. Does
/// not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_cancel_free(cancel: Own<lk_cancel>) -> lk_status {
    guard(move || cancel.release("cancel"))
}
