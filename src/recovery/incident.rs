//! Incidents: what is known of one corrupted run. They end with the program;
//! under which name a restored run goes on can be kept.

pub(super) mod step;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::Checkpoint;
use crate::error::{Error, ErrorClass, ErrorKind};
use crate::stamp::Stamp;

/// How far an incident has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum IncidentPhase {
    /// Found, and waiting for its first attempt.
    Detected,
    /// An attempt chooses its checkpoint.
    Started,
    /// An attempt makes the run anew.
    CheckpointSelected,
    /// The run was made anew; the attempt is about to be over.
    ClientCreated,
    /// The last attempt failed; the next one is due at a moment, or waits for
    /// its turn.
    Waiting,
    /// Restored, and not proven well yet.
    Completed,
    /// Proven well, and watched for a relapse.
    Verified,
    /// Nothing more is tried.
    Exhausted,
    /// Found, and not tried.
    Skipped,
    /// Told to end.
    Cancelled,
}

impl IncidentPhase {
    /// The word for it in status.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Detected => "detected",
            Self::Started => "started",
            Self::CheckpointSelected => "checkpoint_selected",
            Self::ClientCreated => "client_created",
            Self::Waiting => "waiting",
            Self::Completed => "completed",
            Self::Verified => "verified",
            Self::Exhausted => "exhausted",
            Self::Skipped => "skipped",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether attempts are under way or to come.
    #[must_use]
    pub const fn is_pending(self) -> bool {
        match self {
            Self::Detected | Self::Waiting => true,
            phase => phase.is_in_attempt(),
        }
    }

    pub(super) const fn is_in_attempt(self) -> bool {
        matches!(self, Self::Started | Self::CheckpointSelected | Self::ClientCreated)
    }
}

impl std::fmt::Display for IncidentPhase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// Why an attempt failed, as it can be written down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Failure {
    /// What it says.
    pub text: String,
    /// Whether trying again may help.
    pub retryable: bool,
    /// Whether what was asked for is gone.
    pub not_found: bool,
}

impl Failure {
    pub(super) fn of(error: &Error) -> Self {
        Self {
            text: error.report().to_string(),
            retryable: error.class() != ErrorClass::Terminal,
            not_found: error.kind() == ErrorKind::NotFound,
        }
    }
}

/// One corrupted run, from its detection until it is proven well or given up.
/// Written down, its moments have milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Incident {
    /// A word that no other incident has.
    pub id: String,
    /// The run: the corrupted one, or the one that took its place.
    pub run: String,
    /// The run that was corrupted first.
    pub first_run: String,
    /// How far it has come.
    pub phase: IncidentPhase,
    /// How many attempts were begun, since it was found or last begun anew.
    pub attempt: u32,
    /// How many attempts were begun in all.
    pub attempts: u64,
    /// What the present or last attempt restores from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<Checkpoint>,
    /// How many polls have found the restored run well.
    #[serde(default)]
    pub good_polls: u32,
    /// How often a restored run was found corrupted.
    #[serde(default)]
    pub relapses: u32,
    /// The failed attempts with each checkpoint, by path.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub failures: BTreeMap<String, u32>,
    /// The paths of checkpoints that are not taken any more.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub rejected: BTreeSet<String>,
    /// Why the last attempt failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
    /// When it was found.
    pub detected_at: Stamp,
    /// Since when it is in its phase.
    pub since: Stamp,
}

impl Incident {
    pub(super) fn new(id: String, run: &str, at: Stamp) -> Self {
        Self {
            id,
            run: run.to_owned(),
            first_run: run.to_owned(),
            phase: IncidentPhase::Detected,
            attempt: 0,
            attempts: 0,
            checkpoint: None,
            good_polls: 0,
            relapses: 0,
            failures: BTreeMap::new(),
            rejected: BTreeSet::new(),
            error: None,
            detected_at: at,
            since: at,
        }
    }

    /// The key of the present attempt's request.
    pub(super) fn key(&self) -> String {
        format!("{}-{}", self.id, self.attempts)
    }
}
