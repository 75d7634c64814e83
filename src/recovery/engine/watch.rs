//! Runs that are watched: how each is, and when it is polled.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::clock::Tick;
use crate::error::Error;
use crate::recovery::metadata::Metadata;
use crate::recovery::policy::RecoveryPolicy;

/// When runs are due, by place.
pub(super) type Polls = BTreeSet<(Tick, u64, usize)>;

/// A run that is watched.
pub(in crate::recovery) struct Watch {
    pub(in crate::recovery) run: Arc<str>,
    pub(in crate::recovery) first_run: Arc<str>,
    pub(in crate::recovery) policy: Arc<RecoveryPolicy>,
    pub(in crate::recovery) metadata: Metadata,
    pub(super) poll: Poll,
    /// Polls once more after the present one.
    pub(super) again: bool,
    pub(in crate::recovery) last_poll: Option<Tick>,
    pub(in crate::recovery) error: Option<Error>,
    pub(super) class: Class,
}

pub(super) enum Poll {
    Due(Tick, u64),
    Begun {
        ticket: u64,
        at: Tick,
        /// When it is told next that it is stuck.
        told_at: Tick,
    },
}

impl Watch {
    pub(super) fn put_poll(&mut self, polls: &mut Polls, place: usize, due: Tick, n: u64) {
        if let Poll::Due(due, n) = self.poll {
            polls.remove(&(due, n, place));
        }
        self.poll = Poll::Due(due, n);
        polls.insert((due, n, place));
    }
}

impl Poll {
    /// One whose answer is taken from nobody.
    pub(super) const fn none(at: Tick) -> Self {
        Self::Begun { ticket: 0, at, told_at: Tick::NEVER }
    }
}

/// What a watched run adds to the health of the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::recovery) enum Class {
    /// Not polled yet.
    Unpolled,
    /// It cannot be polled.
    Failing,
    Fine,
    /// It is being recovered, or is not proven well.
    Open,
    /// It is corrupted, and nothing is tried.
    Lost,
}
