//! The words for a state, a call and a time.

use std::borrow::Cow;
use std::time::Duration;

use crate::duration::GoDuration;
use crate::event::Health;
use crate::stamp::Stamp;
use crate::status::{CallStatus, LoopStatus, Phase};

/// The word for how one is, that says the most.
pub(super) fn state(status: &LoopStatus) -> Cow<'static, str> {
    if let Some(parent) = &status.parent {
        return format!("{} (parent {parent})", status.health).into();
    }
    Cow::Borrowed(match status.health {
        _ if status.stale => "stale",
        _ if !status.waits_for.is_empty() => "waiting",
        Health::Unknown if status.phase == Phase::Stopped => "stopped",
        health => health.as_str(),
    })
}

/// What a call that is stuck does.
pub(super) fn stuck(call: &CallStatus) -> String {
    format!("its call is stuck, {}", at_work(call))
}

/// What a call does, if it has said so, behind what is said of it.
pub(super) fn doing(call: Option<&CallStatus>) -> String {
    let told = call.filter(|call| *call.phase != *CallStatus::SILENT);
    told.map_or(String::new(), |call| format!(": {}", at_work(call)))
}

fn at_work(call: &CallStatus) -> String {
    let activity = call.activity.as_ref().map_or(String::new(), |activity| format!(", {activity}"));
    format!("{} for {}{activity}", call.phase, rounded(call.phase_for))
}

/// How long ago something was.
pub(super) fn since(at: Stamp, since: Stamp) -> GoDuration {
    rounded(Duration::from_micros(at.as_micros().saturating_sub(since.as_micros())))
}

/// As exact as people need it.
pub(super) fn rounded(duration: Duration) -> GoDuration {
    GoDuration(match duration.as_millis() {
        ms @ 0..10_000 => Duration::from_millis(u64::try_from(ms).unwrap_or(0) / 100 * 100),
        _ => Duration::from_secs(duration.as_secs()),
    })
}
