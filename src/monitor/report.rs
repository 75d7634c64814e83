//! Where a checker says how each item is.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::backoff::hash;
use crate::error::{BoxError, Error, clip};
use crate::event::Health;
use crate::primitive::{AtomicBool, Mutex, Ordering};
use crate::status::Tally;

/// How many items of one call are kept; of further ones only the states are
/// counted.
pub(super) const MAX_ITEMS: usize = 10_000;
/// The longest name of an item, in bytes.
const MAX_NAME: usize = 256;
/// The longest reason, in bytes.
const MAX_REASON: usize = 1024;

/// How one item is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ItemState {
    /// Its state.
    pub health: Health,
    /// Why it is not ready.
    pub reason: Option<String>,
}

/// What one call of a checker says of its items. Cheap to clone.
///
/// An item that is reported twice is as it was reported last. What is
/// reported after the call was given up is dropped. 10,000 items are kept; of
/// further ones only the states count, each as often as it is reported. A name
/// of more than 256 bytes is cut, and numbered by a hash of the whole.
///
/// # Examples
///
/// ```
/// use loopkeeper::Health;
/// use loopkeeper::monitor::Report;
///
/// let report = Report::new();
/// report.item("a", Ok::<(), String>(()));
/// report.item("b", Err("no answer"));
/// report.state("c", Health::Degraded, "BUILD");
/// let items = report.items();
/// assert_eq!(items["b"].reason.as_deref(), Some("no answer"));
/// assert_eq!(items["c"].health, Health::Degraded);
/// ```
#[derive(Clone, Default)]
pub struct Report(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Whether something may have been found. Most calls say nothing of items,
    /// and what they did not say is taken without the lock.
    has_found: AtomicBool,
}

#[derive(Default)]
struct State {
    found: Found,
    closed: bool,
}

/// What one call has reported.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) items: BTreeMap<String, ItemState>,
    /// The states of those that are not kept.
    pub(super) more: Tally,
}

impl Report {
    /// A report without items: what a checker is handed, for tests of it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Says how an item is: ready, or down for a reason.
    pub fn item<E: Into<BoxError>>(&self, name: impl Into<String>, result: Result<(), E>) {
        match result {
            Ok(()) => self.set(name.into(), ItemState { health: Health::Ready, reason: None }),
            Err(error) => {
                let error: BoxError = error.into();
                let reason = Error::from_user(&*error).report().to_string();
                self.state(name, Health::Down, reason);
            }
        }
    }

    /// Says in which state an item is, and why if that is not ready.
    pub fn state(&self, name: impl Into<String>, health: Health, reason: impl Into<String>) {
        let reason = Some(clip(reason.into(), MAX_REASON)).filter(|reason| !reason.is_empty());
        self.set(name.into(), ItemState { health, reason });
    }

    /// What was reported so far, by name.
    #[must_use]
    pub fn items(&self) -> BTreeMap<String, ItemState> {
        self.0.state.lock().found.items.clone()
    }

    /// Takes what was reported, so that another call may use the report.
    #[inline]
    pub(super) fn take(&self) -> Found {
        if !self.0.has_found.load(Ordering::Acquire) {
            return Found::default();
        }
        let mut state = self.0.state.lock();
        self.0.has_found.store(false, Ordering::Relaxed);
        std::mem::take(&mut state.found)
    }

    /// Takes what was reported, and drops what is reported from now on.
    pub(super) fn close(&self) -> Found {
        let mut state = self.0.state.lock();
        state.closed = true;
        std::mem::take(&mut state.found)
    }

    /// A report that begins with what another one has.
    pub(super) fn with(found: Found) -> Self {
        let state = Mutex::new(State { found, closed: false });
        Self(Arc::new(Shared { state, has_found: AtomicBool::new(true) }))
    }

    /// Whether both are the same.
    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// How many hold it.
    pub(super) fn holders(&self) -> usize {
        Arc::strong_count(&self.0)
    }

    fn set(&self, name: String, item: ItemState) {
        let name = bounded(name);
        let mut state = self.0.state.lock();
        if state.closed {
            return;
        }
        self.0.has_found.store(true, Ordering::Release);
        let found = &mut state.found;
        if found.items.len() >= MAX_ITEMS && !found.items.contains_key(&name) {
            found.more.add(item.health);
            return;
        }
        let before = found.items.insert(name, item);
        drop(state);
        drop(before);
    }
}

/// Cuts a name that is too long. Two that begin alike stay two.
fn bounded(name: String) -> String {
    if name.len() <= MAX_NAME {
        return name;
    }
    let whole = hash(&name);
    format!("{}{whole:016x}", clip(name, MAX_NAME))
}

impl fmt::Debug for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Report")
            .field("items", &self.0.state.lock().found.items.len())
            .finish_non_exhaustive()
    }
}
