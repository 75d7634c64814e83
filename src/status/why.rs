//! Why a loop is as it is: one sentence, the chain of causes, and what happens
//! next. A function of statuses and nothing else.

use std::fmt;

use serde::Serialize;

use super::{LoopStatus, Phase};
use crate::event::Health;
use crate::name::Name;
use crate::stamp::Stamp;

mod causes;
mod next;
mod sentence;
mod words;

use causes::Search;

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
    /// When it is tried again by itself; otherwise it is when it changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Stamp>,
}

/// Whether it is a monitor that nobody looks for.
fn has_no_checkers(status: &LoopStatus) -> bool {
    let is_empty = status.monitor.as_ref().is_some_and(|monitor| monitor.checkers.is_empty());
    is_empty && status.phase != Phase::Stopped
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
/// assert!(why.sentence.starts_with("db has been "));
/// assert!(status::why("nobody", at, &manager.statuses(), &[]).is_none());
/// # Ok::<(), loopkeeper::Error>(())
/// ```
#[must_use]
pub fn why(name: &str, at: Stamp, loops: &[LoopStatus], rejected: &[Rejected]) -> Option<Why> {
    let search = Search { loops, rejected };
    let Some(status) = search.find(name) else {
        let rejection = search.rejection(name)?;
        let name = rejection.name.clone()?;
        let what = causes::unused(rejection);
        let sentence = format!("{name} does not run: {what}");
        let cause = Cause { depth: 0, name: name.clone(), kind: CauseKind::Rejected, what, since: None };
        return Some(Why {
            name,
            health: Health::Unknown,
            ready: false,
            parent: None,
            sentence,
            causes: vec![cause],
            next: next::after_edit(rejection, at),
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
        sentence: sentence::of(status, at, &causes),
        next: next::of(status, at, search.rejection(status.name.as_str())),
        gives_up: next::gives_up(status),
        causes,
    })
}

#[cfg(test)]
mod tests;
