//! What a call does that has not returned, and what the system says of its
//! thread.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::seconds_of;
use crate::sys::thread_stat::{ThreadLook, look, own};

/// Two looks that are closer say nothing: the kernel counts in steps.
const LEAST_WINDOW: Duration = Duration::from_millis(30);
/// So much time a thread may seem to have used that used next to none: one step.
const STEP: Duration = Duration::from_millis(10);
/// After this time an earlier look makes place for a later one.
const WINDOW: Duration = Duration::from_secs(5);

/// A call that has not returned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CallStatus {
    /// What it says that it is doing, by
    /// [`Context::step`](crate::Context::step), such as `looking up
    /// db.internal`; `in its call` when it has not said.
    pub phase: Arc<str>,
    /// For how long it has been doing that.
    #[serde(rename = "for", serialize_with = "seconds_of")]
    pub phase_for: Duration,
    /// Whether it has passed its deadline.
    pub stuck: bool,
    /// What the system says of the thread of a stuck call; absent where it
    /// does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub activity: Option<Activity>,
}

impl CallStatus {
    /// What a call does that does not say.
    pub(crate) const SILENT: &'static str = "in its call";
}

impl fmt::Display for CallStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} for {:.1?}", self.phase, self.phase_for)?;
        self.activity.as_ref().map_or(Ok(()), |activity| write!(f, ", {activity}"))
    }
}

/// What a thread does, as the kernel sees it. Known on Linux.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Activity {
    /// Whether it computes or waits.
    pub is: ActivityKind,
    /// Its share of one processor between two looks; absent when there was
    /// only one look.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_percent: Option<u32>,
    /// The kernel's function that it waits in, where that may be known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waits_in: Option<Arc<str>>,
}

/// Whether a thread computes or waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ActivityKind {
    /// It burns processor time: an endless loop, or much work.
    Burning,
    /// It waits for something that does not come.
    Blocked,
    /// It does both in turn: it polls, or has much to do in small pieces.
    Both,
}

impl ActivityKind {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Burning => "burning",
            Self::Blocked => "blocked",
            Self::Both => "both",
        }
    }
}

impl fmt::Display for ActivityKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Display for Activity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.is {
            ActivityKind::Burning => "burning",
            ActivityKind::Blocked => "blocked",
            ActivityKind::Both => "working and waiting",
        })?;
        if let Some(percent) = self.cpu_percent.filter(|_| self.is != ActivityKind::Blocked) {
            write!(f, " {percent}% CPU")?;
        }
        self.waits_in.as_ref().map_or(Ok(()), |place| write!(f, " in {place}"))
    }
}

/// The looks at one thread.
#[derive(Debug, Default)]
pub(crate) struct Looks(Option<ThreadLook>);

impl Looks {
    /// The calling thread, at the beginning of a call that may get stuck.
    pub(crate) fn begin(&mut self) {
        self.0 = own();
    }

    /// Looks once more.
    pub(crate) fn look(&mut self, tid: u32) -> Option<Activity> {
        let now = look(tid)?;
        let activity = judge(self.0.as_ref(), &now);
        let is_old = self.0.as_ref().is_none_or(|before| now.at - before.at >= WINDOW);
        if is_old {
            self.0 = Some(now);
        }
        Some(activity)
    }
}

/// What a thread does, by one look or two.
fn judge(before: Option<&ThreadLook>, now: &ThreadLook) -> Activity {
    let window = before.map(|before| (now.at - before.at, now.cpu.saturating_sub(before.cpu)));
    let share = window.filter(|(time, _)| *time >= LEAST_WINDOW).map(|(time, cpu)| {
        let percent = cpu.as_millis() * 100 / time.as_millis().max(1);
        u32::try_from(percent).unwrap_or(100).min(100)
    });
    let is_next_to_none = window.is_some_and(|(_, cpu)| cpu <= STEP);
    let is = match share {
        Some(0..=10) if now.state != 'R' => ActivityKind::Blocked,
        Some(_) if is_next_to_none && now.state != 'R' => ActivityKind::Blocked,
        Some(50..) => ActivityKind::Burning,
        Some(_) => ActivityKind::Both,
        None if now.state == 'R' => ActivityKind::Burning,
        None => ActivityKind::Blocked,
    };
    let waits_in = now.waits_in.as_deref().filter(|_| is == ActivityKind::Blocked).map(Arc::from);
    Activity { is, cpu_percent: share, waits_in }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::real_deadline;

    #[test]
    fn two_looks_tell_who_computes_and_who_waits() {
        let start = real_deadline(Duration::ZERO);
        let ms = Duration::from_millis;
        let at = |after: u64, cpu: u64, state: char| ThreadLook {
            at: start + ms(after),
            cpu: ms(cpu),
            state,
            waits_in: (state != 'R').then(|| "pipe_read".to_owned()),
        };
        for (before, now, expected) in [
            (None, at(0, 0, 'S'), "blocked in pipe_read"),
            (None, at(0, 0, 'D'), "blocked in pipe_read"),
            (None, at(0, 70, 'R'), "burning"),
            (Some(at(0, 70, 'R')), at(20, 70, 'R'), "burning"),
            (Some(at(0, 70, 'R')), at(40, 70, 'R'), "working and waiting 0% CPU"),
            (Some(at(0, 70, 'R')), at(50, 70, 'S'), "blocked in pipe_read"),
            (Some(at(0, 70, 'R')), at(40, 80, 'S'), "blocked in pipe_read"),
            (Some(at(0, 70, 'R')), at(40, 90, 'S'), "burning 50% CPU"),
            (Some(at(0, 70, 'R')), at(1000, 1060, 'R'), "burning 99% CPU"),
            (Some(at(0, 70, 'S')), at(1000, 70, 'S'), "blocked in pipe_read"),
            (Some(at(0, 70, 'S')), at(1000, 170, 'S'), "blocked in pipe_read"),
            (Some(at(0, 70, 'S')), at(1000, 370, 'S'), "working and waiting 30% CPU"),
            (Some(at(0, 70, 'S')), at(1000, 70, 'R'), "working and waiting 0% CPU"),
            (Some(at(0, 500, 'S')), at(1000, 400, 'S'), "blocked in pipe_read"),
        ] {
            assert_eq!(judge(before.as_ref(), &now).to_string(), expected, "{before:?} {now:?}");
        }
    }

    #[test]
    fn json_has_the_words_that_people_see() {
        let call = CallStatus {
            phase: "looking up db".into(),
            phase_for: Duration::from_millis(1500),
            stuck: true,
            activity: Some(Activity { is: ActivityKind::Blocked, cpu_percent: Some(0), waits_in: None }),
        };
        assert_eq!(
            serde_json::to_string(&call).unwrap(),
            r#"{"phase":"looking up db","for":1.5,"stuck":true,"activity":{"is":"blocked","cpu_percent":0}}"#
        );
        assert_eq!(call.to_string(), "looking up db for 1.5s, blocked");
    }
}
