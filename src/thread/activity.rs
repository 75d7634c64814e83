//! What a thread does, as the system says: it computes or it waits.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::clock::real_deadline;
use crate::sys::thread_stat::{ThreadLook, look, own};

/// Two looks that are closer say nothing: the kernel counts in steps.
const LEAST_WINDOW: Duration = Duration::from_millis(30);
/// So much time a thread may seem to have used that used next to none: one step.
const STEP: Duration = Duration::from_millis(10);
/// After this time an earlier look makes place for a later one.
const WINDOW: Duration = Duration::from_secs(5);

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
pub(crate) struct Looks(Option<Box<Look>>);

/// What was seen, and when: in real time, as the kernel counts.
#[derive(Debug)]
struct Look {
    at: Instant,
    seen: ThreadLook,
}

impl Look {
    fn now(seen: ThreadLook) -> Self {
        Self { at: real_deadline(Duration::ZERO), seen }
    }
}

impl Looks {
    /// The calling thread, at the beginning of a call that may get stuck.
    pub(crate) fn begin(&mut self) {
        self.0 = own().map(|seen| Box::new(Look::now(seen)));
    }

    /// Looks once more.
    pub(crate) fn look(&mut self, tid: u32) -> Option<Activity> {
        let now = Look::now(look(tid)?);
        let activity = judge(self.0.as_deref(), &now);
        let is_old = self.0.as_ref().is_none_or(|before| now.at - before.at >= WINDOW);
        if is_old {
            self.0 = Some(Box::new(now));
        }
        Some(activity)
    }
}

/// What a thread does, by one look or two.
fn judge(before: Option<&Look>, now: &Look) -> Activity {
    let window = before.map(|before| (now.at - before.at, now.seen.cpu.saturating_sub(before.seen.cpu)));
    let share = window.filter(|(time, _)| *time >= LEAST_WINDOW).map(|(time, cpu)| {
        let percent = cpu.as_millis() * 100 / time.as_millis().max(1);
        u32::try_from(percent).unwrap_or(100).min(100)
    });
    let is_next_to_none = window.is_some_and(|(_, cpu)| cpu <= STEP);
    let is = match share {
        Some(0..=10) if now.seen.state != 'R' => ActivityKind::Blocked,
        Some(_) if is_next_to_none && now.seen.state != 'R' => ActivityKind::Blocked,
        Some(50..) => ActivityKind::Burning,
        Some(_) => ActivityKind::Both,
        None if now.seen.state == 'R' => ActivityKind::Burning,
        None => ActivityKind::Blocked,
    };
    let waits_in = now.seen.waits_in.as_deref().filter(|_| is == ActivityKind::Blocked).map(Arc::from);
    Activity { is, cpu_percent: share, waits_in }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_looks_tell_who_computes_and_who_waits() {
        let start = real_deadline(Duration::ZERO);
        let ms = Duration::from_millis;
        let at = |after: u64, cpu: u64, state: char| {
            let waits_in = (state != 'R').then(|| "pipe_read".to_owned());
            Look { at: start + ms(after), seen: ThreadLook { cpu: ms(cpu), state, waits_in } }
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
}
