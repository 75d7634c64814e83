//! What happens to a run that is recovered, step by step.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize, Serializer};

use crate::error::Error;

/// One step of a recovery. In the order in which they come, as a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RecoveryStep {
    /// A poll found the run corrupted. Said once for each incident.
    Detected,
    /// A run could not be polled, or its poll hangs. It stays watched.
    PollError,
    /// An attempt began.
    Started,
    /// The attempt has chosen what it restores the run from.
    CheckpointSelected,
    /// The attempt has made a run anew.
    ClientCreated,
    /// The attempt succeeded. The recovery is not proven yet.
    Completed,
    /// An attempt failed; the last one, too.
    Failed,
    /// Nothing more is tried.
    Exhausted,
    /// The restored run was found well in enough polls.
    Verified,
    /// The restored run is corrupted: the same incident goes on.
    Relapsed,
    /// A corrupted run is not recovered now, or need not be any more.
    Skipped,
    /// The recovery was told to end.
    Cancelled,
    /// A run that is not used any more could not be let go of.
    LeftBehind,
}

impl RecoveryStep {
    /// Every step.
    pub const ALL: [Self; 13] = [
        Self::Detected,
        Self::PollError,
        Self::Started,
        Self::CheckpointSelected,
        Self::ClientCreated,
        Self::Completed,
        Self::Failed,
        Self::Exhausted,
        Self::Verified,
        Self::Relapsed,
        Self::Skipped,
        Self::Cancelled,
        Self::LeftBehind,
    ];

    /// The word for it in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Detected => "detected",
            Self::PollError => "poll_error",
            Self::Started => "started",
            Self::CheckpointSelected => "checkpoint_selected",
            Self::ClientCreated => "client_created",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Exhausted => "exhausted",
            Self::Verified => "verified",
            Self::Relapsed => "relapsed",
            Self::Skipped => "skipped",
            Self::Cancelled => "cancelled",
            Self::LeftBehind => "left_behind",
        }
    }

    /// The word for it among the events of all kinds of loops.
    pub(super) const fn event(self) -> &'static str {
        match self {
            Self::Detected => "recovery_detected",
            Self::PollError => "recovery_poll_error",
            Self::Started => "recovery_started",
            Self::CheckpointSelected => "recovery_checkpoint_selected",
            Self::ClientCreated => "recovery_client_created",
            Self::Completed => "recovery_completed",
            Self::Failed => "recovery_failed",
            Self::Exhausted => "recovery_exhausted",
            Self::Verified => "recovery_verified",
            Self::Relapsed => "recovery_relapsed",
            Self::Skipped => "recovery_skipped",
            Self::Cancelled => "recovery_cancelled",
            Self::LeftBehind => "recovery_left_behind",
        }
    }

    /// Whether something went wrong.
    pub(crate) const fn is_bad(self) -> bool {
        matches!(
            self,
            Self::Detected
                | Self::PollError
                | Self::Failed
                | Self::Exhausted
                | Self::Relapsed
                | Self::LeftBehind
        )
    }
}

impl fmt::Display for RecoveryStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A step of a recovery, and all that is known by then. What does not apply is
/// absent.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct RecoveryEvent {
    /// What happened.
    #[serde(skip)]
    pub step: RecoveryStep,
    /// The run it happened to.
    pub run_id: Arc<str>,
    /// The number of the attempt, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// By which rule the checkpoint is chosen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strategy: Option<Arc<str>>,
    /// Where the checkpoint is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<Arc<str>>,
    /// The run that took the place of the corrupted one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restored: Option<Arc<str>>,
    /// What went wrong.
    #[serde(serialize_with = "report", skip_serializing_if = "Option::is_none")]
    pub error: Option<Error>,
    /// When the next attempt is due, after one that failed or a relapse.
    #[serde(serialize_with = "crate::duration::as_seconds", skip_serializing_if = "Option::is_none")]
    pub retry_in: Option<Duration>,
    /// Why a recovery was skipped or cancelled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<Arc<str>>,
    /// What the caller said of the run.
    #[serde(skip_serializing_if = "is_empty")]
    pub metadata: Arc<BTreeMap<String, String>>,
}

impl RecoveryEvent {
    pub(crate) fn new(step: RecoveryStep, run_id: Arc<str>) -> Self {
        Self {
            step,
            run_id,
            attempt: None,
            strategy: None,
            checkpoint: None,
            restored: None,
            error: None,
            retry_in: None,
            why: None,
            metadata: Arc::default(),
        }
    }

    /// What the caller said of the run and what the event says, as texts under
    /// one roof; of two with one key the event's counts.
    #[must_use]
    pub fn all_metadata(&self) -> BTreeMap<String, String> {
        let mut all = BTreeMap::clone(&self.metadata);
        let mut put = |key: &str, value: String| _ = all.insert(key.to_owned(), value);
        put("run_id", self.run_id.to_string());
        if let Some(attempt) = self.attempt {
            put("attempt", attempt.to_string());
        }
        for (key, value) in [
            ("strategy", &self.strategy),
            ("checkpoint", &self.checkpoint),
            ("restored", &self.restored),
            ("why", &self.why),
        ] {
            if let Some(value) = value {
                put(key, value.to_string());
            }
        }
        if let Some(error) = &self.error {
            put("error", error.report().to_string());
        }
        all
    }
}

impl fmt::Display for RecoveryEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = match self.step {
            RecoveryStep::PollError => "could not be polled",
            RecoveryStep::CheckpointSelected => "checkpoint selected",
            RecoveryStep::ClientCreated => "client created",
            RecoveryStep::LeftBehind => "could not be let go of",
            step => step.as_str(),
        };
        write!(f, "run {}: {words}", self.run_id)?;
        if let Some(attempt) = self.attempt {
            write!(f, " (attempt {attempt})")?;
        }
        if let Some(checkpoint) = &self.checkpoint {
            write!(f, ", checkpoint {checkpoint}")?;
        }
        if let Some(restored) = &self.restored {
            write!(f, ", restored as {restored}")?;
        }
        if let Some(retry_in) = self.retry_in {
            write!(f, ", again in {retry_in:.1?}")?;
        }
        if let Some(why) = &self.why {
            write!(f, ": {why}")?;
        }
        self.error.as_ref().map_or(Ok(()), |error| write!(f, ": {}", error.report()))
    }
}

fn is_empty(metadata: &Arc<BTreeMap<String, String>>) -> bool {
    metadata.is_empty()
}

#[allow(clippy::ref_option, reason = "the form serde calls")]
fn report<S: Serializer>(error: &Option<Error>, serializer: S) -> Result<S::Ok, S::Error> {
    match error {
        Some(error) => serializer.collect_str(&error.report()),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_the_same_everywhere() {
        for step in RecoveryStep::ALL {
            assert_eq!(step.event(), format!("recovery_{step}"));
            assert_eq!(serde_json::to_string(&step).unwrap(), format!("\"{step}\""));
        }
    }

    #[test]
    fn the_events_own_keys_win() {
        let metadata = [("run_id", "mine"), ("attempt", "mine"), ("team", "north")];
        let metadata = metadata.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let event = RecoveryEvent {
            attempt: Some(2),
            metadata: Arc::new(metadata.into()),
            ..RecoveryEvent::new(RecoveryStep::Started, "run-1".into())
        };
        let all = event.all_metadata();
        assert_eq!([&*all["run_id"], &*all["attempt"], &*all["team"]], ["run-1", "2", "north"]);
        assert_eq!(event.to_string(), "run run-1: started (attempt 2)");
    }
}
