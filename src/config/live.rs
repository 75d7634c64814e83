//! The configuration in force: a handle to one snapshot, and the one way in
//! which another takes its place.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Weak};

use super::Snapshot;
use super::fingerprint::Fingerprint;
use super::layers::Layers;
use super::merged::Merged;
use crate::clock::Clock;
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::primitive::{AtomicU64, Mutex, Ordering, thread};
use crate::stamp::Stamp;
use crate::tree::{Fault, Faults, Place};

/// A configuration that can be replaced while the program runs. Cloning is
/// cheap and shares it.
///
/// Take one [`snapshot`](Self::snapshot) for each unit of work. A reload
/// reads all layers again, has every [check](Layers::check) look at the
/// result, and puts it in force as a whole or not at all: whatever fails
/// before that keeps what is in force. An empty or half-written file is no
/// configuration.
///
/// # Threads
///
/// All methods may be called from any thread and from callbacks; a check may
/// read what is in force, while its own reload or validation of the same
/// configuration is refused with `InvalidState`. Nobody waits for a reload but
/// its caller.
///
/// # Examples
///
/// ```
/// use loopkeeper::config::{Config, Layers};
///
/// # let dir = std::env::temp_dir().join(format!("loopkeeper-doc-{}", std::process::id()));
/// # std::fs::create_dir_all(&dir)?;
/// # let path = dir.join("app.json");
/// std::fs::write(&path, r#"{"workers": 4}"#)?;
/// let config = Config::load(Layers::default().file(&path).check(|config| {
///     config.require::<u32>("workers").map(drop)
/// }))?;
/// assert!(!config.reload()?.has_changed());
///
/// std::fs::write(&path, r#"{"workers": "many"}"#)?;
/// assert!(config.reload().is_err());
/// assert_eq!(config.snapshot().int("workers", 0), 4);
///
/// std::fs::write(&path, r#"{"workers": 8}"#)?;
/// assert_eq!(config.reload()?.changed, ["workers"]);
/// assert_eq!(config.snapshot().int("workers", 0), 8);
/// # std::fs::remove_dir_all(&dir)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Config {
    shared: Arc<Shared>,
}

struct Shared {
    layers: Layers,
    clock: Clock,
    state: Mutex<State>,
    /// Given to attempts in the order in which they begin to read.
    tickets: AtomicU64,
    /// The threads that run checks: one that reloads would check for ever.
    checking: Mutex<Vec<thread::ThreadId>>,
    /// Hear of reloads by hand.
    watchers: Mutex<Vec<Weak<dyn Poke>>>,
}

struct State {
    current: Arc<Snapshot>,
    /// The ticket of the attempt that was last put in force.
    ticket: u64,
    /// The secrets' files that the last attempt asked for, found or not: one
    /// that was missing may come.
    secret_files: Vec<PathBuf>,
}

/// Somebody who tells of changes.
pub(super) trait Poke: Send + Sync {
    /// Has it look now.
    fn poke(&self);
}

/// What a reload did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reload {
    /// The generation in force now.
    pub generation: u64,
    /// The paths whose values are others now, in order.
    pub changed: Vec<String>,
}

impl Reload {
    /// Whether anything is different now.
    #[must_use]
    pub fn has_changed(&self) -> bool {
        !self.changed.is_empty()
    }
}

impl Config {
    /// Loads a configuration.
    ///
    /// # Errors
    ///
    /// `Config`: everything that is wrong with any layer, or what the checks
    /// refused. `Panicked` when a check did.
    pub fn load(layers: Layers) -> Result<Self> {
        Self::load_by(Clock::system(), layers)
    }

    /// Loads a configuration whose moments are those of the environment's
    /// clock.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load).
    pub fn load_in(env: &Env, layers: Layers) -> Result<Self> {
        Self::load_by(env.clock().clone(), layers)
    }

    fn load_by(clock: Clock, layers: Layers) -> Result<Self> {
        let merged = layers.merge();
        let secret_files = merged.secret_files.clone();
        let snapshot = accept(&layers, merged, 1, Stamp::from(clock.wall()))?;
        let state = Mutex::new(State { current: Arc::new(snapshot), ticket: 0, secret_files });
        let (tickets, checking, watchers) = (AtomicU64::new(0), Mutex::default(), Mutex::default());
        Ok(Self { shared: Arc::new(Shared { layers, clock, state, tickets, checking, watchers }) })
    }

    /// The configuration in force.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.shared.state.lock().current.clone()
    }

    /// Reads all layers again and puts them in force if they are right. The
    /// environment is as it was at the load.
    ///
    /// The same content does nothing. Content that is written differently and
    /// means the same brings the places up to date: no new generation, and
    /// nobody is told. A watcher of this configuration tells of the rest at
    /// once.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load); what was in force still is. `InvalidState` from
    /// a check.
    pub fn reload(&self) -> Result<Reload> {
        self.refuse_in_check()?;
        let current = self.snapshot();
        if self.look()? == current.fingerprint() {
            return Ok(Reload { generation: current.generation(), changed: Vec::new() });
        }
        let reload = self.attempt(|| Ok(()));
        if reload.as_ref().map_or(true, Reload::has_changed) {
            self.poke();
        }
        reload
    }

    /// Reads all layers and says what a [`reload`](Self::reload) would
    /// change, without putting it in force.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load): why it would be refused. `InvalidState` from a
    /// check.
    pub fn validate(&self) -> Result<Vec<String>> {
        self.refuse_in_check()?;
        let current = self.snapshot();
        let merged = self.shared.layers.merge();
        let next = self.accept(merged, current.generation(), current.loaded_at())?;
        Ok(next.changes_since(&current))
    }

    /// What is on disk now, without looking into it.
    pub(super) fn look(&self) -> Result<Fingerprint, Faults> {
        let secret_files = self.shared.state.lock().secret_files.clone();
        self.shared.layers.look(&secret_files)
    }

    /// Reads all layers and puts them in force, if they are right and
    /// `may_publish` says so. No lock is held but for the exchange: an attempt
    /// that began to read earlier than the one in force is dropped.
    pub(super) fn attempt(&self, may_publish: impl FnOnce() -> Result<()>) -> Result<Reload> {
        let shared = &*self.shared;
        let ticket = shared.tickets.fetch_add(1, Ordering::Relaxed) + 1;
        let merged = shared.layers.merge();
        shared.state.lock().secret_files = merged.secret_files.clone();
        let (generation, now) = (self.snapshot().generation() + 1, Stamp::from(shared.clock.wall()));
        let next = self.accept(merged, generation, now)?;
        may_publish()?;
        let mut state = shared.state.lock();
        let current = state.current.clone();
        let unchanged = Reload { generation: current.generation(), changed: Vec::new() };
        if ticket < state.ticket {
            return Ok(unchanged);
        }
        state.ticket = ticket;
        let changed = next.changes_since(&current);
        if changed.is_empty() {
            if next.fingerprint() != current.fingerprint() {
                state.current = Arc::new(next.continues(&current));
            }
            return Ok(unchanged);
        }
        let next = next.follows(&current);
        let generation = next.generation();
        state.current = Arc::new(next);
        Ok(Reload { generation, changed })
    }

    /// Whether any part of it is in a file.
    pub(super) fn is_on_disk(&self) -> bool {
        self.shared.layers.has_file() || !self.shared.state.lock().secret_files.is_empty()
    }

    fn accept(&self, merged: Merged, generation: u64, now: Stamp) -> Result<Snapshot> {
        let me = thread::current().id();
        self.shared.checking.lock().push(me);
        // Checks that panic are caught, so this thread comes back.
        let result = accept(&self.shared.layers, merged, generation, now);
        let mut checking = self.shared.checking.lock();
        if let Some(idx) = checking.iter().position(|checking| *checking == me) {
            checking.swap_remove(idx);
        }
        result
    }

    /// Whether the caller is in a check of it.
    pub(crate) fn is_own_check(&self) -> bool {
        self.shared.checking.lock().contains(&thread::current().id())
    }

    fn refuse_in_check(&self) -> Result<()> {
        if self.is_own_check() {
            let text = "a check cannot load the configuration that it looks at";
            return Err(Error::new(ErrorKind::InvalidState).context(text));
        }
        Ok(())
    }

    /// The name of the file, if there is one.
    pub(super) fn source(&self) -> Option<String> {
        self.shared.layers.file_name()
    }

    pub(super) fn add_watcher(&self, watcher: Weak<dyn Poke>) {
        let mut watchers = self.shared.watchers.lock();
        watchers.retain(|watcher| watcher.strong_count() > 0);
        watchers.push(watcher);
    }

    fn poke(&self) {
        let watchers = self.shared.watchers.lock().clone();
        watchers.iter().filter_map(Weak::upgrade).for_each(|watcher| watcher.poke());
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config").field("snapshot", &self.snapshot()).finish_non_exhaustive()
    }
}

/// Makes a snapshot of what was read, if all of it is right.
fn accept(layers: &Layers, merged: Merged, generation: u64, now: Stamp) -> Result<Snapshot> {
    if let Some(faults) = merged.faults() {
        return Err(faults.into());
    }
    let snapshot = Snapshot::new(merged, generation, now);
    let merged = snapshot.merged();
    let mut errors = Vec::new();
    for check in layers.checks() {
        match catch_unwind(AssertUnwindSafe(|| check(&snapshot).map_err(|error| merged.refusal(&error)))) {
            Ok(result) => errors.extend(result.err()),
            Err(payload) => errors.push(panicked(payload, merged)),
        }
    }
    match errors.as_slice() {
        [] => Ok(snapshot),
        [error] => Err(error.clone()),
        errors => {
            // As faults, so that an event can tell them without their values.
            let whole = |error: &Error| Fault {
                place: Place::whole("check"),
                key: String::new(),
                message: error.report().to_string(),
            };
            let faults = errors.iter().flat_map(|error| match faults_of(error) {
                Some(faults) => faults.clone().into_vec(),
                None => vec![whole(error)],
            });
            let faults = Faults::collect(faults.collect());
            Err(faults.map_or_else(|| Error::new(ErrorKind::Config), Error::from))
        }
    }
}

/// The faults that an error stands for.
pub(super) fn faults_of(error: &Error) -> Option<&Faults> {
    std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<Faults>())
}

fn panicked(payload: Box<dyn Any + Send>, merged: &Merged) -> Error {
    let text = merged.concealed(Error::from_panic(&*payload).to_string());
    let error = Error::new(ErrorKind::Panicked).context(text);
    // A payload whose drop panics must not end the thread.
    let _ = catch_unwind(AssertUnwindSafe(|| drop(payload)));
    error
}
