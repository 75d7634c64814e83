//! Reporters: how a component is, as it says itself at any time.

use super::boundary::{Text, guard};
use super::call::Cx;
use super::handle::{New, Own, Ref, object};
use super::loop_status::{health_of, lk_health};
use super::status::{kind_of, lk_status};
use crate::component::Reporter;
use crate::error::{Error, ErrorKind};

/// Through what a component says, at any time, how it is.
#[derive(Debug)]
pub struct lk_reporter {
    _private: [u8; 0],
}

object!(lk_reporter => Reporter);

/// Through what the component whose start or stop this is says how it is,
/// also after that has returned. It belongs to this run of the component;
/// nobody hears it after that.
///
/// cx: the call's context. out: a new handle, the caller's to free with
/// lk_reporter_free.
/// Returns: LK_OK; LK_ERR_NULL; LK_ERR_STALE. Thread: one, the callback's.
/// Does not block. Next: lk_reporter_set_health.
#[unsafe(no_mangle)]
pub extern "C" fn lk_context_reporter(cx: Cx, out: New<lk_reporter>) -> lk_status {
    guard(move || {
        let place = out.check("out")?;
        cx.context(|cx| place.set(cx.reporter().clone()))
    })
}

/// Says whether the component can take work. One that says so in its start is
/// up with the first health other than LK_HEALTH_UNKNOWN.
///
/// reporter: not consumed. health: LK_HEALTH_...
/// Returns: LK_OK; LK_ERR_RANGE; LK_ERR_NULL; LK_ERR_STALE. Thread: any. Does
/// not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_reporter_set_health(reporter: Ref<lk_reporter>, health: lk_health) -> lk_status {
    guard(move || {
        let (reporter, health) = (reporter.get("reporter")?, health_of(health)?);
        reporter.set_health(health);
        Ok(())
    })
}

/// Says that the component has failed. It is stopped, and started again if
/// its `restart` wants that.
///
/// reporter: not consumed. error: 1 to 15 for the LK_ERR_ of that number;
/// others are LK_ERR_COMPONENT. text: why; copied.
/// Returns: LK_OK; LK_ERR_NULL; LK_ERR_UTF8; LK_ERR_STALE. Thread: any. Does
/// not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_reporter_fail(reporter: Ref<lk_reporter>, error: lk_status, text: Text) -> lk_status {
    guard(move || {
        let (reporter, text) = (reporter.get("reporter")?, text.read("text")?);
        let kind = kind_of(error).unwrap_or(ErrorKind::Component);
        reporter.fail(Error::new(kind).context(text.to_owned()));
        Ok(())
    })
}

/// Says that the component has done what it was for. It is stopped, and
/// started again only if its `restart` is LK_RESTART_PERMANENT.
///
/// reporter: not consumed.
/// Returns: LK_OK; LK_ERR_NULL; LK_ERR_STALE. Thread: any. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_reporter_done(reporter: Ref<lk_reporter>) -> lk_status {
    guard(move || {
        reporter.get("reporter")?.done();
        Ok(())
    })
}

/// Lets go of the handle.
///
/// reporter: consumed; NULL does nothing.
/// Returns: LK_OK; LK_ERR_STALE when it was freed already. Thread: any. Does
/// not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_reporter_free(reporter: Own<lk_reporter>) -> lk_status {
    guard(move || reporter.release("reporter"))
}
