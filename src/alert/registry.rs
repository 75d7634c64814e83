//! Which loops of an environment have somebody told.

use std::sync::{Arc, Weak};

use super::AlertConfig;
use super::letter::Who;
use crate::env::Env;
use crate::event::LoopKind;
use crate::map::Map;
use crate::name::Name;
use crate::primitive::Mutex;

/// Starts to listen when there is something to tell.
pub(crate) trait Wakes: Send + Sync {
    fn wake(self: Arc<Self>);
}

/// The alerts of loops, each for as long as its loop has it.
#[derive(Default)]
pub(crate) struct Registry {
    entries: Mutex<Vec<(Who, Weak<AlertConfig>)>>,
    teller: Mutex<Option<Weak<dyn Wakes>>>,
}

impl Registry {
    /// That of an environment.
    pub(crate) fn of(env: &Env) -> Arc<Self> {
        env.shared()
    }

    /// Has alerts told for as long as there is the config, by whoever
    /// [tells](Self::told_by).
    pub(crate) fn add(&self, kind: LoopKind, name: &Name, config: &Arc<AlertConfig>) {
        {
            let mut entries = self.entries.lock();
            entries.retain(|(_, config)| config.strong_count() > 0);
            entries.push(((kind, name.clone()), Arc::downgrade(config)));
        }
        let teller = self.teller.lock().as_ref().and_then(Weak::upgrade);
        if let Some(teller) = teller {
            teller.wake();
        }
    }

    /// Who tells from now on; woken at once if there is somebody to tell.
    pub(crate) fn told_by(&self, teller: &Arc<dyn Wakes>) {
        *self.teller.lock() = Some(Arc::downgrade(teller));
        let is_empty = self.entries.lock().iter().all(|(_, config)| config.strong_count() == 0);
        if !is_empty {
            teller.clone().wake();
        }
    }

    /// The alerts of every loop; of two of one kind and name those made last.
    pub(crate) fn all(&self) -> Map<Who, Arc<AlertConfig>> {
        let entries = self.entries.lock();
        let mut all = Map::new();
        for (who, config) in entries.iter() {
            if let Some(config) = config.upgrade() {
                all.insert(who.clone(), config);
            }
        }
        all
    }
}
