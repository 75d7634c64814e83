//! Who is called back when values change: per key, on the dispatcher.

use std::fmt;
use std::sync::{Arc, Weak};

use super::{Config, Snapshot, path};
use crate::event::{Event, EventKind};
use crate::observe::{Observer, contain};
use crate::primitive::{AtomicBool, Mutex, Ordering};
use crate::tree::Node;

type Call = Box<dyn FnMut(&Change<'_>) + Send>;

/// What changed below one key. Both configurations are whole: read whatever
/// belongs together from the same one.
#[derive(Debug)]
pub struct Change<'a> {
    key: &'a str,
    old: &'a Arc<Snapshot>,
    new: &'a Arc<Snapshot>,
}

impl<'a> Change<'a> {
    /// The key that was subscribed to; empty for all of them.
    #[must_use]
    pub fn key(&self) -> &'a str {
        self.key
    }

    /// The configuration before.
    #[must_use]
    pub fn before(&self) -> &'a Arc<Snapshot> {
        self.old
    }

    /// The configuration that is in force.
    #[must_use]
    pub fn after(&self) -> &'a Arc<Snapshot> {
        self.new
    }

    /// The value before, if there was one.
    #[must_use]
    pub fn old_value(&self) -> Option<&'a Node> {
        value(self.old, self.key)
    }

    /// The value now, if there is one.
    #[must_use]
    pub fn new_value(&self) -> Option<&'a Node> {
        value(self.new, self.key)
    }

    fn is_one(&self) -> bool {
        match (self.old_value(), self.new_value()) {
            (Some(old), Some(new)) => !old.has_same_values(new),
            (None, None) => false,
            _ => true,
        }
    }
}

fn value<'a>(snapshot: &'a Snapshot, key: &str) -> Option<&'a Node> {
    if key.is_empty() { Some(snapshot.root()) } else { path::find(snapshot.root(), key) }
}

/// Keeps a subscription to changes in place until dropped.
#[must_use = "the subscription ends when the guard is dropped"]
#[derive(Debug)]
pub struct ChangeGuard {
    listeners: Weak<Listeners>,
    listener: Arc<Listener>,
}

impl Drop for ChangeGuard {
    fn drop(&mut self) {
        if let Some(listeners) = self.listeners.upgrade() {
            listeners.all.lock().retain(|listener| !Arc::ptr_eq(listener, &self.listener));
        }
        // For whoever is being told just now and has not come to this one.
        self.listener.is_over.store(true, Ordering::Relaxed);
    }
}

/// One who listens. The call is out of its place while it runs, so that no
/// lock is held.
struct Listener {
    key: String,
    call: Mutex<Option<Call>>,
    /// Whether its guard is gone.
    is_over: AtomicBool,
}

impl Listener {
    fn new(key: String, call: Call) -> Arc<Self> {
        Arc::new(Self { key, call: Mutex::new(Some(call)), is_over: AtomicBool::new(false) })
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").field("key", &self.key).finish_non_exhaustive()
    }
}

/// All who listen to one watcher.
#[derive(Debug)]
pub(super) struct Listeners {
    config: Config,
    all: Mutex<Vec<Arc<Listener>>>,
    /// The configuration that the listeners know.
    seen: Mutex<Arc<Snapshot>>,
}

impl Listeners {
    pub(super) fn new(config: &Config, seen: Arc<Snapshot>) -> Self {
        Self { config: config.clone(), all: Mutex::new(Vec::new()), seen: Mutex::new(seen) }
    }

    pub(super) fn add(self: &Arc<Self>, key: String, call: Call) -> ChangeGuard {
        let listener = Listener::new(key, call);
        self.all.lock().push(listener.clone());
        ChangeGuard { listeners: Arc::downgrade(self), listener }
    }

    /// Adds one who listens as long as the watcher is there.
    pub(super) fn keep(self: &Arc<Self>, key: String, call: Call) {
        self.all.lock().push(Listener::new(key, call));
    }

    /// Tells an event to the observer, and changes to those who listen. What
    /// changed is found from the configurations themselves: when several
    /// reloads came while a call ran, the next call tells their sum.
    pub(super) fn handle(&self, observer: &Observer, event: &Event) {
        if let Some(on_event) = &observer.on_event {
            contain(|| on_event(event));
        }
        if !matches!(event.what, EventKind::ConfigReloaded { .. }) {
            return;
        }
        let new = self.config.snapshot();
        let old = std::mem::replace(&mut *self.seen.lock(), new.clone());
        if old.generation() == new.generation() {
            return;
        }
        let all = self.all.lock().clone();
        for listener in all {
            let change = Change { key: &listener.key, old: &old, new: &new };
            if !change.is_one() || listener.is_over.load(Ordering::Relaxed) {
                continue;
            }
            let taken = listener.call.lock().take();
            if let Some(mut call) = taken {
                contain(|| call(&change));
                *listener.call.lock() = Some(call);
            }
        }
    }
}
