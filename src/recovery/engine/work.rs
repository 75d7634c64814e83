//! What a thread of the crew does without any lock: calls into the source and
//! the remedy.

use std::sync::Arc;
use std::time::Duration;

use super::Engine;
use super::crew::seen_deadline;
use super::job::{Attempt, Chore, Job};
use super::state::Stage;
use crate::cancel::CancelToken;
use crate::clock::Tick;
use crate::component::{Context, Reporter};
use crate::error::{BoxError, Error, ErrorClass, ErrorKind, Result};
use crate::observe::{Attr, Span};
use crate::recovery::incident::Incident;
use crate::recovery::metadata::{Metadata, check_run};
use crate::recovery::policy::{CheckpointStrategy, RecoveryPolicy};
use crate::recovery::{Checkpoint, Restore, Restored, TrainingRun};
use crate::thread::caught;

/// Calls a user's code: a panic is a result, and what an error of the user's
/// holds is dropped here.
fn call<T>(call: impl FnOnce() -> std::result::Result<T, BoxError>) -> Result<T> {
    caught(|| call().map_err(|error| Error::from_user(&*error))).and_then(|result| result)
}

impl Engine {
    /// Asks how a run is.
    pub(in crate::recovery) fn fetch(&self, cx: &Context, run: &Arc<str>) -> Result<TrainingRun> {
        let found = call(|| self.source.fetch(cx, run))?;
        if found.training_run_id == **run {
            return Ok(found);
        }
        let other = crate::duration::Shown(&found.training_run_id).to_string();
        Err(Error::new(ErrorKind::Component).context(format!("asked for {run}, was told of {other}")))
    }

    /// Does what is not a poll.
    pub(super) fn carry_out(self: &Arc<Self>, job: Job, token: CancelToken, seen: Tick, timeout: Duration) {
        match job {
            Job::Poll(_) => {}
            Job::Attempt(attempt) => self.carry_out_attempt(&attempt, seen, timeout),
            Job::Chore(Chore::Retire { run, metadata }) => {
                let cx = self.context(token, seen);
                if let Err(error) = call(|| self.remedy.retire(&cx, &run)) {
                    self.left_behind(&run, &metadata, error);
                }
            }
            Job::Sweep(trash) => drop(trash),
        }
    }

    pub(in crate::recovery) fn context(&self, token: CancelToken, seen: Tick) -> Context {
        Context::for_call(&self.env, self.name.clone(), token, seen, Reporter::default())
    }

    fn carry_out_attempt(self: &Arc<Self>, attempt: &Attempt, seen: Tick, timeout: Duration) {
        let cx = self.context(attempt.cancel.clone(), seen);
        let begun = self.now();
        let span = self.span(attempt);
        cx.set_span(&span);
        let result = self.attempt(&cx, attempt);
        if let Err(error) = &result {
            if !cx.is_cancelled() {
                span.set_error(&error.report());
            }
        }
        cx.clear_span();
        span.end();
        drop(cx);
        self.instruments.attempts.observe(self.now().since(begun).as_secs_f64());
        let Attempt { run, ticket, .. } = attempt;
        let unwanted = self.act(|state, now, after| self.attempted(state, now, after, run, *ticket, result));
        if let Some(restored) = unwanted {
            self.discard(&restored, timeout);
        }
    }

    fn span(&self, attempt: &Attempt) -> Span {
        let observer = self.env.observer();
        if observer.span.is_none() {
            return observer.start_span("recovery_attempt", &[]);
        }
        let span = observer.start_span("recovery_attempt", &[Attr::new("recovery", &self.name)]);
        span.set_attr(Attr::new("run", &*attempt.run));
        span.set_attr(Attr::new("attempt", i64::from(attempt.incident.attempt)));
        span
    }

    fn attempt(self: &Arc<Self>, cx: &Context, attempt: &Attempt) -> Result<Restored> {
        let Attempt { run, ticket, incident, policy, .. } = attempt;
        let checkpoint = self.choose(cx, attempt)?;
        let counts = self.act(|state, _, after| self.selected(state, after, run, *ticket, &checkpoint));
        if !counts {
            return Err(Error::new(ErrorKind::Cancelled));
        }
        let request = Restore {
            run: run.to_string(),
            checkpoint,
            restore_optimizer: policy.restore_optimizer,
            attempt: incident.attempt,
            idempotency_key: incident.key(),
            timeout: policy.attempt_timeout,
        };
        let restored = call(|| self.remedy.restore(cx, &request))?;
        if let Err(error) = check_run(&restored.training_run_id) {
            self.discard(&restored, policy.attempt_timeout);
            return Err(error.context("the restored run has no name that can be used"));
        }
        Ok(restored)
    }

    /// What the attempt restores from. The source is asked unless the newest
    /// is wanted and was just heard of.
    fn choose(&self, cx: &Context, attempt: &Attempt) -> Result<Checkpoint> {
        let Attempt { incident, policy, given, .. } = attempt;
        let now = self.env.stamp();
        let is_latest = policy.checkpoint_strategy == CheckpointStrategy::Latest;
        let is_specific = matches!(policy.checkpoint_strategy, CheckpointStrategy::Specific(_));
        let heard: Vec<_> = given.iter().cloned().collect();
        let is_untried = incident.failures.is_empty() && incident.rejected.is_empty();
        if is_specific || (is_latest && is_untried && !heard.is_empty()) {
            if let Some(chosen) = incident.choose(policy, heard.clone(), None, now) {
                return Ok(chosen);
            }
        }
        let mut known = Vec::new();
        let asked = call(|| self.source.checkpoints(cx, &incident.run));
        let mut refusal = None;
        match asked {
            Ok(found) => known = found,
            Err(error) => refusal = Some(error),
        }
        if incident.first_run != incident.run {
            // What the run was restored from is its predecessor's.
            match call(|| self.source.checkpoints(cx, &incident.first_run)) {
                Ok(older) => known.extend(older),
                Err(error) => refusal = refusal.or(Some(error)),
            }
        }
        if let (CheckpointStrategy::Best { .. }, Some(error)) = (&policy.checkpoint_strategy, &refusal) {
            // Of those that are known by chance none is known to be the best.
            if error.class() != ErrorClass::Terminal {
                return Err(error.clone());
            }
        }
        known.extend(heard);
        let mut seen = std::collections::HashSet::new();
        known.retain(|checkpoint| seen.insert(checkpoint.path.clone()));
        let n_known = known.len();
        let last = given.as_ref().map(|checkpoint| &*checkpoint.path);
        match (incident.choose(policy, known, last, now), refusal) {
            (Some(chosen), _) => Ok(chosen),
            (None, Some(error)) => Err(error),
            (None, None) => Err(none_left(incident, policy, n_known)),
        }
    }

    /// Lets go of a run that was restored, but is not wanted any more.
    fn discard(self: &Arc<Self>, restored: &Restored, timeout: Duration) {
        // The cancel that made it unwanted must not end this call, too.
        let cx = self.context(CancelToken::new(), seen_deadline(self.now() + timeout, timeout));
        if let Err(error) = call(|| self.remedy.discard(&cx, restored)) {
            self.left_behind(&restored.training_run_id, &Metadata::default(), error);
        }
    }

    fn left_behind(self: &Arc<Self>, run: &str, metadata: &Metadata, error: Error) {
        self.act(|state, _, after| {
            // After a stop nothing is told.
            if state.stage == Stage::Running {
                self.tell_left_behind(state, after, run, metadata, error);
            }
        });
    }
}

/// Asking again cannot help: the source was asked just now.
fn none_left(incident: &Incident, policy: &RecoveryPolicy, n_known: usize) -> Error {
    let why = match &policy.checkpoint_strategy {
        CheckpointStrategy::Best { metric, .. } => format!(" that has the metric {metric:?}"),
        _ => String::new(),
    };
    let n_rejected = incident.rejected.len();
    let text =
        format!("no checkpoint to restore from{why} ({n_known} known, {n_rejected} of them not usable)");
    Error::new(ErrorKind::NotFound).with_class(ErrorClass::Terminal).context(text)
}
