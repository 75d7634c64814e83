//! The members of an object that has many: each is known by a number.

use crate::primitive::Mutex;

/// Each is known by its slot and the slot's generation, in one number.
pub(super) struct Members<T>(Mutex<Vec<(u32, Option<T>)>>);

impl<T> Default for Members<T> {
    fn default() -> Self {
        Self(Mutex::new(Vec::new()))
    }
}

impl<T: Clone> Members<T> {
    /// Says by which number a member is known, from now on if it was not; the
    /// slots of those that `is_gone` are used again.
    pub(super) fn insert(
        &self,
        member: T,
        is_same: impl Fn(&T) -> bool,
        is_gone: impl Fn(&T) -> bool,
    ) -> u64 {
        let number = |generation: u32, idx: usize| (u64::from(generation) << 32) | idx as u64;
        let mut gone = Vec::new();
        let mut slots = self.0.lock();
        for (idx, (generation, held)) in slots.iter_mut().enumerate() {
            if held.as_ref().is_some_and(&is_same) {
                return number(*generation, idx);
            }
            if held.as_ref().is_some_and(&is_gone) {
                gone.extend(held.take());
            }
        }
        let free = slots.iter().position(|(generation, held)| held.is_none() && *generation < u32::MAX);
        let idx = free.unwrap_or_else(|| {
            slots.push((0, None));
            slots.len() - 1
        });
        let (generation, held) = &mut slots[idx];
        *generation += 1;
        *held = Some(member);
        let number = number(*generation, idx);
        drop(slots);
        // Without the lock: dropping one may call the program.
        drop(gone);
        number
    }

    /// Lets go of a member; its number is of nothing any more.
    pub(super) fn remove(&self, number: u64) -> Option<T> {
        let (generation, idx) = (number >> 32, number & u64::from(u32::MAX));
        let mut slots = self.0.lock();
        let (held_generation, held) = slots.get_mut(usize::try_from(idx).ok()?)?;
        if u64::from(*held_generation) == generation { held.take() } else { None }
    }

    pub(super) fn get(&self, number: u64) -> Option<T> {
        let (generation, idx) = (number >> 32, number & u64::from(u32::MAX));
        let slots = self.0.lock();
        let (held_generation, held) = slots.get(usize::try_from(idx).ok()?)?;
        if u64::from(*held_generation) == generation { held.clone() } else { None }
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
        assert_eq!(c & u64::from(u32::MAX), a & u64::from(u32::MAX));
        assert_eq!((members.get(0), members.get(u64::MAX)), (None, None));
        assert_eq!(members.insert("b", |member| *member == "b", |_| false), b);
        assert_eq!((members.remove(b), members.remove(b), members.remove(a)), (Some("b"), None, None));
        assert_eq!((members.get(b), members.get(c)), (None, Some("c")));
    }
}
