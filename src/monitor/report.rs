//! Where a checker says how each item is.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::error::{BoxError, Error, clip};
use crate::event::Health;
use crate::primitive::Mutex;

/// How many items of one call are kept; further ones are counted.
const MAX_ITEMS: usize = 10_000;
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
/// reported after the call was given up is dropped.
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
pub struct Report(Arc<Mutex<Found>>);

#[derive(Default)]
struct Found {
    items: BTreeMap<String, ItemState>,
    /// How many more there were than are kept.
    more: u64,
    closed: bool,
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
        self.0.lock().items.clone()
    }

    fn set(&self, name: String, state: ItemState) {
        let name = clip(name, MAX_NAME);
        let mut found = self.0.lock();
        if found.closed {
            return;
        }
        if found.items.len() >= MAX_ITEMS && !found.items.contains_key(&name) {
            found.more += 1;
            return;
        }
        let before = found.items.insert(name, state);
        drop(found);
        drop(before);
    }
}

impl fmt::Debug for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Report").field("items", &self.0.lock().items.len()).finish_non_exhaustive()
    }
}
