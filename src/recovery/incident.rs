//! What becomes of one corrupted run, without threads, clocks or services.
//!
//! Everything an incident knows can be written down and read back, so that a
//! journal can keep it over a restart of the program.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Checkpoint;
use super::policy::{CheckpointStrategy, RecoveryPolicy};
use crate::backoff::{Random, heeding};
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

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn at(seconds: u64) -> Stamp {
        Stamp::from_micros(seconds * 1_000_000)
    }

    fn policy() -> RecoveryPolicy {
        RecoveryPolicy::default().jitter(0.0)
    }

    fn input(word: &str) -> Input {
        let plain = || Error::new(ErrorKind::Component).context("no");
        match word {
            "begin" => Input::Begin,
            "selected" => Input::Selected(Checkpoint::new("new")),
            "selected-old" => Input::Selected(Checkpoint::new("old")),
            "created" => Input::Created { run: "run-2".to_owned() },
            "created-3" => Input::Created { run: "run-3".to_owned() },
            "succeeded" => Input::Succeeded,
            "failed" => Input::Failed(plain()),
            "timeout" => Input::Failed(Error::new(ErrorKind::Timeout)),
            "panicked" => Input::Failed(Error::from_panic(&"boom")),
            "terminal" => Input::Failed(Error::terminal("never")),
            "gone" => Input::Failed(Error::new(ErrorKind::NotFound)),
            "busy-3" => Input::Failed(plain().with_retry_after(secs(3))),
            "busy-90" => Input::Failed(plain().with_retry_after(secs(90))),
            "busy-a-day" => Input::Failed(plain().with_retry_after(secs(86_400))),
            "none-left" => Input::Failed(Error::new(ErrorKind::NotFound).with_class(ErrorClass::Terminal)),
            "healthy" => Input::Healthy,
            "corrupted" => Input::Corrupted,
            "over" => Input::WindowOver,
            "skip" => Input::Skip("full"),
            "cancel" => Input::Cancel("asked"),
            "retry" => Input::Retry,
            word => panic!("no input {word}"),
        }
    }

    /// Runs an incident through the inputs; each step must tell and want what
    /// stands beside it. After each it is written down and read back.
    fn check(policy: &RecoveryPolicy, table: &[(&str, &str, Next)]) -> Incident {
        let mut incident = Incident::new("i".to_owned(), "run-1", at(0));
        let mut random = Random::new(0);
        for (n, (word, expected, next)) in table.iter().enumerate() {
            let mut told = Vec::new();
            let step = n as u64 + 1;
            let found = incident.step(policy, at(step), input(word), &mut random, &mut told);
            let told: Vec<_> = told.iter().map(|told| told.step.as_str()).collect();
            assert_eq!((told.join(" "), found), ((*expected).to_owned(), *next), "step {step}: {word}");
            let text = serde_json::to_string(&incident).unwrap();
            assert_eq!(serde_json::from_str::<Incident>(&text).unwrap(), incident, "{text}");
        }
        incident
    }

    const BEGUN: [(&str, &str, Next); 2] =
        [("begin", "started", Next::Stay), ("selected", "checkpoint_selected", Next::Stay)];
    const RESTORED: [(&str, &str, Next); 4] = [
        BEGUN[0],
        BEGUN[1],
        ("created", "client_created", Next::Stay),
        ("succeeded", "completed", Next::Prove),
    ];

    fn joined(parts: &[&[(&'static str, &'static str, Next)]]) -> Vec<(&'static str, &'static str, Next)> {
        parts.concat()
    }

    #[test]
    fn wrc_12_a_recovery_is_proven_by_polls() {
        let proven = joined(&[
            &RESTORED,
            &[
                ("healthy", "", Next::Stay),
                ("healthy", "", Next::Stay),
                ("healthy", "verified", Next::Guard(secs(600))),
                ("healthy", "", Next::Stay),
                ("over", "", Next::Close),
            ],
        ]);
        let incident = check(&policy(), &proven);
        assert_eq!((&*incident.run, &*incident.first_run), ("run-2", "run-1"));
        assert_eq!((incident.attempt, incident.since, incident.error), (1, at(7), None));
        let unguarded = policy().relapse_window(Duration::ZERO).verify_polls(1);
        check(&unguarded, &joined(&[&RESTORED, &[("healthy", "verified", Next::Close)]]));
    }

    #[test]
    fn crc_02_delays_grow_until_nothing_more_is_tried() {
        let five = policy().max_attempts(6);
        let retries = [5, 10, 20, 40, 60].map(|n| Next::AttemptAfter(secs(n)));
        let mut table = Vec::new();
        for next in retries {
            table.extend(BEGUN);
            table.push(("failed", "failed", next));
        }
        table.extend(BEGUN);
        table.extend([("timeout", "failed exhausted", Next::Rest), ("corrupted", "", Next::Stay)]);
        let incident = check(&five, &table);
        assert_eq!((incident.phase, incident.attempt), (IncidentPhase::Exhausted, 6));
        assert_eq!(incident.failures["new"], 6);
    }

    #[test]
    fn wrc_04_only_what_may_help_is_tried_again() {
        for (word, told, next) in [
            ("failed", "failed", Next::AttemptAfter(secs(5))),
            ("timeout", "failed", Next::AttemptAfter(secs(5))),
            ("panicked", "failed", Next::AttemptAfter(secs(5))),
            ("gone", "failed", Next::Attempt),
            ("terminal", "failed exhausted", Next::Rest),
        ] {
            check(&policy(), &joined(&[&BEGUN, &[(word, told, next)]]));
        }
        // Without a checkpoint there is none that could be gone.
        let asked = [BEGUN[0], ("gone", "failed", Next::AttemptAfter(secs(5)))];
        check(&policy(), &asked);
        check(&policy(), &[BEGUN[0], ("none-left", "failed exhausted", Next::Rest)]);
        let specific = policy().checkpoint_strategy(CheckpointStrategy::Specific("new".to_owned()));
        check(&specific, &joined(&[&BEGUN, &[("gone", "failed exhausted", Next::Rest)]]));
    }

    #[test]
    fn who_asks_to_be_left_alone_is_left_alone_but_not_for_ever() {
        for (word, seconds) in [("busy-3", 5), ("busy-90", 90), ("busy-a-day", 300)] {
            check(&policy(), &joined(&[&BEGUN, &[(word, "failed", Next::AttemptAfter(secs(seconds)))]]));
        }
        let last = [("busy-90", "failed exhausted", Next::Rest)];
        check(&policy().max_attempts(1), &joined(&[&BEGUN, &last]));
    }

    #[test]
    fn wrc_13_a_checkpoint_that_is_gone_is_not_taken_again() {
        let incident = check(
            &policy(),
            &joined(&[
                &BEGUN,
                &[
                    ("gone", "failed", Next::Attempt),
                    BEGUN[0],
                    ("selected-old", "checkpoint_selected", Next::Stay),
                    ("gone", "failed", Next::Attempt),
                ],
            ]),
        );
        assert_eq!(incident.rejected.iter().collect::<Vec<_>>(), ["new", "old"]);
    }

    #[test]
    fn a_relapse_is_the_same_incident() {
        let early = joined(&[
            &RESTORED,
            &[("healthy", "", Next::Stay), ("corrupted", "relapsed", Next::AttemptAfter(secs(5)))],
        ]);
        let incident = check(&policy(), &early);
        assert_eq!((incident.attempt, incident.relapses, &*incident.run), (1, 1, "run-2"));
        assert!(incident.rejected.contains("new"), "its restored run was never well");

        let once = policy().verify_polls(1);
        let late = joined(&[
            &RESTORED,
            &[
                ("healthy", "verified", Next::Guard(secs(600))),
                ("corrupted", "relapsed", Next::AttemptAfter(secs(5))),
                BEGUN[0],
            ],
        ]);
        let incident = check(&once, &late);
        assert_eq!(incident.attempt, 2);
        assert!(incident.rejected.is_empty(), "its restored run was proven well");

        // What was seen of the first restored run proves nothing of the second.
        let twice = policy().verify_polls(2);
        let anew = joined(&[
            &RESTORED,
            &[("healthy", "", Next::Stay), ("corrupted", "relapsed", Next::AttemptAfter(secs(5)))],
            &RESTORED,
            &[
                ("healthy", "", Next::Stay),
                ("healthy", "verified", Next::Guard(secs(600))),
                ("corrupted", "relapsed", Next::AttemptAfter(secs(10))),
            ],
        ]);
        let incident = check(&twice, &anew);
        assert_eq!((incident.attempt, incident.relapses), (2, 2), "the attempts it had count");

        let last = joined(&[&RESTORED, &[("corrupted", "relapsed exhausted", Next::Rest)]]);
        let incident = check(&policy().max_attempts(1), &last);
        assert_eq!(incident.error.unwrap().text, "the restored run run-2 is corrupted again");
        let specific = policy().checkpoint_strategy(CheckpointStrategy::Specific("new".to_owned()));
        assert!(check(&specific, &early).rejected.is_empty(), "there is no other");
    }

    #[test]
    fn what_is_over_begins_anew_only_when_it_is_told_to_or_was_well() {
        let exhausted = joined(&[&BEGUN, &[("terminal", "failed exhausted", Next::Rest)]]);
        for (word, next) in [
            ("corrupted", Next::Stay),
            ("begin", Next::Stay),
            ("cancel", Next::Stay),
            ("skip", Next::Stay),
            ("healthy", Next::Close),
        ] {
            check(&policy(), &joined(&[&exhausted, &[(word, "", next)]]));
        }
        let incident = check(&policy(), &joined(&[&exhausted, &[("retry", "", Next::Attempt), BEGUN[0]]]));
        assert_eq!(incident.attempt, 1, "all attempts anew");
        assert!(incident.failures.is_empty());
    }

    #[test]
    fn what_waits_can_be_skipped_cancelled_and_hurried() {
        check(&policy(), &[("healthy", "skipped", Next::Close)]);
        check(
            &policy(),
            &[
                ("skip", "skipped", Next::Rest),
                ("corrupted", "", Next::Stay),
                ("retry", "", Next::Attempt),
                BEGUN[0],
            ],
        );
        let cancelled = [
            ("cancel", "cancelled", Next::Rest),
            ("cancel", "", Next::Stay),
            ("corrupted", "", Next::Stay),
            ("retry", "", Next::Attempt),
        ];
        check(&policy(), &cancelled);
        let waiting = joined(&[&BEGUN, &[("failed", "failed", Next::AttemptAfter(secs(5)))]]);
        check(&policy(), &joined(&[&waiting, &cancelled]));
        check(&policy(), &joined(&[&waiting, &[("healthy", "skipped", Next::Close)]]));
        let incident = check(&policy(), &joined(&[&waiting, &[("retry", "", Next::Attempt), BEGUN[0]]]));
        assert_eq!(incident.attempt, 2, "hurried, not begun anew");
        check(&policy(), &joined(&[&BEGUN, &cancelled]));
        check(&policy(), &joined(&[&RESTORED, &[("cancel", "", Next::Stay)]]));
    }

    #[test]
    fn what_json_cannot_say_is_not_written_down() {
        let mut checkpoint = Checkpoint::new("new");
        for (name, value) in [("loss", f64::NAN), ("peak", f64::INFINITY), ("accuracy", 0.5)] {
            checkpoint.metrics.insert(name.to_owned(), value);
        }
        let mut incident = Incident::new("i".to_owned(), "run-1", at(0));
        let selected = Input::Selected(checkpoint.clone());
        for input in [Input::Begin, selected] {
            let _ = incident.step(&policy(), at(1), input, &mut Random::new(0), &mut Vec::new());
        }
        let text = serde_json::to_string(&incident).unwrap();
        checkpoint.metrics.retain(|_, value| value.is_finite());
        let read =
            serde_json::from_str::<Incident>(&text).map_err(|error| format!("{error}: {text}")).unwrap();
        assert_eq!(read.checkpoint, Some(checkpoint));
    }

    #[test]
    fn wrc_15_no_two_attempts_have_one_key() {
        let failed = ("terminal", "failed exhausted", Next::Rest);
        let incident = check(&policy(), &joined(&[&BEGUN, &[failed, ("retry", "", Next::Attempt)], &BEGUN]));
        assert_eq!((incident.attempt, &*incident.key()), (1, "i-2"));
    }

    mod any_order {
        use super::*;
        use proptest::prelude::*;

        const WORDS: &[&str] = &[
            "begin",
            "selected",
            "created",
            "succeeded",
            "failed",
            "timeout",
            "terminal",
            "gone",
            "healthy",
            "corrupted",
            "over",
            "skip",
            "cancel",
            "retry",
            "begin",
            "selected",
            "created",
            "succeeded",
        ];

        proptest! {
            /// Whatever comes in whatever order: attempts are bounded, what
            /// waits is told so, and what is told is told in order.
            #[test]
            fn attempts_are_bounded(words in prop::collection::vec(prop::sample::select(WORDS), 0..80)) {
                let policy = policy().max_attempts(3).verify_polls(2);
                let mut incident = Incident::new("i".to_owned(), "run-1", at(0));
                let mut random = Random::new(1);
                for word in words {
                    let mut told = Vec::new();
                    let before = incident.phase;
                    let next = incident.step(&policy, at(1), input(word), &mut random, &mut told);
                    prop_assert!(incident.attempt <= 3);
                    let told: Vec<_> = told.iter().map(|told| told.step).collect();
                    if told.contains(&RecoveryStep::Exhausted) {
                        prop_assert_eq!(told.len(), 2);
                    }
                    if told.contains(&RecoveryStep::Verified) {
                        prop_assert_eq!(before, IncidentPhase::Completed);
                    }
                    if matches!(next, Next::Attempt | Next::AttemptAfter(_)) {
                        prop_assert!(matches!(incident.phase, IncidentPhase::Detected | IncidentPhase::Waiting));
                    }
                    prop_assert!(
                        incident.phase != IncidentPhase::Waiting || incident.attempt > 0,
                        "waits for another attempt without a first"
                    );
                    let text = serde_json::to_string(&incident).unwrap();
                    prop_assert_eq!(&serde_json::from_str::<Incident>(&text).unwrap(), &incident);
                }
            }
        }
    }
}
