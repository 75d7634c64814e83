//! What becomes of one corrupted run, without threads, clocks or services.
//!
//! Everything an incident knows can be written down and read back, so that a
//! journal can keep it over a restart of the program.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::policy::{CheckpointStrategy, RecoveryPolicy};
use super::{Checkpoint, choice};
use crate::backoff::Random;
use crate::error::{Error, ErrorClass, ErrorKind};
use crate::event::RecoveryStep;
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
    /// How many attempts were begun.
    pub attempt: u32,
    /// What the present or last attempt restores from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<Checkpoint>,
    /// How many polls in a row have found the restored run well.
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

/// What happened to an incident.
#[derive(Debug, Clone)]
pub(super) enum Input {
    /// An attempt begins.
    Begin,
    /// It has chosen its checkpoint.
    Selected(Checkpoint),
    /// It has made this run.
    Created { run: String },
    /// It is over, and well.
    Succeeded,
    /// It is over, and not.
    Failed(Error),
    /// A poll found the run well.
    Healthy,
    /// A poll found the run corrupted.
    Corrupted,
    /// The time is over in which a relapse is the same incident.
    WindowOver,
    /// It is not tried now.
    Skip(&'static str),
    /// It is to end.
    Cancel(&'static str),
    /// It is to be tried again.
    Retry,
}

/// What is to be told of it.
#[derive(Debug, Clone)]
pub(super) struct Told {
    pub(super) step: RecoveryStep,
    pub(super) error: Option<Error>,
    pub(super) retry_in: Option<Duration>,
    pub(super) why: Option<&'static str>,
}

impl Told {
    const fn new(step: RecoveryStep) -> Self {
        Self { step, error: None, retry_in: None, why: None }
    }
}

/// What is to be done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// What is being done.
    Stay,
    /// An attempt, as soon as there is room.
    Attempt,
    /// An attempt, when this has passed.
    AttemptAfter(Duration),
    /// Polls, for proof.
    Prove,
    /// Polls, for this long, for a relapse.
    Guard(Duration),
    /// Nothing, until it is seen well or tried again.
    Rest,
    /// It is over.
    Close,
}

impl Incident {
    pub(super) fn new(id: String, run: &str, at: Stamp) -> Self {
        Self {
            id,
            run: run.to_owned(),
            first_run: run.to_owned(),
            phase: IncidentPhase::Detected,
            attempt: 0,
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
        format!("{}-{}", self.id, self.attempt)
    }

    /// The checkpoint that the next attempt is made from.
    pub(super) fn choose(
        &self,
        policy: &RecoveryPolicy,
        known: Vec<Checkpoint>,
        now: Stamp,
    ) -> Option<Checkpoint> {
        choice::choose(self, policy, known, now)
    }

    pub(super) fn step(
        &mut self,
        policy: &RecoveryPolicy,
        at: Stamp,
        input: Input,
        random: &mut Random,
        told: &mut Vec<Told>,
    ) -> Next {
        use IncidentPhase as Phase;
        let phase = self.phase;
        match (phase, input) {
            (Phase::Detected | Phase::Waiting, Input::Begin) => {
                self.attempt = self.attempt.saturating_add(1);
                self.checkpoint = None;
                self.turn(Phase::Started, at);
                told.push(Told::new(RecoveryStep::Started));
                Next::Stay
            }
            (Phase::Started, Input::Selected(checkpoint)) => {
                self.checkpoint = Some(checkpoint);
                self.turn(Phase::CheckpointSelected, at);
                told.push(Told::new(RecoveryStep::CheckpointSelected));
                Next::Stay
            }
            (Phase::CheckpointSelected, Input::Created { run }) => {
                self.run = run;
                self.turn(Phase::ClientCreated, at);
                told.push(Told::new(RecoveryStep::ClientCreated));
                Next::Stay
            }
            (Phase::ClientCreated, Input::Succeeded) => {
                self.error = None;
                self.good_polls = 0;
                self.turn(Phase::Completed, at);
                told.push(Told::new(RecoveryStep::Completed));
                Next::Prove
            }
            (phase, Input::Failed(error)) if phase.is_in_attempt() => {
                self.fail(policy, at, error, random, told)
            }
            (Phase::Completed, Input::Healthy) => {
                self.good_polls = self.good_polls.saturating_add(1);
                if self.good_polls < policy.verify_polls {
                    return Next::Stay;
                }
                self.turn(Phase::Verified, at);
                told.push(Told::new(RecoveryStep::Verified));
                if policy.relapse_window.is_zero() { Next::Close } else { Next::Guard(policy.relapse_window) }
            }
            (Phase::Completed | Phase::Verified, Input::Corrupted) => self.relapse(policy, at, random, told),
            (Phase::Verified, Input::WindowOver) => Next::Close,
            (Phase::Detected | Phase::Waiting, Input::Healthy) => {
                self.skip("the run is well again", at, told);
                Next::Close
            }
            (Phase::Exhausted | Phase::Skipped | Phase::Cancelled, Input::Healthy) => Next::Close,
            (Phase::Detected, Input::Skip(why)) => {
                self.skip(why, at, told);
                Next::Rest
            }
            (Phase::Skipped, Input::Retry) => {
                self.turn(if self.attempt == 0 { Phase::Detected } else { Phase::Waiting }, at);
                Next::Attempt
            }
            (phase, Input::Cancel(why)) if phase.is_pending() => {
                self.turn(Phase::Cancelled, at);
                told.push(Told { why: Some(why), ..Told::new(RecoveryStep::Cancelled) });
                Next::Rest
            }
            (Phase::Waiting, Input::Retry) => Next::Attempt,
            (Phase::Exhausted | Phase::Cancelled, Input::Retry) => {
                // A person looked at it: nothing of before counts any more.
                self.attempt = 0;
                self.failures.clear();
                self.rejected.clear();
                self.turn(Phase::Detected, at);
                Next::Attempt
            }
            _ => Next::Stay,
        }
    }

    fn fail(
        &mut self,
        policy: &RecoveryPolicy,
        at: Stamp,
        error: Error,
        random: &mut Random,
        told: &mut Vec<Told>,
    ) -> Next {
        let failure = Failure::of(&error);
        // Without a checkpoint there was nothing that could be gone.
        let is_gone = failure.not_found && self.checkpoint.is_some();
        let gone = self.checkpoint.as_ref().filter(|_| is_gone).map(|checkpoint| checkpoint.path.clone());
        let may_help = failure.retryable || (is_gone && !is_specific(policy));
        if let Some(checkpoint) = &self.checkpoint {
            *self.failures.entry(checkpoint.path.clone()).or_default() += 1;
        }
        self.rejected.extend(gone);
        self.error = Some(failure);
        let failed = Told { error: Some(error.clone()), ..Told::new(RecoveryStep::Failed) };
        let gives_up = !may_help || (is_gone && is_specific(policy));
        if gives_up || self.attempt >= policy.max_attempts {
            told.push(failed);
            return self.give_up(error, at, told);
        }
        // An older checkpoint may work at once: only the same answer is
        // worth a wait.
        let delay = if is_gone { Duration::ZERO } else { policy.delays().jittered(self.attempt, random) };
        self.turn(IncidentPhase::Waiting, at);
        told.push(Told { retry_in: Some(delay), ..failed });
        if delay.is_zero() { Next::Attempt } else { Next::AttemptAfter(delay) }
    }

    fn relapse(
        &mut self,
        policy: &RecoveryPolicy,
        at: Stamp,
        random: &mut Random,
        told: &mut Vec<Told>,
    ) -> Next {
        let was_proven = self.phase == IncidentPhase::Verified;
        self.relapses = self.relapses.saturating_add(1);
        told.push(Told::new(RecoveryStep::Relapsed));
        let suspect = self.checkpoint.as_ref().filter(|_| !was_proven && !is_specific(policy));
        self.rejected.extend(suspect.map(|checkpoint| checkpoint.path.clone()));
        if self.attempt >= policy.max_attempts {
            let text = format!("the restored run {} is corrupted again", self.run);
            let error = Error::new(ErrorKind::Component).with_class(ErrorClass::Terminal).context(text);
            self.error = Some(Failure::of(&error));
            return self.give_up(error, at, told);
        }
        self.turn(IncidentPhase::Waiting, at);
        Next::AttemptAfter(policy.delays().jittered(self.attempt, random))
    }

    fn give_up(&mut self, error: Error, at: Stamp, told: &mut Vec<Told>) -> Next {
        self.turn(IncidentPhase::Exhausted, at);
        told.push(Told { error: Some(error), ..Told::new(RecoveryStep::Exhausted) });
        Next::Rest
    }

    fn skip(&mut self, why: &'static str, at: Stamp, told: &mut Vec<Told>) {
        self.turn(IncidentPhase::Skipped, at);
        told.push(Told { why: Some(why), ..Told::new(RecoveryStep::Skipped) });
    }

    fn turn(&mut self, phase: IncidentPhase, at: Stamp) {
        self.phase = phase;
        self.since = at;
    }
}

fn is_specific(policy: &RecoveryPolicy) -> bool {
    matches!(policy.checkpoint_strategy, CheckpointStrategy::Specific(_))
}
