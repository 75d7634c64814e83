//! What the threads of an engine do.

use std::sync::Arc;

use super::afterwards::Trash;
use crate::cancel::CancelToken;
use crate::recovery::Checkpoint;
use crate::recovery::incident::Incident;
use crate::recovery::metadata::Metadata;
use crate::recovery::policy::RecoveryPolicy;

/// What a thread is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::recovery) enum Role {
    Poll,
    Attempt,
}

/// What is to be let go of.
pub(in crate::recovery) enum Chore {
    Retire { run: String, metadata: Metadata },
}

/// What a thread of the crew does.
pub(in crate::recovery) enum Job {
    Poll(Asked),
    Attempt(Box<Attempt>),
    Chore(Chore),
    Sweep(Vec<Trash>),
}

/// One poll of one run.
#[derive(Clone)]
pub(in crate::recovery) struct Asked {
    pub(in crate::recovery) run: Arc<str>,
    /// Where the run is among those that are watched, if it still is.
    pub(super) place: usize,
    pub(super) ticket: u64,
}

pub(in crate::recovery) struct Attempt {
    pub(in crate::recovery) run: Arc<str>,
    pub(super) ticket: u64,
    pub(in crate::recovery) incident: Incident,
    pub(in crate::recovery) policy: Arc<RecoveryPolicy>,
    pub(in crate::recovery) given: Option<Checkpoint>,
    pub(in crate::recovery) cancel: CancelToken,
}
