//! What is done once the lock of an engine is released.

use std::sync::Arc;

use super::case::Case;
use crate::cancel::CancelToken;
use crate::clock::{Inbox, Signals};
use crate::event::RecoveryStep;
use crate::recovery::Handle;
use crate::recovery::tell::{Callback, Instruments};

/// What is done once the lock is released: it may be, or drop, the user's.
#[must_use = "done once the lock is released"]
#[derive(Default)]
pub(in crate::recovery) struct Afterwards {
    pub(super) steps: Vec<RecoveryStep>,
    pub(in crate::recovery) cancels: Vec<CancelToken>,
    pub(super) rings: Vec<Arc<Inbox>>,
    pub(super) trash: Vec<Trash>,
    /// Under which name a run goes on has changed.
    pub(super) moved: bool,
    pub(super) health_turned: bool,
    pub(super) wake: bool,
}

/// Objects of the user's that nobody needs any more.
#[allow(dead_code, reason = "kept to be dropped")]
pub(in crate::recovery) enum Trash {
    Case(Box<Case>),
    Handle(Handle),
    Callback(Callback),
}

impl Afterwards {
    /// Whether nothing of it can call or drop what is the user's.
    pub(super) fn is_ours(&self) -> bool {
        self.steps.is_empty() && self.cancels.is_empty() && self.trash.is_empty() && !self.moved
    }

    /// Has end what is to end.
    pub(super) fn cancel(&mut self) {
        for token in std::mem::take(&mut self.cancels) {
            token.cancel();
        }
        for inbox in std::mem::take(&mut self.rings) {
            inbox.ring(Signals::POKE);
        }
    }

    /// All of it but what drops objects of the user's, which is handed back.
    #[must_use = "dropped where user code may run"]
    pub(in crate::recovery) fn run(mut self, instruments: &Instruments) -> Vec<Trash> {
        self.cancel();
        for step in self.steps {
            instruments.count(step);
        }
        self.trash
    }
}
