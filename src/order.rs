//! Sorting, and maps in order, with little code for each type: the standard
//! library's sort takes four kilobytes for one, also where something is
//! collected into a map, and its map with what removes takes six.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// Sorts; what is equal stays in its order.
pub(crate) fn sort_by<T>(items: &mut [T], mut compare: impl FnMut(&T, &T) -> Ordering) {
    let mut from = order(items.len(), &mut |a, b| compare(&items[a], &items[b]));
    // Circle by circle: each place takes what belongs there, from where that
    // is, and what was there moves on.
    for first in 0..from.len() {
        let mut place = first;
        loop {
            let source = std::mem::replace(&mut from[place], place);
            if source == first {
                break;
            }
            items.swap(place, source);
            place = source;
        }
    }
}

/// The same by what the items are.
pub(crate) fn sort<T: Ord>(items: &mut [T]) {
    sort_by(items, T::cmp);
}

/// A map of these; of several with one key the last.
pub(crate) fn map<K: Ord, V>(pairs: impl IntoIterator<Item = (K, V)>) -> BTreeMap<K, V> {
    let mut map = BTreeMap::new();
    map.extend(pairs);
    map
}

/// The same as JSON.
pub(crate) fn json(pairs: impl IntoIterator<Item = (String, serde_json::Value)>) -> serde_json::Value {
    let mut map = serde_json::Map::new();
    map.extend(pairs);
    serde_json::Value::Object(map)
}

/// From where each place of a sorted row of `len` takes what belongs there.
#[inline(never)]
fn order(len: usize, compare: &mut dyn FnMut(usize, usize) -> Ordering) -> Vec<usize> {
    let mut from: Vec<usize> = (0..len).collect();
    from.sort_by(|a, b| compare(*a, *b));
    from
}

/// A map in the order of its keys, for some thousands of entries: each insert
/// and removal moves those behind, three words each.
#[derive(Debug)]
pub(crate) struct Map<K, V>(Vec<(K, Box<V>)>);

impl<K, V> Default for Map<K, V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<K: Ord, V> Map<K, V> {
    fn find<Q: Ord + ?Sized>(&self, key: &Q) -> Result<usize, usize>
    where
        K: Borrow<Q>,
    {
        // What is inserted comes in order, as a rule.
        match self.0.last() {
            Some((last, _)) if last.borrow() < key => Err(self.0.len()),
            _ => self.0.binary_search_by(|(held, _)| held.borrow().cmp(key)),
        }
    }

    pub(crate) fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.find(key).ok().map(|at| &*self.0[at].1)
    }

    pub(crate) fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        self.find(key).ok().map(|at| &mut *self.0[at].1)
    }

    pub(crate) fn contains_key<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.find(key).is_ok()
    }

    /// Puts a value in place of the one that has its key.
    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        match self.find(&key) {
            Ok(at) => Some(std::mem::replace(&mut *self.0[at].1, value)),
            Err(at) => {
                self.0.insert(at, (key, Box::new(value)));
                None
            }
        }
    }

    pub(crate) fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        self.find(key).ok().map(|at| *self.0.remove(at).1)
    }
}

impl<K, V> Map<K, V> {
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.0.iter().map(|(key, value)| (key, &**value))
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &K> {
        self.0.iter().map(|(key, _)| key)
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.0.iter().map(|(_, value)| &**value)
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.0.iter_mut().map(|(_, value)| &mut **value)
    }

    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&K, &mut V) -> bool) {
        self.0.retain_mut(|(key, value)| keep(key, value));
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<K: Ord, V> FromIterator<(K, V)> for Map<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        let mut map = Self::default();
        pairs.into_iter().for_each(|(key, value)| _ = map.insert(key, value));
        map
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_is_as_that_of_the_standard_library() {
        // Every eight acts upon three keys: put in, or taken out.
        for acts in 0..4_u32.pow(8) {
            let (mut ours, mut theirs) = (Map::default(), BTreeMap::new());
            for place in 0..8 {
                let act = acts / 4_u32.pow(place) % 4;
                if act == 3 {
                    let key = place % 3;
                    assert_eq!(ours.remove(&key), theirs.remove(&key));
                } else {
                    assert_eq!(ours.insert(act, place), theirs.insert(act, place));
                }
            }
            assert!(ours.iter().eq(theirs.iter()) && ours.len() == theirs.len());
            for key in 0..4 {
                assert_eq!(ours.get(&key), theirs.get(&key));
                assert_eq!(ours.contains_key(&key), theirs.contains_key(&key));
            }
            ours.retain(|key, _| *key != 1);
            theirs.retain(|key, _| *key != 1);
            assert!(ours.keys().eq(theirs.keys()) && ours.values().eq(theirs.values()));
        }
    }

    #[test]
    fn it_sorts_as_the_standard_library_does() {
        // Every row of seven of three values, with their places.
        for row in 0..3_usize.pow(7) {
            let digit = |place: u32| row / 3_usize.pow(place) % 3;
            let mut items: Vec<(usize, u32)> = (0..7).map(|place| (digit(place), place)).collect();
            let mut expected = items.clone();
            sort_by(&mut items, |a, b| a.0.cmp(&b.0));
            expected.sort_by_key(|(value, _)| *value);
            assert_eq!(items, expected);
        }
        sort::<String>(&mut []);
    }
}
