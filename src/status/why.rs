//! Why a loop is as it is: one sentence, the chain of causes, and what happens
//! next. A function of statuses and nothing else.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::{CallStatus, LoopStatus, Phase};
use crate::duration::GoDuration;
use crate::event::{Health, LoopKind};
use crate::name::{self, Name};
use crate::stamp::Stamp;

/// Causes that are further away are left out: nobody reads that far.
const MAX_DEPTH: usize = 16;
const MAX_CAUSES: usize = 64;

/// A descriptor that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Rejected {
    /// The component that it is for, as far as that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Name>,
    /// Whether what an earlier content of the file described still runs.
    pub runs: bool,
    /// The file.
    pub file: String,
    /// Why.
    pub error: String,
}

/// Why a loop is as it is; made by [`why`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Why {
    /// The loop.
    pub name: Name,
    /// How it is; unknown when it does not run.
    #[serde(rename = "state")]
    pub health: Health,
    /// Whether it can take work.
    pub ready: bool,
    /// Who is down so that nothing is known of this one, as in
    /// [`LoopStatus::parent`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<Name>,
    /// All of it in one sentence.
    pub sentence: String,
    /// What keeps it from being ready, the nearest first, each before the
    /// causes of itself. None when it is ready.
    pub causes: Vec<Cause>,
    /// What happens next, and when.
    pub next: Next,
    /// When it gives up; absent where it never does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gives_up: Option<String>,
}

/// What happens next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Next {
    /// In words.
    pub what: String,
    /// When, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Stamp>,
}

/// One cause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Cause {
    /// How many others stand between it and the loop that was asked about.
    pub depth: usize,
    /// Whose cause it is.
    pub name: Name,
    /// What kind of cause.
    pub kind: CauseKind,
    /// In words.
    pub what: String,
    /// Since when, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Stamp>,
}

/// What kind of cause one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CauseKind {
    /// Something it requires is not ready; its causes follow.
    Requires,
    /// Its last call failed.
    Error,
    /// A call has passed its deadline and has not come back.
    Stuck,
    /// It should have been heard of again by now.
    Stale,
    /// It runs only when it is triggered.
    Paused,
    /// It does not run.
    Stopped,
    /// A checker of it is not ready.
    Checker,
    /// A run is being recovered, or was given up.
    Incident,
    /// Its descriptor cannot be used.
    Rejected,
    /// Nothing was heard of it yet.
    Unheard,
}

impl CauseKind {
    /// The word for it, as in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Requires => "requires",
            Self::Error => "error",
            Self::Stuck => "stuck",
            Self::Stale => "stale",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
            Self::Checker => "checker",
            Self::Incident => "incident",
            Self::Rejected => "rejected",
            Self::Unheard => "unheard",
        }
    }
}

impl fmt::Display for CauseKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Tells why the loop `name` is as it is at the moment `at`, from what all
/// loops say of themselves then; `None` when there is no such loop and no
/// descriptor for it.
///
/// # Examples
///
/// ```
/// use loopkeeper::status::{self, StatusSource};
/// use loopkeeper::{Context, Env, WatchManager, WatcherConfig};
///
/// let env = Env::new()?;
/// let manager = WatchManager::new(&env);
/// manager.watch(WatcherConfig::new("db", |_: &Context| Ok(())))?;
/// let at = loopkeeper::Stamp::from_micros(0);
/// let why = status::why("db", at, &manager.statuses(), &[]).expect("it was made");
/// assert!(why.sentence.starts_with("db is "));
/// assert!(status::why("nobody", at, &manager.statuses(), &[]).is_none());
/// # Ok::<(), loopkeeper::Error>(())
/// ```
#[must_use]
pub fn why(name: &str, at: Stamp, loops: &[LoopStatus], rejected: &[Rejected]) -> Option<Why> {
    let search = Search { at, loops, rejected };
    let Some(status) = search.find(name) else {
        let rejection = search.rejection(name)?;
        let name = rejection.name.clone()?;
        let what = format!("its descriptor {} cannot be used: {}", rejection.file, rejection.error);
        let sentence = format!("{name} does not run: {what}");
        let cause = Cause { depth: 0, name: name.clone(), kind: CauseKind::Rejected, what, since: None };
        return Some(Why {
            name,
            health: Health::Unknown,
            ready: false,
            parent: None,
            sentence,
            causes: vec![cause],
            next: Next { what: search.after_edit(rejection), at: None },
            gives_up: None,
        });
    };
    let mut causes = Vec::new();
    search.collect(status, 0, &mut Vec::new(), &mut causes);
    Some(Why {
        name: status.name.clone(),
        health: status.health,
        ready: status.ready,
        parent: status.parent.clone(),
        sentence: search.sentence(status, &causes),
        next: search.next(status),
        gives_up: gives_up(status),
        causes,
    })
}

struct Search<'a> {
    at: Stamp,
    loops: &'a [LoopStatus],
    rejected: &'a [Rejected],
}

impl<'a> Search<'a> {
    /// One that has trouble before one of the same name that has none.
    fn find(&self, name: &str) -> Option<&'a LoopStatus> {
        let named = || self.loops.iter().filter(|status| status.name.as_str() == name);
        named().find(|status| !status.ready).or_else(|| named().next())
    }

    fn rejection(&self, name: &str) -> Option<&'a Rejected> {
        let is_meant = |rejected: &&Rejected| rejected.name.as_ref().is_some_and(|it| it.as_str() == name);
        self.rejected.iter().find(is_meant)
    }

    fn after_edit(&self, rejection: &Rejected) -> String {
        format!("it is read again when {} changes", rejection.file)
    }

    fn ago(&self, since: Stamp) -> GoDuration {
        rounded(self.at.as_micros().saturating_sub(since.as_micros()))
    }

    /// The causes of one, each followed by its own.
    fn collect(&self, status: &LoopStatus, depth: usize, above: &mut Vec<Name>, out: &mut Vec<Cause>) {
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
        let (kind, what) = match status.phase {
            Phase::Stopped => (CauseKind::Stopped, "it does not run".to_owned()),
            _ if status.runs == 0 => (CauseKind::Unheard, "it was not called yet".to_owned()),
            _ if status.last_check.is_none() && status.kind != LoopKind::Component => {
                (CauseKind::Unheard, "its first call has not ended yet".to_owned())
            }
            _ => (CauseKind::Unheard, format!("it says that it is {}, and not why", status.health)),
        };
        out.push(Cause { depth, name: status.name.clone(), kind, what, since: Some(status.since) });
    }

    /// What it says itself.
    fn collect_own(&self, status: &LoopStatus, depth: usize, out: &mut Vec<Cause>) {
        let mut add = |kind, what: String, since| {
            if out.len() < MAX_CAUSES {
                out.push(Cause { depth, name: status.name.clone(), kind, what, since });
            }
        };
        if let Some(call) = status.call.as_ref().filter(|call| call.stuck) {
            add(CauseKind::Stuck, stuck(call), status.since.into());
        }
        if status.stale {
            let late = status.overdue_for.unwrap_or_default();
            let what = format!("it should have run {} ago", GoDuration(rounded_to(late)));
            add(CauseKind::Stale, what, status.last_check);
        }
        if status.controller.as_ref().is_some_and(|controller| controller.paused) {
            add(CauseKind::Paused, "it is paused: it runs only when it is triggered".to_owned(), None);
        }
        for checker in status.monitor.iter().flat_map(|monitor| &monitor.checkers) {
            if let Some(call) = checker.call.as_ref().filter(|call| call.stuck) {
                let what = format!("checker {}: {}", checker.name, stuck(call));
                add(CauseKind::Stuck, what, Some(checker.since));
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
        if let Some(rejection) = self.rejection(status.name.as_str()) {
            let what = format!(
                "an edit of {} cannot be used, what it said before still runs: {}",
                rejection.file, rejection.error
            );
            add(CauseKind::Rejected, what, None);
        }
        if let (Some(error), false) = (&status.last_error, status.monitor.is_some()) {
            let what = match status.consecutive_failures {
                0 | 1 => error.clone(),
                n => format!("{error} ({n} times in a row)"),
            };
            add(CauseKind::Error, what, status.last_check.or(Some(status.since)));
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
                    what: format!("its descriptor {} cannot be used: {}", rejection.file, rejection.error),
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

    fn sentence(&self, status: &LoopStatus, causes: &[Cause]) -> String {
        let mut text = format!("{} is {} for {}", status.name, state(status), self.ago(status.since));
        // The way from one to what it waits for, down to where that ends.
        let Some(mut cause) = causes.first() else {
            text.push_str(if status.ready { ": nothing is wrong" } else { "" });
            return text;
        };
        let mut path = Vec::new();
        let mut rest = causes;
        while cause.kind == CauseKind::Requires {
            path.push(cause);
            let Some(at) = rest.iter().position(|it| std::ptr::eq(it, cause)) else { break };
            rest = &rest[at + 1..];
            match rest.first().filter(|next| next.depth > cause.depth) {
                Some(next) => cause = next,
                None => break,
            }
        }
        for step in &path {
            let and = if step.depth == 0 { ": it " } else { " and " };
            text.push_str(and);
            text.push_str(&step.what);
        }
        if cause.kind != CauseKind::Requires {
            text.push_str(": ");
            text.push_str(&cause.what);
        }
        text
    }

    fn next(&self, status: &LoopStatus) -> Next {
        let plain = |what: String| Next { what, at: None };
        if let Some(call) = status.call.as_ref().filter(|call| call.stuck) {
            let thread =
                status.thread.as_ref().map_or(String::new(), |thread| format!(" (tid {})", thread.tid));
            return plain(format!(
                "nothing before the call returns that is {}: a thread{thread} cannot be ended from outside",
                call.phase
            ));
        }
        if let Some(running) = status.running_for {
            return plain(format!(
                "its call runs for {} and then says how it is",
                GoDuration(rounded_to(running))
            ));
        }
        if !status.waits_for.is_empty() {
            return plain(format!("it starts when {} can take work", name::join(&status.waits_for)));
        }
        if let Some(at) = status.next_run {
            let what = match status.kind {
                LoopKind::Watcher => "it asks again",
                LoopKind::Monitor => "its checkers look again",
                LoopKind::Deployer | LoopKind::ConfigWatcher => "the files are looked at again",
                LoopKind::Recovery => "the runs are polled again",
                LoopKind::Controller | LoopKind::Component => "it runs again",
            };
            let left = at.as_micros().saturating_sub(self.at.as_micros());
            let when = if left == 0 { "at once".to_owned() } else { format!("in {}", rounded(left)) };
            return Next { what: format!("{what} {when}"), at: Some(at) };
        }
        if status.controller.as_ref().is_some_and(|controller| controller.paused) {
            return plain(format!("it runs when it is triggered: loopkeeper trigger {}", status.name));
        }
        if let Some(rejection) = self.rejection(status.name.as_str()) {
            return plain(self.after_edit(rejection));
        }
        plain(match (status.kind, status.phase) {
            (LoopKind::Component, Phase::Recovering) => "it is started again after a delay".to_owned(),
            (LoopKind::Component, Phase::Stopped) if status.health == Health::Down => {
                "nothing: it is left as failed until its descriptor changes".to_owned()
            }
            (_, Phase::Stopped) => "nothing: it was told to end".to_owned(),
            (_, Phase::Starting) => "it is being started".to_owned(),
            _ => "it goes on".to_owned(),
        })
    }
}

/// When one gives up, and what that means.
fn gives_up(status: &LoopStatus) -> Option<String> {
    if status.ready {
        return None;
    }
    if let Some(recovery) = &status.recovery {
        let most = recovery.incidents.iter().map(|incident| incident.max_attempts).max()?;
        return Some(format!(
            "a run is given up after attempt {most}; loopkeeper recovery retry RUN tries again"
        ));
    }
    let max = status.max_attempts?;
    let left = max.saturating_sub(status.attempt);
    let attempts = if left == 1 { "attempt" } else { "attempts" };
    Some(format!(
        "after {left} more {attempts} ({} of {max} were made) it stops asking often, and goes on at its \
         regular times",
        status.attempt.min(max)
    ))
}

/// The word for how one is, that says the most.
fn state(status: &LoopStatus) -> Cow<'static, str> {
    if let Some(parent) = &status.parent {
        return format!("{} (parent {parent})", status.health).into();
    }
    Cow::Borrowed(match status.health {
        _ if status.stale => "stale",
        _ if !status.waits_for.is_empty() => "waiting",
        Health::Unknown if status.phase == Phase::Stopped => "stopped",
        health => health.as_str(),
    })
}

fn stuck(call: &CallStatus) -> String {
    let mut text =
        format!("its call is stuck, {} for {}", call.phase, GoDuration(rounded_to(call.phase_for)));
    if let Some(activity) = &call.activity {
        text.push_str(&format!(", {activity}"));
    }
    text
}

fn rounded(micros: u64) -> GoDuration {
    GoDuration(rounded_to(Duration::from_micros(micros)))
}

/// As exact as people need it.
fn rounded_to(duration: Duration) -> Duration {
    match duration.as_millis() {
        ms @ 0..10_000 => Duration::from_millis(u64::try_from(ms).unwrap_or(0) / 100 * 100),
        _ => Duration::from_secs(duration.as_secs()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::{
        CheckCounts, CheckerStatus, ControllerStatus, IncidentStatus, MonitorStatus, RecoveryStatus, Role,
        Tally, ThreadStatus,
    };

    const AT: u64 = 1_000_000_000;

    fn secs(secs: u64) -> Stamp {
        Stamp::from_micros(AT - secs * 1_000_000)
    }

    fn of(name: &str, health: Health) -> LoopStatus {
        LoopStatus {
            since: secs(60),
            last_check: Some(secs(3)),
            last_error: (health == Health::Down).then(|| "connection refused".to_owned()),
            consecutive_failures: 1,
            next_run: Some(Stamp::from_micros(AT + 12_000_000)),
            runs: 1,
            ..LoopStatus::sample(name, health)
        }
    }

    fn names(names: &[&str]) -> Vec<Name> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    /// A component that waits.
    fn waiting(name: &str, waits_for: &[&str]) -> LoopStatus {
        LoopStatus {
            kind: LoopKind::Component,
            phase: Phase::Starting,
            last_check: None,
            next_run: None,
            runs: 0,
            requires: names(waits_for),
            waits_for: names(waits_for),
            ..of(name, Health::Unknown)
        }
    }

    /// The sentence, the causes, what is next, and when it gives up, a line each.
    #[track_caller]
    fn check(loops: &[LoopStatus], rejected: &[Rejected], expected: &str) {
        let why = why("a", Stamp::from_micros(AT), loops, rejected).unwrap();
        let mut text = why.sentence.clone();
        for Cause { depth, name, kind, what, .. } in &why.causes {
            text.push_str(&format!("\n{}{name} {kind}: {what}", "  ".repeat(depth + 1)));
        }
        text.push_str(&format!("\nnext: {}", why.next.what));
        text.extend(why.gives_up.map(|text| format!("\ngives up: {text}")));
        assert_eq!(text, expected);
    }

    #[test]
    fn one_is_as_it_is_by_itself() {
        check(
            &[of("a", Health::Ready)],
            &[],
            "a is ready for 1m0s: nothing is wrong\nnext: it asks again in 12s",
        );
        let down = LoopStatus {
            consecutive_failures: 3,
            attempt: 3,
            max_attempts: Some(10),
            phase: Phase::Starting,
            ..of("a", Health::Down)
        };
        check(
            &[down],
            &[],
            "a is down for 1m0s: connection refused (3 times in a row)\n  \
             a error: connection refused (3 times in a row)\nnext: it asks again in 12s\n\
             gives up: after 7 more attempts (3 of 10 were made) it stops asking often, and goes on at its \
             regular times",
        );
        let call = CallStatus {
            phase: "looking up db".into(),
            phase_for: Duration::from_secs(75),
            stuck: true,
            activity: None,
        };
        let thread = Some(ThreadStatus { name: "w/a".to_owned(), tid: 7 });
        let stuck = LoopStatus { call: Some(call), thread, next_run: None, ..of("a", Health::Down) };
        check(
            &[stuck],
            &[],
            "a is down for 1m0s: its call is stuck, looking up db for 1m15s\n  \
             a stuck: its call is stuck, looking up db for 1m15s\n  a error: connection refused\n\
             next: nothing before the call returns that is looking up db: a thread (tid 7) cannot be ended \
             from outside",
        );
        let overdue_for = Some(Duration::from_secs(70));
        check(
            &[LoopStatus {
                stale: true,
                ready: false,
                overdue_for,
                next_run: None,
                ..of("a", Health::Ready)
            }],
            &[],
            "a is stale for 1m0s: it should have run 1m10s ago\n  a stale: it should have run 1m10s ago\n\
             next: it goes on",
        );
        let stopped = LoopStatus { phase: Phase::Stopped, next_run: None, ..of("a", Health::Unknown) };
        check(
            &[stopped],
            &[],
            "a is stopped for 1m0s: it does not run\n  a stopped: it does not run\n\
             next: nothing: it was told to end",
        );
        let first = LoopStatus {
            last_check: None,
            next_run: None,
            running_for: Some(Duration::from_millis(2345)),
            ..of("a", Health::Unknown)
        };
        check(
            &[first],
            &[],
            "a is unknown for 1m0s: its first call has not ended yet\n  \
             a unheard: its first call has not ended yet\nnext: its call runs for 2.3s and then says how it is",
        );
    }

    #[test]
    fn controllers_pause_and_runs_are_recovered() {
        let controller = ControllerStatus {
            interval: Duration::from_secs(1),
            deadline: Duration::from_secs(1),
            paused: true,
            dry_run: false,
            last_result: None,
            last_items: None,
            last_summary: None,
            items: 0,
            overruns: 0,
        };
        let controller = Some(Box::new(controller));
        let kind = LoopKind::Controller;
        check(
            &[LoopStatus { controller, kind, next_run: None, ..of("a", Health::Unknown) }],
            &[],
            "a is unknown for 1m0s: it is paused: it runs only when it is triggered\n  \
             a paused: it is paused: it runs only when it is triggered\n\
             next: it runs when it is triggered: loopkeeper trigger a",
        );
        let incident = IncidentStatus {
            run: "r-2".into(),
            first_run: "r-1".into(),
            phase: "waiting",
            attempt: 2,
            max_attempts: 5,
            since: secs(9),
            detected_at: secs(90),
            next_attempt: None,
            checkpoint: None,
            last_error: Some("no place".into()),
        };
        let recovery = RecoveryStatus {
            watched: 1,
            failing: 0,
            queued: 0,
            in_progress: 0,
            waiting: 1,
            stuck: 0,
            incidents: vec![incident],
        };
        let kind = LoopKind::Recovery;
        check(
            &[LoopStatus { recovery: Some(Box::new(recovery)), kind, ..of("a", Health::Degraded) }],
            &[],
            "a is degraded for 1m0s: run r-2 is waiting, attempt 2 of 5: no place\n  \
             a incident: run r-2 is waiting, attempt 2 of 5: no place\nnext: the runs are polled again in 12s\n\
             gives up: a run is given up after attempt 5; loopkeeper recovery retry RUN tries again",
        );
    }

    #[test]
    fn the_chain_goes_on_to_where_it_begins() {
        check(
            &[waiting("a", &["b"]), waiting("b", &["c"]), of("c", Health::Down)],
            &[],
            "a is waiting for 1m0s: it waits for b, which is waiting and waits \
             for c, which is down: connection refused\n  \
             a requires: waits for b, which is waiting\n    \
             b requires: waits for c, which is down\n      \
             c error: connection refused\nnext: it starts when b can take work",
        );
        // One that runs and fails, perhaps because of another.
        let fails = LoopStatus { requires: names(&["b", "ok"]), ..of("a", Health::Down) };
        check(
            &[fails, of("b", Health::Down), of("ok", Health::Ready)],
            &[],
            "a is down for 1m0s: connection refused\n  a error: connection refused\n  \
             a requires: requires b, which is down\n    b error: connection refused\nnext: it asks again in 12s",
        );
        // A circle ends, and so does what nobody described.
        check(
            &[waiting("a", &["b", "c"]), waiting("b", &["a"])],
            &[],
            "a is waiting for 1m0s: it waits for b, which is waiting and waits \
             for a, which is waiting\n  \
             a requires: waits for b, which is waiting\n    \
             b requires: waits for a, which is waiting\n  \
             a requires: waits for c, which is not there\n\
             next: it starts when b, c can take work",
        );
    }

    #[test]
    fn one_behind_a_parent_names_it_and_the_way_to_it() {
        let behind = |name: &str, requires: &[&str], parent: &str| LoopStatus {
            parent: parent.parse().ok(),
            requires: names(requires),
            last_error: Some("no route".to_owned()),
            ..of(name, Health::Unknown)
        };
        check(
            &[behind("a", &["router"], "router"), of("router", Health::Down)],
            &[],
            "a is unknown (parent router) for 1m0s: it requires router, which is down: connection refused\n  \
             a requires: requires router, which is down\n    router error: connection refused\n  \
             a error: no route\nnext: it asks again in 12s",
        );
        // Through another, and not by what is down beside it.
        check(
            &[
                behind("a", &["cache", "switch", "ok"], "router"),
                behind("switch", &["router"], "router"),
                of("cache", Health::Down),
                of("ok", Health::Ready),
                of("router", Health::Down),
            ],
            &[],
            "a is unknown (parent router) for 1m0s: it requires switch, which is unknown (parent router) and \
             requires router, which is down: connection refused\n  \
             a requires: requires switch, which is unknown (parent router)\n    \
             switch requires: requires router, which is down\n      router error: connection refused\n    \
             switch error: no route\n  a requires: requires cache, which is down\n    \
             cache error: connection refused\n  a error: no route\nnext: it asks again in 12s",
        );
        // Through one that works in part.
        let switch = LoopStatus { requires: names(&["router"]), ..of("switch", Health::Degraded) };
        let child = behind("a", &["cache", "switch"], "router");
        let loops = [child, switch, of("cache", Health::Down), of("router", Health::Down)];
        let found = why("a", secs(0), &loops, &[]).unwrap();
        assert!(found.sentence.contains(": it requires switch, which is degraded"), "{found:?}");
        // One whose way to it nobody knows.
        let why = why("a", secs(0), &[behind("a", &[], "router"), of("router", Health::Down)], &[]).unwrap();
        assert_eq!(why.parent, "router".parse().ok());
        assert!(why.sentence.ends_with("it requires router, which is down: connection refused"), "{why:?}");
    }

    #[test]
    fn a_descriptor_that_cannot_be_used_is_a_cause() {
        let rejected = |name: &str, runs| Rejected {
            name: Some(name.parse().unwrap()),
            runs,
            file: format!("{name}.json"),
            error: "1:2: no".to_owned(),
        };
        check(
            &[],
            &[rejected("a", false)],
            "a does not run: its descriptor a.json cannot be used: 1:2: no\n  \
             a rejected: its descriptor a.json cannot be used: 1:2: no\n\
             next: it is read again when a.json changes",
        );
        check(
            &[of("a", Health::Ready)],
            &[rejected("a", true)],
            "a is ready for 1m0s: an edit of a.json cannot be used, what it said before still runs: 1:2: no\n  \
             a rejected: an edit of a.json cannot be used, what it said before still runs: 1:2: no\n\
             next: it asks again in 12s",
        );
        check(
            &[waiting("a", &["b"])],
            &[rejected("b", false)],
            "a is waiting for 1m0s: it waits for b, which is not there: its descriptor \
             b.json cannot be used: 1:2: no\n  a requires: waits for b, which is not there\n    \
             b rejected: its descriptor b.json cannot be used: 1:2: no\nnext: it starts when b can take work",
        );
        assert_eq!(why("b", Stamp::from_micros(AT), &[of("a", Health::Ready)], &[rejected("a", true)]), None);
    }

    #[test]
    fn the_one_in_trouble_is_meant_and_what_it_waits_for_is_named_anyway() {
        let component = LoopStatus { kind: LoopKind::Component, ..of("a", Health::Ready) };
        check(
            &[component, of("a", Health::Down)],
            &[],
            "a is down for 1m0s: connection refused\n  a error: connection refused\nnext: it asks again in 12s",
        );
        // It became ready a moment ago, and who waits has not noticed.
        check(
            &[waiting("a", &["b"]), of("b", Health::Ready)],
            &[],
            "a is waiting for 1m0s: it waits for b, which is ready\n  a requires: waits for b, which is ready\n\
             next: it starts when b can take work",
        );
        let late = LoopStatus {
            next_run: Some(Stamp::from_micros(AT)),
            attempt: 9,
            max_attempts: Some(10),
            ..of("a", Health::Down)
        };
        check(
            &[late],
            &[],
            "a is down for 1m0s: connection refused\n  a error: connection refused\nnext: it asks again at \
             once\ngives up: after 1 more attempt (9 of 10 were made) it stops asking often, and goes on at its \
             regular times",
        );
    }

    #[test]
    fn each_that_is_silent_is_said_to_be_wherever_it_is_met() {
        let silent = |name: &str| LoopStatus { runs: 0, ..of(name, Health::Unknown) };
        check(
            &[waiting("a", &["b", "x", "y"]), waiting("b", &["x"]), silent("x"), of("y", Health::Down)],
            &[],
            "a is waiting for 1m0s: it waits for b, which is waiting and waits for x, which is unknown: it was \
             not called yet\n  a requires: waits for b, which is waiting\n    \
             b requires: waits for x, which is unknown\n      x unheard: it was not called yet\n  \
             a requires: waits for x, which is unknown\n    x unheard: it was not called yet\n  \
             a requires: waits for y, which is down\n    y error: connection refused\n\
             next: it starts when b, x, y can take work",
        );
        // Beside one that says why.
        let why = why("a", secs(0), &[waiting("a", &["y", "x"]), of("y", Health::Down), silent("x")], &[]);
        let kinds: Vec<_> = why.unwrap().causes.iter().map(|cause| cause.kind.as_str()).collect();
        assert_eq!(kinds, ["requires", "error", "requires", "unheard"]);
    }

    #[test]
    fn a_monitor_is_as_its_checkers_are() {
        let checker = |name: &str, health, call| CheckerStatus {
            name: name.parse().unwrap(),
            role: Role::default(),
            health,
            since: secs(5),
            reason: (health != Health::Ready).then(|| "no".into()),
            last_check: None,
            age: None,
            duration: None,
            last_success: None,
            last_error: None,
            stuck_for: None,
            call,
            thread: None,
            deadline: Duration::from_secs(1),
            stale_after: Duration::from_secs(1),
            checks: CheckCounts::default(),
            items: Tally::default(),
            not_ready: Vec::new(),
            more_not_ready: 0,
            left_out: 0,
        };
        let call = |stuck| CallStatus {
            phase: "reading".into(),
            phase_for: Duration::from_secs(7),
            stuck,
            activity: None,
        };
        let monitor = |checkers| LoopStatus {
            kind: LoopKind::Monitor,
            monitor: Some(Box::new(MonitorStatus {
                poll_period: Duration::from_secs(1),
                principal: None,
                passes: 1,
                items: Tally::default(),
                checkers,
            })),
            ..of("a", Health::Down)
        };
        let checkers = vec![
            checker("c1", Health::Ready, None),
            checker("c2", Health::Degraded, Some(call(false))),
            checker("c3", Health::Unknown, Some(call(true))),
        ];
        check(
            &[monitor(checkers)],
            &[],
            "a is down for 1m0s: checker c2 is degraded: no\n  a checker: checker c2 is degraded: no\n  \
             a stuck: checker c3: its call is stuck, reading for 7s\nnext: its checkers look again in 12s",
        );
        let many = (0..200).map(|i| checker(&format!("c{i}"), Health::Down, None)).collect();
        assert_eq!(why("a", secs(0), &[monitor(many)], &[]).unwrap().causes.len(), MAX_CAUSES);
    }

    #[test]
    fn a_chain_is_followed_so_far() {
        let loops: Vec<LoopStatus> = (0..40)
            .map(|i| {
                let name = if i == 0 { "a".to_owned() } else { format!("x{i}") };
                waiting(&name, &[&format!("x{}", i + 1)])
            })
            .collect();
        let why = why("a", secs(0), &loops, &[]).unwrap();
        assert_eq!(why.causes.iter().map(|cause| cause.depth).max(), Some(MAX_DEPTH));
    }

    #[test]
    fn many_causes_are_bounded() {
        let all: Vec<String> = (0..200).map(|i| format!("x{i}")).collect();
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        let mut loops: Vec<LoopStatus> = all.iter().map(|name| waiting(name, &all)).collect();
        loops.push(waiting("a", &all));
        let why = why("a", Stamp::from_micros(AT), &loops, &[]).unwrap();
        assert!(why.causes.len() <= MAX_CAUSES + 1 && why.sentence.len() < 4096, "{}", why.causes.len());
    }
}
