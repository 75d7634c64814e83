//! Heartbeats: what is known of those who say that they are alive.

use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::clock::Tick;

/// What is known of one who says again and again that it is alive.
#[derive(Debug, Default)]
pub(super) struct Heartbeat {
    pub(super) last: Option<Tick>,
    /// Why it says that it is down, until its next beat.
    pub(super) down: Option<Arc<str>>,
    /// Its watcher found it silent and wants to hear of the next at once.
    pub(super) is_awaited: bool,
    /// There while somebody asks about it.
    pub(super) asker: Weak<()>,
}

/// What is known of heartbeats under one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Pulse {
    /// The last was so long ago.
    Last(Duration),
    /// The last said that it is down.
    Down(Arc<str>),
    /// There was none.
    None,
}

impl Heartbeat {
    /// Notes one; says whether it is news to who asks.
    #[allow(clippy::ref_option, reason = "as it is kept")]
    pub(super) fn beat(&mut self, now: Tick, down: &Option<Arc<str>>) -> bool {
        let is_turn = self.down != *down;
        self.down.clone_from(down);
        self.last = Some(now);
        std::mem::take(&mut self.is_awaited) && down.is_none() || is_turn
    }
}
