//! What was applied, what is under way, and what failed: the memory of a
//! deployer. Pure: time comes in, events go out.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::candidate::{Candidate, Reading};
use super::change::Change;
use super::fingerprint::Fingerprint;
use super::scan::shown;
use super::target::Outcome;
use crate::backoff::Backoff;
use crate::clock::Tick;
use crate::error::{Error, ErrorClass, ErrorKind};
use crate::event::EventKind;
use crate::map::Map;
use crate::name::Name;
use crate::order;

/// How often a content is tried before it is rejected.
const TRIES: u32 = 3;

/// What a deployer has done and could not do.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Board {
    /// What runs, by name, and the file it came from.
    pub running: BTreeMap<Name, PathBuf>,
    /// What is being started, replaced or stopped.
    pub under_way: Vec<Name>,
    /// What cannot be used, in the order of the files.
    pub rejected: Vec<Rejection>,
}

/// A file whose content cannot be used.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Rejection {
    /// The file.
    pub file: PathBuf,
    /// Why.
    pub error: Error,
    /// Whose descriptor it is, where it tells that.
    pub(super) name: Option<Name>,
    /// When this content is tried again by itself; `NEVER`: when it changes.
    pub(super) again: Tick,
}

/// Something that runs, or that its target keeps trying to run.
#[derive(Debug, Clone)]
pub(super) struct Running {
    pub(super) path: PathBuf,
    pub(super) meaning: Fingerprint,
    pub(super) requires: Vec<Name>,
    /// When a stop that failed is tried again.
    pub(super) stop_again: Tick,
    stop_failures: u32,
    /// A stop of it has begun and did not end well: what is left of it nobody
    /// knows.
    is_halted: bool,
}

/// An operation that is not over.
#[derive(Debug, Clone)]
struct UnderWay {
    what: What,
    path: PathBuf,
    content: Fingerprint,
    meaning: Fingerprint,
    requires: Vec<Name>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Start,
    Replace,
    Stop,
}

/// A content that failed.
#[derive(Debug, Clone)]
pub(super) struct Trouble {
    pub(super) content: Fingerprint,
    /// `NEVER`: it is rejected until it changes.
    pub(super) again: Tick,
    pub(super) error: Error,
    tries: u32,
    /// Whose changes may end it, when others stand in the way.
    waits_for: Option<Vec<Name>>,
}

#[derive(Debug)]
pub(super) struct Ledger {
    // Boxes, so that maps of these are one kind of map: the code of each takes
    // some kilobytes.
    running: Map<Name, Box<Running>>,
    under_way: Map<Name, Box<UnderWay>>,
    trouble: Map<Name, Box<Trouble>>,
    /// Until when a name is left alone whose operation was cancelled.
    paused: Map<Name, Tick>,
    /// What stood in the folder at the last scan and did not tell its name.
    seen: Map<PathBuf, Option<Fingerprint>>,
    /// What was rejected at the last scan, and so was told.
    rejected: Map<PathBuf, Rejection>,
    /// Whether somebody changed for whom something waits.
    woken: bool,
    backoff: Backoff,
}

impl Ledger {
    pub(super) fn new(retry_delay: Duration) -> Self {
        let max = Duration::from_secs(60).max(retry_delay);
        Self {
            running: Map::new(),
            under_way: Map::new(),
            trouble: Map::new(),
            paused: Map::new(),
            seen: Map::new(),
            rejected: Map::new(),
            woken: false,
            backoff: Backoff { initial: retry_delay, max, multiplier: 2.0, jitter: 0.0 },
        }
    }

    pub(super) fn running(&self) -> impl Iterator<Item = (&Name, &Running)> {
        self.running.iter().map(|(name, running)| (name, &**running))
    }

    pub(super) fn get(&self, name: &Name) -> Option<&Running> {
        self.running.get(name).map(|running| &**running)
    }

    /// Whether what runs has this meaning, and nobody has begun to stop it.
    pub(super) fn runs(&self, name: &Name, meaning: Fingerprint) -> bool {
        self.get(name).is_some_and(|running| running.meaning == meaning && !running.is_halted)
    }

    pub(super) fn trouble(&self, name: &Name) -> Option<&Trouble> {
        self.trouble.get(name).map(|trouble| &**trouble)
    }

    /// Whether an operation about this name is not over.
    pub(super) fn is_under_way(&self, name: &Name) -> bool {
        self.under_way.contains_key(name)
    }

    /// Whether an operation about this name was cancelled just now.
    pub(super) fn is_paused(&self, name: &Name, now: Tick) -> bool {
        self.paused.get(name).is_some_and(|until| now < *until)
    }

    /// When the next failed content or stop is to be tried again; `NEVER` when
    /// there is none.
    pub(super) fn again(&self, now: Tick) -> Tick {
        let troubles = self.trouble.values().map(|trouble| trouble.again);
        let stops = self.running.values().map(|running| running.stop_again);
        let pauses = self.paused.values().copied();
        troubles.chain(stops).chain(pauses).filter(|again| *again > now).min().unwrap_or(Tick::NEVER)
    }

    /// Whether something can be tried again that waited for others; said once.
    pub(super) fn wakes(&mut self) -> bool {
        std::mem::take(&mut self.woken)
    }

    /// Whether the last scan saw this file, which does not tell its name, with
    /// this content.
    pub(super) fn has_seen(&self, path: &Path, content: Option<Fingerprint>) -> bool {
        self.seen.get(path) == Some(&content)
    }

    pub(super) fn board(&self) -> Board {
        Board {
            running: order::map(
                self.running.iter().map(|(name, running)| (name.clone(), running.path.clone())),
            ),
            under_way: self.under_way.keys().cloned().collect(),
            rejected: self.rejected.values().cloned().collect(),
        }
    }

    /// How many files are rejected, if more than one is, and why the first is.
    pub(super) fn rejection(&self) -> Option<Error> {
        let Rejection { error: first, .. } = self.rejected.values().next()?;
        Some(match self.rejected.len() {
            1 => first.clone(),
            n => {
                let text = format!("{n} files are rejected, the first: {}", first.report());
                Error::new(first.kind()).with_class(first.class()).context(text)
            }
        })
    }

    /// Remembers what a scan saw and what was planned about it: what moved,
    /// what is rejected, what is forgotten. Tells what is rejected newly.
    pub(super) fn note(&mut self, files: &[Candidate], changes: &[Change], events: &mut Vec<EventKind>) {
        let mut asked: Vec<&str> = Vec::new();
        let mut right: HashMap<&str, usize> = HashMap::new();
        // Asked for about what failed alone.
        let failed = !self.trouble.is_empty() || !self.paused.is_empty();
        for (idx, file) in files.iter().enumerate().filter(|_| failed) {
            match &file.reading {
                Reading::Right { name, .. } => _ = right.entry(name.as_str()).or_insert(idx),
                Reading::Wrong { name, .. } => asked.extend(name.as_ref().map(Name::as_str)),
            }
        }
        order::sort(&mut asked);
        let is_asked = |name: &Name| asked.binary_search(&name.as_str()).is_ok();
        // Put back, a content is tried anew.
        self.trouble.retain(|name, _| right.contains_key(name.as_str()) || is_asked(name));
        self.paused.retain(|name, _| right.contains_key(name.as_str()));
        let nameless = |file: &&Candidate| matches!(file.reading, Reading::Wrong { name: None, .. });
        self.seen = files.iter().filter(nameless).map(|file| (file.path.clone(), file.content)).collect();
        let before = std::mem::take(&mut self.rejected);
        for change in changes {
            match change {
                Change::Keep { name, file: Some(file) } => {
                    self.trouble.remove(name);
                    if let Some(running) = self.running.get_mut(name) {
                        running.path.clone_from(&files[*file].path);
                    }
                }
                Change::Wait { name } => {
                    let (Some(&idx), Some(trouble)) = (right.get(name.as_str()), self.trouble.get(name))
                    else {
                        continue;
                    };
                    let operation = self.under_way.get(name);
                    let is_tried = operation.is_some_and(|operation| operation.content == trouble.content);
                    // What is tried again later is as little in use as what is
                    // not; of what is tried now nothing is known.
                    if Some(trouble.content) == files[idx].content && !is_tried {
                        let (error, again) = (trouble.error.clone(), trouble.again);
                        self.reject(&files[idx].path, Some(name), error, again);
                    }
                }
                Change::Reject { file, error } => {
                    let Candidate { path, reading, .. } = &files[*file];
                    let name = reading.name();
                    if !before.get(path).is_some_and(|told| same(&told.error, error)) {
                        let (name, file, error) = (name.cloned(), shown(path), error.clone());
                        events.push(EventKind::Rejected { name, file, error, retry_in: None });
                    }
                    self.reject(path, name, error.clone(), Tick::NEVER);
                }
                _ => {}
            }
        }
    }

    fn reject(&mut self, path: &Path, name: Option<&Name>, error: Error, again: Tick) {
        let rejection = Rejection { file: path.to_owned(), error, name: name.cloned(), again };
        self.rejected.insert(path.to_owned(), rejection);
    }

    /// Marks that an operation begins.
    pub(super) fn begin(&mut self, name: &Name, change: &Change, files: &[Candidate]) {
        let (what, file) = match change {
            Change::Start { file, .. } => (What::Start, Some(*file)),
            Change::Replace { file, .. } => (What::Replace, Some(*file)),
            _ => (What::Stop, None),
        };
        let nothing = Fingerprint::of(b"");
        let file = file.map(|file| &files[file]);
        let (meaning, requires) = match file.map(|file| &file.reading) {
            Some(Reading::Right { meaning, requires, .. }) => {
                (*meaning, requires.iter().map(|(name, _)| name.clone()).collect())
            }
            _ => (nothing, Vec::new()),
        };
        let path = file.map(|file| file.path.clone()).unwrap_or_default();
        let content = file.and_then(|file| file.content).unwrap_or(nothing);
        if let (What::Stop, Some(running)) = (what, self.running.get_mut(name)) {
            running.is_halted = true;
        }
        let operation = UnderWay { what, path, content, meaning, requires };
        self.under_way.insert(name.clone(), Box::new(operation));
    }

    /// Takes in how an operation ended.
    pub(super) fn end(&mut self, name: &Name, outcome: Outcome, now: Tick, events: &mut Vec<EventKind>) {
        let Some(ended) = self.under_way.remove(name) else { return };
        if matches!(outcome, Outcome::Done) {
            let waits =
                |trouble: &&mut Box<Trouble>| trouble.waits_for.as_ref().is_some_and(|it| it.contains(name));
            for trouble in self.trouble.values_mut().filter(waits) {
                trouble.again = now;
                self.woken = true;
            }
        }
        match (ended.what, outcome) {
            (What::Stop, Outcome::Done) => {
                self.running.remove(name);
                events.push(EventKind::Undeployed { name: name.clone() });
            }
            (What::Stop, outcome) => self.fail_stop(name, outcome, now, events),
            (what, Outcome::Done) => {
                self.trouble.remove(name);
                self.rejected.remove(&ended.path);
                let UnderWay { path, meaning, requires, .. } = *ended;
                let (stop_again, stop_failures, is_halted) = (Tick::ZERO, 0, false);
                let running = Running { path, meaning, requires, stop_again, stop_failures, is_halted };
                let replaced = self.running.insert(name.clone(), Box::new(running)).is_some();
                events.push(if replaced || what == What::Replace {
                    EventKind::Replaced { name: name.clone() }
                } else {
                    EventKind::Deployed { name: name.clone() }
                });
            }
            (_, Outcome::Failed(error)) => {
                self.fail(name, *ended, error, now, events, &|name, file, error, retry_in| {
                    EventKind::Rejected { name: Some(name), file, error, retry_in }
                });
            }
            (_, outcome @ (Outcome::RolledBack(_) | Outcome::RollingBack(_))) => {
                let restored = matches!(outcome, Outcome::RolledBack(_));
                if let (true, Some(running)) = (restored, self.running.get_mut(name)) {
                    running.is_halted = false;
                }
                let (Outcome::RolledBack(error) | Outcome::RollingBack(error)) = outcome else { return };
                self.fail(name, *ended, error, now, events, &|name, _, error, retry_in| {
                    EventKind::RolledBack { name, error, restored, retry_in }
                });
            }
        }
    }

    /// Takes in that a component could not be built.
    pub(super) fn refuse(
        &mut self,
        name: &Name,
        file: &Candidate,
        error: Error,
        now: Tick,
        events: &mut Vec<EventKind>,
    ) {
        let Some(content) = file.content else { return };
        let event =
            |name, file, error, retry_in| EventKind::Rejected { name: Some(name), file, error, retry_in };
        self.fail_content(name, (file.path.clone(), content), None, error, now, events, &event);
    }

    /// Takes in that an operation did not succeed.
    fn fail(
        &mut self,
        name: &Name,
        ended: UnderWay,
        error: Error,
        now: Tick,
        events: &mut Vec<EventKind>,
        event: &dyn Fn(Name, String, Error, Option<Duration>) -> EventKind,
    ) {
        if error.class() == ErrorClass::Cancelled {
            // The target ends, or was told to: no fault of the content. To
            // begin again at once could go on for ever.
            self.paused.insert(name.clone(), now + self.backoff.delay(1));
            return;
        }
        // What others do stands in its way, and may change: no content is to
        // blame for that.
        let is_blocked =
            matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InvalidState | ErrorKind::Duplicate);
        let waits_for = is_blocked.then_some(ended.requires);
        self.fail_content(name, (ended.path, ended.content), waits_for, error, now, events, event);
    }

    #[allow(
        clippy::too_many_arguments,
        reason = "what failed, when and how it is told; called in two places"
    )]
    fn fail_content(
        &mut self,
        name: &Name,
        (path, content): (PathBuf, Fingerprint),
        waits_for: Option<Vec<Name>>,
        error: Error,
        now: Tick,
        events: &mut Vec<EventKind>,
        event: &dyn Fn(Name, String, Error, Option<Duration>) -> EventKind,
    ) {
        let is_same = |trouble: &&Trouble| {
            trouble.content == content && trouble.waits_for.is_some() == waits_for.is_some()
        };
        let earlier = self.trouble(name).filter(is_same);
        let tries = earlier.map_or(0, |trouble| trouble.tries) + 1;
        let for_good = error.class() == ErrorClass::Terminal || tries >= TRIES && waits_for.is_none();
        let retry_in = (!for_good).then(|| self.backoff.delay(tries));
        let again = retry_in.map_or(Tick::NEVER, |delay| now + delay);
        events.push(event(name.clone(), shown(&path), error.clone(), retry_in));
        self.reject(&path, Some(name), error.clone(), again);
        let trouble = Trouble { content, again, error, tries, waits_for };
        self.trouble.insert(name.clone(), Box::new(trouble));
    }

    fn fail_stop(&mut self, name: &Name, outcome: Outcome, now: Tick, events: &mut Vec<EventKind>) {
        let (Outcome::Failed(error) | Outcome::RolledBack(error) | Outcome::RollingBack(error)) = outcome
        else {
            return;
        };
        if error.kind() == ErrorKind::NotFound {
            // Somebody else took it away.
            self.running.remove(name);
            events.push(EventKind::Undeployed { name: name.clone() });
            return;
        }
        let Some(running) = self.running.get_mut(name) else { return };
        if error.class() == ErrorClass::Cancelled {
            running.stop_again = now + self.backoff.delay(1);
            return;
        }
        running.stop_failures = running.stop_failures.saturating_add(1);
        let delay = self.backoff.delay(running.stop_failures);
        running.stop_again = now + delay;
        events.push(EventKind::UndeployFailed { name: name.clone(), error, retry_in: delay });
    }
}

/// Whether two errors say the same.
fn same(a: &Error, b: &Error) -> bool {
    a.kind() == b.kind() && a.report().to_string() == b.report().to_string()
}
