//! A checker as the machine knows it: what its last look found, and for how
//! long that counts.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Tick, wall_at};
use crate::duration;
use crate::event::Health;
use crate::monitor::items::Items;
use crate::name::Name;
use crate::stamp::Stamp;
use crate::status::{CheckCounts, CheckerStatus, Role};

/// A checker, as far as the machine must know it.
#[derive(Debug, Clone)]
pub(in crate::monitor) struct Checked {
    pub(in crate::monitor) name: Name,
    pub(in crate::monitor) role: Role,
    pub(in crate::monitor) deadline: Duration,
    pub(in crate::monitor) stale_after: Duration,
}

/// In the order of its fields: what a look that went well reads and writes is
/// in few cache lines, and what is told when something changes comes last.
#[repr(C)]
pub(super) struct Checker {
    pub(super) health: Health,
    /// Since when a look is stuck that was given up.
    pub(super) stuck_since: Option<Tick>,
    /// When the last look ended or was given up.
    pub(super) looked: Option<Tick>,
    pub(super) succeeded: Option<Tick>,
    pub(super) took: Duration,
    pub(super) error: Option<Arc<str>>,
    /// Why it is in its state, where that is not the error.
    pub(super) reason: Option<Arc<str>>,
    pub(super) counts: CheckCounts,
    pub(super) items: Items,
    pub(super) since: Tick,
    pub(super) about: Checked,
}

impl Checker {
    pub(super) fn new(about: Checked) -> Self {
        Self {
            about,
            health: Health::Unknown,
            since: Tick::ZERO,
            looked: None,
            succeeded: None,
            took: Duration::ZERO,
            error: None,
            reason: None,
            stuck_since: None,
            counts: CheckCounts::default(),
            items: Items::default(),
        }
    }

    /// From when on what it found counts no more.
    pub(super) fn fresh_until(&self) -> Tick {
        self.looked.map_or(Tick::NEVER, |looked| looked + self.about.stale_after)
    }

    pub(super) fn why(&self) -> Option<Arc<str>> {
        self.reason.as_ref().or(self.error.as_ref()).cloned()
    }

    /// Why nothing is known of it at a moment at which it is stale.
    pub(super) fn stale_reason(&self, now: Tick) -> String {
        let whole = |duration: Duration| duration::format(Duration::from_secs(duration.as_secs()));
        let age = whole(self.looked.map_or(Duration::ZERO, |looked| now.since(looked)));
        match (self.stuck_since, &self.error) {
            (Some(since), _) => format!("last looked at {age} ago, stuck for {}", whole(now.since(since))),
            (None, Some(error)) => format!("last looked at {age} ago, and then: {error}"),
            (None, None) => format!("last looked at {age} ago"),
        }
    }

    /// How it is at the moment `now`.
    pub(super) fn view(&self, now: Tick, wall: Stamp) -> CheckerStatus {
        let stamp = |tick: Tick| wall_at(tick, now, wall);
        let fresh_until = self.fresh_until();
        // Also when that was not told yet.
        let is_stale = now >= fresh_until;
        let (health, since) = if is_stale && self.health != Health::Unknown {
            (Health::Unknown, fresh_until)
        } else {
            (self.health, self.since)
        };
        let reason = match health {
            Health::Ready => None,
            _ if is_stale => Some(self.stale_reason(now).into()),
            _ => self.why(),
        };
        let stale_after = u64::try_from(self.about.stale_after.as_nanos()).unwrap_or(u64::MAX);
        let fresh_since = now.nanos().checked_sub(stale_after).map(Tick::from_nanos);
        let (items, not_ready, more_not_ready) = self.items.view(now, wall, fresh_since);
        CheckerStatus {
            name: self.about.name.clone(),
            role: self.about.role,
            health,
            since: stamp(since),
            reason,
            last_check: self.looked.map(stamp),
            age: self.looked.map(|looked| now.since(looked)),
            duration: self.looked.map(|_| self.took),
            last_success: self.succeeded.map(stamp),
            last_error: self.error.clone(),
            stuck_for: self.stuck_since.map(|since| now.since(since)),
            call: None,
            thread: None,
            deadline: self.about.deadline,
            stale_after: self.about.stale_after,
            checks: self.counts,
            items,
            not_ready,
            more_not_ready,
            left_out: self.items.left_out,
        }
    }
}
