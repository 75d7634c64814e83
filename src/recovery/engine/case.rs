//! Cases: incidents, and where each stands.

use std::sync::Arc;

use crate::cancel::CancelToken;
use crate::clock::Tick;
use crate::recovery::Checkpoint;
use crate::recovery::incident::Incident;
use crate::recovery::metadata::Metadata;
use crate::recovery::policy::RecoveryPolicy;

/// An incident, and what is done about it.
pub(in crate::recovery) struct Case {
    pub(in crate::recovery) incident: Incident,
    pub(in crate::recovery) policy: Arc<RecoveryPolicy>,
    pub(in crate::recovery) metadata: Metadata,
    /// The checkpoint last heard of.
    pub(super) given: Option<Checkpoint>,
    pub(in crate::recovery) place: Place,
    /// Until when a relapse is the same incident.
    pub(super) guard_until: Tick,
}

pub(in crate::recovery) enum Place {
    Fresh,
    Retry(Tick, u64),
    Attempt { ticket: u64, cancel: CancelToken },
    Rest,
}
