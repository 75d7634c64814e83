//! Sorting with little code for each type: the standard library's sort takes
//! four kilobytes for one, also where something is collected into a map.

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
