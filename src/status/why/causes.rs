//! The chain of causes: what a loop says itself, and what it requires, down to
//! where it begins.

use super::words::{doing, rounded, state, stuck};
use super::{Cause, CauseKind, Rejected};
use crate::event::{Health, LoopKind};
use crate::name::Name;
use crate::status::{LoopStatus, Phase};

/// Causes that are further away are left out: nobody reads that far.
pub(super) const MAX_DEPTH: usize = 16;
pub(super) const MAX_CAUSES: usize = 64;

/// What one looks for causes in.
pub(super) struct Search<'a> {
    pub(super) loops: &'a [LoopStatus],
    pub(super) rejected: &'a [Rejected],
}

impl<'a> Search<'a> {
    /// One that has trouble before one of the same name that has none.
    pub(super) fn find(&self, name: &str) -> Option<&'a LoopStatus> {
        let named = || self.loops.iter().filter(|status| status.name.as_str() == name);
        named().find(|status| !status.ready).or_else(|| named().next())
    }

    /// What is wrong with the descriptor of one.
    pub(super) fn rejection(&self, name: &str) -> Option<&'a Rejected> {
        let is_meant = |rejected: &&Rejected| rejected.name.as_ref().is_some_and(|it| it.as_str() == name);
        self.rejected.iter().find(is_meant)
    }

    /// The causes of one, each followed by its own.
    pub(super) fn collect(
        &self,
        status: &LoopStatus,
        depth: usize,
        above: &mut Vec<Name>,
        out: &mut Vec<Cause>,
    ) {
        if status.parent.is_some() {
            // What it says itself comes of that, as far as anybody knows.
            self.collect_required(status, depth, above, out);
            self.collect_own(status, depth, out);
        } else {
            self.collect_own(status, depth, out);
            self.collect_required(status, depth, above, out);
        }
        let has_cause = out.iter().any(|cause| cause.depth == depth && cause.name == status.name);
        if status.ready || has_cause || out.len() >= MAX_CAUSES {
            return;
        }
        let since = Some(status.since);
        let (kind, what, since) = match status.phase {
            Phase::Stopped => (CauseKind::Stopped, "it does not run".to_owned(), since),
            _ if super::has_no_checkers(status) => {
                (CauseKind::Unheard, "it has no checkers".to_owned(), since)
            }
            _ if status.runs == 0 => (CauseKind::Unheard, "it was not called yet".to_owned(), since),
            _ if status.last_check.is_none() && status.kind != LoopKind::Component => {
                let doing = doing(status.call.as_ref());
                // What it does has a time of its own.
                let since = since.filter(|_| doing.is_empty());
                (CauseKind::Unheard, format!("its first call has not ended yet{doing}"), since)
            }
            _ => {
                let what = format!("it says that it is {}, and not why", status.health);
                (CauseKind::Unheard, what, since)
            }
        };
        out.push(Cause { depth, name: status.name.clone(), kind, what, since });
    }

    /// What it says itself.
    fn collect_own(&self, status: &LoopStatus, depth: usize, out: &mut Vec<Cause>) {
        let mut add = |kind, what: String, since| {
            if out.len() < MAX_CAUSES {
                out.push(Cause { depth, name: status.name.clone(), kind, what, since });
            }
        };
        if let Some(call) = status.call.as_ref().filter(|call| call.stuck) {
            // Its words say for how long.
            add(CauseKind::Stuck, stuck(call), None);
        }
        if status.stale {
            let late = status.overdue_for.unwrap_or_default();
            let what = format!("it should have run {} ago", rounded(late));
            add(CauseKind::Stale, what, status.last_check);
        }
        if status.controller.as_ref().is_some_and(|controller| controller.paused) {
            add(CauseKind::Paused, "it is paused: it runs only when it is triggered".to_owned(), None);
        }
        for checker in status.monitor.iter().flat_map(|monitor| &monitor.checkers) {
            if let Some(call) = checker.call.as_ref().filter(|call| call.stuck) {
                let what = format!("checker {}: {}", checker.name, stuck(call));
                add(CauseKind::Stuck, what, None);
            } else if checker.health != Health::Ready {
                add(CauseKind::Checker, format!("checker {checker}"), Some(checker.since));
            }
        }
        for incident in status.recovery.iter().flat_map(|recovery| &recovery.incidents) {
            let mut what = format!(
                "run {} is {}, attempt {} of {}",
                incident.run, incident.phase, incident.attempt, incident.max_attempts
            );
            if let Some(error) = &incident.last_error {
                what.push_str(&format!(": {error}"));
            }
            add(CauseKind::Incident, what, Some(incident.since));
        }
        if let (Some(error), false) = (&status.last_error, status.monitor.is_some()) {
            let what = match status.consecutive_failures {
                0 | 1 => error.clone(),
                n => format!("{error} ({n} times in a row)"),
            };
            add(CauseKind::Error, what, status.last_check.or(Some(status.since)));
        }
        if let Some(rejection) = self.rejection(status.name.as_str()) {
            let Rejected { file, error, runs, .. } = rejection;
            let what = what_became_of(rejection);
            // One that is on its way back does not run.
            let is_back = status.kind == LoopKind::Component
                && matches!(status.phase, Phase::Recovering | Phase::Stopped);
            let before = if is_back { "" } else { ", what it said before still runs" };
            let what =
                if *runs { format!("an edit of {file} {what}{before}: {error}") } else { unused(rejection) };
            add(CauseKind::Rejected, what, None);
        }
    }

    /// What it requires that is not ready, each with its causes.
    fn collect_required(
        &self,
        status: &LoopStatus,
        depth: usize,
        above: &mut Vec<Name>,
        out: &mut Vec<Cause>,
    ) {
        // What it waits for says more than that it does not run.
        let required = if status.waits_for.is_empty() { &status.requires } else { &status.waits_for };
        let mut required: Vec<&Name> = required.iter().collect();
        if let Some(parent) = &status.parent {
            // The way to the parent first: of the others nothing came.
            match required.iter().position(|name| self.leads(name, parent)) {
                Some(at) => required[..=at].rotate_right(1),
                None => required.insert(0, parent),
            }
        }
        let is_waiting = !status.waits_for.is_empty();
        let requires = if is_waiting { "waits for" } else { "requires" };
        above.push(status.name.clone());
        for name in required {
            let found = self.find(name.as_str());
            if found.is_some_and(|found| found.ready) && !is_waiting {
                continue;
            }
            let since = found.map(|found| found.since);
            let what = match found {
                Some(found) => format!("{requires} {name}, which is {}", state(found)),
                None => format!("{requires} {name}, which is not there"),
            };
            // Or what requires much in circles would be followed for ever.
            if out.len() >= MAX_CAUSES {
                break;
            }
            let own = status.name.clone();
            out.push(Cause { depth, name: own, kind: CauseKind::Requires, what, since });
            match found {
                Some(found) if depth < MAX_DEPTH && !above.contains(name) => {
                    self.collect(found, depth + 1, above, out);
                }
                Some(_) => {}
                None => out.extend(self.rejection(name.as_str()).map(|rejection| Cause {
                    depth: depth + 1,
                    name: name.clone(),
                    kind: CauseKind::Rejected,
                    what: unused(rejection),
                    since: None,
                })),
            }
        }
        above.pop();
    }

    /// Whether one is the parent, or requires it or what is behind it.
    fn leads(&self, name: &Name, parent: &Name) -> bool {
        let is_behind = |status: &LoopStatus| {
            status.parent.as_ref() == Some(parent)
                || status.requires.contains(parent)
                || status.waits_for.contains(parent)
        };
        name == parent || self.find(name.as_str()).is_some_and(is_behind)
    }
}

/// Why what a descriptor describes does not run.
pub(super) fn unused(rejection: &Rejected) -> String {
    let what = what_became_of(rejection);
    format!("its descriptor {} {what}: {}", rejection.file, rejection.error)
}

fn what_became_of(rejection: &Rejected) -> &'static str {
    if rejection.retry_at.is_some() { "did not come up" } else { "cannot be used" }
}
