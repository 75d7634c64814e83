//! What becomes of an incident, without threads, clocks or services.

#[cfg(test)]
mod tests;

use std::time::Duration;

use super::{Failure, Incident, IncidentPhase};
use crate::backoff::{Random, heeding};
use crate::error::{Error, ErrorClass, ErrorKind};
use crate::event::RecoveryStep;
use crate::recovery::Checkpoint;
use crate::recovery::policy::{CheckpointStrategy, RecoveryPolicy};
use crate::stamp::Stamp;

/// What happened to an incident.
#[derive(Debug, Clone)]
pub(in crate::recovery) enum Input {
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
pub(in crate::recovery) struct Told {
    pub(in crate::recovery) step: RecoveryStep,
    pub(in crate::recovery) error: Option<Error>,
    pub(in crate::recovery) retry_in: Option<Duration>,
    pub(in crate::recovery) why: Option<&'static str>,
}

impl Told {
    const fn new(step: RecoveryStep) -> Self {
        Self { step, error: None, retry_in: None, why: None }
    }
}

/// What is to be done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::recovery) enum Next {
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
    pub(in crate::recovery) fn step(
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
                self.attempts = self.attempts.saturating_add(1);
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
        let delay = heeding(&error, delay);
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
        let suspect = self.checkpoint.as_ref().filter(|_| !was_proven && !is_specific(policy));
        self.rejected.extend(suspect.map(|checkpoint| checkpoint.path.clone()));
        let relapsed = Told::new(RecoveryStep::Relapsed);
        if self.attempt >= policy.max_attempts {
            told.push(relapsed);
            let text = format!("the restored run {} is corrupted again", self.run);
            let error = Error::new(ErrorKind::Component).with_class(ErrorClass::Terminal).context(text);
            self.error = Some(Failure::of(&error));
            return self.give_up(error, at, told);
        }
        self.turn(IncidentPhase::Waiting, at);
        let delay = policy.delays().jittered(self.attempt, random);
        told.push(Told { retry_in: Some(delay), ..relapsed });
        Next::AttemptAfter(delay)
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
