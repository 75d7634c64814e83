//! The loops of an environment, as it lists them.

use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::clock::Tick;
use crate::error::Result;
#[cfg(feature = "capi")]
use crate::event::LoopKind;
use crate::name::Name;
use crate::stamp::Stamp;
use crate::status::LoopStatus;
#[cfg(feature = "capi")]
use crate::status::StatusView;

/// Sees whether a loop runs and how it is: under its lock, so calls nobody.
#[cfg(feature = "capi")]
pub(crate) type See<'a> = &'a mut dyn FnMut(bool, &StatusView<'_>);

/// A loop, as its environment lists it.
pub(crate) trait Listed: Send + Sync {
    /// Whether it was started and not told to end, and how it is at a moment.
    fn status_at(&self, now: Tick, wall: Stamp) -> (bool, LoopStatus);
    /// The same for one who copies what there is to see.
    #[cfg(feature = "capi")]
    fn view_at(&self, now: Tick, wall: Stamp, see: See<'_>) {
        let (is_running, status) = self.status_at(now, wall);
        see(is_running, &status.view());
    }
    #[cfg(feature = "capi")]
    fn kind(&self) -> LoopKind;
    /// How late it is, if it runs.
    #[cfg_attr(not(feature = "prometheus"), allow(dead_code, reason = "an exporter asks"))]
    fn overdue(&self, now: Tick) -> Option<Duration>;
    fn name(&self) -> &Name;
    /// Has the next run made now, if it runs; says whether it does.
    fn trigger(&self) -> bool;
    /// Acts on the recovery of a run; `None` from what recovers nothing.
    fn recovery(self: Arc<Self>, _act: RecoveryAct, _run: &str) -> Option<Result<()>> {
        None
    }
}

/// What may be done about the recovery of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RecoveryAct {
    Cancel,
    Retry,
}

/// Every loop that was made, and not dropped yet.
#[derive(Default)]
pub(super) struct Register {
    loops: Vec<Weak<dyn Listed>>,
    /// How many there may be before those that are gone are taken out.
    limit: usize,
}

impl Register {
    pub(super) fn add(&mut self, listed: Weak<dyn Listed>) {
        if self.loops.len() >= self.limit {
            self.loops.retain(|listed| listed.strong_count() > 0);
            self.limit = 2 * self.loops.len() + 16;
        }
        self.loops.push(listed);
    }

    pub(super) fn all(&self) -> Vec<Arc<dyn Listed>> {
        self.loops.iter().filter_map(Weak::upgrade).collect()
    }
}
