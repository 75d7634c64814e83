//! Sorting with little code for each type: the standard library's sort takes
//! four kilobytes for one, also where something is collected into a map or a set.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

/// Sorts; what is equal stays in its order.
pub(crate) fn sort_by<T>(items: &mut [T], mut compare: impl FnMut(&T, &T) -> Ordering) {
    let from = order(items.len(), &mut |a, b| compare(&items[a], &items[b]));
    arrange(from, &mut |a, b| items.swap(a, b));
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

/// A set of these.
pub(crate) fn set<T: Ord>(items: impl IntoIterator<Item = T>) -> BTreeSet<T> {
    let mut set = BTreeSet::new();
    set.extend(items);
    set
}

/// From where each place of a sorted row of `len` takes what belongs there.
#[inline(never)]
fn order(len: usize, compare: &mut dyn FnMut(usize, usize) -> Ordering) -> Vec<usize> {
    let mut from: Vec<usize> = (0..len).collect();
    from.sort_by(|a, b| compare(*a, *b));
    from
}

/// Has each place take what belongs there.
fn arrange(mut from: Vec<usize>, swap: &mut dyn FnMut(usize, usize)) {
    // Circle by circle: each place takes from where that is, and what was
    // there moves on.
    for first in 0..from.len() {
        let mut place = first;
        loop {
            let source = std::mem::replace(&mut from[place], place);
            if source == first {
                break;
            }
            swap(place, source);
            place = source;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
