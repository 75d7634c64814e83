//! What a stop found.

use std::ffi::c_char;

use super::boundary::{Answer, Failure, Out, StructPlace, Versioned, chars, guard, init};
use super::loop_status::{LK_ACTIVITY_UNKNOWN, activity_number, lk_activity};
use super::status::{LK_ERR_COMPONENT, LK_ERR_STATE, LK_ERR_TIMEOUT, lk_status};
use crate::error::ErrorKind;
use crate::stop::StopReport;
use crate::thread::Straggler;

/// How a stop went. Old as soon as it is read: a thread that did not end may
/// end any time.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct lk_stop_report {
    /// sizeof(lk_stop_report); lk_stop_report_init sets it.
    pub size: u32,
    /// How many threads did not end in time.
    pub stragglers: u32,
    /// How many events nobody was called about, because the grace was over.
    pub dropped_callbacks: u64,
    /// How many other things went wrong, such as a component's stop.
    pub errors: u32,
    /// How long the longest has been stuck, in whole milliseconds.
    pub stuck_for_ms: u64,
    /// Who did not end, where and for how long, and what else went wrong;
    /// "clean" when all is well. Cut at 511 bytes.
    pub text: [c_char; 512],
    /// The kernel's number of the thread that has been stuck for longest; 0
    /// where there is none.
    pub tid: u32,
    /// Whether that thread computes or waits: LK_ACTIVITY_...
    pub activity: lk_activity,
    /// The loop or component that it belongs to; "" where there is none.
    pub straggler: [c_char; 64],
    /// The thread's name.
    pub thread: [c_char; 64],
    /// What its call says that it is doing, such as "looking up db.internal",
    /// cut at 127 bytes; else what it is in, such as "its call".
    pub call_phase: [c_char; 128],
}

// SAFETY: numbers and characters only.
unsafe impl Versioned for lk_stop_report {
    const NAME: &'static str = "lk_stop_report";
    const MIN: usize = std::mem::offset_of!(Self, tid);

    fn initial() -> Self {
        Self {
            size: size_of::<Self>() as u32,
            stragglers: 0,
            dropped_callbacks: 0,
            errors: 0,
            stuck_for_ms: 0,
            text: [0; 512],
            tid: 0,
            activity: LK_ACTIVITY_UNKNOWN,
            straggler: [0; 64],
            thread: [0; 64],
            call_phase: [0; 128],
        }
    }
}

/// Fills in a report without findings, so that a stop can fill in its own.
///
/// out: where. size: sizeof(lk_stop_report).
/// Returns: LK_OK; LK_ERR_NULL; LK_ERR_SIZE. Thread: any. Does not block.
/// Next: a call whose name ends in _stop.
#[unsafe(no_mangle)]
pub extern "C" fn lk_stop_report_init(out: Out<lk_stop_report>, size: usize) -> lk_status {
    guard(move || init(&out, size))
}

/// Tells how a stop went, in the caller's report also where it was not clean.
pub(super) fn tell(report: &StopReport, out: Option<StructPlace<lk_stop_report>>) -> Answer {
    let text = report.to_string();
    if let Some(out) = out {
        let worst = report.stragglers().iter().max_by_key(|straggler| straggler.stuck_for);
        let stuck_for = worst.map(|straggler| straggler.stuck_for);
        let activity = worst.and_then(|straggler| straggler.activity.as_ref());
        let shown = |text: fn(&Straggler) -> &str| worst.map_or("", text);
        out.set(&lk_stop_report {
            stragglers: u32::try_from(report.stragglers().len()).unwrap_or(u32::MAX),
            dropped_callbacks: report.dropped_callbacks(),
            errors: u32::try_from(report.errors().len()).unwrap_or(u32::MAX),
            stuck_for_ms: stuck_for
                .map_or(0, |stuck_for| u64::try_from(stuck_for.as_millis()).unwrap_or(u64::MAX)),
            text: chars(&text),
            tid: worst.map_or(0, |straggler| straggler.tid),
            activity: activity.map_or(LK_ACTIVITY_UNKNOWN, |activity| activity_number(activity.is)),
            straggler: chars(shown(|straggler| &straggler.name)),
            thread: chars(shown(|straggler| &straggler.thread)),
            call_phase: chars(shown(|straggler| straggler.doing.as_deref().unwrap_or(straggler.phase))),
            ..lk_stop_report::initial()
        });
    }
    if report.is_clean() {
        return Ok(());
    }
    let is_inside = report.errors().iter().any(|error| error.kind() == ErrorKind::InvalidState);
    let status = match report {
        _ if is_inside => LK_ERR_STATE,
        report if report.stragglers().is_empty() && report.dropped_callbacks() == 0 => LK_ERR_COMPONENT,
        _ => LK_ERR_TIMEOUT,
    };
    Err(Failure::new(status, text))
}
