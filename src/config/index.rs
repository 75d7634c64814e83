//! Finds a value by its path at once, without a walk through the tree.

use super::path;
use crate::tree::{Node, Value};

/// Longer paths are not kept, so that a file of one long key and many below it
/// does not fill the memory; they are walked.
const MAX_LEN: usize = 128;

/// Where each value of one tree stands.
pub(super) struct Index {
    /// In the order of the hashes.
    entries: Vec<Entry>,
    /// For each value of a hash's first bits, where its entries begin; one
    /// more at the end.
    buckets: Vec<u32>,
    /// How far a hash is shifted to be a bucket.
    shift: u32,
    /// All paths, and all ways through the tree, one after the other.
    paths: String,
    steps: Vec<u32>,
}

struct Entry {
    hash: u64,
    /// From, to.
    path: [u32; 2],
    steps: [u32; 2],
}

impl Index {
    pub(super) fn new(root: &Node) -> Self {
        let mut index = Self {
            entries: Vec::new(),
            buckets: Vec::new(),
            shift: 0,
            paths: String::new(),
            steps: Vec::new(),
        };
        index.add(root, &mut String::new(), &mut Vec::new());
        crate::order::sort_by(&mut index.entries, |a, b| a.hash.cmp(&b.hash));
        let bits = index.entries.len().max(2).next_power_of_two().ilog2();
        index.shift = u64::BITS - bits;
        let mut from = 0;
        index.buckets = (0..=1_u64 << bits)
            .map(|bucket| {
                let rest = &index.entries[from..];
                from += rest.iter().take_while(|entry| entry.hash >> index.shift < bucket).count();
                count(from)
            })
            .collect();
        index
    }

    fn add(&mut self, node: &Node, above: &mut String, way: &mut Vec<u32>) {
        let Value::Object(members) = &node.value else { return };
        for (member, idx) in members.iter().zip(0..) {
            // Only what a path names as it is written.
            if member.key.contains('.') || member.key.starts_with('"') {
                continue;
            }
            let len = above.len();
            if !way.is_empty() {
                above.push('.');
            }
            above.push_str(&member.key);
            if above.len() <= MAX_LEN {
                way.push(idx);
                let (path, steps) = (count(self.paths.len()), count(self.steps.len()));
                self.paths.push_str(above);
                self.steps.extend(&*way);
                self.entries.push(Entry {
                    hash: hash(above),
                    path: [path, count(self.paths.len())],
                    steps: [steps, count(self.steps.len())],
                });
                self.add(&member.node, above, way);
                way.pop();
            }
            above.truncate(len);
        }
    }

    /// Finds what stands at a path in the tree that the index was made of.
    pub(super) fn find<'n>(&self, root: &'n Node, path: &str) -> Option<&'n Node> {
        self.look_up(root, path).or_else(|| path::find(root, path))
    }

    fn look_up<'n>(&self, root: &'n Node, path: &str) -> Option<&'n Node> {
        let hash = hash(path);
        let bucket = (hash >> self.shift) as usize;
        let entries =
            self.entries.get(range([*self.buckets.get(bucket)?, *self.buckets.get(bucket + 1)?]))?;
        let entry = entries.iter().find(|entry| {
            entry.hash == hash && self.paths.as_bytes().get(range(entry.path)) == Some(path.as_bytes())
        })?;
        let steps = self.steps.get(range(entry.steps))?;
        steps.iter().try_fold(root, |node, idx| match &node.value {
            Value::Object(members) => members.iter().as_slice().get(*idx as usize).map(|member| &member.node),
            _ => None,
        })
    }
}

/// A file is bounded, and so is what is kept of it.
fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

fn range([from, to]: [u32; 2]) -> std::ops::Range<usize> {
    from as usize..to as usize
}

/// A quick hash, eight bytes at a time. Two paths of one hash cost a
/// comparison, no more.
fn hash(text: &str) -> u64 {
    let bytes = text.as_bytes();
    let word = |at: usize| {
        let word: Option<[u8; 8]> = bytes.get(at..at + 8).and_then(|word| word.try_into().ok());
        word.map(u64::from_le_bytes)
    };
    let mix = |hash: u64, word: u64| (hash.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut hash = bytes.len() as u64;
    let Some(last) = bytes.len().checked_sub(8) else {
        let word = bytes.iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
        return mix(mix(hash, word), 0);
    };
    let mut at = 0;
    while at < last {
        hash = mix(hash, word(at).unwrap_or_default());
        at += 8;
    }
    // The last ones, some of them a second time.
    mix(mix(hash, word(last).unwrap_or_default()), 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tree::{join, parse};

    fn check(json: &str, paths: &[&str]) {
        let root = parse("f", json).unwrap();
        let index = Index::new(&root);
        for path in paths {
            let (found, walked) = (index.find(&root, path), path::find(&root, path));
            assert_eq!(found.map(std::ptr::from_ref), walked.map(std::ptr::from_ref), "{path}");
        }
    }

    #[test]
    fn what_a_walk_finds_is_found() {
        let long = "x".repeat(MAX_LEN);
        let json = format!(
            r#"{{"a": {{"b.c": 1, "b": {{"c": 2}}, "": 3, "\"q": 4}}, "": 5, "l": [1], "{long}": {{"y": 6}}}}"#
        );
        let long = [long.clone(), format!("{long}.y")];
        let paths =
            ["", "a", "a.b", "a.b.c", "a.\"b.c\"", "a.", "a.\"q", "a..b", "l", "l.0", "b", ".", "a.b.c.d"];
        check(&json, &paths);
        check(&json, &long.each_ref().map(String::as_str));
        check("{}", &paths);
        check("1", &paths);
    }

    #[test]
    fn what_stands_in_the_tree_is_in_the_table() {
        let members: Vec<String> = (0..500).map(|i| format!(r#""key_{i}": {i}"#)).collect();
        let root = parse("f", &format!(r#"{{"s": {{{}}}}}"#, members.join(","))).unwrap();
        let index = Index::new(&root);
        for i in 0..500 {
            let path = format!("s.key_{i}");
            assert_eq!(index.look_up(&root, &path).map(|node| node.to_json()), Some(i.into()), "{path}");
        }
        assert!(index.look_up(&root, "s.key_500").is_none());
    }

    proptest! {
        #[test]
        fn every_path_is_found_as_by_a_walk(
            keys in prop::collection::btree_set("[a-c.\"]{0,10}", 0..12),
            path in "[a-c.\"]{0,14}",
        ) {
            let below: String = keys.iter().map(|key| format!("{key:?}: 1")).collect::<Vec<_>>().join(",");
            let all = keys.iter().map(|key| format!("{key:?}: {{{below}}}")).collect::<Vec<_>>().join(",");
            let json = format!("{{{all}}}");
            let mut paths: Vec<String> = vec![path];
            for key in &keys {
                paths.push(join("", key));
                paths.push(key.clone());
                paths.extend(keys.iter().map(|below| format!("{key}.{below}")));
                paths.extend(keys.iter().map(|below| join(&join("", key), below)));
            }
            check(&json, &paths.iter().map(String::as_str).collect::<Vec<_>>());
        }
    }
}
