//! What a loop does next, and when it gives up.

use std::time::Duration;

use super::words::rounded;
use super::{Next, Rejected};
use crate::event::{Health, LoopKind};
use crate::name;
use crate::stamp::Stamp;
use crate::status::{LoopStatus, Phase};

/// What a loop does next, and when; `rejection` is what is wrong with its
/// descriptor.
pub(super) fn of(status: &LoopStatus, at: Stamp, rejection: Option<&Rejected>) -> Next {
    let plain = |what: String| Next { what, at: None };
    if let Some(call) = status.call.as_ref().filter(|call| call.stuck) {
        let thread = status.thread.as_ref().map_or(String::new(), |thread| format!(" (tid {})", thread.tid));
        return plain(format!(
            "nothing until the call that is {} returns: a thread{thread} cannot be ended from outside",
            call.phase
        ));
    }
    if let Some(running) = status.running_for {
        let running = rounded(running);
        let mut what = format!("its call has been running for {running} and says how it is when it ends");
        let deadline = status.call.as_ref().and_then(|call| call.deadline);
        if let Some(deadline) = deadline {
            what.push_str(&format!(", or when its time is over, {}", until(at, deadline)));
        }
        return Next { what, at: deadline };
    }
    if !status.waits_for.is_empty() {
        return plain(format!("it starts when {} can take work", name::join(&status.waits_for)));
    }
    if let Some(due) = status.next_run {
        let what = match status.kind {
            LoopKind::Watcher => "it asks again",
            LoopKind::Monitor => "its checkers look again",
            LoopKind::Deployer | LoopKind::ConfigWatcher => "the files are looked at again",
            LoopKind::Recovery => "the runs are polled again",
            LoopKind::Controller | LoopKind::Component => "it runs again",
        };
        return Next { what: format!("{what} {}", until(at, due)), at: Some(due) };
    }
    if super::has_no_checkers(status) {
        return plain("nothing: there is nobody to look".to_owned());
    }
    if status.controller.as_ref().is_some_and(|controller| controller.paused) {
        return plain(format!("it runs when it is triggered: loopkeeper trigger {}", status.name));
    }
    if (status.kind, status.phase) == (LoopKind::Component, Phase::Recovering) {
        return plain("it is started again after a delay".to_owned());
    }
    if let Some(rejection) = rejection {
        return after_edit(rejection, at);
    }
    plain(match (status.kind, status.phase) {
        (LoopKind::Component, Phase::Stopped) if status.health == Health::Down => {
            "nothing: it is left as failed until its descriptor changes".to_owned()
        }
        (_, Phase::Stopped) => "nothing: it was told to end".to_owned(),
        (_, Phase::Starting) => "it is being started".to_owned(),
        _ => "it goes on".to_owned(),
    })
}

/// How long it is until something happens.
fn until(at: Stamp, due: Stamp) -> String {
    let left = Duration::from_micros(due.as_micros().saturating_sub(at.as_micros()));
    if left.is_zero() { "at once".to_owned() } else { format!("in {}", rounded(left)) }
}

/// What becomes of a descriptor that cannot be used.
pub(super) fn after_edit(rejection: &Rejected, at: Stamp) -> Next {
    let what = match rejection.retry_at {
        Some(again) => format!("{} is tried again {}", rejection.file, until(at, again)),
        None => format!("it is read again when {} changes", rejection.file),
    };
    Next { what, at: rejection.retry_at }
}

/// When one gives up, and what that means.
pub(super) fn gives_up(status: &LoopStatus) -> Option<String> {
    if status.ready {
        return None;
    }
    if let Some(recovery) = &status.recovery {
        let most = recovery.incidents.iter().map(|incident| incident.max_attempts).max()?;
        return Some(format!(
            "a run is given up after attempt {most}; loopkeeper recovery retry RUN tries again"
        ));
    }
    let max = status.max_attempts?;
    let left = max.saturating_sub(status.attempt);
    let attempts = if left == 1 { "attempt" } else { "attempts" };
    Some(format!(
        "after {left} more failed {attempts} ({} of {max} were made) it asks at its regular times only",
        status.attempt.min(max)
    ))
}
