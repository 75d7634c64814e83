//! The runs that are watched: found by name, in the order of their names, and
//! at once by the place of each, which a poll knows.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::watch::Watch;

#[derive(Default)]
pub(in crate::recovery) struct Watches {
    names: BTreeMap<Arc<str>, usize>,
    places: Vec<Option<Box<Watch>>>,
    /// The places that are nobody's.
    free: Vec<usize>,
}

impl Watches {
    pub(in crate::recovery) fn len(&self) -> usize {
        self.names.len()
    }

    pub(in crate::recovery) fn contains(&self, run: &str) -> bool {
        self.names.contains_key(run)
    }

    /// The key of the run of this name.
    pub(super) fn key(&self, run: &str) -> Option<&Arc<str>> {
        self.names.get_key_value(run).map(|(key, _)| key)
    }

    pub(in crate::recovery) fn get(&self, run: &str) -> Option<&Watch> {
        self.places[*self.names.get(run)?].as_deref()
    }

    pub(super) fn get_mut(&mut self, run: &str) -> Option<&mut Watch> {
        self.places[*self.names.get(run)?].as_deref_mut()
    }

    pub(super) fn place(&self, run: &str) -> Option<usize> {
        self.names.get(run).copied()
    }

    /// The run that has this place now: not always the one that had it when
    /// the place was asked for.
    pub(super) fn peek(&self, place: usize) -> Option<&Watch> {
        self.places.get(place)?.as_deref()
    }

    pub(super) fn at(&mut self, place: usize) -> Option<&mut Watch> {
        self.places.get_mut(place)?.as_deref_mut()
    }

    /// In the order of their names.
    pub(in crate::recovery) fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Watch)> {
        self.names.iter().filter_map(|(run, place)| Some((run, self.places[*place].as_deref()?)))
    }

    /// Has each of them changed, in the order of their names.
    pub(super) fn for_each(&mut self, mut change: impl FnMut(usize, &mut Watch)) {
        for place in self.names.values() {
            if let Some(watch) = self.places[*place].as_deref_mut() {
                change(*place, watch);
            }
        }
    }

    /// Takes in one that is not there yet.
    pub(super) fn insert(&mut self, watch: Watch) {
        let run = watch.run.clone();
        let place = self.free.pop().unwrap_or(self.places.len());
        if place == self.places.len() {
            self.places.push(None);
        }
        self.places[place] = Some(Box::new(watch));
        let before = self.names.insert(run, place);
        debug_assert!(before.is_none(), "a run is watched once");
    }

    /// The one that is watched no more, and what was its place.
    pub(super) fn remove(&mut self, run: &str) -> Option<(usize, Watch)> {
        let place = self.names.remove(run)?;
        self.free.push(place);
        Some((place, *self.places[place].take()?))
    }
}
