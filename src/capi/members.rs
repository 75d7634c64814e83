//! The members of an object that has many: each is known by a number.

use crate::env::Env;
use crate::primitive::Mutex;

/// Each is known by a number that no other ever has, of this owner or of
/// another.
pub(super) struct Members<T>(Mutex<Numbered<T>>);

struct Numbered<T> {
    last: u64,
    /// In the order of their numbers.
    held: Vec<(u64, T)>,
}

impl<T> Default for Members<T> {
    fn default() -> Self {
        Self(Mutex::new(Numbered { last: Env::first_number(), held: Vec::new() }))
    }
}

impl<T> Numbered<T> {
    fn find(&self, number: u64) -> Option<usize> {
        self.held.binary_search_by_key(&number, |(number, _)| *number).ok()
    }

    fn take_gone(&mut self, is_gone: impl Fn(&T) -> bool) -> Vec<(u64, T)> {
        let (gone, held) = std::mem::take(&mut self.held).into_iter().partition(|(_, held)| is_gone(held));
        self.held = held;
        gone
    }
}

impl<T: Clone> Members<T> {
    /// Says by which number a member is known, from now on if it was not; those
    /// that are `is_gone` are let go of.
    pub(super) fn insert(
        &self,
        member: T,
        is_same: impl Fn(&T) -> bool,
        is_gone: impl Fn(&T) -> bool,
    ) -> u64 {
        let mut members = self.0.lock();
        if let Some((number, _)) = members.held.iter().find(|(_, held)| is_same(held)) {
            return *number;
        }
        let gone = members.take_gone(is_gone);
        members.last += 1;
        let number = members.last;
        members.held.push((number, member));
        drop(members);
        // Without the lock: dropping one may call the program.
        drop(gone);
        number
    }

    /// Lets go of those that are `is_gone`.
    pub(super) fn purge(&self, is_gone: impl Fn(&T) -> bool) {
        let gone = self.0.lock().take_gone(is_gone);
        drop(gone);
    }

    /// Lets go of a member; its number is of nothing any more.
    pub(super) fn remove(&self, number: u64) -> Option<T> {
        let mut members = self.0.lock();
        let at = members.find(number)?;
        Some(members.held.remove(at).1)
    }

    pub(super) fn get(&self, number: u64) -> Option<T> {
        let members = self.0.lock();
        members.find(number).map(|at| members.held[at].1.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_members_number_is_its_own() {
        let members = Members::<&str>::default();
        let a = members.insert("a", |_| false, |_| false);
        let b = members.insert("b", |_| false, |_| false);
        assert_eq!((members.get(a), members.get(b)), (Some("a"), Some("b")));
        let c = members.insert("c", |_| false, |member| *member == "a");
        assert_eq!((members.get(a), members.get(b), members.get(c)), (None, Some("b"), Some("c")));
        assert_eq!((members.get(0), members.get(u64::MAX)), (None, None));
        assert_eq!(members.insert("b", |member| *member == "b", |_| false), b);
        assert_eq!((members.remove(b), members.remove(b), members.remove(a)), (Some("b"), None, None));
        assert_eq!((members.get(b), members.get(c)), (None, Some("c")));
        members.purge(|member| *member == "c");
        assert_eq!(members.get(c), None);
    }

    #[test]
    fn a_member_of_one_is_none_of_another() {
        let owners: [Members<&str>; 3] = Default::default();
        let numbers = owners.each_ref().map(|owner| owner.insert("a", |_| false, |_| false));
        for (owner, number) in owners.iter().zip(numbers) {
            assert_eq!(numbers.map(|other| owner.get(other).is_some()), numbers.map(|other| other == number));
        }
    }
}
